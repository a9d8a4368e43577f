"""`evaluate`: every metric over every video, one decode, with intervals, paired differences and a noise floor."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from cinetune import __version__, plugins
from cinetune.errors import MetricError
from cinetune.evaluate import features, folders, items, sets
from cinetune.evaluate.estimates import REAL, Resampling, Table, to_result
from cinetune.evaluate.features import Progress, Video
from cinetune.files import write_text
from cinetune.metrics._contract import ItemMetric, SetMetric
from cinetune.metrics.backbones._contract import Eye
from cinetune.metrics.backbones._resolve import resolve
from cinetune.recipe import Evaluate
from cinetune.records import Result, Sample, Score, write_records

CPU = torch.device("cpu")
NONE: Mapping[str, Path] = {}


def evaluate(
    samples: Sequence[Sample],
    samples_root: Path,
    recipe_section: Evaluate,
    *,
    seed: int,
    out: Path,
    progress: Progress | None = None,
    scenes: Mapping[str, str] | None = None,
    published: Mapping[str, Path] = NONE,
    device: torch.device = CPU,
) -> list[Result]:
    """Measure generated videos against their true continuations.

    Args:
        samples: what `generate` wrote; the arms are told apart by `arm` and paired by `source`.
        samples_root: the folder that the paths in the samples are relative to.
        recipe_section: which metrics, which weights, level and resamples.
        seed: of all resampling.
        out: gets scores.jsonl, results.json and features/.
        progress: is told (videos done, videos in all).
        scenes: scene of each source. Clips of one scene are not independent, so they are resampled together; without
            scenes every source counts as independent.
        published: folders or files of published weights by role, for `weights = "published"`.
        device: where the backbones run.

    Returns:
        for every metric: each arm, "tuned - base" (and "tuned - static" for pair metrics), and "real" (the true
        videos' own number, or for a set metric the noise floor).

    Raises:
        MetricError: no samples, a video file is missing, or published weights are not to be had.
        PluginError: no such metric.
        WeightsError: a backbone's weights are missing or damaged.
        FootageError: a video cannot be decoded.
        RunError: `out` cannot be written.
    """
    if not samples:
        raise MetricError("nothing to evaluate: no samples; run `cinetune generate` first")
    videos = [
        Video(
            id=sample.id,
            arm=sample.arm,
            source=sample.source,
            cluster=(scenes or {}).get(sample.source, sample.source),
            path=samples_root / sample.video,
            reference=samples_root / sample.reference if sample.reference else None,
            caption=sample.prompt,
            matched=bool(sample.reference),
        )
        for sample in samples
    ]
    real = {
        video.source: dataclasses.replace(
            video, id=video.source, arm=REAL, path=video.reference, reference=None, matched=True
        )
        for video in videos
        if video.reference
    }
    return _measure([*videos, *real.values()], recipe_section, seed, out, progress, published, device)


def evaluate_folders(
    generated: Path,
    reference: Path,
    prompts: Path | None = None,
    *,
    metrics: Sequence[str] | None = None,
    recipe_section: Evaluate | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    published: Mapping[str, Path] = NONE,
    device: torch.device = CPU,
) -> list[Result]:
    """Measure a folder (or file) of videos against another, paired by file name without suffix.

    The sets may be of unequal size; pair metrics use the names that both have and say how many were left out.

    Args:
        generated: the videos to be measured, arm "generated".
        reference: the real videos.
        prompts: captions of the generated videos (see `folders.read_prompts`); without them clip_text is None.
        metrics: names, instead of those of `recipe_section`.
        recipe_section: weights, level and resamples; None takes the defaults.
        seed: of all resampling.
        out: gets scores.jsonl, results.json and features/; None leaves nothing behind.
        progress: is told (videos done, videos in all).
        published: folders or files of published weights by role.
        device: where the backbones run.

    Raises:
        MetricError: no such folder, no video in it, two videos of one name, or a prompts file that fits none.
        PluginError, WeightsError, FootageError, RunError: as `evaluate`.
    """
    videos = folders.pair(generated, reference, folders.read_prompts(prompts) if prompts else {})
    section = recipe_section or Evaluate()
    if metrics is not None:
        section = section.model_copy(update={"metrics": tuple(metrics)})
    if out is not None:
        return _measure(videos, section, seed, out, progress, published, device)
    with tempfile.TemporaryDirectory(prefix="cinetune-evaluate-") as folder:
        return _measure(videos, section, seed, Path(folder), progress, published, device)


def _measure(
    videos: Sequence[Video],
    section: Evaluate,
    seed: int,
    out: Path,
    progress: Progress | None,
    published: Mapping[str, Path],
    device: torch.device,
) -> list[Result]:
    if not section.metrics:
        raise MetricError("nothing to evaluate: no metrics; name some, such as lpips, fvd and kid")
    metrics: list[ItemMetric | SetMetric] = [plugins.load("metrics", name) for name in section.metrics]
    roles = dict.fromkeys(metric.backbone for metric in metrics if metric.backbone)
    eyes = {role: resolve(role, section.weights, published, device) for role in roles}
    looks = {metric.look.name: metric.look for metric in metrics}
    seen = features.look_at(videos, list(looks.values()), eyes, out / "features", progress)

    how = Resampling(section.level, section.resamples, seed)
    scores: list[Score] = []
    results: list[Result] = []
    for metric in metrics:
        table = Table(videos, [saw[metric.look.name] for saw in seen])
        if isinstance(metric, SetMetric):
            made = sets.estimates(metric, table, how)
        else:
            scored = items.scores(metric, table)
            scores += scored
            made = items.estimates(metric, table, scored, how)
        backbone = str(eyes[metric.backbone].identity) if metric.backbone else ""
        results += [to_result(metric, estimate, how, backbone) for estimate in made]
    write_records(out / "scores.jsonl", scores)
    _write_results(out / "results.json", results, metrics, eyes, section, seed)
    return results


def _write_results(
    path: Path,
    results: Sequence[Result],
    metrics: Sequence[ItemMetric | SetMetric],
    eyes: Mapping[str, Eye],
    section: Evaluate,
    seed: int,
) -> None:
    """One JSON object: `results`, and in `meta` all that is needed to know what they mean and to make them again."""
    meta = {
        "cinetune": __version__,
        "seed": seed,
        "evaluate": section.model_dump(mode="json"),
        "backbones": {role: dataclasses.asdict(eye.identity) for role, eye in eyes.items()},
        "sources": {metric.name: metric.source for metric in metrics},
    }
    tree = {"schema": 1, "meta": meta, "results": [dataclasses.asdict(result) for result in results]}
    write_text(path, json.dumps(tree, ensure_ascii=False, indent=1) + "\n")
