"""The tools that people run one after another, each behind one function: clips and weights in, numbers out.

They are imported from a folder of clones that the user names; nothing of theirs is kept here. What they want of
torchvision, which need not be installed, is supplied by an empty module of that name while they are imported, and by
an AlexNet whose weights lie beside those of LPIPS.
"""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import _stand_ins
import numpy as np
import torch
from _clips import Clips, Decoder
from _random_weights import HEADS
from _stand_ins import FRAMES, VIDEOS, Numbers

from cinetune.metrics._frame_set import picked
from cinetune.metrics.backbones._i3d import EPSILON

STAND_IN = "stand-in, not the tool"
EMPTY = ("datasets", "datasets.video_utils", "models", "transforms", "transforms.functional")
"""Modules of torchvision from which the tools import what they do not use here."""
Run = Callable[[Clips, Path, Decoder], Numbers]


@dataclass(frozen=True)
class Task:
    """One row of the comparison."""

    name: str
    metrics: tuple[str, ...]
    """Ours, for the same numbers."""
    backbone: str | None
    """Whose weights both use."""
    tool: str
    run: Run
    both_sets: bool = False
    """Measures the real clips by themselves too, as cinetune does."""


def tasks(clones: Path | None) -> dict[str, Task]:
    """Return what there is to compare by name: with the tools in `clones`, the others by stand-ins."""
    fvd = _tool(clones, "content-debiased-fvd", _cd_fvd, _stand_ins.fvd)
    fid = _tool(clones, "torch-fidelity", _torch_fidelity, _stand_ins.fid_and_kid)
    lpips = _tool(clones, "PerceptualSimilarity", _lpips, _stand_ins.lpips)
    loop = "loop around transformers' CLIPModel"
    return {
        "fvd": Task("FVD", ("fvd_stylegan_v",), "i3d_stylegan_v", *fvd),
        "fid": Task("FID and KID", ("_tf_frames:FID", "_tf_frames:KID"), "inception_tf", *fid),
        "clip": Task(
            "CLIP-SIM, text and frames", ("clip_text", "clip_frames"), "clip_b32", loop, _stand_ins.clip, True
        ),
        "lpips": Task("LPIPS", ("lpips",), "lpips_alex", *lpips),
        "flicker": Task("flicker", ("flicker",), None, "loop in numpy", _stand_ins.flicker, True),
    }


def _tool(clones: Path | None, name: str, load: Callable[[], Run], stand_in: Run) -> tuple[str, Run]:
    folder = clones / name if clones else None
    if clones is None or folder is None or not folder.is_dir():
        return f"{name}: {STAND_IN}", stand_in
    commit = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False
    )
    for path in (folder, clones / "site"):
        sys.path.append(str(path))
    with _empty_torchvision():
        run = load()
    return f"{name} {commit.stdout.strip() or '(no commit)'}", run


@contextmanager
def _empty_torchvision() -> Iterator[None]:
    """Let `import torchvision` succeed; whatever it holds is an empty class."""

    class Empty(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    names = ["torchvision", *(f"torchvision.{name}" for name in EMPTY)]
    made = {name: Empty(name) for name in names}
    for name, module in made.items():
        above, _, below = name.rpartition(".")
        if above:
            setattr(made[above], below, module)
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)


def _cd_fvd() -> Run:
    tool = importlib.import_module("cdfvd.fvd")

    def run(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
        with redirect_stdout(StringIO()):
            fvd = tool.cdfvd(model="i3d", n_real="full", n_fake="full", ckpt_path=str(weights), device="cpu")
        for module in fvd.model.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.eps = EPSILON  # the tool has 1e-5, the published graph 1e-3; without this no number can agree
        for paths, add in ((clips.real, fvd.add_real_stats), (clips.generated, fvd.add_fake_stats)):
            for i in range(0, len(paths), VIDEOS):
                add(np.stack([decode(path) for path in paths[i : i + VIDEOS]]))
        return {"fvd": float(fvd.compute_fvd_from_stats())}

    return run


class _Frames(torch.utils.data.Dataset[torch.Tensor]):
    """Some frames of each video, 3 h w; a video is decoded once, when its first frame is asked for."""

    def __init__(self, paths: list[Path], decode: Decoder) -> None:
        self._paths, self._decode = paths, decode
        self._held = -1
        self._frames = self._of(0)

    def __len__(self) -> int:
        return len(self._paths) * len(self._frames)

    def __getitem__(self, index: int) -> torch.Tensor:
        video, frame = divmod(index, len(self._frames))
        if video != self._held:
            self._frames = self._of(video)
        return torch.from_numpy(self._frames[frame]).permute(2, 0, 1)

    def _of(self, video: int) -> np.ndarray:
        self._held = video
        return picked(self._decode(self._paths[video]))


def _torch_fidelity() -> Run:
    tool = importlib.import_module("torch_fidelity")

    def run(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
        generated, real = _Frames(clips.generated, decode), _Frames(clips.real, decode)
        found = tool.calculate_metrics(
            input1=generated,
            input2=real,
            fid=True,
            kid=True,
            kid_subset_size=min(1000, len(real)),
            feature_extractor_weights_path=str(weights),
            batch_size=FRAMES,
            cuda=False,
            save_cpu_ram=True,  # no processes beside this one, so that both sides use as many cores
            verbose=False,
        )
        return {"fid": found["frechet_inception_distance"], "kid": found["kernel_inception_distance_mean"]}

    return run


def _lpips() -> Run:
    networks: Any = importlib.import_module("lpips.pretrained_networks")
    tool = importlib.import_module("lpips")

    @torch.no_grad()
    def run(clips: Clips, weights: Path, decode: Decoder) -> Numbers:
        networks.tv = SimpleNamespace(alexnet=lambda pretrained: SimpleNamespace(features=_stand_ins.alexnet(weights)))
        distance = tool.LPIPS(net="alex", model_path=str(weights / HEADS), verbose=False)
        values = []
        for own, true in zip(clips.generated, clips.real, strict=True):
            for pair in zip(decode(own)[1:], decode(true)[1:], strict=True):
                images = [torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1 for frame in pair]
                values.append(distance(*images).item())
        return {"lpips": float(np.mean(values))}

    return run
