"""Arms, pairs and captions from what was typed; two folders of equal size or not."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cinetune.errors import MetricError
from cinetune.evaluate.evaluator import evaluate_folders
from cinetune.evaluate.features import Video
from cinetune.evaluate.inputs import assemble
from cinetune.evaluate.table import print_table
from cinetune.recipe import Evaluate
from cinetune.records import Clip, Result, write_records

SECTION = Evaluate(resamples=100)


@pytest.fixture(scope="module")
def results(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Twelve tuned videos against ten real ones, eight of which bear the name of a tuned one; prompts for three."""
    folder = tmp_path_factory.mktemp("folders")
    (folder / "real").mkdir()
    for n in range(10):
        name = f"{n:02}.mkv" if n < 8 else f"other-{n}.mkv"
        (folder / "real" / name).symlink_to(root / "clips" / f"{n:02}.mkv")
    prompts = folder / "prompts.tsv"
    prompts.write_text("".join(f"{n:02}\tA clip in the hills, number {n}.\n" for n in range(3)), encoding="utf-8")
    return evaluate_folders(
        root / "tuned",
        folder / "real",
        prompts,
        metrics=("psnr", "kid", "fvd", "flicker", "clip_text"),
        recipe_section=SECTION,
    )


def find(results: list[Result], metric: str, arm: str = "generated") -> Result:
    return next(r for r in results if (r.metric, r.arm) == (metric, arm))


def test_sets_of_unequal_size(results: list[Result]) -> None:
    for name in ("kid", "fvd"):
        assert find(results, name).n == 10
        assert find(results, name).low is not None
        assert find(results, name, "real").n == 5
    assert find(results, "flicker").n == 12
    assert find(results, "flicker", "real").n == 10


def test_unpaired_videos_are_said_in_one_line(results: list[Result]) -> None:
    assert find(results, "psnr").n == 8
    assert find(results, "psnr").reason == "4 left out: there is no true continuation to compare with"


def test_captions_belong_to_names(results: list[Result]) -> None:
    assert find(results, "clip_text").n == 3
    assert find(results, "clip_text").reason.startswith("9 left out: there is no caption")


def test_two_files_are_a_pair(root: Path) -> None:
    results = evaluate_folders(root / "base" / "01.mkv", root / "clips" / "02.mkv", metrics=("psnr",))
    assert find(results, "psnr").n == 1


def test_the_table_shows_every_number_and_every_reason(results: list[Result]) -> None:
    text = io.StringIO()
    print_table(results, Console(file=text, width=140))
    shown = " ".join(text.getvalue().split())
    assert "psnr (dB, higher is better)" in shown
    assert f"{find(results, 'psnr').estimate:.4g}" in shown
    assert "4 left out: there is no true continuation" in shown
    assert "intervals at 95%" in shown
    assert "nano_frames 1" in shown
    assert "not comparable with published numbers" in shown


def test_folders_that_hold_nothing_fitting(root: Path, tmp_path: Path) -> None:
    def fails(match: str, generated: Path, reference: Path, prompts: Path | None = None) -> None:
        with pytest.raises(MetricError, match=match) as error:
            evaluate_folders(generated, reference, prompts, metrics=("psnr",))
        assert "\n" not in str(error.value)

    fails("no such folder", tmp_path / "none", root / "clips")
    fails("no video in this folder", tmp_path, root / "clips")
    fails("cannot read prompts", root / "base", root / "clips", tmp_path / "none.tsv")
    (tmp_path / "prompts.tsv").write_text("x\ty\n", encoding="utf-8")
    fails("no prompt fits", root / "base", root / "clips", tmp_path / "prompts.tsv")
    for name in ("a.mkv", "a.mp4"):
        (tmp_path / name).write_bytes(b"")
    fails("have one name", tmp_path, root / "clips")


def listed(arms: dict[str, list[Path]], reference: list[Path], **more: Any) -> dict[str, list[Video]]:
    """The videos of an assembly by arm."""
    videos = assemble(arms, reference, **more)
    return {arm: [v for v in videos if v.arm == arm] for arm in dict.fromkeys(v.arm for v in videos)}


def touched(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_arms_are_paired_by_name_and_the_first_frame_is_held(tmp_path: Path) -> None:
    ours, theirs = touched(tmp_path / "ours", "a.mp4", "b.mp4"), touched(tmp_path / "theirs", "b.gif", "c.mp4")
    real = touched(tmp_path / "real", "a.mov", "b.mov", "d.mov")
    found = listed({"ours": [ours], "theirs": [theirs]}, [real])
    assert list(found) == ["ours", "theirs", "static", "real"]
    assert [(v.id, v.reference) for v in found["ours"]] == [("a", real / "a.mov"), ("b", real / "b.mov")]
    assert [(v.id, v.reference) for v in found["theirs"]] == [("b", real / "b.mov"), ("c", None)]
    held = found["static"]
    assert [(v.source, v.path, v.reference, v.still) for v in held] == [
        (name, real / f"{name}.mov", real / f"{name}.mov", True) for name in ("a", "b")
    ]
    assert "static" not in listed({"ours": [ours]}, [real], static=False)
    assert "static" not in listed({"theirs": [theirs / "c.mp4", theirs / "b.gif"]}, [real / "a.mov", real / "d.mov"])


def test_a_manifest_pairs_samples_with_their_reference(tmp_path: Path) -> None:
    touched(tmp_path / "gen", "x-1.mp4", "x-2.mp4", "y.mp4")
    touched(tmp_path / "real", "x.mp4", "y.mp4", "z.mp4")
    lines = [
        {"video": "gen/x-1.mp4", "reference": "real/x.mp4", "arm": "ours", "caption": "Fog.", "cluster": "coast"},
        {"video": "gen/x-2.mp4", "reference": "real/x.mp4", "arm": "ours"},
        {"video": "gen/y.mp4", "reference": "real/y.mp4"},
    ]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    alone = listed({"generated": [path]}, [])
    assert {v.source for v in alone["ours"]} == {"real/x"}
    assert [(v.id, v.cluster, v.caption) for v in alone["real"]] == [
        ("real/x", "coast", "Fog."), ("real/y", "real/y", ""),
    ]  # fmt: skip
    assert [v.cluster for v in alone["ours"]] == ["coast", "coast"]
    both = listed({"generated": [path]}, [tmp_path / "real"])
    assert [v.id for v in both["real"]] == ["x", "y", "z"]  # a file that is named twice is one video
    assert {v.source for v in both["ours"]} == {"x"}
    assert both["generated"][0].source == "y"


def test_two_videos_are_a_pair_whatever_they_are_called(tmp_path: Path) -> None:
    touched(tmp_path, "a.mp4", "b.mp4")
    found = listed({"generated": [tmp_path / "a.mp4"]}, [tmp_path / "b.mp4"])
    assert found["generated"][0].reference == tmp_path / "b.mp4"


def test_training_videos_and_those_of_a_run(tmp_path: Path) -> None:
    touched(tmp_path / "gen", "a.mp4")
    touched(tmp_path / "clips", "p.mp4", "q.mp4")
    clip = Clip("c1", "s", "scene", "film", 0, 16, 5, 64, 96, "Hills.", "measured", "train", 1, "clips/c1.mkv", "")
    run = touched(tmp_path / "run" / "footage")
    write_records(run / "clips.jsonl", [clip, dataclasses.replace(clip, id="c2", split="test")])
    found = listed({"generated": [tmp_path / "gen"]}, [], training=[tmp_path / "clips", tmp_path / "run"])
    assert [(v.id, v.cluster) for v in found["training"]] == [("p", "p"), ("q", "q"), ("c1", "scene")]
    assert found["training"][2].path == run / "clips/c1.mkv"


def test_inputs_that_contradict_each_other(tmp_path: Path) -> None:
    def fails(match: str, arms: dict[str, list[Path]], reference: list[Path]) -> None:
        with pytest.raises(MetricError, match=match) as error:
            assemble(arms, reference)
        assert "\n" not in str(error.value)

    one, other = touched(tmp_path / "one", "a.mp4"), touched(tmp_path / "other", "a.mp4")
    fails("have one name, a; rename", {"generated": [one, other]}, [])
    fails("have one name", {"generated": [one]}, [one, other])
    fails("no arm can be called 'real'", {"real": [one]}, [])
    fails("no arm can be called 'a - b'", {"a - b": [one]}, [])
    fails("no generated videos", {}, [one])
    manifest = tmp_path / "real.jsonl"
    manifest.write_text('{"video": "one/a.mp4", "arm": "ours"}', encoding="utf-8")
    fails("a real video with an arm", {"generated": [one]}, [manifest])
    lists = []
    for folder in (one, other):
        lists.append(folder / "list.jsonl")
        lists[-1].write_text('{"video": "a.mp4", "reference": "a.mp4"}', encoding="utf-8")
    fails("two references of one name", {"generated": lists[:1], "other": lists[1:]}, [])
