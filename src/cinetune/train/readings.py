"""What a validation found, as plain numbers: a line of validations.jsonl, a line for the terminal, a part of a
checkpoint."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from cinetune.train.paired import mean


@dataclass(frozen=True)
class Reading:
    """One validation. Every list is in the order of the clips, which is always the same."""

    values: list[float | None]
    """The metric of each sampled video against what really followed."""
    low: float | None
    high: float | None
    """Ends of the 95 % bootstrap interval of their mean; None from fewer than two."""
    held_out: list[list[float]]
    """Flow loss of each held-out clip at each of the noise levels, weighted as in training."""
    training: list[list[float]]
    """The same of training clips, at most as many."""
    nearest: list[float | None]
    """Similarity of each sampled video to the most similar training clip, cosine; empty where none is looked for."""
    seconds: float = field(default=0.0, compare=False)
    """What it cost, of the slowest process."""

    @property
    def value(self) -> float | None:
        """The metric, mean over the clips that have one."""
        return mean(self.values)

    @property
    def losses(self) -> list[float]:
        """The held-out flow loss at each noise level, mean over the clips."""
        return [float(np.mean(level)) for level in zip(*self.held_out, strict=True)]

    @property
    def loss(self) -> float:
        """The held-out flow loss, mean over clips and noise levels."""
        return float(np.mean(self.held_out))

    @property
    def training_loss(self) -> float | None:
        """The flow loss of training clips; None where there are none to compare with."""
        return float(np.mean(self.training)) if self.training else None


@dataclass(frozen=True)
class Baselines:
    """What every validation is compared with, measured once."""

    metric: str
    better: Literal["lower", "higher"]
    levels: list[float]
    """The noise levels of the flow loss, 0..1."""
    base: Reading
    """Of the model as it was before training."""
    static: list[float | None]
    """The metric of each first frame held still."""
    real: list[float | None]
    """Similarity of each real held-out clip to the most similar training clip, cosine; empty as `Reading.nearest`."""
    seconds: float = field(default=0.0, compare=False)
    """What they cost, the reading of the base included."""

    def tree(self) -> dict[str, Any]:
        """Return it as what JSON and a checkpoint hold."""
        return asdict(self)

    @staticmethod
    def of(tree: dict[str, Any]) -> "Baselines":
        """Return what `tree` gave."""
        return Baselines(**{**tree, "base": Reading(**tree["base"])})


class Decision(NamedTuple):
    """What follows from a validation."""

    best: bool
    """Better than every one before, by however little: keep this adapter."""
    gained: bool
    """Clearly better than the best at the last clear gain; the first validation counts as one."""
    waited: int
    """Validations since the last clear gain."""
    patience: int
    stop: str
    """"plateau" where training has no more to give, else ""."""
    memorising: str
    """One sentence where training clips are being learnt by heart, else ""."""


def reading_row(step: int, reading: Reading, baselines: Baselines, decision: Decision) -> dict[str, Any]:
    """Return a line of validations.jsonl. It holds no times, so that the same run writes the same bytes.

    `lpips`, `static_lpips` and `base_lpips` are `value`, `static` and `base` where the metric is LPIPS, else null.
    """
    value, static, base = reading.value, mean(baselines.static), baselines.base.value
    own = baselines.metric == "lpips"
    before = baselines.base.training_loss
    return {
        "step": step, "lpips": value if own else None, "low": reading.low, "high": reading.high,
        "static_lpips": static if own else None, "base_lpips": base if own else None,
        "loss": reading.loss, "best": decision.best, "clips": len(reading.values),
        "metric": baselines.metric, "better": baselines.better, "value": value, "static": static, "base": base,
        "values": reading.values, "gained": decision.gained, "waited": decision.waited,
        "levels": baselines.levels, "losses": reading.losses, "base_losses": baselines.base.losses,
        "training_loss": reading.training_loss, "base_loss": baselines.base.loss, "base_training_loss": before,
        "nearest": mean(reading.nearest), "nearest_base": mean(baselines.base.nearest),
        "nearest_real": mean(baselines.real), "memorising": decision.memorising,
    }  # fmt: skip


def told(step: int, reading: Reading, baselines: Baselines, decision: Decision) -> str:
    """Return one line for the terminal."""
    interval = "" if reading.low is None else f" [{reading.low:.4f}, {reading.high:.4f}]"
    became = "best" if decision.best else "not the best"
    if not decision.gained:
        became += f", {decision.waited} of {decision.patience} without a clear gain"
    gap = "" if reading.training_loss is None else f" (training clips {reading.training_loss:.4f})"
    line = (
        f"validation at step {step}: {baselines.metric} {_shown(reading.value)}{interval} "
        f"(base {_shown(baselines.base.value)}, static {_shown(mean(baselines.static))}), "
        f"held-out loss {reading.loss:.4f}{gap}: {became}"
    )
    return f"{line}; {decision.memorising}" if decision.memorising else line


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
