"""Two folders, paired by name, of equal size or not."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from cinetune.errors import MetricError
from cinetune.evaluate.evaluator import evaluate_folders
from cinetune.evaluate.folders import read_prompts
from cinetune.evaluate.table import print_table
from cinetune.recipe import Evaluate
from cinetune.records import Result

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


def test_prompts_as_json(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"a": "one"}), encoding="utf-8")
    assert read_prompts(path) == {"a": "one"}


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [("p.json", "{", "not JSON"), ("p.json", "[1]", "not a JSON object"), ("p.tsv", "a one\n", ":1: no tab")],
)
def test_prompts_that_are_none(tmp_path: Path, name: str, content: str, match: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(MetricError, match=match):
        read_prompts(tmp_path / name)


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
