import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from cinetune.adapters import lora
from cinetune.errors import WeightsError
from cinetune.footage.video_io import read_video
from cinetune.generate.stage import _showcase_size, generate
from cinetune.models._scheduler import PublishedUniPC
from cinetune.models._wan import WanModel
from cinetune.records import Clip, Sample, read_records
from tiny_run import prepare_tiny, tiny_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared run with an adapter that does something."""
    folder = prepare_tiny(tmp_path_factory.mktemp("generate") / "run", tiny, tiny_recipe(tiny))
    network = tiny.load_transformer(CPU, torch.float32)
    lora.inject(network, tiny.adapter_targets(image_projections=True), rank=4, alpha=8.0, seed=0)
    g = torch.Generator().manual_seed(2)
    for weight in lora.parameters(network):
        weight.data = torch.randn(weight.shape, generator=g) * 0.2
    lora.save(folder / "train" / "best" / lora.FILE_NAME, network)
    generate(folder, tiny_recipe(tiny), tiny, device=CPU)
    return folder


def video(run: Path, sample: Sample) -> np.ndarray:
    return np.asarray(read_video(run / "generate" / sample.video)[0])


def test_every_test_clip_in_every_arm(run: Path) -> None:
    samples = read_records(run / "generate" / "samples.jsonl", Sample)
    test = [c for c in read_records(run / "footage" / "clips.jsonl", Clip) if c.split == "test"]
    assert [(s.source, s.arm) for s in samples] == [(c.id, arm) for c in test for arm in ("base", "tuned", "static")]
    for base, tuned, static in zip(samples[::3], samples[1::3], samples[2::3], strict=True):
        truth = np.asarray(read_video(run / "generate" / base.reference)[0])
        assert base.seed == tuned.seed
        assert base.prompt == tuned.prompt
        assert (base.adapter_sha256 == "") != (tuned.adapter_sha256 == "")
        assert np.array_equal(video(run, static), np.repeat(truth[:1], len(truth), axis=0))
        assert not np.array_equal(video(run, base), video(run, tuned))


def test_showcase_starts_from_its_keyframe_and_joins_windows(run: Path, tiny: WanModel) -> None:
    shots = read_records(run / "generate" / "shots.jsonl", Sample)
    assert [s.id for s in shots] == ["shot-1-base", "shot-1-tuned"]
    recipe = tiny_recipe(tiny)
    for shot in shots:
        frames = video(run, shot)
        assert len(frames) == recipe.generate.segments * (recipe.footage.frames - 1) + 1
        key = np.asarray(Image.open(run / "generate" / "keyframes" / f"{shot.id}.png"))
        assert np.array_equal(frames[0], key)


def test_plain_diffusers_with_the_adapter_gives_the_same_frames(run: Path, tiny: WanModel) -> None:
    recipe = tiny_recipe(tiny)
    pipeline = WanImageToVideoPipeline.from_pretrained(tiny.folder, dtype=torch.float32)
    pipeline.scheduler = PublishedUniPC.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    samples = read_records(run / "generate" / "samples.jsonl", Sample)
    for arm in ("base", "tuned"):
        sample = next(s for s in samples if s.arm == arm)
        if arm == "tuned":
            pipeline.load_lora_weights(run / "train" / "best")
        first = read_video(run / "generate" / sample.reference)[0][0]
        made = pipeline(
            image=Image.fromarray(first), prompt=sample.prompt, negative_prompt="", height=recipe.footage.height,
            width=recipe.footage.width, num_frames=recipe.footage.frames, num_inference_steps=sample.steps,
            guidance_scale=sample.guidance, generator=torch.Generator().manual_seed(sample.seed), output_type="np",
        ).frames[0]  # fmt: skip
        assert np.abs(np.round(made * 255) - video(run, sample)).max() <= 1


def test_what_is_there_is_kept_and_the_rest_is_made_the_same(run: Path, tiny: WanModel, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    samples = read_records(copy / "generate" / "samples.jsonl", Sample)
    victim, kept = copy / "generate" / samples[1].video, copy / "generate" / samples[0].video
    before, stamp = victim.read_bytes(), kept.stat().st_mtime_ns
    victim.unlink()
    (copy / "generate" / "samples.jsonl").unlink()
    generate(copy, tiny_recipe(tiny), tiny, device=CPU)
    assert victim.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    assert read_records(copy / "generate" / "samples.jsonl", Sample) == samples


def test_another_adapter_makes_everything_again(run: Path, tiny: WanModel, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    network = tiny.load_transformer(CPU, torch.float32)
    lora.load(copy / "train" / "best" / lora.FILE_NAME, network)
    for weight in lora.parameters(network):
        weight.data *= 0.5
    lora.save(copy / "train" / "best" / lora.FILE_NAME, network)
    samples = generate(copy, tiny_recipe(tiny), tiny, device=CPU)
    old = {s.id: s for s in read_records(run / "generate" / "samples.jsonl", Sample)}
    for sample in samples:
        same = np.array_equal(video(copy, sample), video(run, old[sample.id]))
        assert same == (sample.arm != "tuned")


def test_without_an_adapter_it_says_what_to_do(run: Path, tiny: WanModel, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "train")
    with pytest.raises(WeightsError, match="cinetune train"):
        generate(copy, tiny_recipe(tiny), tiny, device=CPU)


def test_the_published_size_rule_is_there_by_name(tiny: WanModel, capsys: pytest.CaptureFixture[str]) -> None:
    for rule, size in (("asked", (480, 832)), ("published", (464, 832))):
        recipe = tiny_recipe(tiny, footage__height="480", footage__width="832", generate__size_rule=f'"{rule}"')
        assert _showcase_size(recipe) == size
    assert capsys.readouterr().err.count("480x832 was asked for, the published rule makes 464x832") == 2
