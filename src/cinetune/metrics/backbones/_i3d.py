"""I3D, the network of FVD: Inception-v1 inflated in time, with the class scores of Kinetics-400.

FVD as papers report it looks through the graph `i3d-kinetics-400/1` of the TensorFlow hub, which holds the weights
`rgb_scratch`: not `rgb_imagenet`, and the 400 logits before softmax and not the 1024 pooled features. Its batch
normalisation has epsilon 0.001, and its padding is TensorFlow's "same", which pads the far side more than the near one
and depends on the size that comes in.

Source: Carreira and Zisserman 2017; google-deepmind/kinetics-i3d i3d.py. Parameter names of piergiaj/pytorch-i3d.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 0.001
CLASSES = 400
LEAST_FRAMES = 9
"""Fewer leave a single step of time to the last pooling, which spans two."""
SIZE = 224
"""Side of a frame in pixels."""
MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""Channels in, and out of the six convolutions b0, b1a, b1b, b2a, b2b, b3b."""
Triple = tuple[int, int, int]
ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
TO_A_STEP = 8
"""Frames from one step of time above all layers to the next."""
REACH = 48
"""Frames that a step sees before its own eight and after them: 47 and 46, in whole steps."""
PIECE = 160
"""Frames whose steps are made at once. With what they see on both sides, 1 GiB in the first layers."""


def _padding(size: int, span: int, step: int) -> int:
    """Return the zeros that "same" adds to one dimension, on both sides together."""
    return max((-(-size // step) - 1) * step + span - size, 0)


def pad_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Pad with zeros so that the output has ceil(size / stride) places; of an odd number the far side gets one more."""
    sides: list[int] = []
    for size, span, step in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = _padding(size, span, step)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides) if any(sides) else x


class Unit(nn.Module):
    """A convolution without bias, batch normalisation and a ReLU; or, as the last layer, a convolution with bias."""

    def __init__(
        self, inner: int, outer: int, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1), last: bool = False
    ) -> None:
        super().__init__()
        # With stride 1 and odd kernels "same" is symmetric, and the convolution can pad by itself.
        inside = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2) if stride == (1, 1, 1) else (0, 0, 0)
        self.conv3d = nn.Conv3d(inner, outer, kernel, stride, inside, bias=last)
        self.bn = nn.Identity() if last else nn.BatchNorm3d(outer, eps=EPSILON)
        self._inside, self._stride = inside, stride
        self._window = None if stride == (1, 1, 1) else (kernel, stride)
        self._last = last

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b k ff hh ww"]:
        if self._window:
            x = pad_same(x, *self._window)
        x = self.bn(self._convolve(x))
        return x if self._last else F.relu(x, inplace=True)

    def _convolve(self, x: Tensor) -> Tensor:
        convolution = self.conv3d
        if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last_3d):
            plain: Tensor = convolution(x)
            return plain
        if convolution.kernel_size == (1, 1, 1):
            # With channels last in memory this is one matrix product; torch's 1x1x1 convolution is slower on a CPU.
            mapped = F.linear(x.permute(0, 2, 3, 4, 1), convolution.weight.flatten(1), convolution.bias)
            return mapped.permute(0, 4, 1, 2, 3)
        if ONEDNN and not torch.is_autocast_enabled("cpu"):
            # For a single clip torch itself takes a slower kernel in half of the layers, which leaves channels first in
            # memory for all that follows: 0.85 s of CPU for 16 frames, 0.57 s so, and 0.58 s a clip in a batch of two.
            return torch.mkldnn_convolution(
                x, convolution.weight, convolution.bias, self._inside, self._stride, (1, 1, 1), 1
            )
        last: Tensor = convolution(x).contiguous(memory_format=torch.channels_last_3d)
        return last


class SamePool(nn.Module):
    """Max pooling with "same" padding, without a padded copy: windows that reach over the far side are cut there.

    Zeros and nothing are the same: what comes in went through a ReLU.
    """

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self._kernel, self._stride = kernel, stride

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c ff hh ww"]:
        near = [
            _padding(size, span, step) // 2
            for size, span, step in zip(x.shape[2:], self._kernel, self._stride, strict=True)
        ]
        return F.max_pool3d(x, self._kernel, self._stride, near, ceil_mode=True)


class Mixed(nn.Module):
    """Four branches side by side: 1x1x1, twice 1x1x1 then 3x3x3, and pooling then 1x1x1."""

    def __init__(self, inner: int, outer: tuple[int, ...]) -> None:
        super().__init__()
        wide = (3, 3, 3)
        self.b0 = Unit(inner, outer[0])
        self.b1a, self.b1b = Unit(inner, outer[1]), Unit(outer[1], outer[2], wide)
        self.b2a, self.b2b = Unit(inner, outer[3]), Unit(outer[3], outer[4], wide)
        self.b3b = Unit(inner, outer[5])

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b k f h w"]:
        pooled = F.max_pool3d(x, 3, 1, padding=1)
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class I3d(nn.Module):
    """Pixels in -1..1, 224x224, at least 9 frames, to 400 logits averaged over time. 12,697,264 parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers = dict(_layers())
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._order = list(layers)
        self.logits = Unit(1024, CLASSES, last=True)

    def steps(self, x: Float[Tensor, "b 3 f h w"]) -> Float[Tensor, "b 1024 t 1 1"]:
        """Return the features of each step of time, averaged over space; t is an eighth of the frames, rounded up."""
        for name in self._order:
            x = self.get_submodule(name)(x)
        return x.mean((3, 4), keepdim=True)

    def pooled(self, x: Float[Tensor, "b 3 f h w"]) -> Float[Tensor, "b 1024 t 1 1"]:
        """Return the features below the logits, averaged over space and over two neighbouring steps of time."""
        return F.avg_pool3d(self.steps(x), (2, 1, 1), 1)

    def forward(self, x: Float[Tensor, "b 3 f h w"]) -> Float[Tensor, "b 400"]:
        scores: Tensor = self.logits(self.pooled(x))
        return scores.mean((2, 3, 4))

    def film(self, frames: int, prepared: Callable[[int, int], Float[Tensor, "1 3 f h w"]]) -> Float[Tensor, "1 400"]:
        """Return the same as `forward` for any length, with no more than PIECE frames and what they see in memory.

        Args:
            frames: their number.
            prepared: (first, end) -> these frames as the network wants them.
        """
        parts = []
        for first, begin, end in pieces(frames):
            here = self.steps(prepared(begin, end))[:, :, (first - begin) // TO_A_STEP :]
            parts.append(here[:, :, : PIECE // TO_A_STEP])
        scores: Tensor = self.logits(F.avg_pool3d(torch.cat(parts, 2), (2, 1, 1), 1))
        return scores.mean((2, 3, 4))


def pieces(frames: int) -> Iterator[tuple[int, int, int]]:
    """Yield, for each PIECE of a film, its first frame, and the first and the end of the frames that it sees.

    A piece begins a whole number of steps after the film does and ends as many before its end, so that "same" padding
    divides by two at the same places as in the whole film; its own zeros at a cut stay out of what is used.
    """
    for first in range(0, frames, PIECE):
        after = frames - (first + PIECE + REACH)
        yield first, max(0, first - REACH), frames - max(0, after) // TO_A_STEP * TO_A_STEP


def _layers() -> Iterator[tuple[str, nn.Module]]:
    """Everything below the logits, in order, by its published name."""
    yield "Conv3d_1a_7x7", Unit(3, 64, (7, 7, 7), (2, 2, 2))
    yield "MaxPool3d_2a_3x3", SamePool((1, 3, 3), (1, 2, 2))
    yield "Conv3d_2b_1x1", Unit(64, 64)
    yield "Conv3d_2c_3x3", Unit(64, 192, (3, 3, 3))
    yield "MaxPool3d_3a_3x3", SamePool((1, 3, 3), (1, 2, 2))
    for name, (inner, outer) in MIXED.items():
        if name == "Mixed_4b":
            yield "MaxPool3d_4a_3x3", SamePool((3, 3, 3), (2, 2, 2))
        if name == "Mixed_5b":
            yield "MaxPool3d_5a_2x2", SamePool((2, 2, 2), (2, 2, 2))
        yield name, Mixed(inner, outer)
