"""From a model, what was trained for it and a choice of levers to a studio that makes windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from cinetune import console, plugins
from cinetune.errors import RecipeError
from cinetune.generate.levers._contract import Lever, Opening, Order
from cinetune.generate.network import Trained, open_network
from cinetune.generate.window import Rig, Sampling, Studio
from cinetune.models._contract import VideoModel

KIND = "generate.levers"
TEXT_MEMORY = 26 * 2**30
"""Bytes that the published encoders take in fp32, 22.7 GB of them UMT5-XXL's."""
SPEEDS: dict[str, tuple[str, ...]] = {
    "exact": (),
    "balanced": ("merge", "attention", "compile"),
    "fast": ("merge", "attention", "compile", "first_block", "adaptive_guidance", "vae_bf16"),
}
"""Presets of levers. exact: the plain pipeline's own numbers. balanced: rounding apart the same. fast: as fast as may
be while a viewer would not mind."""


@dataclass(frozen=True)
class Pull:
    """A lever that was chosen."""

    lever: Lever
    value: str
    asked: bool
    """By name; else it came with a preset, which does without it where it cannot be used."""


@runtime_checkable
class Sharing(Protocol):
    """How processes share a rig's work (`parallel`)."""

    def place(self, device: torch.device) -> torch.device:
        """Return where the network is loaded before it is shared."""
        ...

    def share(self, rig: Rig) -> None:
        """Share it, caches being in."""
        ...


class Alone:
    """One process."""

    def place(self, device: torch.device) -> torch.device:
        """Return where the network works."""
        return device

    def share(self, rig: Rig) -> None:
        """Leave it as it is."""


def choose(speed: str, asked: Sequence[str]) -> list[Pull]:
    """Return the levers of a preset and those asked for by name, in the order in which they are applied.

    Args:
        speed: a name of SPEEDS.
        asked: `NAME`, `NAME=VALUE`, or `no-NAME` to take one out of the preset.

    Raises:
        RecipeError: no such preset, a value for a lever that takes none, or one taken out that is not in.
        PluginError: no such lever.
    """
    if speed not in SPEEDS:
        raise RecipeError(f"--speed {speed}: choose {', '.join(SPEEDS)}")
    chosen = {name: Pull(_lever(name), "", asked=False) for name in SPEEDS[speed]}
    for text in asked:
        name, equals, value = text.partition("=")
        if name.startswith("no-") and name[3:] in plugins.names(KIND):
            if name[3:] not in chosen:
                raise RecipeError(f"--lever {text}: {speed} has no {name[3:]}; leave this out")
            del chosen[name[3:]]
            continue
        lever = _lever(name)
        if equals and not lever.means:
            raise RecipeError(f"--lever {text}: {name} takes no value; give --lever {name}")
        if lever.means and not (value or lever.value):
            raise RecipeError(f"--lever {text}: give --lever {name}=VALUE, {lever.means}")
        chosen[name] = Pull(lever, value, asked=True)
    _part(chosen)
    pulls = [Pull(p.lever, p.value or p.lever.value, p.asked) for p in chosen.values()]
    return sorted(pulls, key=lambda pull: (pull.lever.order, pull.lever.name))


def _part(chosen: dict[str, Pull]) -> None:
    """Of two levers that clash, take the preset's out for the one that was asked for.

    Raises:
        RecipeError: both were asked for.
    """
    clashes = [(one, other, why) for one in chosen for other, why in chosen[one].lever.clashes.items()]
    for one, other, why in clashes:
        if one not in chosen or other not in chosen:
            continue
        if chosen[one].asked and chosen[other].asked:
            raise RecipeError(f"--lever {one} and {other} do not go together: {why}; leave one of them out")
        gone, kept = (other, one) if chosen[one].asked else (one, other)
        console.note(f"generate: without {gone}, which does not go together with {kept}: {why}")
        del chosen[gone]


def _lever(name: str) -> Lever:
    lever: Lever = plugins.load(KIND, name)
    return lever


def open_studio(
    model: VideoModel,
    trained: Sequence[Trained],
    sampling: Sampling,
    size: tuple[int, int, int],
    prompts: Sequence[str],
    *,
    device: torch.device,
    dtype: torch.dtype,
    pulls: Sequence[Pull] = (),
    sharing: Sharing | None = None,
) -> Studio:
    """Load everything, apply the levers, share the work, and say what was chosen.

    Args:
        size: frames, height and width of the usual window.
        prompts: all that will be asked for; the text encoder is not kept.

    Raises:
        RecipeError: the model cannot make this size, or a lever that was asked for cannot be used here.
        WeightsError: weights missing, damaged or of another model.
    """
    model.check_size(*size)
    sharing = sharing or Alone()
    opening = Opening(list(trained), device, sharing.place(device))
    for pull in pulls:
        pull.lever.open(opening, pull.value)
    encoders = model.load_encoders(_place_of_text(device))
    wanted = list(dict.fromkeys([*prompts, sampling.negative]))
    texts = dict(zip(wanted, encoders.encode_text(wanted), strict=True))
    encoders = encoders.without_text(device)  # before the network comes: together they are too much for a small GPU
    network = open_network(model, opening.trained, opening.place, dtype, merge=opening.merge)
    rig = Rig(
        model, encoders, network, encoders.decoder(), sampling, size, device, dtype, texts
    )  # fmt: skip
    for pull in pulls:
        if pull.lever.order < Order.PARALLEL:
            _apply(pull, rig)
    if not rig.offloaded:
        rig.network.to(sharing.place(device))
    sharing.share(rig)
    for pull in pulls:
        if pull.lever.order > Order.PARALLEL:
            _apply(pull, rig)
    return Studio(rig)


def _place_of_text(device: torch.device) -> torch.device:
    """Where prompts are encoded: on a GPU that has not the memory for it, in main memory, which is said."""
    if device.type != "cuda" or torch.cuda.mem_get_info(device)[0] >= TEXT_MEMORY:
        return device
    console.note("generate: prompts are encoded on the CPU: the text encoder is too large for this GPU")
    return torch.device("cpu")


def _apply(pull: Pull, rig: Rig) -> None:
    name = pull.lever.name + (f"={pull.value}" if pull.value else "")
    why = pull.lever.obstacle(rig, pull.value)
    if why and pull.asked:
        raise RecipeError(f"--lever {name}: {why}")
    why = why or ("" if pull.asked else pull.lever.idle(rig, pull.value))
    if why:
        console.note(f"generate: without {name}: {why}")
        return
    told = pull.lever.apply(rig, pull.value)
    console.note(f"generate: {name}{': ' if told else ''}{told}")
