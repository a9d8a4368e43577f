"""Studios of the tiny model with levers, and how much work they do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cinetune.adapters import lora
from cinetune.generate.network import Trained
from cinetune.generate.studio import choose, open_studio
from cinetune.generate.window import Sampling, Studio, Window
from cinetune.models._velocity import parts
from cinetune.ops.video import deepen
from tiny_model import CAPTIONS

CPU = torch.device("cpu")
SIZE = (9, 32, 48)
FRAME = deepen(
    np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)).resize((48, 32)))
)


def studio(
    model: Any, *levers: str, steps: int = 8, guidance: float = 1.0, trained: tuple[Trained, ...] = (), **more: Any
) -> Studio:
    """Open a studio in fp32 on the CPU."""
    sampling = Sampling(steps=steps, guidance=guidance, shift=3.0, negative="blurred")
    pulls = choose(more.pop("speed", "exact"), levers)
    return open_studio(model, trained, sampling, SIZE, CAPTIONS, device=CPU, dtype=torch.float32, pulls=pulls, **more)


def window(**changes: Any) -> Window:
    """A window from a picture."""
    return Window(**({"prompt": CAPTIONS[0], "seed": 7, "frames": SIZE[0], "first": FRAME} | changes))


@contextmanager
def counted(room: Studio) -> Iterator[dict[str, int]]:
    """Count forward passes, and the blocks that are really run in them."""
    calls = {"passes": 0, "blocks": 0}

    def count(name: str) -> Any:
        return lambda *_: calls.__setitem__(name, calls[name] + 1)

    networks: list[Any] = list(parts(room.rig.network))
    hooks = [network.register_forward_hook(count("passes")) for network in networks]
    hooks += [block.ffn.register_forward_hook(count("blocks")) for network in networks for block in network.blocks]
    yield calls
    for hook in hooks:
        hook.remove()


def work(room: Studio, *windows: Window) -> dict[str, int]:
    """What windows take."""
    with counted(room) as calls:
        for one in windows or (window(),):
            room.latents(one)
    return calls


def adapter(model: Any, path: Path, seed: int = 2, **form: Any) -> Path:
    """Write an adapter that does something."""
    network = model.load_transformer(CPU, torch.float32)
    lora.inject(network, model.adapter_targets(image_projections=True), rank=4, alpha=8.0, seed=0, **form)
    g = torch.Generator().manual_seed(seed)
    for weight in lora.parameters(network):
        weight.data = torch.randn(weight.shape, generator=g) * 0.2
    lora.save(path, network)
    return path


def apart(one: torch.Tensor, two: torch.Tensor) -> float:
    """Relative difference, as 2-norms."""
    return float((one - two).norm() / two.norm())
