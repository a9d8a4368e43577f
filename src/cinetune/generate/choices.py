"""Which candidate becomes the keyframe of each shot: a file that a person edits, an option, or an answer typed in."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from cinetune import console
from cinetune.errors import RecipeError
from cinetune.files import write_text

HEAD = """\
# Which candidate becomes the keyframe of each shot, by its number on contact-sheet.png.
# Take the # off a line, change its number, save, and run the same command again: what hangs on that keyframe is made
# anew. A shot without a line takes the best by its scores, also when its candidates are made anew.
"""


def write_choices(path: Path, chosen: Mapping[str, int], counts: Mapping[str, int], best: Mapping[str, int]) -> None:
    """Write the file: a line a shot, with what there is to choose from.

    Args:
        chosen: number by shot, from 1, of those for which somebody chose; the others stand in comments.
        counts: candidates of each shot, in the order of the board.
        best: the number that is first by its scores.
    """
    lines = [
        f"{'' if shot in chosen else '# '}{_key(shot)} = {chosen.get(shot, best[shot])}  # of {counts[shot]}, best by "
        f"scores: {best[shot]}"
        for shot in counts
    ]
    write_text(path, HEAD + "\n" + "\n".join(lines) + "\n")


def read_choices(path: Path, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the number by shot that a file says; shots that it does not name are not in it.

    Raises:
        RecipeError: not TOML, no such shot, or no such candidate.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML ({error}); write lines such as: quay = 2") from None
    return {shot: _checked(str(path), shot, value, counts) for shot, value in tree.items()}


def parse_choices(text: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the number by shot of the form "quay=3,bridge=1".

    Raises:
        RecipeError: another form, no such shot or candidate, or a shot twice.
    """
    chosen: dict[str, int] = {}
    for part in text.split(","):
        shot, equals, number = (piece.strip() for piece in part.rpartition("="))
        if not equals or not shot or not number.isascii() or not number.isdigit():
            raise RecipeError(f"--choose {text!r}: write SHOT=NUMBER,SHOT=NUMBER, such as {_example(counts)}")
        if shot in chosen:
            raise RecipeError(f"--choose {text!r}: {shot!r} is there twice")
        chosen[shot] = _checked("--choose", shot, int(number), counts)
    return chosen


def ask(counts: Mapping[str, int], best: Mapping[str, int], read: Callable[[str], str] = input) -> dict[str, int]:
    """Ask a person at a terminal for the number of each shot; an empty answer takes the best by its scores.

    Args:
        counts: candidates of each shot; where there is one there is nothing to ask.
        best: the number that is first by its scores.
        read: prints the question and returns the line that was typed.
    """
    chosen = {}
    for shot, count in counts.items():
        answer = ""
        while count > 1:
            try:
                answer = read(f"{shot}: which of 1 to {count}? [{best[shot]}] ").strip()
            except EOFError:  # the terminal was closed
                console.note(f"{shot}: no answer; taking {best[shot]}, the best by its scores")
                answer = ""
            if not answer or (answer.isascii() and answer.isdigit() and 1 <= int(answer) <= count):
                break
            console.note(f"{answer!r} is none of 1 to {count}")
        chosen[shot] = int(answer) if answer else best[shot]
    return chosen


def _checked(where: str, shot: str, number: object, counts: Mapping[str, int]) -> int:
    if shot not in counts:
        raise RecipeError(f"{where}: no shot {shot!r} with candidates; there are {', '.join(counts) or 'none'}")
    if type(number) is not int or not 1 <= number <= counts[shot]:
        raise RecipeError(f"{where}: {shot} = {number!r}: choose a number from 1 to {counts[shot]}")
    return number


def _example(counts: Mapping[str, int]) -> str:
    return ",".join(f"{shot}=1" for shot in list(counts)[:2]) or "quay=3"


def _key(shot: str) -> str:
    """The name as TOML takes it."""
    return shot if re.fullmatch(r"[A-Za-z0-9_-]+", shot) else json.dumps(shot, ensure_ascii=False)
