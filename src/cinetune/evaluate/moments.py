"""Statistics files: mean and covariance of what a network saw of some videos, in place of the videos.

Metrics that compare two Gaussians need no more of the real videos, so published files can stand for them, and a
Frechet distance of two files needs no video at all. What a file holds is taken as it is: whether its covariance is
over n or n - 1, and which network saw the videos, only files written here say.
"""

import hashlib
import pickle
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cinetune.errors import MetricError
from cinetune.evaluate.estimates import AnyMetric, Estimate
from cinetune.files import write_aside
from cinetune.footage.any_video import shown
from cinetune.metrics._contract import Item, SetMetric
from cinetune.metrics.backbones._contract import Eye
from cinetune.ops import frechet

PICKLED = (".pkl", ".pickle")
SUFFIXES = (".npz", *PICKLED)
NAMES = {"mean": ("mean", "mu"), "covariance": ("cov", "sigma"), "n": ("n", "num")}
"""What the arrays of published .npz files are called."""
_CALLS: tuple[Any, ...] = (np.ndarray, np.dtype, np.float64(0).__reduce__()[0])
ARRAYS = {
    (f"numpy{place}", call.__name__): call
    for call in (*_CALLS, *(np.zeros(1).__reduce_ex__(protocol)[0] for protocol in (4, 5)))
    for place in ("", ".core.multiarray", "._core.multiarray", ".core.numeric", "._core.numeric")
}
"""All that a pickle may call: what makes arrays and numbers."""


@dataclass(frozen=True)
class Stated:
    """One statistics file."""

    path: Path
    sha256: str
    gaussian: frechet.Gaussian
    n: int | None
    """Vectors behind it (one a video, or several frames of each); None where the file does not say."""
    metric: str = ""
    network: str = ""
    """Both "" where the file does not say."""

    def __str__(self) -> str:
        """Return what results say of it."""
        n = f"n {self.n}" if self.n is not None else "n not stated"
        few = self.n is not None and self.n <= len(self.gaussian.mean)
        caution = f", too few for {len(self.gaussian.mean)} dimensions: biased upwards" if few else ""
        return f"statistics {shown(self.path.name)} (sha256 {self.sha256[:12]}, {n}{caution})"

    def facts(self) -> dict[str, object]:
        """Return what results.json says of it."""
        return {"file": shown(self.path.name), "sha256": self.sha256, "n": self.n, "network": self.network}


@dataclass(frozen=True)
class Statistics:
    """What an evaluation knows by statistics alone."""

    real: Mapping[str, Stated] = field(default_factory=dict)
    """By metric: stands for the real videos."""
    arms: Mapping[str, Stated] = field(default_factory=dict)
    """By arm: stands for its generated videos."""

    def network(self, metric: str) -> str:
        """Return what the real videos of a metric were seen through, as far as the file says."""
        return self.real[metric].network if metric in self.real else ""

    def facts(self) -> dict[str, object]:
        """Return what results.json says of them; nothing where there are none."""
        told = {"real": self.real, "arms": self.arms}
        return {kind: {name: one.facts() for name, one in some.items()} for kind, some in told.items() if some}


UNSTATED = Statistics()
"""No statistics files."""


def gathered(real: Mapping[str, Path], arms: Mapping[str, Sequence[Path]]) -> tuple[dict[str, list[Path]], Statistics]:
    """Read all statistics files; return the arms that are videos, and the statistics.

    Args:
        real: file by metric.
        arms: what was given of each arm: videos in any form, or one statistics file.

    Raises:
        MetricError: a file is no statistics, an arm has more than one or videos as well, or there is none of real
            videos to compare it with.
    """
    videos: dict[str, list[Path]] = {}
    stated: dict[str, Stated] = {}
    for arm, given in arms.items():
        if not any(path.suffix.lower() in SUFFIXES for path in given):
            videos[arm] = list(given)
        elif len(given) > 1:
            raise MetricError(
                f"arm {arm}: a statistics file stands for all videos of an arm; give nothing else with it"
            )
        else:
            stated[arm] = read(given[0])
    if stated and not real:
        raise MetricError(
            f"{next(iter(stated.values())).path}: statistics are compared with statistics of real videos; add "
            "--statistics METRIC=FILE (evaluate REAL --write-statistics FOLDER makes such files)"
        )
    return videos, Statistics({metric: read(path) for metric, path in real.items()}, stated)


def chosen(asked: Sequence[str] | None, usual: Sequence[str], stated: Iterable[str], *, real: bool) -> tuple[str, ...]:
    """Return the metrics to measure: those asked for, and those whose statistics are given.

    Args:
        asked: None where nobody chose; then the usual ones, but only where there are real videos or no statistics.
        usual: metrics of the settings.
        stated: metrics of the statistics files.
        real: whether there are real videos.
    """
    stated = tuple(stated)
    wanted = asked if asked is not None else () if stated and not real else usual
    return tuple(dict.fromkeys([*wanted, *stated]))


def read(path: Path) -> Stated:
    """Read a statistics file: .npz with mean or mu, cov or sigma, and n or num where known; .pkl of StyleGAN's tools.

    Nothing in a pickle is executed but what makes arrays.

    Source: mseitzer/pytorch-fid, fid_score.py (mu, sigma); songweige/content-debiased-fvd (mean, cov, n);
        universome/stylegan-v, src/metrics/metric_utils.py, FeatureStats (num_items, raw_mean, raw_cov, over n).

    Raises:
        MetricError: no such file, or not one of these.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise MetricError(f"{shown(path)}: no statistics file; these end in {', '.join(SUFFIXES)}")
    try:
        mean, covariance, n, about = (_pickled if path.suffix.lower() in PICKLED else _archived)(path)
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(f"a mean of shape {mean.shape} and a covariance of shape {covariance.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("it holds something that is not a number")
        gaussian = frechet.stated(mean.astype(np.float64), covariance)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise MetricError(f"{shown(path)}: no such file; check the path") from None
    except Exception as error:  # an unpickler may raise anything
        told = " ".join(str(error).split()) or type(error).__name__
        raise MetricError(
            f"{shown(path)}: not a file of mean and covariance ({told}); give .npz with mean (or mu) and cov (or sigma)"
        ) from None
    return Stated(path, digest, gaussian, n, *about)


Found = tuple[np.ndarray, np.ndarray, int | None, tuple[str, str]]
"""Mean, covariance, n, (metric, network)."""


def _archived(path: Path) -> Found:
    if not zipfile.is_zipfile(path):
        path.open("rb").close()  # no such file, or no permission: said as that
        raise ValueError("not a .npz archive")
    with np.load(path, allow_pickle=False) as arrays:
        found = {what: next((arrays[name] for name in names if name in arrays), None) for what, names in NAMES.items()}
        about = [str(arrays[name]) if name in arrays else "" for name in ("metric", "network")]
        mean, covariance, n = found["mean"], found["covariance"], found["n"]
        if mean is None or covariance is None:
            raise ValueError(f"it holds {', '.join(arrays.files) or 'nothing'}")
    return mean, covariance, None if n is None else int(n), (about[0], about[1])


class _Arrays(pickle.Unpickler):
    """Reads arrays and numbers; a pickle that would call anything else is refused before it does."""

    def find_class(self, module: str, name: str) -> object:
        """Return one of ARRAYS."""
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which is not done")
        return ARRAYS[module, name]


def _pickled(path: Path) -> Found:
    with path.open("rb") as file:
        tree = _Arrays(file).load()
    if not isinstance(tree, dict) or not {"num_items", "raw_mean", "raw_cov"} <= set(tree):
        raise ValueError("not the statistics of StyleGAN's tools")
    n = int(tree["num_items"])
    total, square = (np.asarray(tree[name], np.float64) for name in ("raw_mean", "raw_cov"))
    if n < 2 or not square.any():
        raise ValueError("mean and covariance were not captured")
    return total / n, square / n - np.outer(total / n, total / n), n, ("", "")


def write(path: Path, gaussian: frechet.Gaussian, n: int, metric: str, network: str) -> None:
    """Write what `read` reads: mean, cov and n in float64, and which metric and network they belong to.

    Raises:
        RunError: the file cannot be written.
    """
    covariance = gaussian.root.T @ gaussian.root
    with write_aside(path) as aside:
        np.savez(aside, mean=gaussian.mean, cov=covariance, n=np.int64(n), metric=metric, network=network)


def check(metric: AnyMetric, stated: Stated, eye: Eye | None) -> None:
    """Refuse statistics that a metric cannot use, before anything is looked at.

    Args:
        metric: to be measured with them.
        stated: the file.
        eye: the network that the videos are looked at through; None where there are no videos. It is shown a small
            black video, to learn how many dimensions it has.

    Raises:
        MetricError: the metric needs the videos themselves, or the file is of another metric or network.
    """
    if not (isinstance(metric, SetMetric) and metric.moments):
        raise MetricError(f"--statistics {metric.name}: this metric needs the real videos themselves; give --reference")
    if stated.metric and stated.metric != metric.name:
        raise MetricError(f"{shown(stated.path)}: statistics of {stated.metric}, not of {metric.name}")
    if eye is None:
        return
    if stated.network and stated.network != str(eye.identity):
        raise MetricError(
            f"{shown(stated.path)}: seen through {stated.network}, the videos through {eye.identity}; choose the "
            "network of the file (--weights, --backbone)"
        )
    width, own = len(_black(metric, eye)), len(stated.gaussian.mean)
    if width != own:
        raise MetricError(
            f"{shown(stated.path)}: statistics of {own} dimensions, {eye.identity} sees {width}; choose the network of "
            "the file (--weights, --backbone)"
        )


def _black(metric: SetMetric, eye: Eye) -> Float[np.ndarray, " d"]:
    frames = np.zeros((max(2, getattr(eye, "least_frames", 1)), 64, 64, 3), np.uint8)
    seen = metric.look.features(Item(frames, None, ""), eye)
    moments = metric.score([seen, seen], np.arange(2)).moments
    assert moments is not None, f"{metric.name} says that it compares mean and covariance alone"
    return moments.of(np.arange(2)).mean


def estimates(metric: AnyMetric, statistics: Statistics) -> list[Estimate]:
    """Return the numbers of arms that are statistics files; without intervals, since nothing can be resampled.

    Raises:
        MetricError: two files are of different networks.
    """
    real = statistics.real.get(metric.name)
    made = []
    for arm, own in statistics.arms.items():
        if real is None:
            why = f"{own} cannot stand for the videos" if not _by_moments(metric) else f"no statistics of {metric.name}"
            made.append(Estimate(arm, own.n or 0, reasons=(why,)))
            continue
        if len(own.gaussian.mean) != len(real.gaussian.mean) or (
            own.network != real.network and own.network and real.network
        ):
            raise MetricError(
                f"{shown(own.path)} and {shown(real.path)}: statistics of different networks "
                f"({_what(own)} and {_what(real)}) have no distance"
            )
        value = frechet.between(own.gaussian, real.gaussian)
        made.append(Estimate(arm, own.n or 0, value, reasons=(f"{own} against {real}; no interval without videos",)))
    return made


def _by_moments(metric: AnyMetric) -> bool:
    return isinstance(metric, SetMetric) and metric.moments


def _what(stated: Stated) -> str:
    return f"{len(stated.gaussian.mean)} dimensions" + (f" of {stated.network}" if stated.network else "")
