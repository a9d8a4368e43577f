"""A bench that is killed loses the line that it was writing."""

import json
from pathlib import Path

import pytest

from cinetune.bench.journal import Journal
from cinetune.errors import RunError

IDENTITY = {"plan": {"ranks": (0, 8), "seed": 0}, "machine": {"device": "cpu"}}


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    first = Journal(tmp_path / "new" / "measured.jsonl", IDENTITY)
    line = first.add("round", round=0, seconds={"base": (1.0, 0.5)})
    again = Journal(first.path, IDENTITY)
    assert again.of("round") == [line] == [{"what": "round", "round": 0, "seconds": {"base": [1.0, 0.5]}}]
    assert again.lines[0]["what"] == "identity"


def test_every_cut_of_the_file_loses_one_line_at_most(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    journal = Journal(path, IDENTITY)
    for number in range(3):
        journal.add("round", round=number)
    whole = path.read_bytes()
    begins = len(whole.splitlines(keepends=True)[0])
    for end in range(begins, len(whole) + 1):
        path.write_bytes(whole[:end])
        found = Journal(path, IDENTITY)
        assert [line["round"] for line in found.of("round")] == list(range(whole[begins:end].count(b"\n")))
        found.add("round", round="next")
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_torn_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    path.write_bytes(b'{"what": "iden')
    assert Journal(path, IDENTITY).lines[0]["plan"] == {"ranks": [0, 8], "seed": 0}


def test_another_plan_or_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    Journal(path, IDENTITY)
    with pytest.raises(RunError, match=r"was begun with seed = 0, this is 1; choose another --out"):
        Journal(path, IDENTITY | {"plan": {"ranks": (0, 8), "seed": 1}})
    with pytest.raises(RunError, match=r"was begun with device = 'cpu', this is 'cuda:0'"):
        Journal(path, IDENTITY | {"machine": {"device": "cuda:0"}})


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    Journal(path, IDENTITY)
    with path.open("a") as file:
        file.write("[1]\n")
    with pytest.raises(RunError, match=r"measured\.jsonl:2: damaged"):
        Journal(path, IDENTITY)
