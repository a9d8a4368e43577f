"""Which metric sees which distortion: `python benchmarks/sensitivity.py FOOTAGE --lpips FOLDER`.

Real clips are distorted at four strengths and measured. A metric sees a distortion where its mean moves in the
documented direction at every strength, and the move from none to the strongest is more than chance. Writes
docs/sensitivity.md and docs/images/sensitivity.png, and names the cards that say something else.
"""

import argparse
import datetime
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from cinetune import __version__, plugins
from cinetune.files import write_text
from cinetune.footage.shots import scan_film
from cinetune.footage.video_io import read_frames, read_video, write_video
from cinetune.footage.windows import fit
from cinetune.metrics._contract import CorpusMetric, Features, Item, ItemMetric, Look, SetMetric
from cinetune.metrics.backbones import lpips_alex, lpips_squeeze
from cinetune.metrics.backbones._contract import Eye
from cinetune.metrics.backbones._resolve import resolve
from cinetune.ops import video_distortions
from cinetune.ops.video_distortions import KINDS, STRENGTHS

DOMAINS = {
    "human": "A person makes gestures with the hands.",
    "nature": "Flowers, water and a street by day.",
    "film": "A scene of an old film.",
}
"""Folders of the footage, and the caption that its clips get."""
MORE = {"objects": "Things that a fixed camera sees."}
"""Folders that only the metrics in SHORT look at: two films, too few to stand for a kind of their own."""
FRAMES, HEIGHT, WIDTH = 17, 96, 144
SHORT = {"fvd_infinite": 6}
"""Metrics that need more clips than can be cut in that length, and the frames of theirs. Following FVD to infinite n
takes 130 clips on either side through 64 features, and one more so that each can be left out."""
CRF = (24, 32, 40, 48)
"""Of H.264, where a re-encoding is weakest and strongest."""
SURE = 2.0
"""Standard errors by which the mean must move from no distortion to the strongest, to be more than chance."""
SEED = 0
DIGITS = 10
"""Decimals to which a number counts: the rest is rounding."""
NOTHING = (float("nan"),) * (1 + len(STRENGTHS))
MARKS = {"sees": "✓", "wrong": "✗", "blind": "-", "unsteady": "~", "few": "?"}
Frames = np.ndarray
Metric = ItemMetric | CorpusMetric | SetMetric


@dataclass(frozen=True)
class Clip:
    """One window of real footage, twice as long as what is measured, since `drop` leaves out frames."""

    frames: Frames
    domain: str

    @property
    def measured(self) -> Frames:
        """What is measured where nothing is left out."""
        return self.frames[: len(self.frames) // 2]


@dataclass(frozen=True)
class Finding:
    """How one metric takes one distortion."""

    kind: str
    values: tuple[float, ...]
    """Without distortion and at each strength."""
    moved: float
    """From none to the strongest, in standard errors."""
    verdict: str
    n: int


@dataclass
class Subject:
    """One metric through one network."""

    metric: Metric
    eye: Eye | None
    findings: list[Finding] = field(default_factory=list)

    @property
    def blind(self) -> tuple[str, ...]:
        """What its card ought to call blind."""
        return tuple(f.kind for f in self.findings if f.verdict not in ("sees", "few"))


def clips(footage: Path, each: int) -> tuple[list[Clip], list[Clip]]:
    """Return the clips to be measured and as many others to compare sets with, `each` of either from each domain."""
    measured, others = [], []
    for domain in DOMAINS:
        found = list(_clips(footage, domain, FRAMES))
        if len(found) < 2 * each:
            raise SystemExit(f"{footage / domain}: {len(found)} windows of {2 * FRAMES} frames, {2 * each} are needed")
        picked = [found[i] for i in np.linspace(0, len(found) - 1, 2 * each).round().astype(int)]
        measured += picked[::2]
        others += picked[1::2]
    return measured, others


def every_clip(footage: Path, frames: int) -> tuple[list[Clip], list[Clip]]:
    """Return all clips of so many frames in all folders, in turn one to be measured and one to compare sets with."""
    found = [clip for domain in (*DOMAINS, *MORE) for clip in _clips(footage, domain, frames)]
    return found[::2], found[1::2]


def _clips(footage: Path, domain: str, frames: int) -> Iterator[Clip]:
    """Yield windows of single shots, one after another."""
    for path in sorted((footage / domain).iterdir()):
        for shot in _shots(path):
            for at in range(0, len(shot) - 2 * frames + 1, 2 * frames):
                yield Clip(shot[at : at + 2 * frames], domain)


@cache
def _shots(path: Path) -> list[Frames]:
    """The shots of a film; a frame beside a cut is left out."""
    decoded = [(time, fit(frame, HEIGHT, WIDTH)) for time, frame in read_frames(path)]
    times, frames = np.array([time for time, _ in decoded]), np.stack([frame for _, frame in decoded])
    return [frames[(times >= start) & (times < end)][1:-1] for start, end in scan_film(path).spans]


def reencode(frames: Frames, strength: int, _: np.random.Generator) -> Frames:
    """H.264 and back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded.mp4"
        write_video(path, frames, 24, crf=CRF[strength - 1])
        return read_video(path)[0]


DISTORTIONS: dict[str, Callable[[Any, Any, np.random.Generator], Frames]] = {**KINDS, "reencode": reencode}


def study(subjects: Sequence[Subject], measured: Sequence[Clip], others: Sequence[Clip], kinds: Sequence[str]) -> None:
    """Measure everything; fills in the findings of each subject."""
    looks = {_key(subject): subject for subject in subjects}
    plain = [_see(looks, clip, clip.measured) for clip in measured]
    training = [_see(looks, clip, clip.measured) for clip in others]
    for kind in kinds:
        levels = [plain]
        for strength in STRENGTHS:
            seen = []
            for number, clip in enumerate(measured):
                source = clip.frames if kind == "drop" else clip.measured
                distorted = DISTORTIONS[kind](source, strength, np.random.default_rng((SEED, number)))
                seen.append(_see(looks, clip, distorted))
            levels.append(seen)
        for subject in subjects:
            key = _key(subject)
            of_levels = [[seen[key] for seen in level] for level in levels]
            films = [
                [seen[key] for seen, other in zip(training, others, strict=True) if other.domain == clip.domain]
                for clip in measured
            ]
            real = [seen[key] for seen in training]
            subject.findings.append(_finding(subject.metric, kind, of_levels, real, films))
        print(f"{kind}: {', '.join(s.metric.name for s in subjects if s.findings[-1].verdict == 'sees')}", flush=True)


def _key(subject: Subject) -> tuple[Any, str]:
    """What decides the features: two metrics may share a look, and two roles a network."""
    return subject.metric.look.features, str(subject.eye.identity) if subject.eye else ""


def _see(looks: Mapping[tuple[Any, str], Subject], clip: Clip, frames: Frames) -> dict[tuple[Any, str], Features]:
    item = Item(np.ascontiguousarray(frames), clip.measured, (DOMAINS | MORE)[clip.domain])
    return {key: _features(subject.metric.look, item, subject.eye) for key, subject in looks.items()}


def _features(look: Look, item: Item, eye: Eye | None) -> Features:
    if why := look.obstacle(item):
        raise SystemExit(f"{look.name}: {why}")
    return look.features(item, eye)


def _finding(
    metric: Metric, kind: str, levels: list[list[Features]], real: list[Features], films: list[list[Features]]
) -> Finding:
    """Judge one distortion: `real` are the other clips, `films` those of the same domain as each measured clip."""
    if isinstance(metric, SetMetric):
        try:
            values, moved = _of_sets(metric, levels, real)
        except ValueError:  # the metric's way to say that there are too few
            return Finding(kind, NOTHING, 0.0, "few", len(levels[0]))
        return Finding(kind, values, moved, _verdict(metric, values, moved), len(levels[0]))
    scored = [
        [
            metric.score(f) if isinstance(metric, ItemMetric) else metric.score(f, film)
            for f, film in zip(level, films, strict=True)
        ]
        for level in levels
    ]
    table = np.array([[np.nan if m.value is None else m.value for m in level] for level in scored]).round(DIGITS)
    if metric.name == "psnr":
        table[0] = np.inf  # a clip is equal to itself
    whole = table[:, ~np.isnan(table).any(axis=0)]
    if whole.shape[1] < 3:
        return Finding(kind, NOTHING, 0.0, "few", whole.shape[1])
    values = tuple(float(v) for v in whole.mean(axis=1))
    change = whole[-1] - whole[1 if np.isinf(whole[0]).all() else 0]
    spread = change.std(ddof=1) / np.sqrt(len(change))
    moved = float(change.mean() / spread) if spread else 0.0
    return Finding(kind, values, moved, _verdict(metric, values, moved), whole.shape[1])


def _of_sets(
    metric: SetMetric, levels: list[list[Features]], training: list[Features]
) -> tuple[tuple[float, ...], float]:
    """Distances to the other clips, and the move by the jackknife over clips."""
    n, real = len(levels[0]), np.arange(len(training)) + len(levels[0])
    compared = [metric.score([*level, *training], np.arange(n + len(training))) for level in levels]
    everyone = np.arange(n)
    values = tuple(c.distance(everyone, real) for c in compared)
    without = [np.delete(everyone, i) for i in everyone]
    change = np.array([compared[-1].distance(some, real) - compared[0].distance(some, real) for some in without])
    spread = np.sqrt((n - 1) / n * np.square(change - change.mean()).sum())
    return values, float((values[-1] - values[0]) / spread) if spread else 0.0


def _verdict(metric: Metric, values: Sequence[float], moved: float) -> str:
    steps = np.diff(values)
    if abs(moved) < SURE:
        return "blind"
    worse = {"lower": 1.0, "higher": -1.0, "neither": float(np.sign(moved))}[metric.better]
    if (worse * steps > 0).all():
        return "sees"
    return "wrong" if worse * moved < 0 else "unsteady"


def subjects_of(names: Sequence[str], lpips: Path | None) -> list[Subject]:
    """Every metric through the package's own networks, and LPIPS through the published ones that are at hand."""
    cpu = torch.device("cpu")
    made = []
    for name in names:
        metric = plugins.load("metrics", name)
        made.append(Subject(metric, resolve(metric.backbone, "nano", {}, cpu) if metric.backbone else None))
        published = {"lpips": lpips_alex, "lpips_squeeze": lpips_squeeze, "first_frame": lpips_alex}.get(name)
        if lpips and published:
            made.append(Subject(metric, published.load(lpips, cpu)))
    return made


def write_page(out: Path, subjects: Sequence[Subject], kinds: Sequence[str], n: int, short: Mapping[str, int]) -> None:
    """Write the page and its picture; `n` clips, and for the metrics in `short` so many."""
    today = datetime.datetime.now(datetime.UTC).date()
    lines = [
        "# Which metric sees which distortion",
        "",
        f"Written by `python benchmarks/sensitivity.py FOOTAGE --lpips FOLDER` on {today}, cinetune {__version__}: "
        f"{n} clips of {FRAMES} frames, {HEIGHT} x {WIDTH} pixels, from {len(DOMAINS)} kinds of real footage "
        f"({', '.join(DOMAINS)}), each distorted at four strengths. Sets are compared with {n} other clips of the same "
        "films, those of the same kind standing for the training clips.",
        "",
        *(
            f"{name} needs more: it is measured on {many} clips of {SHORT[name]} frames against as many others or one "
            f"fewer, all that can be cut from these kinds and from {', '.join(MORE)}.\n"
            for name, many in short.items()
        ),
        "A metric **sees** a distortion (✓) where its mean moves in the documented direction at every strength, and "
        f"the move from none to the strongest is at least {SURE:g} standard errors over clips. Where neither side is "
        "better, the direction is away from the undistorted value. ✗: it moves to the better side. ~: it moves to the "
        "worse side in all, but not at every strength. -: its move is not more than chance. ?: too few "
        "clips to measure it. The cards of the metrics call ✗, ~ and - blind.",
        "",
        "Through the package's own networks (nano), which learnt from rendered films alone, this says what those see; "
        "the published ones may see more.",
        "",
        "![Every metric over the strengths of every distortion](images/sensitivity.png)",
        "",
        "| metric | through | better | " + " | ".join(kinds) + " |",
        "|---|---|---|" + "---|" * len(kinds),
    ]
    for subject in subjects:
        marks = " | ".join(MARKS[f.verdict] for f in subject.findings)
        lines.append(f"| {subject.metric.name} | {_through(subject)} | {subject.metric.better} | {marks} |")
    lines += ["", "## Strengths", ""]
    lines += [f"- {line}" for line in _strengths()]
    lines += ["", "## Values", ""]
    lines += [
        "Means over the n clips that have a value at every strength; for sets, the distance. The move from none to"
    ]
    lines[-1] += " the strongest is in standard errors."
    for subject in subjects:
        lines += _values(subject)
    write_text(out, "\n".join(lines) + "\n")
    _draw(out.parent / "images" / "sensitivity.png", subjects, kinds)


def _values(subject: Subject) -> list[str]:
    through = f", through {subject.eye.identity}" if subject.eye else ""
    lines = ["", f"### {subject.metric.name}{through}", ""]
    lines += [f"Unit: {subject.metric.unit}. Better: {subject.metric.better}.", ""]
    lines += ["| distortion | none | 1 | 2 | 3 | 4 | move | n | |", "|---|---|---|---|---|---|---|---|---|"]
    for found in subject.findings:
        values = " | ".join(f"{value:.4g}" for value in found.values)
        lines.append(f"| {found.kind} | {values} | {found.moved:+.1f} | {found.n} | {MARKS[found.verdict]} |")
    return lines


def _through(subject: Subject) -> str:
    return subject.eye.identity.name if subject.eye else ""


def _strengths() -> list[str]:
    """The distortions in words, with their strengths."""
    v = video_distortions
    return [
        f"blur: Gaussian, deviation {_list(v.BLUR)} % of the shorter side",
        f"noise: Gaussian, independent at every pixel, deviation {_list(v.NOISE)} grey levels",
        f"shuffle: frames after the first are delayed at random by up to {_list(v.REACH)} frames, and so change places",
        f"freeze: the last {_list(100 * x for x in v.FROZEN)} % of the frames are one frame held",
        f"drop: {_list(100 * x for x in v.DROPPED)} % of the frames after the first are left out, the rest moves up",
        f"colour: red raised and blue lowered by {_list(100 * x for x in v.TINT)} %",
        f"reencode: H.264 (x264, medium) at CRF {_list(CRF)}",
    ]


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _draw(path: Path, subjects: Sequence[Subject], kinds: Sequence[str]) -> None:
    """A small line for each metric and distortion: the mean over the strengths, up is worse (or away)."""
    colours = {"sees": "#1a7f37", "wrong": "#cf222e", "blind": "#8c959f", "unsteady": "#bf8700", "few": "#ffffff"}
    picture = Figure(figsize=(2 + 1.1 * len(kinds), 0.8 + 0.32 * len(subjects)), dpi=110)
    axes = picture.add_subplot()
    for row, subject in enumerate(subjects):
        for column, found in enumerate(subject.findings):
            values = np.array(found.values)
            values[np.isinf(values)] = values[1]
            worse = {"lower": 1, "higher": -1, "neither": np.sign(values[-1] - values[0]) or 1}[subject.metric.better]
            size = np.abs(values - values[0]).max()
            shape = worse * (values - values[0]) / size if size > 0 else np.zeros(5)
            x = column + np.linspace(-0.36, 0.36, 5)
            axes.axhline(row, color="#eaeef2", linewidth=0.5, zorder=0)
            axes.plot(x, row - 0.4 * shape, color=colours[found.verdict], linewidth=1.6)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_yticks(range(len(subjects)), [f"{s.metric.name}  {_through(s)}" for s in subjects])
    axes.set_xlim(-0.5, len(kinds) - 0.5)
    axes.set_ylim(len(subjects) - 0.4, -0.6)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    drawn = io.BytesIO()
    picture.savefig(drawn, bbox_inches="tight")
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)  # a quarter of the size


def main() -> None:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path, help=f"folder with the folders {', '.join(DOMAINS)}")
    parser.add_argument("--lpips", type=Path, help="folder of the published LPIPS weights, AlexNet and SqueezeNet")
    parser.add_argument("--metrics", nargs="*", default=plugins.names("metrics"))
    parser.add_argument("--kinds", nargs="*", default=list(DISTORTIONS), choices=list(DISTORTIONS))
    parser.add_argument("--each", type=int, default=8, help="clips from each folder")
    parser.add_argument("--out", type=Path, default=Path("docs/sensitivity.md"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    measured, others = clips(given.footage, given.each)
    subjects = subjects_of(given.metrics, given.lpips)
    study([s for s in subjects if s.metric.name not in SHORT], measured, others, given.kinds)
    short = {}
    for subject in [s for s in subjects if s.metric.name in SHORT]:
        more, compared = every_clip(given.footage, SHORT[subject.metric.name])
        study([subject], more, compared, given.kinds)
        short[subject.metric.name] = len(more)
    write_page(given.out, subjects, given.kinds, len(measured), short)
    for subject in subjects:
        known = {f.kind for f in subject.findings if f.verdict != "few"}
        if set(subject.blind) != set(subject.metric.card.blind) & known:
            print(f"{subject.metric.name} ({subject.eye and subject.eye.identity.name}): blind={subject.blind}")


if __name__ == "__main__":
    main()
