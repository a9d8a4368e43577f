"""Guidance that ends once prompt and negative prompt are answered nearly alike: half the work from then on."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cosine_similarity

from cinetune.generate.guidance import Plain
from cinetune.generate.levers._contract import Lever, Opening, Order, number
from cinetune.generate.window import Rig


@dataclass
class Adaptive:
    """Guidance of one video, at a fixed scale until the two velocities point the same way."""

    scale: float
    threshold: float
    """Cosine of the two velocities beyond which no further step is guided."""
    on: bool = True

    def wanted(self) -> bool:
        """Return whether guidance goes on."""
        return self.on

    def combine(self, prompt: Tensor, negative: Tensor) -> Tensor:
        """Return u + w (c - u), and end guidance where c and u are near. Every process has all of both."""
        self.on = not float(cosine_similarity(prompt.flatten(), negative.flatten(), dim=0)) > self.threshold
        return Plain(self.scale).combine(prompt, negative)


def _threshold(value: str) -> float:
    return number("adaptive_guidance", value, -1, 1)


def _open(opening: Opening, value: str) -> None:
    _threshold(value)


def _obstacle(rig: Rig, value: str) -> str:
    return "" if rig.sampling.guidance > 1 else f"guidance is {rig.sampling.guidance:g}: there is none to end"


def _apply(rig: Rig, value: str) -> str:
    rig.rule = lambda: Adaptive(rig.sampling.guidance, _threshold(value))
    return ""


LEVER = Lever(
    name="adaptive_guidance",
    does="Ends guidance, and with it half the work of a step, once the cosine of the velocities for prompt and "
    "negative prompt exceeds this.",
    changes="content",
    order=Order.SAMPLING,
    source="Castillo et al. 2023 (arXiv 2312.12487), Adaptive Guidance; there the cosine is of noise estimates of "
    "images, here of velocities",
    value="0.999",
    means="cosine, -1..1; 1 never ends it",
    open=_open,
    obstacle=_obstacle,
    apply=_apply,
)
