"""Two pictures to look at: the candidates for every keyframe with their scores, and a film as a strip a shot."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from cinetune.files import write_aside
from cinetune.generate.ranking import Candidate

Frame = UInt8[np.ndarray, "h w 3"]

PAPER, INK, QUIET, ACCENT = (30, 30, 30), (235, 235, 235), (150, 150, 150), (255, 176, 32)
"""A dark grey without tint, as in a grading room: colour beside a picture changes how it looks."""
SIDE = 300
"""Longer side of a candidate's picture, pixels."""
LABEL, MARGIN, LINE = 230, 18, 19
"""Width of the column of names, space around things, height of a line of text, pixels."""
LEAST_CELL = 256
"""Width that the scores of a candidate need, pixels."""
PROMPT_LINES = 9
FRAME = 4
"""Width of the frame around what was chosen, pixels."""
STRIP, GAP, ARROW = 120, 2, 10
"""Height of a frame in a film's strip, space between two, and height of the arrows at joins, pixels."""


@dataclass(frozen=True, eq=False)
class SheetRow:
    """The candidates of one shot."""

    shot: str
    prompt: str
    frames: Sequence[Frame]
    """In the order of their numbers."""
    candidates: Sequence[Candidate]
    """Their scores."""
    chosen: int | None
    """Number of the one that was taken, from 1; None where nothing is chosen yet."""


@dataclass(frozen=True, eq=False)
class StripRow:
    """One shot of a film."""

    shot: str
    says: str
    """What else to say of it, such as its length."""
    frames: Sequence[Frame]
    """Those at `strip_positions`."""
    joins: Sequence[float]
    """Where two windows meet, as shares 0..1 of the shot's length."""


def contact_sheet(path: Path, rows: Sequence[SheetRow]) -> None:
    """Write a PNG with a row a shot; the same rows, the same bytes.

    Raises:
        RunError: the folder cannot be written, or the disk is full.
    """
    sizes = [[_fitted(frame) for frame in row.frames] for row in rows]
    cell = max([LEAST_CELL, *(width for row in sizes for width, _ in row)])
    texts = [_wrapped(row.prompt, LABEL - MARGIN, 13, PROMPT_LINES) for row in rows]
    heights = [
        max(max(height for _, height in row) + 2 * FRAME + 6 + 4 * LINE + 4, 26 + len(text) * LINE)
        for row, text in zip(sizes, texts, strict=True)
    ]
    columns = max(len(row.frames) for row in rows)
    width = MARGIN + LABEL + columns * (cell + 2 * FRAME + MARGIN)
    sheet = Image.new("RGB", (width, MARGIN + sum(height + MARGIN for height in heights)), PAPER)
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for row, row_sizes, text, height in zip(rows, sizes, texts, heights, strict=True):
        _label(draw, top, row.shot, text)
        for n, (frame, candidate) in enumerate(zip(row.frames, row.candidates, strict=True)):
            left = MARGIN + LABEL + n * (cell + 2 * FRAME + MARGIN)
            tall = max(h for _, h in row_sizes)
            _picture(
                sheet, draw, frame, row_sizes[n], (left, top + tall - row_sizes[n][1]), candidate.number == row.chosen
            )
            _scores(draw, candidate, left + FRAME, top + tall + 2 * FRAME + 6, candidate.number == row.chosen)
        top += height + MARGIN
        if row is not rows[-1]:
            draw.line((MARGIN, top - MARGIN // 2, width - MARGIN, top - MARGIN // 2), fill=(55, 55, 55))
    _save(path, sheet)


def film_strip(path: Path, rows: Sequence[StripRow]) -> None:
    """Write a PNG with a row a shot: frames side by side, an arrow above and below wherever two windows meet.

    Raises:
        RunError: the folder cannot be written, or the disk is full.
    """
    pitches = [GAP + max(1, round(STRIP * row.frames[0].shape[1] / row.frames[0].shape[0])) for row in rows]
    longest = max(pitch * len(row.frames) for pitch, row in zip(pitches, rows, strict=True))
    high = STRIP + 2 * ARROW
    sheet = Image.new("RGB", (2 * MARGIN + LABEL + longest, MARGIN + len(rows) * (high + MARGIN)), PAPER)
    draw, top, left = ImageDraw.Draw(sheet), MARGIN, MARGIN + LABEL
    for row, pitch in zip(rows, pitches, strict=True):
        _label(draw, top + ARROW, row.shot, _wrapped(row.says, LABEL - MARGIN, 13, 5))
        for n, frame in enumerate(row.frames):
            picture = Image.fromarray(frame).resize((pitch - GAP, STRIP), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + n * pitch, top + ARROW))
        for join in row.joins:
            x = left + round(join * pitch * len(row.frames)) - GAP // 2
            for edge, tip in ((top, top + ARROW - 2), (top + high, top + high - ARROW + 1)):
                draw.polygon([(x - 5, edge), (x + 5, edge), (x, tip)], fill=ACCENT)
        top += high + MARGIN
    _save(path, sheet)


def strip_positions(frames: int, count: int) -> list[int]:
    """Return which frames of a shot stand in its strip: the middles of `count` equal parts, so that x is time."""
    count = min(count, frames)
    return [int((n + 0.5) * frames / count) for n in range(count)]


def _fitted(frame: Frame) -> tuple[int, int]:
    """Width and height of a picture whose longer side is SIDE, or 3/4 of it where it stands upright."""
    height, width = frame.shape[:2]
    scale = min(SIDE / width, SIDE * 0.75 / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _picture(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    frame: Frame,
    size: tuple[int, int],
    at: tuple[int, int],
    chosen: bool,
) -> None:
    left, top = at
    if chosen:
        draw.rectangle((left, top, left + size[0] + 2 * FRAME - 1, top + size[1] + 2 * FRAME - 1), fill=ACCENT)
    sheet.paste(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS), (left + FRAME, top + FRAME))


def _scores(draw: ImageDraw.ImageDraw, candidate: Candidate, left: int, top: int, chosen: bool) -> None:
    """Number and rank, then a line for each criterion."""
    low, high = candidate.sharpness_low, candidate.sharpness_high
    wanted = "" if low is None or high is None else f" (film {low:.3g} to {high:.3g})"
    lines = [
        ("prompt, CLIP", _number(candidate.text, 3), ""),
        ("from the grade", _number(candidate.grade, 1), ""),
        ("sharpness", _number(candidate.sharpness, 1), wanted),
    ]
    head = f"{candidate.number}"
    draw.text((left, top - 3), head, font=_font(18, bold=True), fill=ACCENT if chosen else INK)
    place = f"chosen, place {candidate.place}" if chosen else f"place {candidate.place}"
    draw.text((left + 26, top), place, font=_font(13), fill=ACCENT if chosen else QUIET)
    for n, (name, value, more) in enumerate(lines, start=1):
        y = top + n * LINE + 3
        draw.text((left, y), name, font=_font(12), fill=QUIET)
        draw.text((left + 98, y), value, font=_font(12), fill=INK)
        draw.text((left + 98 + _font(12).getlength(value), y), more, font=_font(12), fill=QUIET)


def _label(draw: ImageDraw.ImageDraw, top: int, name: str, lines: Sequence[str]) -> None:
    draw.text((MARGIN, top), _wrapped(name, LABEL - MARGIN, 16, 1, bold=True)[0], font=_font(16, bold=True), fill=INK)
    for n, line in enumerate(lines):
        draw.text((MARGIN, top + 26 + n * LINE), line, font=_font(13), fill=QUIET)


def _number(value: float | None, digits: int) -> str:
    return "not known" if value is None else f"{value:.{digits}f}"


def _wrapped(text: str, width: int, size: int, most: int, *, bold: bool = False) -> list[str]:
    """Lines no wider than so many pixels; a word that is too wide is broken, and what does not fit ends in dots."""
    font, lines = _font(size, bold=bold), [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    if len(lines) > most:
        last = lines[most - 1]
        while last and font.getlength(f"{last} ...") > width:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last.rstrip()} ..."]
    return lines


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The letters that matplotlib brings: Pillow's own have no accents, umlauts or Greek."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _save(path: Path, sheet: Image.Image) -> None:
    with write_aside(path) as aside:
        sheet.save(aside, format="PNG")
