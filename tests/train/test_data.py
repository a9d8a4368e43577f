"""Cached clips: read when wanted, and refused where clip or caption are no longer what was cached."""

import dataclasses
from pathlib import Path

import pytest
import torch

from cinetune.errors import RecordError, RunError
from cinetune.models._wan import WanModel
from cinetune.records import Clip, read_records, write_records
from cinetune.train import data
from cinetune.train.data import load_split
from cinetune.train.loop import train
from tiny_run import prepare_tiny, tiny_recipe


@pytest.fixture
def run(tiny: WanModel, tmp_path: Path) -> Path:
    return prepare_tiny(tmp_path / "run", tiny, tiny_recipe(tiny))


def clips_of(run: Path) -> list[Clip]:
    return read_records(run / "footage" / "clips.jsonl", Clip)


def test_items_are_read_once_where_they_fit_and_again_where_they_do_not(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = load_split(run / "footage", clips_of(run), "train").items
    assert fits[2] is fits[2]
    assert [item.latents.shape for item in fits[1:3]] == [fits[1].latents.shape] * 2
    monkeypatch.setattr(data, "HELD", 1)
    does_not = load_split(run / "footage", clips_of(run), "train").items
    assert does_not[2] is not does_not[2]
    assert all(a.latents.equal(b.latents) for a, b in zip(fits, does_not, strict=True))


def test_a_clip_or_caption_changed_since_it_was_cached_is_refused(run: Path) -> None:
    clips = clips_of(run)
    other = [dataclasses.replace(clips[0], caption="something else"), *clips[1:]]
    assert load_split(run / "footage", other, "validation").clips, "those of another split do not matter"
    with pytest.raises(RecordError, match=r"clip-0\.mkv: clip or caption changed since clip-0\.safetensors was cached"):
        load_split(run / "footage", other, "train")
    (run / "footage" / clips[1].video).write_bytes(b"another video")
    with pytest.raises(RecordError, match=r"clip-1\.mkv: clip or caption changed .*; run `cinetune prepare` again"):
        load_split(run / "footage", clips, "train")
    (run / "footage" / clips[2].cache).unlink()
    with pytest.raises(RecordError, match=r"clip-2\.safetensors: missing, damaged"):
        load_split(run / "footage", clips[2:3], "train")


def test_clips_that_differ_from_those_of_the_checkpoint_and_no_clips_at_all_are_one_line(
    tiny: WanModel, run: Path
) -> None:
    recipe, clips = tiny_recipe(tiny, train__steps="4"), clips_of(run)
    train(run, recipe, tiny, device=torch.device("cpu"))
    write_records(run / "footage" / "clips.jsonl", [clip for clip in clips if clip.id != "clip-3"])
    with pytest.raises(RunError, match=r"made with clips \w{16}, this is clips \w{16}; put back what it was"):
        train(run, recipe, tiny, device=torch.device("cpu"))
    write_records(run / "footage" / "clips.jsonl", [clip for clip in clips if clip.split != "train"])
    with pytest.raises(RunError, match="no training clips; run `cinetune prepare` with more footage"):
        train(run, recipe, tiny, device=torch.device("cpu"))
