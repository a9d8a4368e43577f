"""The estimate put to the test on this machine: build the network, run one forward pass and one LoRA step.

The forward pass is the base alone without gradients; the step is what training does with one micro-batch: adapter in
fp32, loss in fp32 over all latent frames, backward pass, AdamW. Encoders and VAE are left out, for they rest during a
step. Latents, text and picture are drawn at random and captions have all 512 tokens; no time depends on it.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cinetune import console
from cinetune.adapters import lora
from cinetune.devices import describe, free_memory, resident_memory, wait
from cinetune.doctor.configs import Described
from cinetune.doctor.estimate import Plan, setup_of, shape
from cinetune.doctor.timing import enough_memory, run_timed, size_of
from cinetune.errors import RecipeError, RunError
from cinetune.models._contract import VideoModel
from cinetune.models._random_model import draw_inputs
from cinetune.ops import flow
from cinetune.ops.flops import forward_flops, training_flops
from cinetune.ops.gpus import Gpu
from cinetune.ops.memory import Terms, forward_memory, training_memory, weight_bytes

OVERHEADS = ("allocator slack", "CUDA context")
"""Terms of an estimate that are no tensors."""
RATE = 1e-4
"""Of AdamW."""
SIGMA = 0.7
"""Noise level of every clip."""


@dataclass(frozen=True)
class Work:
    """A forward pass or a step, as measured and as estimated: seconds, FLOP and bytes."""

    seconds: float
    """Median of `runs`."""
    runs: tuple[float, ...]
    seconds_expected: float | None
    """Forward: at the share of the peak that the estimate assumes; None where the peak is not known. Step: what is
    carried out, at the rate of the forward pass just measured."""
    needed: int
    carried_out: int
    """With what is computed twice."""
    share: float | None
    """Needed operations over what the dense bf16 peak allows in this time."""
    tensors: int
    """Peak of tensors alive, weights and inputs included."""
    tensors_expected: int
    in_use: int | None
    """Peak of GPU memory in use, as in `timing.Timed`; None on a CPU."""
    in_use_expected: int

    @property
    def tflops(self) -> float:
        """Needed operations a second, in TFLOP/s."""
        return self.needed / self.seconds / 1e12

    def ratios(self) -> dict[str, float | None]:
        """Return measured over expected."""
        return {
            "seconds": self.seconds / self.seconds_expected if self.seconds_expected else None,
            "tensors": self.tensors / self.tensors_expected,
            "in_use": self.in_use / self.in_use_expected if self.in_use else None,
        }


@dataclass(frozen=True)
class Measured:
    """What one machine did."""

    device: str
    weights: str
    """"stored" or "random"."""
    seed: int
    build_seconds: float
    network: int
    """Bytes of the base's weights and buffers."""
    network_expected: int
    forward: Work
    step: Work
    loss: float
    """Of the last step."""
    resident: int | None
    """Bytes of main memory that the process held at its peak, libraries and all. None on a GPU and on Windows."""


@dataclass(frozen=True)
class Trial:
    """A network on a device, and what goes through it."""

    model: VideoModel
    described: Described
    plan: Plan
    device: torch.device
    peak: float | None
    """FLOP/s of the device in dense bf16."""
    repeats: int
    seed: int
    network: Any

    def run(self, share: float) -> tuple[Work, Work, float]:
        """Return forward pass, training step, and the last loss; the network has an adapter afterwards.

        Args:
            share: share of the peak that the estimate assumes for the forward pass.
        """
        sizes, plan = self.described.sizes, self.plan
        work_shape = shape(self.described, plan, plan.batch)
        generator = torch.Generator().manual_seed(self.seed)
        data, condition = draw_inputs(sizes, work_shape, generator=generator, device=self.device)
        noise = torch.randn(data.shape, generator=generator).to(self.device)
        sigma = torch.full((plan.batch,), SIGMA, device=self.device)
        noisy, target = flow.interpolate(data, noise, sigma), flow.velocity(data, noise)
        del data, noise
        given = (noisy, target, condition.first, condition.image, condition.text)

        def held() -> list[Tensor]:
            return [*self.network.parameters(), *self.network.buffers(), *given]

        @torch.no_grad()
        def forward() -> None:
            self.model.velocity(self.network, noisy, sigma, condition)

        count = forward_flops(sizes, work_shape)
        first = self._measured(
            "forward pass", forward, held, (count, count),
            forward_memory(sizes, work_shape, setup_of(replace(plan, layers=()))),
            count / self.peak / share if self.peak else None,
        )  # fmt: skip
        trained = self._adapt()
        optimiser = torch.optim.AdamW(trained, lr=RATE)
        losses = []

        def step() -> None:
            loss = (self.model.velocity(self.network, noisy, sigma, condition) - target).square().mean()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            losses.append(loss.item())

        def held_too() -> list[Tensor]:
            states = [value for of in optimiser.state.values() for value in of.values() if isinstance(value, Tensor)]
            return held() + states

        cost = training_flops(
            sizes, work_shape, layers=list(plan.layers or ()), rank=plan.rank, checkpointing=plan.checkpointing
        )
        second = self._measured(
            "training step", step, held_too, (cost.model, cost.hardware),
            training_memory(sizes, work_shape, setup_of(plan)), cost.hardware * first.seconds / count,
        )  # fmt: skip
        return first, second, losses[-1]

    def _adapt(self) -> list[nn.Parameter]:
        names = [layer.name for layer in self.plan.layers or ()]
        lora.inject(self.network, names, rank=self.plan.rank, alpha=self.plan.rank, seed=self.seed)
        if self.plan.checkpointing:
            self.network.enable_gradient_checkpointing()
        self.network.train()
        return lora.parameters(self.network)

    def _measured(
        self, name: str, run: Callable[[], None], held: Callable[[], list[Tensor]], flops: tuple[int, int],
        terms: Terms, seconds: float | None,
    ) -> Work:  # fmt: skip
        with enough_memory(f"measuring the {name}", relief(self.plan)):
            runs, tensors, in_use = run_timed(run, held, self.device, self.repeats)
        took = statistics.median(runs)
        console.note(f"measure: {name}: {took:.4g} s, median of {self.repeats}; tensors {tensors / 2**30:.4g} GiB")
        return Work(
            seconds=took, runs=runs, seconds_expected=seconds, needed=flops[0], carried_out=flops[1],
            share=flops[0] / took / self.peak if self.peak else None, tensors=tensors,
            tensors_expected=_tensors(terms), in_use=in_use, in_use_expected=sum(terms.values()),
        )  # fmt: skip


def try_out(
    model: VideoModel,
    described: Described,
    plan: Plan,
    *,
    device: torch.device,
    gpu: Gpu | None,
    share: float,
    weights: str,
    repeats: int,
    seed: int,
) -> Measured:
    """Build the network on `device`, run it, and let go of it.

    Args:
        model: what to build.
        described: the same model by its configs.
        plan: the work; `layers` are what the LoRA adapts.
        gpu: the device's figures where it is a GPU.
        share: share of the peak that the estimate assumes for the forward pass.
        weights: "stored" or "random", to be told.
        repeats: timed runs, after one that is not timed.
        seed: of adapter, latents and condition.

    Raises:
        RecipeError: a plan that is not measured.
        RunError: out of memory, or the loss is not a number.
    """
    _check(described, plan, device)
    console.note(f"measure: building {described.name} on {describe(device)}, {weights} weights")
    began = time.perf_counter()
    with enough_memory("building the network", relief(plan)):
        network = _build(model, device, plan)
        wait(device)
    built = time.perf_counter() - began
    own = size_of((*network.parameters(), *network.buffers()))
    console.note(f"measure: built in {built:.1f} s, {own / 2**30:.4g} GiB")
    peak = gpu.tflops * 1e12 if gpu and gpu.tflops else None
    forward, step, loss = Trial(model, described, plan, device, peak, repeats, seed, network).run(share)
    if not math.isfinite(loss):
        raise RunError(f"--measure: the loss is {loss}; take another --precision")
    return Measured(
        device=describe(device), weights=weights, seed=seed, build_seconds=built, network=own,
        network_expected=sum(weight_bytes(described.sizes, plan.precision).values()), forward=forward, step=step,
        loss=loss, resident=None if device.type == "cuda" else resident_memory(),
    )  # fmt: skip


def relief(plan: Plan) -> str:
    """Return what to switch on where memory runs out, cheapest first."""
    ways = []
    if not plan.checkpointing:
        ways.append("--checkpointing")
    if plan.batch > 1:
        ways.append("--batch 1")
    if plan.precision == "fp32":
        ways.append("--precision bf16")
    elif plan.precision == "bf16" and plan.checkpointing:
        ways.append("--precision fp8")
    return f"switch on {', '.join([*ways, 'fewer --frames, or a smaller picture'])}"


def _check(described: Described, plan: Plan, device: torch.device) -> None:
    if plan.layers is None:
        raise RecipeError("--measure: the step trains an adapter; leave --full out")
    if described.experts > 1:
        raise RecipeError(
            f"--measure: {described.name} is two networks, which are not measured together; take a model of one, such "
            "as wan2.1-i2v-14b-720p"
        )
    if device.type == "cuda":
        return
    needed = _tensors(training_memory(described.sizes, shape(described, plan, plan.batch), setup_of(plan)))
    free = free_memory()
    if free is not None and needed > free:
        raise RunError(
            f"--measure: a step needs about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of main memory are "
            f"free; {relief(plan)}"
        )


def _build(model: VideoModel, device: torch.device, plan: Plan) -> nn.Module:
    network = model.load_transformer(device, torch.float32 if plan.precision == "fp32" else torch.bfloat16)
    if plan.precision == "fp8":
        casting: Any = network
        casting.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    return network


def _tensors(terms: Terms) -> int:
    return sum(size for name, size in terms.items() if name not in OVERHEADS)
