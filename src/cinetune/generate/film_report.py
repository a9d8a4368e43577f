"""What a film is like, measured and drawn: its joins, its colours along a shot, how alike its shots are."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from cinetune import console
from cinetune.footage.deep_video import read_deep
from cinetune.generate.consistency import consistency, look_at
from cinetune.generate.contact_sheet import StripRow, film_strip, strip_positions
from cinetune.generate.drift import Drift
from cinetune.generate.joins import Seen, find_joins, judge
from cinetune.generate.plan import FilmPlan, Planned
from cinetune.generate.ranking import Frame
from cinetune.generate.shots import Store
from cinetune.generate.training import views
from cinetune.metrics.backbones._contract import Eye
from cinetune.ops.video import to_shallow
from cinetune.records import write_records

STRIP = 8
"""Frames of a shot on the strip."""
LOOKED_AT = 4
"""Frames of a shot by which it is compared with others, as many as of a training clip."""


def report_film(out: Path, plan: FilmPlan, store: Store, keys: dict[str, str], eye: Eye) -> dict[str, Any]:
    """Write joins.jsonl, drift.jsonl, consistency.json and film-strip.png; say what was found, and return it.

    Args:
        eye: the network that tells subjects apart.
    """
    tolds = [store.told(one, keys[one.called]) for one in plan.shots]
    write_records(out / "drift.jsonl", [Drift(**told["drift"]) for told in tolds])
    seen, rows, looks, start = [], [], [], 0.0
    for one, told in zip(plan.shots, tolds, strict=True):
        spans = [replace(span, start=span.start - one.carried) for span in one.spans]
        seen.append(Seen(one.shot.name, start, store.fps, spans, np.array(told["steps"])))
        start += one.frames / store.fps
        frames = _look(store.path(one, keys[one.called]), one)
        joins = [(span.start + span.overlap) / one.frames for span in spans[1:]]
        rows.append(StripRow(one.shot.name, f"{one.frames / store.fps:.1f} s", frames, joins))
        few = np.linspace(0, len(frames) - 1, min(LOOKED_AT, len(frames))).round().astype(int)
        looks.append(look_at(one.shot.name, np.stack([frames[n] for n in few]), eye))
    film_strip(out / "film-strip.png", rows)
    joins_found = find_joins(seen)
    write_records(out / "joins.jsonl", joins_found)
    verdict = judge(joins_found)
    yardstick = [view for trained in plan.trained for view in views(trained.source, eye, frames=LOOKED_AT)[0]]
    alike = consistency(looks, yardstick, eye=eye)
    alike.write(out / "consistency.json")
    for join in joins_found if not verdict.holds else []:
        if join.above:
            console.note(f"generate: {join}")
    if joins_found:
        console.note(f"generate: {verdict}")
    for told in tolds:
        if told["drift"]["last"] is not None:
            drift = f"{told['drift']['last']:.1f} CIELAB units"
            console.note(f"generate: {told['name']}: the grade of its last second is {drift} from that of its first")
    for sentence in alike.sentences() if len(looks) > 1 else []:
        console.note(f"generate: {sentence}")
    return {"joins": asdict(verdict), "drift": {told["name"]: told["drift"]["last"] for told in tolds}}


def _look(path: Path, one: Planned) -> list[Frame]:
    """Return the frames of a shot's strip; each is sought, for decoding a long shot takes minutes."""
    return [to_shallow(next(read_deep(path, n))) for n in strip_positions(one.frames, STRIP)]
