"""What is meant by files, folders, patterns and manifests."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cinetune.errors import MetricError
from cinetune.evaluate.named import expand


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos, two more in a folder of their own, a sequence of pictures, and what is none of these."""
    for name in ("b.mp4", "a.WebM", "more/a.mkv", "more/deep/c.gif", "more/poster.png", ".hidden/x.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "shot").mkdir()
    for n in range(3):
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "shot" / f"{n:04}.png")
    return tmp_path


def names(*given: Path) -> list[str]:
    return [video.name for video in expand(given)]


def test_a_folder_stands_for_all_videos_below_it(folder: Path) -> None:
    assert names(folder) == ["a", "b", "more/a", "more/deep/c", "shot"]
    assert [v.path.name for v in expand([folder])] == ["a.WebM", "b.mp4", "a.mkv", "c.gif", "shot"]
    assert names(folder / "shot") == ["shot"]


def test_files_and_patterns(folder: Path) -> None:
    assert names(folder / "b.mp4", folder / "more" / "a.mkv", folder / "notes.txt") == ["b", "a", "notes"]
    assert names(folder / "*.mp4") == ["b"]
    assert names(folder / "mo*" / "*.mkv") == ["more/a"]
    assert names(folder / "sho*") == ["shot"]
    assert set(names(folder / "**" / "*.m*")) == {"b", "more/a"}
    (folder / "[odd].mp4").write_bytes(b"")
    assert names(folder / "[odd].mp4") == ["[odd]"]


def test_a_manifest(folder: Path) -> None:
    lines = [
        {"video": "b.mp4", "reference": "more/a.mkv", "id": "one", "caption": "Dusk.", "arm": "new", "cluster": "s1"},
        {"video": "shot"},
    ]
    path = folder / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    one, other = expand([path])
    assert (one.name, one.path, one.reference) == ("one", folder / "b.mp4", folder / "more/a.mkv")
    assert (one.caption, one.arm, one.cluster, one.reference_name) == ("Dusk.", "new", "s1", "more/a")
    assert (other.name, other.path, other.reference, other.arm) == ("shot", folder / "shot", None, "")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty manifest"),
        ('{"video": "a.mp4"}\n{"video": ', r"list\.jsonl:2: not JSON"),
        ("[1]", r"list\.jsonl:1: not a JSON object"),
        ('\n{"video": "a.mp4", "refrence": "b.mp4"}', r"list\.jsonl:2: no field 'refrence'; did you mean reference\?"),
        ('{"video": "a.mp4", "cluster": 3}', r"list\.jsonl:1: cluster is 3; give text"),
        ('{"caption": "a"}', r"list\.jsonl:1: no video"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "list.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(MetricError, match=match) as error:
        expand([tmp_path / "list.jsonl"])
    assert "\n" not in str(error.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    for path, match in (
        (tmp_path / "none.mp4", "no such folder or video"),
        (tmp_path, "no video in this folder"),
        (tmp_path / "*.mp4", "no file fits"),
        (tmp_path / "none.jsonl", "cannot read this manifest"),
    ):
        with pytest.raises(MetricError, match=match):
            expand([path])


def test_a_name_that_is_not_text_is_escaped(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).write_bytes(b"")
    assert names(tmp_path) == ["caf\\xe9"]
