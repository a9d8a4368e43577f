"""What was measured, one line each as soon as it is there: a bench killed at any moment loses one measurement."""

import json
import os
from pathlib import Path
from typing import Any

from cinetune.errors import RunError


class Journal:
    """A file of JSON lines that is only ever added to."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        """Open a journal, or begin it.

        Args:
            path: of the file.
            identity: what is measured, on what; the first line. One that was begun otherwise is not gone on with.

        Raises:
            RunError: it belongs to another plan or machine, is damaged, or cannot be written.
        """
        self.path, self.lines = path, list[dict[str, Any]]()
        identity = json.loads(json.dumps(identity))
        if path.is_file():
            self.lines = self._read()
        if not self.lines:
            self.add("identity", **identity)
            return
        begun = {key: value for key, value in self.lines[0].items() if key != "what"}
        for key in [*identity, *begun]:
            if begun.get(key) != identity.get(key):
                raise RunError(f"{path.parent}: was begun with {_differing(begun.get(key), identity.get(key), key)}; "
                               "choose another --out")  # fmt: skip

    def of(self, what: str) -> list[dict[str, Any]]:
        """Return the lines of one kind."""
        return [line for line in self.lines if line["what"] == what]

    def add(self, what: str, **fields: Any) -> dict[str, Any]:
        """Write a line, to the disk at once, and return it.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        line = {"what": what, **fields}
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot write here ({error.strerror}); make room, then run this again"
            ) from None
        self.lines.append(json.loads(text))
        return self.lines[-1]

    def _read(self) -> list[dict[str, Any]]:
        """Read all whole lines. A last one without its end was being written when the process was killed: cut off."""
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            with self.path.open("rb+") as file:
                file.truncate(len(whole))
        lines = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                lines.append(dict(json.loads(line)))
                lines[-1]["what"]
            except (ValueError, TypeError, KeyError):
                raise RunError(f"{self.path}:{number}: damaged; choose another --out, or delete it") from None
        return lines


def _differing(begun: Any, asked: Any, key: str) -> str:
    if isinstance(begun, dict) and isinstance(asked, dict):
        key = next(k for k in [*begun, *asked] if begun.get(k) != asked.get(k))
        begun, asked = begun.get(key), asked.get(key)
    return f"{key} = {begun!r}, this is {asked!r}"
