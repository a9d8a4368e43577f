"""Adapters of both experts of Wan2.2 A14B in the pipeline, against diffusers' own way of loading them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from PIL import Image

from cinetune.adapters import lora
from cinetune.adapters.reading import EXPERT_FILES
from cinetune.adapters.writing import convert
from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.footage.video_io import read_video
from cinetune.generate.network import Trained, open_network
from cinetune.generate.stage import generate
from cinetune.models._contract import Condition
from cinetune.models._sampling import draw_noise, sample
from cinetune.models._scheduler import PublishedUniPC
from cinetune.models._velocity import STEPS, Experts
from cinetune.models._wan import CROSS_ATTENTION, WanModel
from cinetune.ops.video import to_pixels
from tiny_kinds import BOUNDARY, build
from tiny_model import CAPTIONS
from tiny_run import prepare_tiny, tiny_recipe

CPU = torch.device("cpu")
CLOSE = 1e-5
FRAME = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize((48, 32))
)


@pytest.fixture(scope="module")
def model(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> WanModel:
    return build(tiny, tmp_path_factory.mktemp("experts") / "model", "two experts")


def adapted(model: WanModel, folder: Path) -> Experts:
    """The network with adapters that do something, which are also saved."""
    network = model.load_transformer(CPU, torch.float32)
    assert isinstance(network, Experts)
    g = torch.Generator().manual_seed(2)
    for name, part in network.by_name().items():
        lora.inject(part, CROSS_ATTENTION, rank=4, alpha=8.0, seed=0)
        for weight in lora.parameters(part):
            weight.data = torch.randn(weight.shape, generator=g) * 0.2
        lora.save(folder / EXPERT_FILES[name], part)
    return network


def pipeline_of(model: WanModel, kind: type[Any]) -> Any:
    pipeline = kind.from_pretrained(model.folder, dtype=torch.float32)
    pipeline.scheduler = PublishedUniPC.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def latents_of(pipeline: Any) -> torch.Tensor:
    given = {"image": Image.fromarray(FRAME)} if isinstance(pipeline, WanImageToVideoPipeline) else {}
    made: torch.Tensor = pipeline(
        prompt=CAPTIONS[0], negative_prompt="", height=32, width=48, num_frames=9, num_inference_steps=5,
        guidance_scale=2.0, generator=torch.Generator().manual_seed(7), output_type="latent", **given,
    ).frames  # fmt: skip
    return made


@pytest.mark.parametrize("form", ["diffusers", "wan"])
@pytest.mark.parametrize("kind", ["two experts", "t2v of two experts"])
def test_diffusers_loads_both_files_and_gives_our_samples(tiny: WanModel, tmp_path: Path, kind: str, form: str) -> None:
    model = build(tiny, tmp_path / "model", kind)
    network = adapted(model, tmp_path)
    encoders = model.load_encoders(CPU)
    text, negative = encoders.encode_text([CAPTIONS[0], ""])
    first = encoders.condition(to_pixels(FRAME[None])[:, :, 0], 9)
    condition = Condition(first, encoders.encode_image(FRAME)[None], text[None], (len(text),))
    noise = draw_noise((16, 3, 4, 6), 7)[None]
    ours = sample(model, network, condition, noise, steps=5, shift=3.0, guidance=2.0, negative=negative)

    pipeline = pipeline_of(model, WanPipeline if kind.startswith("t2v") else WanImageToVideoPipeline)
    base = latents_of(pipeline)
    errors = []
    for name, file in EXPERT_FILES.items():
        errors.append((latents_of(pipeline) - ours).abs().max().item())
        if form != "diffusers":
            convert(tmp_path / file, tmp_path / form / file, form)
        folder = tmp_path if form == "diffusers" else tmp_path / form
        pipeline.load_lora_weights(folder, weight_name=file, load_into_transformer_2=name == "low")
    assert (latents_of(pipeline) - ours).abs().max() < CLOSE
    assert min(errors) > 1000 * CLOSE, "without an adapter, or with that of one expert, it is another video"
    pipeline.unload_lora_weights()
    assert torch.equal(latents_of(pipeline), base)


def test_each_file_goes_into_its_expert(model: WanModel, tmp_path: Path) -> None:
    network = adapted(model, tmp_path)

    def loaded(source: Path) -> dict[str, list[torch.Tensor]]:
        opened = open_network(model, [Trained(source)], CPU, torch.float32)
        assert isinstance(opened, Experts)
        return {
            name: [w for n, w in part.named_parameters() if "lora_" in n] for name, part in opened.by_name().items()
        }

    for name, weights in loaded(tmp_path).items():
        assert all(map(torch.equal, weights, lora.parameters(network.by_name()[name])))
    low = loaded(tmp_path / EXPERT_FILES["low"])
    assert not low["high"]
    assert all(map(torch.equal, low["low"], lora.parameters(network.transformer_2)))


def test_a_file_that_does_not_say_for_which_expert_is_refused(model: WanModel, tiny: WanModel, tmp_path: Path) -> None:
    adapted(model, tmp_path / "pair")
    plain = tmp_path / "style.safetensors"
    plain.write_bytes((tmp_path / "pair" / EXPERT_FILES["high"]).read_bytes())
    with pytest.raises(WeightsError, match=r"two experts; give a file whose name ends in _high_noise\.safetensors or"):
        open_network(model, [Trained(plain)], CPU, torch.float32)
    with pytest.raises(WeightsError, match="for one expert of two, and this model has one network"):
        open_network(tiny, [Trained(tmp_path / "pair")], CPU, torch.float32)


@pytest.mark.parametrize("boundary", BOUNDARY.values())
def test_the_boundary_is_that_of_the_pipeline_at_every_timestep(boundary: float) -> None:
    timesteps = torch.arange(1001)
    ours = Experts(torch.nn.Identity(), torch.nn.Identity(), boundary).high(timesteps.float() / STEPS)
    assert torch.equal(ours, timesteps >= boundary * 1000)  # diffusers: pipelines/wan/pipeline_wan_i2v.py


def test_a_run_is_generated_with_both_adapters(model: WanModel, tmp_path: Path) -> None:
    recipe = tiny_recipe(model, generate__shots="0")
    run = prepare_tiny(tmp_path / "run", model, recipe)
    adapted(model, run / "train" / "best")
    samples = generate(run, recipe, model, device=CPU)
    hashes = " + ".join(sha256(run / "train" / "best" / file) for file in EXPERT_FILES.values())
    for base, tuned, _static in zip(samples[::3], samples[1::3], samples[2::3], strict=True):
        assert (base.adapter_sha256, tuned.adapter_sha256) == ("", hashes)
        pair = [read_video(run / "generate" / sample.video)[0] for sample in (base, tuned)]
        assert not np.array_equal(*pair)
