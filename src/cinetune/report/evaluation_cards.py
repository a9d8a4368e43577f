"""Metric cards: what a reader must know before trusting a number, from the metric and from what was loaded for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cinetune import plugins
from cinetune.errors import PluginError
from cinetune.metrics._contract import Metric
from cinetune.records import Result
from cinetune.report.numerals import label, listing
from cinetune.report.table import DIRECTIONS

KINDS = {
    "set": "two sets of videos",
    "pair": "one video against its true continuation",
    "video": "one video by itself",
    "corpus": "one video against all training videos",
}
DISTORTIONS = {
    "blur": "blur",
    "noise": "noise",
    "shuffle": "frames in another order",
    "freeze": "a frozen frame",
    "drop": "dropped frames",
    "reencode": "re-encoding",
    "colour": "a shift of colour",
}
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class CardText:
    """One card as text."""

    metric: str
    name: str
    measures: str
    facts: dict[str, str]
    """What it is, in the order of the page; no value is empty."""
    first: tuple[str, ...] = ("Caveats", "Blind to", "Weights")
    """Facts that nobody should have to unfold."""


def cards(results: Sequence[Result], loaded: Mapping[str, Any] = NOTHING) -> list[CardText]:
    """Return a card for each metric of the results.

    Args:
        results: any; metrics come in their order.
        loaded: identity of the network that was loaded for each role (`backbones` of results.json), if known.
    """
    first = {r.metric: r for r in reversed(results)}
    return [_card(first[name], loaded) for name in dict.fromkeys(r.metric for r in results)]


def metric_facts(metric: Metric, kind: str) -> dict[str, str]:
    """Return what a metric says about itself, whatever it looks through."""
    blind = listing([DISTORTIONS.get(name, name) for name in metric.card.blind])
    return {
        "Looks at": KINDS[kind],
        "Direction": DIRECTIONS[metric.better],
        "Unit": metric.unit,
        "Interval from": f"{metric.least} independent clips",
        "Caveats": metric.card.caveats,
        "Blind to": blind or "none of the distortions it is tested with",
        "Source": metric.source,
    }


def _card(result: Result, loaded: Mapping[str, Any]) -> CardText:
    try:
        metric: Metric = plugins.load("metrics", result.metric)
    except PluginError as error:  # a metric from outside the package, on another machine
        facts = {"Direction": DIRECTIONS[result.better], "Unit": result.unit, "Version": result.version}
        facts |= {"Weights": result.backbone} if result.backbone else {}
        return CardText(result.metric, label(result.metric), f"Its card cannot be read here: {error}.", facts)
    facts = metric_facts(metric, result.kind)
    identity = loaded.get(metric.backbone or "", {})
    if identity:
        facts["Preprocessing"] = identity["preprocessing"]
        facts["Weights"] = f"{identity['name']} {identity['version']}, sha256 {identity['sha256'][:12]}"
    elif result.backbone:
        facts["Weights"] = result.backbone
    else:
        facts["Weights"] = "none: it looks through no network"
    if "nano" in result.backbone:
        facts["Weights"] += "; a miniature of this package, not comparable with published numbers"
    facts["Version"] = result.version
    if metric.version != result.version:
        facts["Version"] += f" (this text is of version {metric.version})"
    return CardText(result.metric, label(result.metric), metric.card.measures, facts)
