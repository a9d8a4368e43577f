"""The page from a made-up run: whole, local, escaped, the same twice, and plain about what is missing."""

import hashlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_run import CAPTIONS, make_fake_run, write_json

from cinetune.errors import RecordError, RunError
from cinetune.recipe import load_recipe
from cinetune.report.page import build_report, toml, typeset

VOID = {"meta", "link", "img", "input", "br"}


class Checker(HTMLParser):
    """Follows the open elements, and gathers ids, references and the texts of headings."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: Counter[str] = Counter()
        self.missing_alt: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        assert len(named) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags[tag] += 1
        self.ids += [str(named["id"])] if "id" in named else []
        for name in ("src", "href", "poster", "xlink:href"):
            if name in named:
                self.references.append(str(named[name]))
        if (tag == "img" and not named.get("alt")) or (tag == "video" and not named.get("aria-label")):
            self.missing_alt.append(str(named))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag


def checked(page: Path) -> Checker:
    checker = Checker()
    checker.feed(page.read_text(encoding="utf-8"))
    checker.close()
    assert checker.open == []
    return checker


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_fake_run(tmp_path / "run", test_clips=1, train_clips=1, showcase=0)


def test_well_formed_and_accessible(page: Path) -> None:
    checker = checked(page)
    assert [name for name, n in Counter(checker.ids).items() if n > 1] == []
    assert checker.missing_alt == []
    assert checker.tags["h1"] == 1
    assert checker.tags["video"] == 7 * 4 + 2
    assert checker.tags["th"] > 8


def test_everything_it_needs_is_in_the_folder(page: Path) -> None:
    html, checker = page.read_text(encoding="utf-8"), checked(page)
    local = {r for r in checker.references if not r.startswith(("#", "data:"))}
    assert all((page.parent / r).is_file() for r in local)
    assert {r.removeprefix("media/") for r in local} == {p.name for p in (page.parent / "media").iterdir()}
    anchors = {r[1:] for r in checker.references if r.startswith("#")}
    assert anchors <= set(checker.ids)
    assert {start[:1] for start in re.findall(r"url\(([^)]+)", html) if not start.startswith('"data:')} <= {"#"}
    assert "@import" not in html
    assert "fetch(" not in html
    assert not re.search(r"""(src|href|poster)=["']https?:""", html)


def test_captions_are_escaped(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert "OPEN &lt;24h&gt; &amp; more" in html
    assert "<24h>" not in html
    assert CAPTIONS[0] in html


def test_what_the_page_says(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert "worst change of 7" in html
    assert "best change of 7" in html
    assert "Show all: 1 more held-out clips" in html
    assert "enlarged 4 times" in html
    assert "needs at least 32 videos, has 7" in html
    assert "not comparable with published ones" in html
    assert "after 3 validations without a clear gain in held-out LPIPS, more than 0.002" in html
    assert "On the 8 validation clips that is a gain over the base: LPIPS \u22120.087" in html
    for words in ("best, step 175", "held-out clips", "training clips", "noise level 0.45", "noise level 0.92"):
        assert words in html


def test_a_run_of_before_has_a_page_and_memorising_is_said(small: Path) -> None:
    """Validations without noise levels, training clips and a verdict; and one that another metric decided."""
    path = small / "train" / "validations.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    old = ("step", "lpips", "low", "high", "static_lpips", "base_lpips", "loss", "best", "clips")
    path.write_text("".join(json.dumps({key: row[key] for key in old}) + "\n" for row in rows))
    summary = json.loads((small / "train" / "summary.json").read_text())
    write_json(small / "train" / "summary.json", {k: v for k, v in summary.items() if k != "verdict"})
    html = build_report(small).read_text(encoding="utf-8")
    assert "held-out LPIPS, lower is better" in html
    assert "noise level 0.45" not in html
    assert "over the base: LPIPS" not in html

    news = {"metric": "ssim", "better": "higher", "lpips": None, "memorising": "memorising: it was seen"}
    path.write_text("".join(json.dumps({**row, **news}) + "\n" for row in rows))
    html = build_report(small).read_text(encoding="utf-8")
    assert "held-out SSIM, higher is better" in html
    assert "At step 250 it was memorising: it was seen." in html


def test_progress_counts_rows(small: Path) -> None:
    told: list[tuple[int, int, str]] = []
    build_report(small, progress=lambda *call: told.append(call))
    assert told == [(1, 1, "c005")]


def test_the_same_run_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    """Also after it was moved, and over the page of before."""
    build_report(small)
    first = digests(small / "report")
    moved = tmp_path / "elsewhere" / "other name"
    shutil.move(small, moved)
    build_report(moved)
    assert digests(moved / "report") == first
    assert [p.name for p in moved.iterdir() if p.name.startswith(".")] == []


def test_gaps_are_said_in_words(small: Path) -> None:
    for name in ("train/validations.jsonl", "train/log.jsonl", "environment.json"):
        (small / name).unlink()
    (small / "evaluate" / "scores.jsonl").write_text("")
    write_json(small / "evaluate" / "results.json", {"meta": {}, "results": []})
    html = build_report(small).read_text(encoding="utf-8")
    for words in (
        "Whether tuning helped is not known",
        "No validation was carried out",
        "there are no curves",
        "made no showcase shots",
        "recorded no command line",
        "recorded no environment",
        "Nothing was measured",
        "in the order of their names",
    ):
        assert words in html


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("recipe.json", "cinetune run FILM... --out {run}"),
        ("footage/clips.jsonl", "cinetune prepare FILM... --out {run}"),
        ("train/summary.json", "cinetune train {run}"),
        ("generate/samples.jsonl", "cinetune generate {run}"),
        ("evaluate/results.json", "cinetune evaluate {run}"),
    ],
)
def test_a_missing_stage_names_its_command(small: Path, name: str, command: str) -> None:
    (small / name).unlink()
    with pytest.raises(RunError) as caught:
        build_report(small)
    assert str(caught.value) == f"{small}: {name} is missing; run `{command.format(run=small)}` first"
    assert not (small / "report").exists()


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        build_report(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("evaluate/results.json", '{"results": [{"metric": "lpips"}]}'),
        ("evaluate/results.json", "[]"),
        ("train/validations.jsonl", '{"step": 5}\n'),
        ("train/log.jsonl", '{"loss": 1}\n'),
        ("train/summary.json", "{"),
    ],
)
def test_a_damaged_record_names_its_file(small: Path, name: str, text: str) -> None:
    (small / name).write_text(text)
    with pytest.raises(RecordError, match=Path(name).name):
        build_report(small)


def test_the_recipe_block_resolves_to_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("paper", {"generate.negative": 'blurred, "cheap" \\ ünïcode', "seed": "7"})
    tree = {"id": recipe.id, **json.loads(recipe.model_dump_json())}
    (tmp_path / "recipe.toml").write_text(toml(tree), encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.toml").id == recipe.id


def test_typeset_leaves_words_alone() -> None:
    assert typeset("held-out -0.5 to -0.1 -> 95 %") == "held-out \u22120.5 to \u22120.1 → 95\u202f%"
    assert typeset("tuned-2 x box") == "tuned-2 × box"  # noqa: RUF001
