"""The page of a made-up evaluation: whole, local, escaped, the same twice, and plain about what is missing."""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import av
import pytest
from fake_evaluation import CAPTIONS, make_fake_evaluation
from fake_run import write_json
from test_page import checked, digests

from cinetune.errors import RecordError
from cinetune.records import Evaluated, read_records, write_records
from cinetune.report.evaluation import build_page
from cinetune.report.evaluation_media import LONGEST_SIDE, page_size


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_fake_evaluation(tmp_path / "evaluation", sources=2)


def test_well_formed_and_accessible(evaluation_page: Path) -> None:
    checker = checked(evaluation_page)
    assert [name for name, n in Counter(checker.ids).items() if n > 1] == []
    assert checker.missing_alt == []
    assert checker.tags["h1"] == 1
    assert checker.tags["select"] == 1
    assert checker.tags["video"] == 3 * 6 * 3  # metrics, three worst and three best, reference and two arms


def test_everything_it_needs_is_in_the_folder(evaluation_page: Path) -> None:
    html, checker = evaluation_page.read_text(encoding="utf-8"), checked(evaluation_page)
    local = {r for r in checker.references if not r.startswith(("#", "data:"))}
    assert {r.removeprefix("media/") for r in local} == {p.name for p in (evaluation_page.parent / "media").iterdir()}
    assert {r[1:] for r in checker.references if r.startswith("#")} <= set(checker.ids)
    assert "@import" not in html
    assert "fetch(" not in html
    assert "http:" not in html.replace("http://www.w3.org/", "")


def test_every_kind_of_video_became_h264(evaluation_page: Path) -> None:
    files = sorted((evaluation_page.parent / "media").glob("*.mp4"))
    assert len(files) > 12
    for file in files:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert max(stream.width, stream.height) <= LONGEST_SIDE
            assert len(list(container.decode(stream))) == 17


def test_what_the_page_says(evaluation_page: Path) -> None:
    html = evaluation_page.read_text(encoding="utf-8")
    for words in (
        "tuned and base: 8 videos each against 8 real videos",
        "1 of 25 videos could not be measured",
        "broken.mp4",
        "not comparable with published",
        "tuned is better than base by LPIPS",
        "by PSNR the interval excludes zero, but p does not hold after Holm&#39;s correction (0.090)",
        "FVD is not compared: no interval from 8 independent clips; 16 would do",
        "KID of tuned is not known: too few",
        "1 without a score: a single frame",
        "noise floor: real against real",
        "The 3 worst and 3 best of 8 videos of tuned",
        "The 3 lowest and 3 highest of 8 videos of tuned",
        "frames to 64 x 64".replace(" x ", " \u00d7 "),
        "c" * 52,  # the whole sum of the weights
        "cinetune evaluate tuned base --reference real --out evaluation",
        "\u6d77\u8fba 1",
    ):
        assert words in html, words

    assert html.count("Coloured lines got better") == 2  # not where no direction is better


def test_no_path_and_no_markup_of_others_gets_in(evaluation_page: Path) -> None:
    html = evaluation_page.read_text(encoding="utf-8")
    assert str(evaluation_page.parents[1]) not in html
    assert CAPTIONS[1] not in html
    assert "&lt;b onload=" in html
    assert checked(evaluation_page).tags["script"] == 1


def test_the_same_evaluation_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    build_page(small, lambda *call: told.append(call))
    assert [call[:2] for call in told] == [(i, 6) for i in range(1, 7)]
    first = digests(small / "report")
    moved = tmp_path / "elsewhere" / "other name"
    shutil.move(small, moved)
    build_page(moved)
    assert digests(moved / "report") == first
    assert [p.name for p in moved.iterdir() if p.name.startswith(".")] == []


def test_a_video_that_is_gone_is_named(small: Path) -> None:
    shutil.rmtree(small / "videos" / "base")
    for reference in (small / "videos" / "real").iterdir():
        reference.write_bytes(reference.read_bytes()[:900])
    html = build_page(small).read_text(encoding="utf-8")
    assert "base: clip-0.mkv: no such file; check the path" in html
    assert "reference: clip-0.mkv: " in html
    shutil.rmtree(small / "videos")
    html = build_page(small).read_text(encoding="utf-8")
    assert "cannot be shown" in html
    assert "<video" not in html


def test_other_forms_of_evaluations(small: Path) -> None:
    """One arm without references or scores; arms and metrics with names that HTML and matplotlib would read."""
    videos = [v for v in read_records(small / "videos.jsonl", Evaluated) if v.arm != "static" and not v.problem]
    strange = "<i>$\\alpha_1$</i> & a very long name of an arm"
    renamed = [dataclasses.replace(v, arm=strange if v.arm == "tuned" else v.arm, reference="") for v in videos]
    write_records(small / "videos.jsonl", renamed)
    scores = [json.loads(line) for line in (small / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [{**s, "arm": strange, "metric": "my.module:OWN"} for s in scores if s["arm"] == "tuned"]
    (small / "scores.jsonl").write_text("".join(json.dumps(s) + "\n" for s in kept), encoding="utf-8")
    tree = json.loads((small / "results.json").read_text(encoding="utf-8"))
    tree["results"] = [{**r, "arm": strange, "metric": "my.module:OWN"} for r in tree["results"] if r["arm"] == "tuned"]
    write_json(small / "results.json", {"results": tree["results"][:1]})
    html = build_page(small).read_text(encoding="utf-8")
    assert "<i>$" not in html
    assert "&lt;i&gt;$\\alpha_1$&lt;/i&gt;" in html
    assert "Its card cannot be read here" in html
    assert "recorded no command line" in html
    assert 'id="card-my-module-OWN"' in html
    assert "could be found" not in html
    assert "come from resampling whole videos.</p>" in html  # no word of tests, since nothing was compared


def test_nothing_measured(small: Path) -> None:
    for name in ("videos.jsonl", "scores.jsonl"):
        (small / name).write_text("")
    write_json(small / "results.json", {"meta": {}, "results": []})
    html = build_page(small).read_text(encoding="utf-8")
    assert "Nothing was measured." in html
    assert "No metric of this evaluation scores single videos" in html
    checked(small / "report" / "index.html")


@pytest.mark.parametrize("name", ["results.json", "scores.jsonl", "videos.jsonl"])
def test_a_missing_or_damaged_file_is_named(small: Path, name: str) -> None:
    (small / name).write_text("{")
    with pytest.raises(RecordError, match=name):
        build_page(small)
    (small / name).unlink()
    with pytest.raises(RecordError, match=f"{name}: no such"):
        build_page(small)
    assert not (small / "report").exists()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 96), (256, 384)), ((63, 77), (316, 384)), ((720, 1280), (270, 480)), ((2160, 3840), (270, 480)),
     ((155, 275), (156, 276)), ((500, 20), (480, 20)), ((1, 1), (384, 384)), ((2000, 1), (480, 2))],
)  # fmt: skip
def test_sizes_on_the_page_are_even_and_small(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert page_size(*size) == expected
