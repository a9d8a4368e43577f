import pytest
import torch
from made import adapter_for

from cinetune.adapters.form import Layer
from cinetune.adapters.spectrum import energy_kept, rank_for, svd
from cinetune.errors import WeightsError


def test_the_whole_update_says_the_same() -> None:
    """Against torch.linalg.svd of the full out x in matrix, for wide, tall and rsLoRA layers."""
    for rslora in (False, True):
        for layer in adapter_for("all-linear", ranks=(5, 2), alphas=(12.0,), rslora=rslora).layers.values():
            whole = layer.scale * layer.b.double() @ layer.a.double()
            wanted = torch.linalg.svd(whole, full_matrices=False)
            found = svd(layer)
            assert torch.allclose(found.values, wanted.S[: layer.rank], rtol=1e-10)
            assert torch.allclose(found.left * found.values @ found.right.T, whole, atol=1e-12)
            energy = wanted.S.square()
            for rank in (1, 2, 4):
                assert energy_kept(found.values, rank) == pytest.approx(
                    (energy[:rank].sum() / energy.sum()).item(), abs=1e-12
                )


def test_rank_above_the_layers_sides() -> None:
    layer = Layer(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), torch.ones(3, 9), 9.0)
    assert svd(layer).values.shape == (3,)
    assert torch.allclose(svd(layer).values[0], torch.linalg.matrix_norm(layer.update().double(), 2))


def test_rank_for_an_energy() -> None:
    values = torch.tensor([3.0, 2.0, 1.0, 0.5]).double()  # energies 9, 4, 1, 0.25 of 14.25
    assert [rank_for(values, share) for share in (0.5, 9 / 14.25, 0.64, 0.95, 0.99, 1.0)] == [1, 1, 2, 3, 4, 4]
    assert rank_for(torch.zeros(4).double(), 0.9) == 1
    assert energy_kept(torch.zeros(4).double(), 2) is None


def test_weights_that_are_not_finite() -> None:
    with pytest.raises(WeightsError, match="not finite"):
        svd(Layer(torch.full((2, 3), float("inf")), torch.ones(3, 2), 1.0))
