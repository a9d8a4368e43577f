"""Every rank holds a part of everything; a layer is put together when its turn comes (ZeRO-3)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cinetune.train.engines._zero import Zero


class Zero3(Zero):
    """DeepSpeed's stage 3."""

    name = "zero3"
    stage = 3

    def _groups(self) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        yield from zip(self._zero.fp32_partitioned_groups_flat, self._zero.fp16_groups, strict=True)

    def _put(self, weight: nn.Parameter, value: Tensor, key: str | None) -> None:
        from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

        any_weight: Any = weight
        size = any_weight.ds_tensor.numel()
        flat = torch.zeros(size * self.ranks.world, dtype=value.dtype)  # the last ranks' parts may be padding
        flat[: value.numel()] = value.flatten()
        part = flat[self.ranks.rank * size :][:size].to(self.device)
        if key is None:
            safe_set_local_fp32_param(weight, part)
        else:
            safe_set_local_optimizer_state(weight, part, key)

    def _spread(self) -> None:
        for group in range(len(self._zero.fp16_groups)):
            self._zero._reassign_or_swap_out_partitioned_parameters(group)
        self._zero._partition_all_parameters()
        if self._zero.persistent_parameters:  # small ones, which every rank keeps whole
            self._zero.persistent_parameters[0].all_gather(self._zero.persistent_parameters)


ENGINE = Zero3
