"""Captions by name, from a text file."""

import json
from pathlib import Path

import pytest

from cinetune.errors import MetricError
from cinetune.evaluate.prompts import read_prompts


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


def test_prompts_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.tsv"
    path.write_text("a\tone\n\n b \t two words \n", encoding="utf-8")
    assert read_prompts(path) == {"a": "one", "b": "two words"}
