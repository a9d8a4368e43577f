from pathlib import Path

import pytest

from cinetune.errors import RecipeError
from cinetune.generate.choices import ask, parse_choices, read_choices, write_choices

COUNTS = {"quay": 4, "the old bridge": 3, 'a "b" ü': 2}
BEST = {"quay": 3, "the old bridge": 1, 'a "b" ü': 2}


def test_written_edited_and_read(tmp_path: Path) -> None:
    path = tmp_path / "keyframes" / "choice.toml"
    write_choices(path, BEST, COUNTS, BEST)
    assert read_choices(path, COUNTS) == BEST
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Which candidate")
    assert "quay = 3  # of 4, best by scores: 3\n" in text
    path.write_text(
        "\ufeff" + text.replace("quay = 3 ", "quay = 1 ").replace('"the old', '# "the old'), encoding="utf-8"
    )
    assert read_choices(path, COUNTS) == {"quay": 1, 'a "b" ü': 2}


@pytest.mark.parametrize(
    ("line", "said"),
    [("kay = 1", "no shot 'kay' with candidates; there are quay, the old bridge"), ("quay = 5", "a number from 1 to 4"),
     ("quay = 0", "quay = 0: choose"), ("quay = true", "quay = True"), ('quay = "2"', "quay = '2'"),
     ("quay = 1.0", "quay = 1.0"), ("quay 1", "not TOML"), ("quay = 1\nquay = 2", "not TOML")],
)  # fmt: skip
def test_a_wrong_file_is_one_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "choice.toml").write_text(line)
    with pytest.raises(RecipeError) as caught:
        read_choices(tmp_path / "choice.toml", COUNTS)
    assert said in str(caught.value)
    assert str(tmp_path / "choice.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read_choices(tmp_path / "none.toml", COUNTS)
    (tmp_path / "choice.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not TOML"):
        read_choices(tmp_path / "choice.toml", COUNTS)


def test_the_option() -> None:
    assert parse_choices("quay=3, the old bridge = 2", COUNTS) == {"quay": 3, "the old bridge": 2}
    assert parse_choices("a=b=2", {"a=b": 2}) == {"a=b": 2}
    for text, said in (
        ("", "write SHOT=NUMBER"), ("quay", "write SHOT=NUMBER"), ("quay=x", "such as quay=1,the old bridge=1"),
        ("quay=-1", "write SHOT"), ("quay=²", "write SHOT"), ("quay=1,quay=2", "twice"), ("quay=9", "from 1 to 4"),
        ("kay=1", "no shot 'kay'"),
    ):  # fmt: skip
        with pytest.raises(RecipeError) as caught:
            parse_choices(text, COUNTS)
        assert said in str(caught.value), text


def test_asking(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(["7", "two", "2", ""])
    asked: list[str] = []

    def read(question: str) -> str:
        asked.append(question)
        return next(answers)

    assert ask({"quay": 4, "one": 1, "bridge": 2}, {"quay": 3, "one": 1, "bridge": 2}, read) == {
        "quay": 2, "one": 1, "bridge": 2,
    }  # fmt: skip
    assert asked[0] == "quay: which of 1 to 4? [3] "
    assert len(asked) == 4
    assert "'7' is none of 1 to 4" in capsys.readouterr().err


def test_a_closed_terminal_takes_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    def read(_: str) -> str:
        raise EOFError

    assert ask({"quay": 4}, {"quay": 3}, read) == {"quay": 3}
    assert "no answer; taking 3" in capsys.readouterr().err
