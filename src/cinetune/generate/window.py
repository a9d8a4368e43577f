"""One sampling of the network, from pictures and a prompt to frames: what all of stage 2 is made of."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt16
from torch import Tensor, nn

from cinetune.generate.guidance import Answer, Both, Plain, Rule, Unguided, in_turn, prompt_alone
from cinetune.models._condition import TEMPORAL
from cinetune.models._contract import Condition, Decoder, Encoders, Latents, VideoModel
from cinetune.models._sampling import denoise, draw_noise, without_prompt
from cinetune.models._scheduler import make_scheduler
from cinetune.models._velocity import STEPS, parts
from cinetune.ops.video import from_deep, to_deep, to_shallow

Picture = UInt16[np.ndarray, "h w 3"]
"""0..65535, display-referred R'G'B' (Rec.709 primaries)."""
Frames = UInt16[np.ndarray, "f h w 3"]


KEYFRAME_WINDOW = 5
"""Frames of the window whose last frame is a keyframe: the shortest in which the model moves at all."""


@dataclass(frozen=True)
class Sampling:
    """How a window is sampled."""

    steps: int
    guidance: float
    """Classifier-free guidance; 1 = off."""
    shift: float
    """Shift of the noise levels; 3 at 480p, 5 at 720p."""
    negative: str = ""


@dataclass(frozen=True)
class Window:
    """What one sampling is asked for. Pictures are of the video's size."""

    prompt: str
    seed: int
    frames: int
    """4n + 1."""
    first: Picture | None = None
    """The frame it begins with; None for a model that takes none."""
    last: Picture | None = None
    """The frame it ends with."""
    seen: UInt16[np.ndarray, "_h _w 3"] | None = None
    """What the image encoder sees in the place of `first`: the picture in its own size, as the published code does."""
    known: Frames | None = None
    """4m + 1 frames that it begins with, of which `first` is the first: motion goes on from them."""
    strength: float = 1.0
    """Noise level 0..1 that it starts from; below 1 from `first` held still, of which it then keeps more."""


def staying(tensor: Tensor) -> Tensor:
    """Return what one process alone adds up to."""
    return tensor


@dataclass
class Rig:
    """All that makes a window. Levers change it, in their order, before the first one is made."""

    model: VideoModel
    encoders: Encoders
    network: nn.Module
    decoder: Decoder
    sampling: Sampling
    size: tuple[int, int, int]
    """Frames, height and width of the usual window."""
    device: torch.device
    dtype: torch.dtype
    texts: dict[str, Float[Tensor, "m e"]]
    """Tokens of every prompt, the negative one included."""
    rule: Callable[[], Rule] = field(init=False)
    """How guidance goes; called for each video."""
    both: Both = in_turn
    unguided: Unguided = prompt_alone
    schedule: Callable[[int], Any] = field(init=False)
    """A scheduler with its timesteps set; called for each video, with its seed."""
    caching: bool = False
    """Modules of the network remember something from step to step, of each prompt by itself."""
    offloaded: bool = False
    """Weights of some blocks wait in main memory: the network is neither moved nor sharded."""
    vote: Callable[[Tensor], Tensor] = staying
    """Adds a tensor up over the processes that share the tokens of a window, so that all of them decide the same."""

    def __post_init__(self) -> None:
        """Begin with the plain way, which levers may leave."""
        self.rule = lambda: Plain(self.sampling.guidance)
        self.schedule = self._published

    def _published(self, seed: int) -> Any:
        scheduler = make_scheduler(self.sampling.shift)
        scheduler.set_timesteps(self.sampling.steps, device=self.device)
        return scheduler


class Studio:
    """Makes windows with a rig."""

    def __init__(self, rig: Rig) -> None:
        """Take the rig as it is; nothing of it changes from now on."""
        self.rig = rig
        any_model: Any = rig.model
        self.facts = any_model.facts

    def __call__(self, window: Window) -> Frames:
        """Return the frames."""
        return to_deep(self.rig.decoder.decode(self.latents(window))[0])

    @torch.no_grad()
    def latents(self, window: Window) -> Latents:
        """Return normalised latents of the window, b = 1."""
        rig = self.rig
        condition = self._condition(window)
        _, _, lf, lh, lw = condition.first.shape
        noise = draw_noise((self.facts.channels, lf, lh, lw), window.seed)[None].to(rig.device)
        scheduler = rig.schedule(window.seed)
        begin = _begin(scheduler, window.strength)
        start = noise
        if begin and window.first is not None:
            still = from_deep(np.repeat(window.first[None], window.frames, axis=0))
            sigma = float(scheduler.timesteps[begin]) / 1000
            start = (1 - sigma) * rig.encoders.encode_video(still).to(rig.device) + sigma * noise
        if rig.caching:
            for part in parts(rig.network):
                any_part: Any = part
                any_part._reset_stateful_cache()
        held = self._held(window, (lf, lh, lw))
        ask = _Guided(rig, condition, rig.rule(), held)
        made = denoise(ask, start, scheduler, begin=begin)
        # The sampler brings what is known back to within its rounding of the noise levels; now it is exact.
        if self.facts.kind == "ti2v":
            given, mask = condition.first[:, 1:], condition.first[:, :1]
            made = mask * given + (1 - mask) * made
        for place, known in held.pieces if held else []:
            made[:, :, place] = known
        return made

    def _condition(self, window: Window) -> Condition:
        rig, encoders = self.rig, self.rig.encoders
        text = rig.texts[window.prompt]
        takes, told_last = self.facts.kind != "t2v", window.last is not None and self.ends
        grey = torch.zeros(1, 3, *rig.size[1:])
        first = grey if window.first is None else from_deep(window.first[None])[:, :, 0]
        last = from_deep(window.last[None])[:, :, 0] if window.last is not None and told_last else None
        given = encoders.condition(first, window.frames, last)
        seen = [window.seen if window.seen is not None else window.first] if takes else []
        seen += [window.last] if told_last else []
        tokens = [encoders.encode_image(to_shallow(picture)) for picture in seen if picture is not None]
        image = torch.cat(tokens) if tokens else torch.zeros(0, 0)
        return Condition(
            given.to(rig.device), image[None].to(rig.device), text[None].to(rig.device), (len(text),)
        )  # fmt: skip

    @property
    def ends(self) -> bool:
        """Whether the network was trained to be told a last frame; else the window's end is held in its latents."""
        any_network: Any = parts(self.rig.network)[0]
        return any_network.config.pos_embed_seq_len is not None

    def _held(self, window: Window, size: tuple[int, int, int]) -> "_Held | None":
        """What is known of the latents beforehand. The VAE is causal: frames to come do not change those before."""
        encode, device = self.rig.encoders.encode_video, self.rig.device
        pieces: list[tuple[slice, Tensor]] = []
        known = window.known
        if known is None and window.first is not None and self.facts.kind == "t2v":
            known = window.first[None]  # a network that is told no frame can be given one all the same
        if known is not None and (len(known) > 1 or self.facts.kind == "t2v"):
            begun = encode(from_deep(known)).to(device)
            pieces.append((slice(0, begun.shape[2]), begun))
        if window.last is not None and not self.ends:
            still = encode(from_deep(np.repeat(window.last[None], 1 + 2 * TEMPORAL, axis=0))).to(device)
            pieces.append((slice(size[0] - 1, size[0]), still[:, :, -1:]))
        return _Held(pieces) if pieces else None


@dataclass(frozen=True)
class _Held:
    """Latent frames that are known: there the velocity is the straight way from where the latents are to them.

    The sampler then carries noise to them as if the network had said so, and what it has to find around them is told
    by them at every noise level.
    """

    pieces: list[tuple[slice, Latents]]

    def __call__(self, velocity: Tensor, latents: Latents, sigma: Float[Tensor, " b"]) -> Tensor:
        velocity = velocity.clone()
        for place, known in self.pieces:
            velocity[:, :, place] = (latents[:, :, place] - known) / sigma.clamp(min=1 / STEPS).view(-1, 1, 1, 1, 1)
        return velocity


@dataclass(frozen=True)
class _Guided:
    """The velocity at a step of one video."""

    rig: Rig
    condition: Condition
    rule: Rule
    held: _Held | None

    def __call__(self, latents: Latents, sigma: Float[Tensor, " b"]) -> Latents:
        negative = without_prompt(self.condition, self.rig.texts[self.rig.sampling.negative].to(latents.device))
        prompt = self._answer("cond", latents, sigma, self.condition)
        other = self._answer("uncond", latents, sigma, negative)
        if self.rule.wanted():
            velocity = self.rule.combine(*self.rig.both(prompt, other))
        else:
            velocity = self.rig.unguided(prompt, other)
        return velocity if self.held is None else self.held(velocity, latents, sigma)

    def _answer(self, name: str, latents: Latents, sigma: Tensor, condition: Condition) -> Answer:
        def answer() -> Tensor:
            rig = self.rig
            with _contexts(parts(rig.network), name, float(sigma[0])) if rig.caching else nullcontext():
                return rig.model.velocity(rig.network, latents, sigma, condition)

        return answer


def _begin(scheduler: Any, strength: float) -> int:
    """The first timestep whose noise level is not above `strength`; at least one step is taken."""
    levels = scheduler.timesteps / 1000
    return min(len(levels) - 1, int((levels > strength).sum()))


@contextmanager
def _contexts(networks: Iterable[nn.Module], name: str, sigma: float) -> Iterator[None]:
    with ExitStack() as stack:
        for network in networks:
            any_network: Any = network
            stack.enter_context(any_network.cache_context(name, sigma=sigma))
        yield
