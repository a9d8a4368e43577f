import pytest
import torch

from cinetune.adapters.form import Layer


@pytest.mark.parametrize("kernel", [(), (1, 2, 2)])
def test_a_magnitude_sets_the_norms_and_leaves_the_directions(kernel: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, *kernel, generator=g)
    a, b = torch.randn(2, 7, *kernel, generator=g), torch.randn(5, 2, *(1 for _ in kernel), generator=g)
    magnitude = torch.rand(5, generator=g) + 0.5
    plain, dora = Layer(a, b, 3.0), Layer(a, b, 3.0, magnitude=magnitude)
    straight, turned = plain.applied(weight).flatten(1), dora.applied(weight).flatten(1)
    assert torch.allclose(turned.norm(dim=1), magnitude)
    assert torch.allclose(torch.cosine_similarity(straight, turned), torch.ones(5))
    assert torch.equal(straight, (weight + plain.update().reshape(weight.shape)).flatten(1))
    assert (dora.parameters, plain.parameters) == (a.numel() + b.numel() + 5, a.numel() + b.numel())
