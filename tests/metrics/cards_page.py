"""Prints docs/metrics.md: `python tests/metrics/cards_page.py > docs/metrics.md`. A test keeps the page equal to it."""

from cinetune import plugins
from cinetune.metrics._contract import Metric
from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._resolve import ROLES, backbone
from cinetune.report.evaluation_cards import DISTORTIONS, KINDS, metric_facts

OPENING = (
    "One card a metric: what the number is, what it rewards wrongly, and what it does not see. The page of an"
    " evaluation prints the same cards with the weights that were loaded. `python tests/metrics/cards_page.py` prints"
    " this page, and a test keeps it equal to the metrics in the package.",
    '"Blind to" names the distortions that the metric does not see, or takes for an improvement, of those it is tested'
    f" with: {', '.join(DISTORTIONS.values())}.",
    'A metric that looks through a network names the miniature of this package (`evaluate.weights = "nano"`) and the'
    ' published network (`"published"`). **Numbers of miniatures are not comparable with published ones.**',
)
ORDER = ("set", "pair", "video", "corpus")


def page() -> str:
    metrics: list[Metric] = [plugins.load("metrics", name) for name in plugins.names("metrics")]
    blocks = ["# Metrics\n", *(f"{paragraph}\n" for paragraph in OPENING), *overview(metrics)]
    for kind in ORDER:
        mine = [m for m in metrics if m.kind == kind]  # type: ignore[attr-defined]
        if mine:
            blocks += ["", f"## {KINDS[kind].capitalize()}", *(line for m in mine for line in card(m, kind))]
    return "\n".join([*blocks, "", "## Networks", "", *networks()]) + "\n"


def overview(metrics: list[Metric]) -> list[str]:
    lines = ["| metric | looks at | better | unit |", "|---|---|---|---|"]
    for kind in ORDER:
        for m in metrics:
            if m.kind == kind:  # type: ignore[attr-defined]
                lines.append(f"| [{m.name}](#{m.name}) | {KINDS[kind]} | {m.better} | {m.unit} |")
    return lines


def card(metric: Metric, kind: str) -> list[str]:
    lines = ["", f"### {metric.name}", "", plain(metric.card.measures), ""]
    lines += [f"- {name}: {plain(value)}" for name, value in metric_facts(metric, kind).items() if name != "Looks at"]
    if metric.backbone:
        own, published = ROLES[metric.backbone]
        lines.append(f"- Looks through: `{own}`, or `{published}` when published weights are asked for")
    return [*lines, f"- Version: {metric.version}"]


def networks() -> list[str]:
    used = dict.fromkeys(name for pair in ROLES.values() for name in pair)
    lines = ["| name | source | licence | weights from |", "|---|---|---|---|"]
    for name in used:
        b = backbone(name)
        lines.append(f"| `{name}` | {plain(b.source)} | {plain(b.licence)} | {weights(b)} |")
    return lines


def weights(b: Backbone) -> str:
    if b.name.startswith("nano_"):
        return "in the package"
    places = [b.hub] if b.hub else [f"{file.repo}: {file.path}" for file in b.files]
    return plain(", ".join(places) or b.obtain)


def plain(text: str) -> str:
    """Markdown takes these letters for marks."""
    for letter in "\\*_<|":
        text = text.replace(letter, f"\\{letter}")
    return text


if __name__ == "__main__":
    print(page(), end="")
