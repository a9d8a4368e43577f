"""InceptionV3 of FID: the graph of 2015-12-05, which is not torchvision's.

What differs from torchvision's: 1008 classes, average pooling that does not count its padding, and in the last block a
max pooling where the others average.

Source: Szegedy et al. 2015; mseitzer/pytorch-fid inception.py and toshas/torch-fidelity
feature_extractor_inceptionv3.py, from which the parameter names come.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 0.001
SIZE = 299
"""Side of a frame in pixels."""
Pair = tuple[int, int]


class Unit(nn.Module):
    """A convolution without bias, batch normalisation and a ReLU."""

    def __init__(self, inner: int, outer: int, kernel: int | Pair, stride: int = 1, padding: int | Pair = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outer, eps=EPSILON)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k hh ww"]:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def average(x: Tensor) -> Tensor:
    """Average over 3x3, at the border over what is there."""
    return F.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)


def maximum(x: Tensor) -> Tensor:
    """Maximum over 3x3."""
    return F.max_pool2d(x, 3, 1, padding=1)


class BlockA(nn.Module):
    """35x35: 1x1, 5x5, twice 3x3, and pooling."""

    def __init__(self, inner: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(inner, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Unit(inner, 48, 1), Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(inner, 64, 1), Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, padding=1)
        self.branch_pool = Unit(inner, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        five = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(average(x))], dim=1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = Unit(288, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(288, 64, 1), Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], dim=1)


class BlockC(nn.Module):
    """17x17: 1x1, once and twice 7x7 taken apart into 1x7 and 7x1, and pooling."""

    def __init__(self, middle: int) -> None:
        super().__init__()
        inner, outer = 768, 192
        self.branch1x1 = Unit(inner, outer, 1)
        self.branch7x7_1, self.branch7x7_2 = Unit(inner, middle, 1), Unit(middle, middle, (1, 7), padding=(0, 3))
        self.branch7x7_3 = Unit(middle, outer, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(inner, middle, 1), Unit(middle, middle, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = Unit(middle, middle, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = Unit(middle, middle, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = Unit(middle, outer, (1, 7), padding=(0, 3))
        self.branch_pool = Unit(inner, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(average(x))], dim=1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(768, 192, 1), Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(768, 192, 1), Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = Unit(192, 192, (7, 1), padding=(3, 0)), Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], dim=1)


class BlockE(nn.Module):
    """8x8: branches that end in 1x3 and 3x1 side by side."""

    def __init__(self, inner: int, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.branch1x1 = Unit(inner, 320, 1)
        self.branch3x3_1 = Unit(inner, 384, 1)
        self.branch3x3_2a = Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(inner, 448, 1), Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Unit(inner, 192, 1)
        self._pool = pool

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        wide = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        wide += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *wide, self.branch_pool(self._pool(x))], dim=1)


class FidInception(nn.Module):
    """Pixels as (x - 128) / 128, 299x299, to the 2048 features below the logits, averaged over space."""

    def __init__(self) -> None:
        super().__init__()
        layers = {
            "Conv2d_1a_3x3": Unit(3, 32, 3, stride=2),
            "Conv2d_2a_3x3": Unit(32, 32, 3),
            "Conv2d_2b_3x3": Unit(32, 64, 3, padding=1),
            "MaxPool_1": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": Unit(64, 80, 1),
            "Conv2d_4a_3x3": Unit(80, 192, 3),
            "MaxPool_2": nn.MaxPool2d(3, 2),
            "Mixed_5b": BlockA(192, 32),
            "Mixed_5c": BlockA(256, 64),
            "Mixed_5d": BlockA(288, 64),
            "Mixed_6a": BlockB(),
            "Mixed_6b": BlockC(128),
            "Mixed_6c": BlockC(160),
            "Mixed_6d": BlockC(160),
            "Mixed_6e": BlockC(192),
            "Mixed_7a": BlockD(),
            "Mixed_7b": BlockE(1280, average),
            "Mixed_7c": BlockE(2048, maximum),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._order = list(layers)
        self.fc = nn.Linear(2048, 1008)  # plays no part in FID, but published checkpoints hold it

    def forward(self, x: Float[Tensor, "n 3 299 299"]) -> Float[Tensor, "n 2048"]:
        for name in self._order:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))
