import dataclasses
import json
from pathlib import Path

import pytest
import torch
from made import REGEX, adapter_for
from rich.console import Console

from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.inspection import inspect, show
from cinetune.adapters.writing import write_adapter
from cinetune.errors import WeightsError


def test_norms_and_energies_are_those_of_the_whole_updates(tmp_path: Path) -> None:
    adapter = adapter_for(ranks=(4, 6), alphas=(8.0,))
    write_adapter(tmp_path / "a.safetensors", adapter, "kohya")
    found = inspect(tmp_path / "a.safetensors")
    updates = {name: layer.scale * layer.b.double() @ layer.a.double() for name, layer in adapter.layers.items()}
    spectra = {name: torch.linalg.svdvals(update).square() for name, update in updates.items()}
    assert (found.format, found.precision, found.targets, found.image_projections) == (
        "kohya", ["float32"], "cross-attention", True
    )  # fmt: skip
    assert found.parameters == sum(layer.rank * 384 for layer in adapter.layers.values())
    assert (found.total.layers, found.total.ranks, found.total.alphas) == (36, [4, 6], [8.0])
    assert [(b.name, b.layers) for b in found.blocks] == [(str(n), 6) for n in range(6)]
    assert len(found.targets_of) == 6
    for group, inside in [
        (found.total, lambda name: True),
        (found.blocks[2], lambda name: name.startswith("blocks.2.")),
        (found.targets_of[0], lambda name: name.endswith("attn2.add_k_proj")),
    ]:
        mine = [name for name in updates if inside(name)]
        squares = sum(updates[name].square().sum().item() for name in mine)
        assert group.norm == pytest.approx(squares**0.5, rel=1e-9)
        assert group.energy is not None
        assert group.energy[6] == pytest.approx(1.0, abs=1e-9)
        for rank in (1, 2, 4):
            wanted = sum(spectra[name][:rank].sum().item() for name in mine) / squares
            assert group.energy[rank] == pytest.approx(wanted, rel=1e-9)
    one = found.layers["blocks.0.attn2.to_q"]
    assert one.singular_values == pytest.approx(spectra["blocks.0.attn2.to_q"][: one.rank].sqrt().tolist())
    assert json.loads(json.dumps(dataclasses.asdict(found)))["total"]["energy"]["1"] == found.total.energy[1]  # type: ignore[index]


def test_what_is_printed(tmp_path: Path) -> None:
    text = adapter_for(REGEX, ranks=(4, 2), dtype=torch.bfloat16)  # targets with a largest rank of their own
    write_adapter(tmp_path / "a.safetensors", text, "wan")
    with (tmp_path / "out").open("w") as file:
        show(inspect(tmp_path / "a.safetensors"), Console(file=file, width=120))
    printed = (tmp_path / "out").read_text()
    for word in ("wan format", "bfloat16", "13 layers", "targets other", "no image projections", "ffn.net.2", "rank 4"):
        assert word in printed


def test_an_adapter_of_zeros_has_no_shares(tmp_path: Path) -> None:
    layers = {"blocks.0.attn2.to_q": Layer(torch.ones(2, 5), torch.zeros(3, 2), 2.0)}
    write_adapter(tmp_path / "a.safetensors", Adapter(layers, "wan"), "wan")
    found = inspect(tmp_path / "a.safetensors")
    assert (found.total.norm, found.total.energy) == (0.0, None)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    stem = "transformer.blocks.0.attn2.to_q"
    save_file({f"{stem}.lora_A.weight": torch.full((2, 5), float("nan")), f"{stem}.lora_B.weight": torch.ones(3, 2)},
              tmp_path / "a.safetensors")  # fmt: skip
    with pytest.raises(WeightsError, match=r"a\.safetensors: blocks\.0\.attn2\.to_q: weights that are not finite"):
        inspect(tmp_path / "a.safetensors")
