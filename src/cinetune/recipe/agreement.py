"""What the sections lora, train and system must agree on."""

from cinetune.recipe.lora import Lora
from cinetune.recipe.system import System
from cinetune.recipe.train import Train

NOT_FULL = ("targets", "ranks", "rslora", "dora", "plus_ratio")
"""Fields of an adapter that would be ignored where there is none."""


def check_agreement(lora: Lora, train: Train, system: System) -> None:
    """Check fields of different sections against each other.

    Raises:
        ValueError: two contradict each other, in one sentence.
    """
    if train.method == "full":
        _check_full(lora, train)
    if system.engine in ("fsdp2", "zero2", "zero3") and train.optimiser != "adamw":
        raise ValueError(f"train.optimiser = {train.optimiser!r} needs weights in their shapes, and system.engine = "
                         f"{system.engine!r} cuts them up; give adamw, or engine ddp")  # fmt: skip
    if system.engine == "zero3" and train.ema:
        raise ValueError("train.ema does not see the weights that system.engine = 'zero3' cuts up; give fsdp2 or zero2")
    if lora.plus_ratio != 1 and train.optimiser == "prodigy":
        raise ValueError(
            "lora.plus_ratio needs two learning rates and train.optimiser = 'prodigy' has one; drop either"
        )
    if train.nested_ranks:
        if train.nested_ranks[-1] != lora.rank:
            raise ValueError(
                f"train.nested_ranks must end with lora.rank = {lora.rank}, got {train.nested_ranks[-1]}: ranks above "
                "are not there, and ranks below would never be trained"
            )
        if lora.ranks:
            raise ValueError("train.nested_ranks are for one rank in all layers; leave lora.ranks out")


def _check_full(lora: Lora, train: Train) -> None:
    fields = Lora.model_fields
    told = [f"lora.{name}" for name in NOT_FULL if getattr(lora, name) != fields[name].default]
    told += ["train.nested_ranks"] if train.nested_ranks else []
    if told:
        raise ValueError(f"train.method = 'full' has no adapter and {told[0]} is of one; leave it out")
