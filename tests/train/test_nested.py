from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from cinetune.adapters import lora
from cinetune.adapters.resize import resize
from cinetune.models._wan import WanModel
from cinetune.train import nested
from tiny_step import CPU, relative, step

RANKS = (2, 3, 8)


def adapted(model: WanModel, **kind: Any) -> torch.nn.Module:
    """With an adapter whose B is not zero."""
    network = model.load_transformer(CPU, torch.float32)
    lora.inject(network, ["attn2.to_q", "attn1.to_v"], rank=8, alpha=12.0, seed=0, **kind)
    generator = torch.Generator().manual_seed(1)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return network.train()


def test_ranks_are_drawn_evenly_and_by_step_alone() -> None:
    drawn = [nested.draw_rank(RANKS, 7, step) for step in range(3000)]
    torch.manual_seed(0)
    assert drawn == [nested.draw_rank(RANKS, 7, step) for step in range(3000)]
    assert drawn != [nested.draw_rank(RANKS, 8, step) for step in range(3000)]
    assert all(abs(count - 1000) < 5 * (3000 * 2 / 9) ** 0.5 for count in Counter(drawn).values())  # five deviations
    assert set(drawn) == set(RANKS)


@pytest.mark.parametrize("kind", [{}, {"rslora": True}, {"dora": True}], ids=["lora", "rslora", "dora"])
def test_truncated_is_the_file_cut_down(tiny: WanModel, tmp_path: Path, kind: dict[str, bool]) -> None:
    """Loss and every gradient of the leading ranks; what was cut off gets none."""
    network = adapted(tiny, **kind)
    nested.prepare(network)
    lora.save(tmp_path / "whole.safetensors", network)
    whole, _ = step(network, tiny)
    for rank in RANKS[:2]:
        with nested.truncated(network, rank):
            loss, gradients = step(network, tiny)
        resize(tmp_path / "whole.safetensors", tmp_path / f"{rank}.safetensors", rank=rank, leading=True)
        small = tiny.load_transformer(CPU, torch.float32)
        lora.load(tmp_path / f"{rank}.safetensors", small)
        small.train()
        alone, wanted = step(small, tiny)
        assert loss == pytest.approx(alone, rel=1e-6)
        assert abs(loss - whole) > 1e-4
        leading = {name: _cut(name, g, slice(rank)) for name, g in gradients.items()}
        assert relative(leading, wanted) <= 1e-5
        assert not any(
            _cut(name, g, slice(rank, None)).any() for name, g in gradients.items() if "magnitude" not in name
        )
    assert step(network, tiny)[0] == whole, "whole again outside"


def test_it_must_be_prepared(tiny: WanModel) -> None:
    with pytest.raises(ValueError, match="prepare"), nested.truncated(adapted(tiny), 2):
        pass


def _cut(name: str, gradient: torch.Tensor, part: slice) -> torch.Tensor:
    if "magnitude" in name:
        return gradient
    return gradient[part] if "lora_A" in name else gradient[:, part]
