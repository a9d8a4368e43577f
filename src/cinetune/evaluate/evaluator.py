"""`evaluate`: every metric over every video, one decode, with intervals, paired differences and a noise floor."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from cinetune import plugins
from cinetune.errors import MetricError
from cinetune.evaluate import features, inputs, items, moments, ranks, sets
from cinetune.evaluate.estimates import REAL, TRAINING, AnyMetric, Resampling, Table, corrected, to_result
from cinetune.evaluate.evaluation import Evaluation, to_records, write_results
from cinetune.evaluate.features import Found, Progress, Spent, Video
from cinetune.evaluate.moments import UNSTATED, Statistics
from cinetune.evaluate.prompts import read_prompts
from cinetune.evaluate.store import Shelf, Store
from cinetune.metrics._contract import SetMetric
from cinetune.metrics.backbones._contract import Eye
from cinetune.metrics.backbones._resolve import resolve
from cinetune.recipe import Evaluate
from cinetune.records import Clip, Result, Sample, Score, write_records

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
    training: Sequence[Clip] = (),
    training_root: Path = Path(),
    published: Mapping[str, Path] = NONE,
    device: torch.device = CPU,
    workers: int | None = None,
) -> list[Result]:
    """Measure the generated videos of a run against their true continuations.

    A run's own videos are whole, so one that cannot be read is an error here, not left out.

    Args:
        samples: what `generate` wrote; the arms are told apart by `arm` and paired by `source`.
        samples_root: the folder that the paths in the samples are relative to.
        recipe_section: which metrics, which weights, level and resamples.
        seed: of all resampling.
        out: gets scores.jsonl, results.json, videos.jsonl and features/.
        progress: is told (videos done, videos in all).
        scenes: scene of each source. Clips of one scene are not independent, so they are resampled together; without
            scenes every source counts as independent.
        training: the clips that the model was trained on, arm "training"; only looked at where a metric asks for them.
        training_root: the folder that their paths are relative to.
        published: folders or files of published weights by backbone, for `weights = "published"`.
        device: where the backbones run.
        workers: videos looked at side by side; None chooses (see `features.workers_for`).

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
    videos = inputs.from_samples(
        samples, samples_root, scenes=scenes or {}, training=training, training_root=training_root
    )
    done = measure(
        videos, recipe_section, seed=seed, out=out, progress=progress, published=published, device=device,
        workers=workers, strict=True,
    )  # fmt: skip
    return done.results


def evaluate_folders(
    generated: Path | Sequence[Path] | Mapping[str, Sequence[Path]],
    reference: Path | Sequence[Path] = (),
    prompts: Path | None = None,
    *,
    metrics: Sequence[str] | None = None,
    recipe_section: Evaluate | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    published: Mapping[str, Path] = NONE,
    device: torch.device = CPU,
    training: Sequence[Path] = (),
    static: bool = True,
    cache: Path | None = None,
    workers: int | None = None,
    statistics: Mapping[str, Path] = NONE,
    write_statistics: Path | None = None,
) -> list[Result]:
    """Measure videos against others, paired by name or by a manifest (see `inputs`).

    The sets may be of unequal size; pair metrics use the names that both have and say how many were left out. A video
    that cannot be read is left out of everything; `measure` says which.

    Args:
        generated: the videos to be measured: files, folders, patterns and manifests; one arm, "generated", or several
            by name. A statistics file (see `moments`) can stand for an arm.
        reference: the real videos, in the same forms.
        prompts: captions of the generated videos (see `prompts.read_prompts`); without them clip_text is None.
        metrics: names, instead of those of `recipe_section`; those of `statistics` are added.
        recipe_section: weights, level and resamples; None takes the defaults.
        seed: of all resampling.
        out: gets scores.jsonl, results.json and videos.jsonl; None leaves nothing behind.
        progress: is told (videos done, videos in all).
        published: folders or files of published weights by backbone.
        device: where the backbones run.
        training: what the model was trained on, for metrics that ask for it.
        static: measure the first frame of each reference, held, beside the generated videos.
        cache: folder of the stored features; None means out/features.
        workers: videos looked at side by side; None chooses (see `features.workers_for`).
        statistics: file by metric, in place of the real videos (see `moments`). Without `reference` and `metrics`, only
            these metrics are measured.
        write_statistics: folder that gets METRIC.npz for each metric that compares mean and covariance: of the real
            videos, or where there are none, of the generated ones.

    Raises:
        MetricError: no such folder, no video in it, two videos of one name, or a prompts file that fits none.
        PluginError, WeightsError, RunError: as `evaluate`.
    """
    arms = generated if isinstance(generated, Mapping) else {inputs.GENERATED: _listed(generated)}
    arms, known = moments.gathered(statistics, arms)
    videos = inputs.assemble(
        arms, _listed(reference), training=training, prompts=read_prompts(prompts) if prompts else {}, static=static,
        empty=bool(known.arms),
    )  # fmt: skip
    section = recipe_section or Evaluate()
    real = any(video.arm == REAL for video in videos)
    wanted = moments.chosen(metrics, section.metrics, known.real, real=real)
    section = section.model_copy(update={"metrics": wanted})
    with ExitStack() as stack:
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cinetune-evaluate-")))
        done = measure(
            videos, section, seed=seed, out=out, cache=cache, progress=progress, published=published, device=device,
            workers=workers, statistics=known, write_statistics=write_statistics,
        )  # fmt: skip
        return done.results


def measure(
    videos: Sequence[Video],
    section: Evaluate,
    *,
    seed: int,
    out: Path,
    cache: Path | None = None,
    progress: Progress | None = None,
    published: Mapping[str, Path] = NONE,
    device: torch.device = CPU,
    workers: int | None = None,
    strict: bool = False,
    environment: Mapping[str, str] | None = None,
    statistics: Statistics = UNSTATED,
    write_statistics: Path | None = None,
) -> Evaluation:
    """Measure videos that were found and paired; what the other two functions share.

    Under torchrun each process looks at its share of the videos; the first one gets the results and writes them, the
    others get an evaluation without results.

    Args:
        videos: of all arms, the real ones among them.
        section, seed, out, cache, progress, published, device, workers: as `evaluate_folders`.
        strict: a video that cannot be read is an error.
        environment: what one needs to know to repeat it (see `runs.describe_environment`), for results.json.
        statistics: files that stand for the real videos or for an arm.
        write_statistics: as `evaluate_folders`.

    Raises:
        MetricError: no metrics, not one generated video can be read, statistics that do not fit a metric or its
            network, or none to write.
        PluginError, WeightsError, FootageError, RunError: as `evaluate`.
    """
    if not section.metrics:
        raise MetricError("nothing to evaluate: no metrics; name some, such as lpips, fvd and kid")
    metrics: list[AnyMetric] = [plugins.load("metrics", name) for name in section.metrics]
    videos = _wanted(videos, metrics)
    roles = dict.fromkeys(metric.backbone for metric in metrics if metric.backbone and videos)
    eyes = {role: resolve(role, section.weights, published, device, section.precision) for role in roles}
    for metric in metrics:
        if metric.name in statistics.real:
            moments.check(metric, statistics.real[metric.name], eyes.get(metric.backbone or ""))
    of_files = {metric.name: moments.estimates(metric, statistics) for metric in metrics}
    written = _to_write(metrics, videos) if write_statistics else ""
    store, spent = Store(cache or out / "features"), Spent()
    found = _look_together(videos, metrics, eyes, store, spent, features.workers_for(device, workers), strict, progress)
    records = to_records(videos, found, out)
    if ranks.rank() != 0:
        return Evaluation([], records, [], spent.seconds)
    _insist_on_something(videos, found)
    if write_statistics:
        for metric in metrics:
            if isinstance(metric, SetMetric) and metric.moments and metric.backbone:
                gaussian, n = sets.moments(metric, _table(metric, videos, found, store), written)
                network = str(eyes[metric.backbone].identity)
                moments.write(write_statistics / f"{metric.name}.npz", gaussian, n, metric.name, network)

    how = Resampling(section.level, section.resamples, seed, section.interval)
    scores: list[Score] = []
    results: list[Result] = []
    with spent.on("statistics"):
        for metric in metrics:
            table = _table(metric, videos, found, store)
            if isinstance(metric, SetMetric):
                made = sets.estimates(metric, table, how, statistics)
            else:
                scored = items.scores(metric, table)
                scores += scored
                made = items.estimates(metric, table, scored, how)
            backbone = str(eyes[metric.backbone].identity) if metric.backbone in eyes else ""
            results += [to_result(metric, estimate, how, backbone) for estimate in made]
            stated = statistics.network(metric.name)
            results += [to_result(metric, estimate, how, stated) for estimate in of_files[metric.name]]
        results = corrected(results)
    write_records(out / "scores.jsonl", scores)
    write_records(out / "videos.jsonl", records)
    write_results(out / "results.json", results, videos, metrics, eyes, section, seed, environment, statistics)
    short = {str(video.path): became.short for video, became in zip(videos, found, strict=True) if became.short}
    return Evaluation(results, records, [f"{path}: {why}" for path, why in short.items()], spent.seconds)


def _look_together(
    videos: Sequence[Video],
    metrics: Sequence[AnyMetric],
    eyes: Mapping[str, Eye],
    store: Store,
    spent: Spent,
    workers: int,
    strict: bool,
    progress: Progress | None,
) -> list[Found]:
    """Look at all videos, each process at its share, and tell each other what became of them."""
    looks = {metric.look.name: metric.look for metric in metrics if videos}  # without videos no network is loaded
    with ranks.together():
        mine = features.look_at(
            videos, list(looks.values()), eyes, store, workers=workers, strict=strict, progress=progress, spent=spent,
            mine=lambda piece: piece % ranks.size() == ranks.rank(),
        )  # fmt: skip
        shares = ranks.gathered(mine)
    found = [next(became for became in of_one if became is not None) for of_one in zip(*shares, strict=True)]
    return found


def _wanted(videos: Sequence[Video], metrics: Sequence[AnyMetric]) -> list[Video]:
    """Leave out what no metric asks for: training videos, and first frames held still."""
    kinds = {metric.kind for metric in metrics}
    return [v for v in videos if (v.arm != TRAINING or "corpus" in kinds) and (not v.still or "pair" in kinds)]


def _table(metric: AnyMetric, videos: Sequence[Video], found: Sequence[Found], store: Store) -> Table:
    """Return the videos that a metric is about and what its look saw of them, still on disk."""
    kept = [
        (video, became.places[metric.look.name])
        for video, became in zip(videos, found, strict=True)
        if not became.problem
        and (video.arm != TRAINING or metric.kind == "corpus")
        and (not video.still or metric.kind == "pair")
    ]
    return Table([video for video, _ in kept], Shelf(store, [place for _, place in kept]))


def _to_write(metrics: Sequence[AnyMetric], videos: Sequence[Video]) -> str:
    """Return the arm whose statistics are written.

    Raises:
        MetricError: no metric has any, or there are several generated arms and no real one.
    """
    if not any(isinstance(metric, SetMetric) and metric.moments for metric in metrics):
        raise MetricError(
            "no statistics to write: none of these metrics compares mean and covariance; ask for fvd or fid"
        )
    arms = {video.arm for video in videos if video.arm != TRAINING and not video.still}
    if REAL not in arms and len(arms) != 1:
        raise MetricError(
            f"statistics of which videos? There are {len(arms)} arms and no --reference; give one of them"
        )
    return REAL if REAL in arms else arms.pop()


def _insist_on_something(videos: Sequence[Video], found: Sequence[Found]) -> None:
    problems = [
        became.problem
        for video, became in zip(videos, found, strict=True)
        if video.arm not in (REAL, TRAINING) and not video.still
    ]
    if problems and all(problems):
        raise MetricError(f"none of the {len(problems)} generated videos can be read; the first: {problems[0]}")


def _listed(paths: Path | Sequence[Path]) -> Sequence[Path]:
    return [paths] if isinstance(paths, Path) else paths
