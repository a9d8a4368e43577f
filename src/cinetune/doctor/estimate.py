"""Peak memory of training and generating with a model, moment by moment, and what to switch on when it is too much."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from cinetune.doctor.configs import Described
from cinetune.doctor.vae import VaeCost
from cinetune.errors import RecipeError
from cinetune.ops.flops import Linear, Shape
from cinetune.ops.memory import CUDA_CONTEXT, FP32, Precision, Setup, Terms, forward_memory, training_memory


@dataclass(frozen=True)
class Plan:
    """How a model is to be trained or run."""

    frames: int
    height: int
    width: int
    layers: tuple[Linear, ...] | None
    """What the LoRA adapts; None trains every weight."""
    rank: int
    batch: int = 1
    precision: Precision = "bf16"
    checkpointing: bool = True
    encoders: Literal["fp32", "bf16", "freed"] = "fp32"
    """Precision of text and image encoder while generating; freed: off the GPU once everything is encoded. Training
    works from the cache and loads neither."""
    tiled: bool = False
    """Whether the VAE decodes in tiles."""
    offload: bool = False
    shards: int = 1
    ulysses: int = 1


class Peak(NamedTuple):
    """The moment that needs most."""

    moment: str
    terms: Terms
    """Bytes by name."""
    others: dict[str, int]
    """Bytes of the other moments."""

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.terms.values())

    def fits(self, memory: float) -> bool:
        """Say whether it is no more than `memory` GiB."""
        return self.total <= memory * 2**30


class Step(NamedTuple):
    """One thing to switch on, on top of those before it."""

    name: str
    peak: Peak


def shape(model: Described, plan: Plan, batch: int) -> Shape:
    """Return what is put through the network; a first-and-last-frame network has a position for every image token."""
    return Shape(
        plan.frames, plan.height, plan.width, batch, temporal=model.temporal, spatial=model.spatial,
        time_per_token=model.time_per_token, image_tokens=model.sizes.pos_embed_seq_len or model.image_tokens,
    )  # fmt: skip


def setup_of(plan: Plan) -> Setup:
    """Return how the network is held and trained."""
    return Setup(
        precision=plan.precision, layers=plan.layers, rank=plan.rank, checkpointing=plan.checkpointing,
        shards=plan.shards, ulysses=plan.ulysses, offload=plan.offload,
    )  # fmt: skip


def train_peak(model: Described, plan: Plan, vae: VaeCost | None) -> Peak:
    """Return the peak of training: the step itself, or a validation between two steps.

    A validation takes as many clips and noise levels at a time as a step, and has the VAE on the GPU while it decodes
    only, one video at a time (train/validation.py).
    """
    setup = setup_of(plan)
    step = training_memory(model.sizes, shape(model, plan, plan.batch), setup)
    asleep = {name: step[name] for name in ("AdamW states",) if name in step}
    loss = {**forward_memory(model.sizes, shape(model, plan, plan.batch), setup), **asleep}
    moments = {"training step": step, "validation, held-out loss": loss}
    if vae:
        moments["validation, decoding"] = {**_decoding(loss, vae, plan), "VAE": FP32 * vae.parameters}
    return _largest(moments)


def generate_peak(model: Described, plan: Plan, vae: VaeCost | None) -> Peak:
    """Return the peak of making one video: encoding, denoising or decoding."""
    setup, extra = setup_of(replace(plan, layers=plan.layers or ())), _resident(model, plan, vae)
    denoise = forward_memory(model.sizes, shape(model, plan, 1), setup)
    moments = {"denoising": {**denoise, **extra}}
    if vae:
        moments["decoding"] = {**_decoding(denoise, vae, plan), **extra}
    if plan.encoders == "freed":
        held = {name: 2 * count for name, count in model.encoders.items()}
        moments["encoding"] = {**held, "CUDA context": CUDA_CONTEXT}
    return _largest(moments)


def advise(
    model: Described, plan: Plan, vae: VaeCost | None, memory: float, *, work: Literal["train", "generate"], gpus: int
) -> list[Step]:
    """Return what to switch on, cheapest first and each on top of the last, until it fits `memory` GiB.

    What does not lower the peak is left out. With `gpus` 1 several GPUs are proposed last, as 2, 4 and 8; sharding
    takes the place of fp8 and of offload, which do not go together with it.
    """
    measure: Callable[[Described, Plan, VaeCost | None], Peak] = train_peak if work == "train" else generate_peak
    now = measure(model, plan, vae)
    ladder, taken = _ladder(plan, work, [gpus] if gpus > 1 else [2, 4, 8]), list[tuple[Rung, Peak]]()
    while not now.fits(memory):
        for rung in ladder:
            if plan.shards > 1 and rung.alone and not rung.many:
                continue
            tried = replace(plan, **rung.changes)
            try:
                peak = measure(model, tried, vae)
            except RecipeError:  # this many GPUs do not divide the heads or the tokens
                continue
            if peak.total < now.total:
                break
        else:
            break
        plan, now = tried, peak
        taken = [step for step in taken if not (rung.many and step[0].alone)] + [(rung, peak)]
    return [Step(rung.name, peak) for rung, peak in taken]


class Rung(NamedTuple):
    """Something to switch on."""

    name: str
    changes: dict[str, Any]
    """Fields of a Plan."""
    alone: bool = False
    """Whether several GPUs take its place."""
    many: bool = False
    """Whether it takes several GPUs."""


def _ladder(plan: Plan, work: str, degrees: list[int]) -> list[Rung]:
    """What may be switched on, by what it costs: nothing, a little time, precision, much time, more GPUs."""
    ladder = []
    if work == "train":
        ladder.append(Rung("gradient checkpointing", {"checkpointing": True}))
    else:
        ladder.append(Rung("text and image encoder off the GPU once all is encoded", {"encoders": "freed"}))
    ladder.append(Rung("VAE decoding in tiles", {"tiled": True}))
    if plan.precision == "fp32":
        ladder.append(Rung("base in bf16", {"precision": "bf16"}))
    if plan.layers is not None:
        ladder.append(Rung("linear layers of the base stored in fp8", {"precision": "fp8"}, alone=True))
        if work == "generate":  # the backward pass needs the weights of a block a second time
            ladder.append(Rung("group offload: blocks wait in host memory", {"offload": True}, alone=True))
    whole = {"precision": "bf16" if plan.precision == "fp32" else plan.precision, "offload": False}
    for degree in degrees:
        shards = {"shards": degree, **whole}
        ladder.append(Rung(f"FSDP2 over {degree} GPUs", {**shards, "ulysses": 1}, alone=True, many=True))
        both = {**shards, "ulysses": degree}
        ladder.append(Rung(f"FSDP2 and Ulysses over {degree} GPUs", both, alone=True, many=True))
    return ladder


def _resident(model: Described, plan: Plan, vae: VaeCost | None) -> Terms:
    """Encoders and VAE (always fp32) that stay on the GPU beside the network."""
    size = {"fp32": FP32, "bf16": 2, "freed": 0}[plan.encoders]
    held = {name: size * count for name, count in model.encoders.items() if size}
    return {**held, "VAE": FP32 * vae.parameters} if vae else held


def _decoding(forward: Terms, vae: VaeCost, plan: Plan) -> Terms:
    """A forward pass's terms without its activations, and the VAE's instead, of one video."""
    kept = {name: size for name, size in forward.items() if name not in ("embeddings", "workspace", "allocator slack")}
    return {**kept, "decoding": vae.tiled_bytes if plan.tiled else vae.decode_bytes}


def _largest(moments: dict[str, Terms]) -> Peak:
    totals = {name: sum(terms.values()) for name, terms in moments.items()}
    most = max(totals, key=lambda name: totals[name])
    return Peak(most, moments[most], {name: total for name, total in totals.items() if name != most})
