import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cinetune.adapters.style import Style, find_style
from cinetune.errors import FootageError
from cinetune.footage.procedural import render_clip
from cinetune.footage.video_io import write_video
from cinetune.generate import training
from cinetune.metrics import grade, sharpness
from cinetune.metrics._contract import Item
from cinetune.metrics.backbones._resolve import resolve
from cinetune.recipe import load_recipe
from cinetune.records import Clip, write_records


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each of six training shots, of another height in one, and held-out ones by day."""
    folder = tmp_path_factory.mktemp("training") / "run"
    recipe = load_recipe("nano", {})
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps({"id": recipe.id, **recipe.model_dump(mode="json")}))
    clips = []
    for n in range(14):
        split = "train" if n < 12 else "test"
        height = 48 if n < 2 else 64
        shown = render_clip("historical" if n < 12 else "day", seed=n // 2, frames=5, height=height)
        clip = Clip(f"c{n}", f"s{n // 2}", f"scene-{n // 2}", "f.mkv", 0.0, 16.0, 5, height, 96, shown.caption,
                    "sidecar", split, 3.0, f"clips/c{n}.mkv", "")  # fmt: skip
        write_video(folder / "footage" / clip.video, iter(np.asarray(shown.frames)), 16.0, lossless=True)
        clips.append(clip)
    write_records(folder / "footage" / "clips.jsonl", clips)
    return folder


def test_one_view_a_training_shot(run: Path) -> None:
    eye = resolve("frames_dino", "nano", {}, torch.device("cpu"))
    seen, height = training.views(run / "train" / "best", eye, frames=5)
    assert (height, [view.name for view in seen]) == (64, ["s1", "s2", "s3", "s4", "s5"])
    whole = render_clip("historical", seed=1, frames=5).frames
    item = Item(np.concatenate([whole[:1], whole]), None, "")  # frame 0 of an item is not looked at
    assert np.allclose(seen[0].grade, grade.METRIC.look.features(item, None)["grade"])
    assert (
        seen[0].sharpness == sharpness.METRIC.score(sharpness.METRIC.look.features(Item(whole, None, ""), None)).value
    )
    assert all(view.subject is not None and np.linalg.norm(view.subject) == pytest.approx(1) for view in seen)
    few, _ = training.views(run, None, frames=1)
    assert np.allclose(few[0].grade, grade.METRIC.look.features(Item(whole[:1], None, ""), None)["grade"])
    assert few[0].subject is None


def test_a_style_that_was_measured(run: Path) -> None:
    known = find_style(run)
    seen, height = training.views(run, None)
    style = training.measured(known, seen, height)
    assert style.grades is not None
    assert (style.words, style.height, style.grades.shape) == (known.words, 64, (5, 2, 3))
    own = sorted(view.sharpness for view in seen)  # of five, 10 % lies 0.4 of the way from the first to the second
    assert style.sharpness == pytest.approx((0.6 * own[0] + 0.4 * own[1], 0.4 * own[3] + 0.6 * own[4]))


def test_no_more_shots_than_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_SHOTS", 2)
    assert [view.name for view in training.views(run, None)[0]] == ["s1", "s5"]


def test_no_run_no_views(tmp_path: Path) -> None:
    assert training.views(tmp_path, None) == ([], 0)
    style = Style("card", ("x",))
    assert training.measured(style, [], 0) is style
    assert dataclasses.replace(style).grades is None


def test_a_missing_clip_is_one_line(run: Path, tmp_path: Path) -> None:
    for name in ("recipe.json", "footage/clips.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(FootageError, match=r"c3\.mkv"):
        training.views(tmp_path, None)
