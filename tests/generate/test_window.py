"""One window of stage 2 against diffusers' own pipeline, the published samples, and what is known of its parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from PIL import Image

from cinetune.adapters import lora
from cinetune.generate.network import Trained
from cinetune.generate.studio import choose, open_studio
from cinetune.generate.window import Sampling, Studio, Window
from cinetune.models._condition import fit_frame
from cinetune.models._contract import Condition
from cinetune.models._resolve import find_model
from cinetune.models._sampling import draw_noise, sample
from cinetune.models._scheduler import PublishedUniPC
from cinetune.models._wan import WanModel
from cinetune.ops.video import deepen, to_shallow
from tiny_kinds import build
from tiny_model import CAPTIONS

CPU = torch.device("cpu")
CLOSE = 1e-5
SIZE = (9, 32, 48)
SAMPLING = Sampling(steps=5, guidance=2.0, shift=3.0, negative="blurred")
FRAME = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize((48, 32))
)


def adapter(model: Any, path: Path, seed: int = 2) -> Path:
    """Write an adapter that does something."""
    network = model.load_transformer(CPU, torch.float32)
    lora.inject(network, model.adapter_targets(image_projections=True), rank=4, alpha=8.0, seed=0)
    g = torch.Generator().manual_seed(seed)
    for weight in lora.parameters(network):
        weight.data = torch.randn(weight.shape, generator=g) * 0.2
    lora.save(path, network)
    return path


def studio(model: Any, trained: list[Trained] | None = None, levers: tuple[str, ...] = (), **changes: Any) -> Studio:
    given = {"sampling": SAMPLING, "size": SIZE} | changes
    return open_studio(
        model, trained or [], given["sampling"], given["size"], CAPTIONS, device=CPU, dtype=torch.float32,
        pulls=choose("exact", levers),
    )  # fmt: skip


def plain(model: Any, kind: type[Any], seed: int, adapters: Path | None = None, sampling: Sampling = SAMPLING) -> Any:
    """What diffusers' pipeline makes, on the published noise levels."""
    pipeline = kind.from_pretrained(model.folder, dtype=torch.float32)
    pipeline.scheduler = PublishedUniPC.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    if adapters:
        pipeline.load_lora_weights(adapters.parent, weight_name=adapters.name)
    given = {"image": Image.fromarray(FRAME)} if kind is WanImageToVideoPipeline else {}
    return pipeline(
        prompt=CAPTIONS[0], negative_prompt=sampling.negative, height=SIZE[1], width=SIZE[2], num_frames=SIZE[0],
        num_inference_steps=sampling.steps, guidance_scale=sampling.guidance, output_type="latent",
        generator=torch.Generator().manual_seed(seed), **given,
    ).frames  # fmt: skip


def window(**changes: Any) -> Window:
    return Window(**({"prompt": CAPTIONS[0], "seed": 7, "frames": SIZE[0], "first": deepen(FRAME)} | changes))


@pytest.mark.parametrize("kind", ["i2v", "t2v", "ti2v", "two experts"])
def test_exact_is_the_plain_pipeline(tiny: WanModel, tmp_path: Path, kind: str) -> None:
    model = tiny if kind == "i2v" else build(tiny, tmp_path / "model", kind)
    theirs = plain(model, WanPipeline if kind == "t2v" else WanImageToVideoPipeline, 7)
    ours = studio(model).latents(window(first=None if kind == "t2v" else deepen(FRAME)))
    assert (ours - theirs).abs().max() <= CLOSE
    assert theirs.std() > 0.1


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_exact_is_the_plain_pipeline_on_nano_with_an_adapter(tmp_path: Path, guidance: float) -> None:
    model: Any = find_model("nano")
    file, sampling = adapter(model, tmp_path / "style.safetensors"), Sampling(steps=6, guidance=guidance, shift=3.0)
    theirs = plain(model, WanImageToVideoPipeline, 3, file, sampling)
    made = [
        studio(model, [Trained(file)], levers, sampling=sampling).latents(window(seed=3))
        for levers in ((), ("merge",))
    ]  # fmt: skip
    # Guidance multiplies the rounding of both answers: then it is 1e-5 of the largest latent, about 4.
    close = CLOSE if guidance == 1 else CLOSE * theirs.abs().max()
    assert (made[0] - theirs).abs().max() <= close
    assert (made[1] - theirs).abs().max() <= CLOSE * theirs.abs().max(), "merging rounds once more"
    assert (plain(model, WanImageToVideoPipeline, 3, None, sampling) - theirs).abs().max() > 1000 * CLOSE


def test_strength_and_stacking_of_adapters(tiny: WanModel, tmp_path: Path) -> None:
    one, two = (adapter(tiny, tmp_path / f"{n}.safetensors", n) for n in (1, 2))
    base, full = studio(tiny).latents(window()), studio(tiny, [Trained(one)]).latents(window())
    none = studio(tiny, [Trained(one, 0.0)]).latents(window())
    assert (none - base).abs().max() <= CLOSE
    halves = studio(tiny, [Trained(one, 0.5), Trained(one, 0.5)]).latents(window())
    assert (halves - full).abs().max() <= CLOSE
    order = [studio(tiny, [Trained(a), Trained(b, 0.5)]).latents(window()) for a, b in ((one, two), (two, one))]
    assert (order[0] - order[1]).abs().max() > 1000 * CLOSE
    merged = studio(tiny, [Trained(one), Trained(two, 0.5)], ("merge",)).latents(window())
    assert (merged - order[0]).abs().max() <= 10 * CLOSE


def test_known_frames_are_kept_and_the_rest_goes_on_from_them(tiny: WanModel) -> None:
    room = studio(tiny)
    before = room(window(seed=1))
    known = before[-5:]
    held = room.latents(window(first=known[0], known=known))
    encoded = room.rig.encoders.encode_video(torch.from_numpy(known / 32767.5 - 1).float().permute(3, 0, 1, 2)[None])
    assert (held[:, :, :2] - encoded).abs().max() <= 1e-4
    free = room.latents(window(first=known[0]))
    assert (held[:, :, 2:] - free[:, :, 2:]).abs().max() > 0.01, "what follows knows of them"


def test_a_last_frame_is_reached(tiny: WanModel) -> None:
    room = studio(tiny)
    end = deepen(np.ascontiguousarray(FRAME[::-1]))
    made = room.latents(window(last=end))
    still = np.repeat(end[None], 9, axis=0)
    encoded = room.rig.encoders.encode_video(torch.from_numpy(still / 32767.5 - 1).float().permute(3, 0, 1, 2)[None])
    assert (made[:, :, -1] - encoded[:, :, -1]).abs().max() <= 1e-4
    assert (room.latents(window())[:, :, -1] - encoded[:, :, -1]).abs().max() > 0.1


def test_strength_goes_from_the_picture_to_a_free_video() -> None:
    room = studio(find_model("nano"), sampling=Sampling(steps=10, guidance=1.0, shift=3.0))
    still = room.rig.decoder.decode(
        room.rig.encoders.encode_video(fit_frame(FRAME, 32, 48)[:, :, None].expand(-1, -1, 9, -1, -1))
    )
    away = [
        float(
            np.abs(room(window(strength=s)).astype(float) / 32767.5 - 1 - still[0].permute(1, 2, 3, 0).numpy()).mean()
        )
        for s in (0.1, 0.5, 1.0)
    ]
    assert away == sorted(away)
    assert away[0] < away[2] / 2
    assert np.array_equal(room(window(strength=1.0)), room(window()))


def test_the_same_seed_gives_the_same_bytes_whatever_came_before(tiny: WanModel) -> None:
    room = studio(tiny)
    first = room(window())
    room(window(seed=8, prompt=CAPTIONS[1]))
    torch.manual_seed(99)
    assert np.array_equal(room(window()), first)
    assert np.array_equal(studio(tiny)(window()), first)


def test_sixteen_bits_hold_every_one_of_eight() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_shallow(deepen(levels)), levels)
    assert to_shallow(np.array([128, 129, 65535], np.uint16)).tolist() == [0, 1, 255]


@pytest.mark.parametrize("kind", ["i2v", "t2v of two experts"])
def test_the_batched_sampler_of_validation_gives_the_same(tiny: WanModel, tmp_path: Path, kind: str) -> None:
    model = tiny if kind == "i2v" else build(tiny, tmp_path / "model", kind)
    encoders = model.load_encoders(CPU)
    text, negative = encoders.encode_text([CAPTIONS[0], SAMPLING.negative])
    raw = np.asarray(Image.fromarray(FRAME).resize((70, 50)))
    given = encoders.condition(fit_frame(FRAME, 32, 48), 9)
    condition = Condition(given, encoders.encode_image(raw)[None], text[None], (len(text),))
    theirs = sample(
        model, model.load_transformer(CPU, torch.float32), condition, draw_noise((16, 3, 4, 6), 7)[None],
        steps=SAMPLING.steps, shift=SAMPLING.shift, guidance=SAMPLING.guidance, negative=negative,
    )  # fmt: skip
    ours = studio(model).latents(window(seen=deepen(raw)) if kind == "i2v" else window(first=None))
    assert (ours - theirs).abs().max() <= CLOSE
    if kind == "i2v":
        assert (studio(model).latents(window()) - theirs).abs().max() > 1e-4, "the encoder sees the picture as it is"
