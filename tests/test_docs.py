"""What the README and the docs show: commands that exist, links that lead somewhere, every verb described."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and words of every `cinetune ...` and `make ...`, in code blocks and in code spans."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
            continue
        for text in [line.removeprefix("$ ")] if fenced else re.findall(r"`([^`]+)`", line):
            text = re.sub(r"^torchrun .* -m (?=cinetune )", "", text)
            if re.match(r"(cinetune|make) ", text):
                yield number, shlex.split(text, comments=True)


SHOWN = [
    pytest.param(words, id=f"{page.name}:{number} {' '.join(words)}")
    for page in PAGES
    for number, words in commands(page)
]


@cache
def command_line() -> object:
    import typer

    from cinetune.cli import app

    return typer.main.get_command(app)


def complaint(words: list[str]) -> str:
    """Say what is wrong with a command, or nothing. Looks at verb, options and counts, not at values."""
    program, *rest = words
    if program == "make":
        goals = [word for word in rest if "=" not in word]
        return "" if set(goals) <= TARGETS else f"the Makefile has no {set(goals) - TARGETS}"
    command = command_line()
    while rest and hasattr(command, "commands"):
        verb = rest.pop(0)
        if verb == "--help":
            return ""
        if verb not in command.commands:
            return f"no verb {verb!r}; there are {', '.join(command.commands)}"
        command = command.commands[verb]
    if hasattr(command, "commands"):
        return f"a verb is missing: {', '.join(command.commands)}"
    options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts)}  # type: ignore[attr-defined]
    given = 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            given += 1
            continue
        name, _, value = word.partition("=")
        if name == "--help":
            return ""
        if name not in options:
            return f"no option {name}; there are {', '.join(options)}"
        if not value and not options[name].is_flag:
            if not rest:
                return f"{name} needs a value"
            rest.pop(0)
    wanted = [p for p in command.params if p.param_type_name == "argument"]  # type: ignore[attr-defined]
    if given < sum(p.required for p in wanted):
        return f"needs {' '.join(str(p.name) for p in wanted)}"
    if given > len(wanted) and not any(p.nargs == -1 for p in wanted):
        return "too many arguments"
    return ""


def test_there_are_commands() -> None:
    assert len(SHOWN) > 20


@pytest.mark.parametrize("words", SHOWN)
def test_every_command_shown_parses(words: list[str]) -> None:
    assert complaint(words) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        "make nothing",
        "cinetune",
        "cinetune flim",
        "cinetune run",
        "cinetune run F --uot X",
        "cinetune run F --out",
    ],
)
def test_a_wrong_command_would_be_found(wrong: str) -> None:
    assert complaint(wrong.split()) != ""


def test_every_verb_is_described() -> None:
    described = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [verb for verb in command_line().commands if f"cinetune {verb}" not in described] == []  # type: ignore[attr-defined]


def test_the_slurm_script_is_bash_and_calls_what_there_is() -> None:
    page = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    script = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", page, re.DOTALL)
    assert len(script) == 1
    done = subprocess.run(["bash", "-n"], input=script[0], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (inner,) = re.findall(r"python -m (cinetune [^']*)'", script[0])
    assert complaint(shlex.split(inner)) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_no_number_is_left_to_fill_in(page: Path) -> None:
    assert "TODO-NUMBER" not in page.read_text(encoding="utf-8")
