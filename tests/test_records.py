"""Records: what is written is read back, and anything else is refused by file and line."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cinetune import records
from cinetune.errors import RecordError
from cinetune.records import Clip, Evaluated, Result, Sample, Score, Shot, read_records, write_records

KINDS = [Shot, Clip, Sample, Score, Result, Evaluated]


def example(kind: type) -> Any:
    """One record with a telling value in every field."""
    values: dict[Any, Any] = {bool: True, str: 'Zoë said "née"\u2028\n\\', float: 0.1 + 0.2, int: 7, float | None: None}
    chosen = {f.name: values[f.type] for f in dataclasses.fields(kind) if f.name != "schema"}
    return kind(**chosen)


def test_every_kind_of_line_is_tested() -> None:
    here = {c for c in vars(records).values() if dataclasses.is_dataclass(c)}
    assert here == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "new" / "records.jsonl"
    first = example(kind)
    lines = [first, dataclasses.replace(first, seed=8) if hasattr(first, "seed") else first]
    write_records(path, lines)
    assert read_records(path, kind) == lines
    assert [f.name for f in path.parent.iterdir()] == ["records.jsonl"]


@pytest.mark.parametrize("kind", KINDS)
def test_has_a_schema_and_is_frozen(kind: type) -> None:
    record = example(kind)
    assert isinstance(record.schema, int)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.schema = 2


def test_none_written_is_an_empty_file(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl", [])
    assert read_records(tmp_path / "r.jsonl", Shot) == []


def shot_line(**changes: Any) -> str:
    return json.dumps({**dataclasses.asdict(example(Shot)), **changes})


def missing_field() -> str:
    return json.dumps({k: v for k, v in dataclasses.asdict(example(Shot)).items() if k != "film"})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (shot_line(schema=2), "schema 2, this version reads 1"),
        (shot_line()[:-9], "not JSON"),
        ("[1]", "not a record"),
        (shot_line(colour="red"), "unknown fields ['colour']"),
        (missing_field(), "film"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "shots.jsonl"
    path.write_text(f"{shot_line()}\n{line}\n", encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        read_records(path, Shot)
    assert f"{path}:2: " in str(caught.value)
    assert says in str(caught.value)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "shots.jsonl").write_bytes(b"\xff\x00\n")
    with pytest.raises(RecordError, match=r"shots\.jsonl:1: not JSON"):
        read_records(tmp_path / "shots.jsonl", Shot)


def test_no_number_is_none_never_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_records(tmp_path / "shots.jsonl", [dataclasses.replace(example(Shot), start=float("nan"))])
    assert list(tmp_path.iterdir()) == []


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="run the stage that writes it first"):
        read_records(tmp_path / "shots.jsonl", Shot)
