"""Every rank holds all weights, and gradients and optimiser state for its part of them (ZeRO-2)."""

from collections.abc import Iterator

from torch import Tensor, nn

from cinetune.train.engines._zero import Zero


class Zero2(Zero):
    """DeepSpeed's stage 2."""

    name = "zero2"
    stage = 2

    def _groups(self) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        yield from zip(self._zero.single_partition_of_fp32_groups, self._zero.bit16_groups, strict=True)

    def _link(self) -> None:
        # DeepSpeed does so once, after the first group's first update, when the others have no state yet.
        self._zero._hp_optimizer_states_linked = False
        self._zero._lazy_init_hp_params_optimizer_state()

    def _put(self, weight: nn.Parameter, value: Tensor, key: str | None) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        value = value.to(self.device)
        if key is None:
            safe_set_full_fp32_param(weight, value)
        else:
            safe_set_full_optimizer_state(weight, value, key)

    def _spread(self) -> None:
        self._zero.update_lp_params()


ENGINE = Zero2
