import pytest
import torch

from cinetune.nano.muon import Muon, optimisers, orthogonalise


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16)])
def test_singular_values_go_to_about_one_and_the_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    near = orthogonalise(matrix)
    values = torch.diagonal(u.T @ near @ vh.T)
    # The quintic of Jordan et al. is tuned for speed: it ends between 0.7 and 1.2, not at 1.
    assert values.min() > 0.3
    assert values.max() < 1.3
    assert torch.allclose(u @ torch.diag(values) @ vh, near, atol=1e-4)


def test_it_fits_a_linear_map() -> None:
    g = torch.Generator().manual_seed(1)
    truth, x = torch.randn(6, 10, generator=g), torch.randn(200, 10, generator=g)
    layer = torch.nn.Linear(10, 6, bias=False)
    optimiser = Muon(layer.parameters(), lr=0.2)
    losses = []
    for step in range(150):
        for group in optimiser.param_groups:
            group["lr"] = 0.2 * (1 - step / 150)
        loss = (layer(x) - x @ truth.T).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_every_weight_has_one_optimiser() -> None:
    net = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.Linear(5, 6), torch.nn.LayerNorm(6))
    muon, adam = optimisers(net, lr=1e-3)
    held = [id(w) for o in (muon, adam) for group in o.param_groups for w in group["params"]]
    assert sorted(held) == sorted(id(w) for w in net.parameters())
    assert {w.ndim for w in muon.param_groups[0]["params"]} == {5, 2}
