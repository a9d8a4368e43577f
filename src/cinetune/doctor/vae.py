"""What decoding and encoding a video cost, counted on the meta device: no weights, no memory, any VAE config.

The VAE works through a video four frames at a time, so its cost is exactly linear in the number of latents after the
first; in the area it is a linear part (convolutions) and a quadratic one (one attention layer over each frame). Four
small countings give both.
"""

import json
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, signature
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

FP32 = 4
SIDES = (4, 8)
"""Latents along a side of the pictures that are counted."""
TILE = 256
"""Pixels of a tile's side in `AutoencoderKLWan.enable_tiling`."""


@dataclass(frozen=True)
class VaeCost:
    """For one video in fp32."""

    parameters: int
    encode_flops: int
    decode_flops: int
    decode_bytes: int
    """Peak of decoding, without the weights."""
    tiled_bytes: int
    """The same in tiles: one tile, and three times the video (tiles, blended rows, result)."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors alive that were made inside it, or given to `hold`, and their peak.

    Works on the meta device too.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.seen: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        self._count((t for t in tree_iter(out) if isinstance(t, Tensor)), given)
        return out

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were made before, until they are gone."""
        self._count(tensors, set())

    def _count(self, tensors: Iterable[Tensor], given: set[int]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self.seen and key not in given:
                self.seen[key] = weakref.ref(storage, self._forget(key, size))
                self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int, size: int) -> Callable[[object], None]:
        def gone(_: object) -> None:
            self.now -= size
            self.seen.pop(key, None)

        return gone


def count_vae(config: Mapping[str, Any], frames: int, height: int, width: int) -> VaeCost:
    """Return the cost for one video; `config` holds the arguments of `AutoencoderKLWan` ({}: the published Wan2.1)."""
    from diffusers import AutoencoderKLWan

    usual = {name: field.default for name, field in signature(AutoencoderKLWan.__init__).parameters.items()}
    differs = {name: value for name, value in config.items() if name in usual and not _same(value, usual[name])}
    counted = _count(json.dumps(differs, sort_keys=True))  # a config written out in full is counted once all the same
    factor, temporal, small = counted.spatial, counted.temporal, counted.small
    latents, area = (frames - 1) // temporal + 1, height * width // factor**2

    def flops(which: int) -> int:
        first = [2 * small[2, side][which] - small[3, side][which] for side in SIDES]
        later = [small[3, side][which] - small[2, side][which] for side in SIDES]
        return _extend(first, area) + (latents - 1) * _extend(later, area)

    def peak(at: int) -> int:
        """Of three latents and this area, linear in the area; what is decoded so far lies beside it."""
        return small[3, 8][2] * at // 64 + max(0, latents - 3) * FP32 * 3 * temporal * at * factor**2

    output = FP32 * 3 * frames * height * width
    return VaeCost(
        parameters=counted.parameters,
        encode_flops=flops(0),
        decode_flops=flops(1),
        decode_bytes=peak(area),
        tiled_bytes=min(peak(area), peak(min(area, (TILE // factor) ** 2)) + 3 * output),
    )


def _same(a: Any, b: Any) -> bool:
    """Whether two values of a config are alike, whose lists may be tuples."""
    return json.dumps(a) == json.dumps(b) if b is not Parameter.empty else False


class _Counted(NamedTuple):
    parameters: int
    spatial: int
    temporal: int
    small: dict[tuple[int, int], tuple[int, int, int]]
    """By latents and side: FLOP of encoding and decoding, and the peak bytes of decoding."""


@cache
def _count(config: str) -> _Counted:
    """Count a VAE on the meta device, once for a config: 2 and 3 latents of two small sizes."""
    from diffusers import AutoencoderKLWan

    small = {}
    with torch.device("meta"), torch.no_grad():
        vae: Any = AutoencoderKLWan.from_config(json.loads(config))
        spatial, temporal = int(vae.config.scale_factor_spatial), int(vae.config.scale_factor_temporal)
        for latents, side in product((2, 3), SIDES):
            video = torch.empty(1, 3, (latents - 1) * temporal + 1, side * spatial, side * spatial)
            with FlopCounterMode(display=False) as encoding:
                vae.encode(video)
            z = torch.empty(1, vae.config.z_dim, latents, side, side)
            with FlopCounterMode(display=False) as decoding, LiveBytes() as live:
                vae.decode(z)
            small[latents, side] = encoding.get_total_flops(), decoding.get_total_flops(), live.peak
    return _Counted(sum(weight.numel() for weight in vae.parameters()), spatial, temporal, small)


def _extend(at: list[int], area: int) -> int:
    """Extend a x + b x x from its values at 16 and 64 latents."""
    b = (at[1] / 64 - at[0] / 16) / (64 - 16)
    a = at[0] / 16 - b * 16
    return round(a * area + b * area**2)
