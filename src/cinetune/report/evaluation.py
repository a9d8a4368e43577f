"""One page from an evaluation: reads its folder, writes `report/` with index.html and media/, needs no server."""

import itertools
from pathlib import Path

from cinetune.files import folder_aside, write_text
from cinetune.report.evaluation_cards import cards
from cinetune.report.evaluation_files import REAL, Evaluation, read_evaluation
from cinetune.report.evaluation_media import LONGEST_SIDE, EvaluationMedia, Playable
from cinetune.report.evaluation_plots import MOST
from cinetune.report.evaluation_table import numbers
from cinetune.report.evaluation_views import clips_shown, left_out, views
from cinetune.report.evaluation_words import claims, headline, measured
from cinetune.report.media import MediaFolder
from cinetune.report.numerals import listing, percent
from cinetune.report.page import Progress, templates, toml

OUTCOMES = {
    "better": "better",
    "worse": "worse",
    "changed": "different",
    "unclear": "nothing shown",
    "uncorrected": "not after Holm",
    "unknown": "not compared",
}
"""A difference in two words, since colour alone is not for everybody."""


def build_page(folder: Path, progress: Progress | None = None) -> Path:
    """Write `folder`/report and return the path of its index.html. The same evaluation gives the same bytes.

    A video that can no longer be read is named with the reason where it would stand.

    Args:
        folder: holds results.json, scores.jsonl and videos.jsonl, as `evaluate` wrote them.
        progress: is told rows of videos done, rows in all, and the name of the one just done.

    Raises:
        RecordError: one of the three files is missing or damaged.
        RunError: the folder cannot be written.
    """
    evaluation = read_evaluation(folder)
    with folder_aside(folder / "report") as aside:
        html = render(evaluation, EvaluationMedia(MediaFolder(aside)), progress)
        # a caption may hold half a surrogate pair, which UTF-8 cannot
        write_text(aside / "index.html", html.encode("utf-8", "backslashreplace").decode("utf-8"))
    return folder / "report" / "index.html"


def render(e: Evaluation, media: EvaluationMedia, progress: Progress | None = None) -> str:
    """Write the media of the page and return its HTML."""
    total, counted = clips_shown(e), itertools.count(1)

    def step(name: str) -> None:
        if progress:
            progress(next(counted), total, name)

    shown = views(e, media, step)
    made = [m for m in media.made.values() if isinstance(m, Playable)]
    settings = e.meta.get("evaluate", {})
    return (
        templates()
        .get_template("evaluation.html")
        .render(
            e=e,
            headline=headline(e),
            measured=measured(e),
            claims=claims(e),
            table=numbers(e),
            level=listing([percent(level) for level in sorted({r.level for r in e.results})]),
            tested=sum(r.p_value is not None for r in e.results),
            floors=any(r.arm == REAL and r.low is not None for r in e.results),
            outcomes=OUTCOMES,
            views=shown,
            most_shown=MOST if len(e.videos) > MOST else 0,
            shrunk=any(max(m.height, m.width) > LONGEST_SIDE for m in made),
            longest=LONGEST_SIDE,
            left_out=left_out(e),
            cards=cards(e.results, e.meta.get("backbones", {})),
            seed=e.meta.get("seed", "not recorded"),
            command=e.meta.get("command", "") or e.meta.get("environment", {}).get("command", ""),
            settings=toml({"evaluate": settings}).strip() if settings else "",
            networks=networks(e),
            versions=versions(e),
        )
    )


def networks(e: Evaluation) -> dict[str, str]:
    """Return what was looked through, each network once, and the roles that it played."""
    roles: dict[str, list[str]] = {}
    for role, eye in e.meta.get("backbones", {}).items():
        roles.setdefault(f"{eye['name']} {eye['version']}, sha256 {eye['sha256']}", []).append(role)
    return {network: ", ".join(played) for network, played in roles.items()}


def versions(e: Evaluation) -> dict[str, str]:
    """Return what the numbers depend on beside videos and weights."""
    recorded = {k: str(v) for k, v in e.meta.get("environment", {}).items() if k != "command"}
    return {
        "cinetune": str(e.meta.get("cinetune", "not recorded")),
        **recorded,
        "seed": str(e.meta.get("seed", "not recorded")),
    }
