"""The denoising network with what was trained for it: adapters merged or beside the weights, or networks whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cinetune.adapters import lora
from cinetune.adapters.form import Adapter
from cinetune.adapters.merging import merge_into
from cinetune.adapters.reading import EXPERT_ENDS, EXPERTS, find_all, find_networks, find_weights, read_adapter
from cinetune.adapters.stack import stack
from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.models._contract import VideoModel
from cinetune.models._loading import load_part
from cinetune.models._velocity import Experts


@dataclass(frozen=True)
class Trained:
    """Something to add to the base: an adapter, or networks trained whole."""

    source: Path
    """A file, a folder with one, a run folder, or a folder with `transformer` as full training saves it."""
    strength: float = 1.0
    """What an adapter's update is multiplied by."""

    @classmethod
    def parse(cls, text: str) -> "Trained":
        """Return what `PATH` or `PATH:STRENGTH` says.

        Raises:
            WeightsError: the strength is no number.
        """
        path, colon, strength = text.rpartition(":")
        if not colon or Path(text).exists():
            return cls(Path(text))
        try:
            return cls(Path(path), float(strength))
        except ValueError:
            raise WeightsError(f"--adapter {text}: no such file, and {strength!r} is no strength; "
                               "give PATH or PATH:STRENGTH") from None  # fmt: skip

    def told(self) -> str:
        """Return what makes its videos this one's and no other's: the hash of its weights, and its strength."""
        digest = " + ".join(sha256(file) for file in find_weights(self.source))
        return digest if self.strength == 1 else f"{digest} x {self.strength:g}"


def open_network(
    model: VideoModel, trained: list[Trained], device: torch.device, dtype: torch.dtype, *, merge: bool = False
) -> nn.Module:
    """Load the network of a model, frozen, and add what was trained.

    Args:
        trained: several adapters are added up; networks trained whole stand alone.
        merge: add adapters into the weights, computed in fp32 and rounded once; else they stay beside them, in the
            network's precision as diffusers loads them (a DoRA in fp32).

    Raises:
        WeightsError: missing, damaged, not of this model, or of two experts and it does not say of which.
    """
    whole = [find_networks(one.source) for one in trained]
    if any(whole):
        if len(trained) > 1 or trained[0].strength != 1:
            raise WeightsError(f"{trained[0].source}: a network trained whole stands alone, at strength 1; "
                               "leave out the others")  # fmt: skip
        return _whole(model, whole[0], device, dtype)
    adapters = _by_expert(trained)  # read before anything large is loaded
    network = model.load_transformer(device, dtype)
    parts = network.by_name() if isinstance(network, Experts) else {"": network}
    _check_experts(trained, isinstance(network, Experts))
    for expert, adapter in adapters.items():
        where = ", ".join(str(one.source) for one in trained)
        _add(adapter, parts[expert], where, dtype, merge)
    return network


def _add(adapter: Adapter, part: nn.Module, where: str, dtype: torch.dtype, merge: bool) -> None:
    if merge:
        merge_into(part, adapter)
        return
    lora.put(adapter, part, where)
    for name, weight in part.named_parameters():
        weight.requires_grad_(False)
        if "lora_" in name and not adapter.dora:  # diffusers rounds a DoRA's magnitudes, and every weight with them
            weight.data = weight.data.to(dtype)


def _by_expert(trained: list[Trained]) -> dict[str, Adapter]:
    read: dict[str, list[tuple[Adapter, float]]] = {}
    for one in trained:
        for expert, file in find_all(one.source).items():
            read.setdefault(expert, []).append((read_adapter(file), one.strength))
    return {expert: stack(adapters) for expert, adapters in read.items()}


def _check_experts(trained: list[Trained], two: bool) -> None:
    for one in trained:
        found = find_all(one.source)
        if two and "" in found:
            ends = " or ".join(EXPERT_ENDS.values())
            raise WeightsError(f"{found['']}: this model has two experts; give a file whose name ends in {ends}")
        if not two and "" not in found:
            raise WeightsError(f"{one.source}: for one expert of two, and this model has one network")


def _whole(model: VideoModel, folders: dict[str, Path], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Networks trained whole in the place of the base's, which is loaded for the part that was not trained alone."""
    names = list(EXPERTS.values())
    base: Any = model.load_transformer(torch.device("meta"), dtype)
    if not isinstance(base, Experts):
        if names[1] in folders:
            raise WeightsError(f"{folders[names[1]]}: one of two experts, and this model has one network")
        return _load_like(base, folders[names[0]], device, dtype)
    kept: Any = base if len(folders) == len(names) else model.load_transformer(device, dtype)
    high, low = (
        _load_like(getattr(kept, name), folders[name], device, dtype) if name in folders else getattr(kept, name)
        for name in names
    )
    return Experts(high, low, base.boundary)


def _load_like(like: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    channels = like.config.in_channels
    return load_part(type(like), folder, device=device, dtype=dtype, expect_in_channels=channels)
