"""What the cells run: copies of one network that share its weights, each with an adapter of its own."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from cinetune.adapters import lora
from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.merging import merge_into
from cinetune.adapters.targets import SETS
from cinetune.bench.plan import BASE, CONTROL, Cell, Plan, Size
from cinetune.errors import RecipeError
from cinetune.footage.procedural import BASE_WORLD, RenderedClip, render_clip
from cinetune.generate.window import Rig, Sampling, Studio, Window
from cinetune.models._checking import read_config
from cinetune.models._contract import Condition, Latents, VideoModel
from cinetune.models._facts import Facts
from cinetune.models._random import random_part, shape_folder
from cinetune.models._random_model import draw_inputs
from cinetune.models._velocity import Experts
from cinetune.ops.flops import CLIP_TOKENS, Shape, Sizes, adapted, forward_flops, read_sizes
from cinetune.ops.video import deepen
from cinetune.speed.compiling import compile_blocks

SIGMA = 0.7
"""Noise level of every forward pass; no time depends on it."""
SPREAD = 0.01
"""Deviation of the adapters' B, as after some training; no time depends on it."""


class Subjects:
    """Networks by arm and rank, and what goes through them by size."""

    def __init__(self, plan: Plan, model: VideoModel, device: torch.device) -> None:
        """Load the base, or make one block of random weights.

        Raises:
            RecipeError: a model of two networks, or a size that it cannot make.
            WeightsError: weights missing or damaged.
        """
        self.plan, self.model, self.device = plan, model, device
        self.dtype = torch.float32 if plan.precision == "fp32" else torch.bfloat16
        for size in plan.sizes:
            model.check_size(*size)
        base: Any = one_block(model, device, self.dtype) if plan.kind == "block" else self._load()
        self.base: nn.Module = base
        self.sizes = read_sizes(base.config, plan.model)
        self._networks: dict[tuple[str, int], nn.Module] = {}
        self._given: dict[Size, tuple[Any, Any]] = {}
        self._encoders = model.load_encoders(device) if plan.kind == "whole" else None

    def network(self, cell: Cell) -> nn.Module:
        """Return the network of a cell; cells of other sizes run the same."""
        key = (cell.arm, cell.rank)
        if key not in self._networks:
            self._networks[key] = self._made(cell)
        return self._networks[key]

    def work(self, cell: Cell) -> Callable[[], object]:
        """Return what a cell does once."""
        network: Any = self.network(cell)
        if self._encoders is not None:
            return partial(self._studio(network, cell.size), self._window(cell.size))
        if self.plan.kind == "forward":
            return torch.no_grad()(self._forward(network, cell.size))
        if cell.size not in self._given:
            self._given[cell.size] = _given_to_block(self.base, self._forward(self.base, cell.size))
        args, kwargs = self._given[cell.size]
        return torch.no_grad()(partial(network.blocks[0], *args, **kwargs))

    def shape(self, size: Size) -> Shape:
        """Return what one forward pass takes: a caption of 512 tokens, to which Wan pads every one."""
        facts = self._facts
        tokens = self.sizes.pos_embed_seq_len or CLIP_TOKENS
        return Shape(*size, spatial=facts.spatial, time_per_token=facts.kind == "ti2v", image_tokens=tokens)

    def flops(self, size: Size) -> int | None:
        """Return the operations that the base needs; None for a window, which is more than the network."""
        if self.plan.kind == "whole":
            return None
        shape = self.shape(size)
        whole = forward_flops(self.sizes, shape)
        if self.plan.kind == "forward":
            return whole
        return forward_flops(replace(self.sizes, num_layers=self.sizes.num_layers + 1), shape) - whole

    def latents(self, size: Size) -> Latents:
        """Return random latents of a video, to be decoded."""
        return self._inputs(size)[0]

    @property
    def _facts(self) -> Facts:
        any_model: Any = self.model
        facts: Facts = any_model.facts
        return facts

    def _inputs(self, size: Size) -> tuple[Latents, Condition]:
        return draw_inputs(self.sizes, self.shape(size), generator=_generator(self.plan.seed, 1), device=self.device)

    def _forward(self, network: nn.Module, size: Size) -> Callable[[], object]:
        latents, condition = self._inputs(size)
        return partial(self.model.velocity, network, latents, torch.full((1,), SIGMA, device=self.device), condition)

    def _load(self) -> Any:
        network = self.model.load_transformer(self.device, self.dtype)
        if isinstance(network, Experts):
            raise RecipeError(f"{self.plan.model}: two networks that take turns, alike in size; bench one block of "
                              "them with --block")  # fmt: skip
        return network

    def _made(self, cell: Cell) -> nn.Module:
        if cell.arm in (BASE, CONTROL):
            return self.base
        network = _sharing(self.base)
        if cell.rank:
            adapter = draw_adapter(self.sizes, self.plan.targets, cell.rank, self.plan.seed, self.device)
            if cell.arm == "merged":
                for name in adapter.layers:  # a place of its own for the merged weight
                    layer: Any = network.get_submodule(name)
                    layer.weight = nn.Parameter(layer.weight.data, requires_grad=False)
                merge_into(network, adapter)
            else:
                put_beside(adapter, network, self.dtype)
        if cell.arm == "padded":
            from peft.utils.hotswap import prepare_model_for_compiled_hotswap

            prepare_model_for_compiled_hotswap(network, target_rank=self.plan.adapted[-1])
            for weight in network.parameters():
                weight.requires_grad_(False)
        if cell.arm == "compiled":
            compile_blocks(network, self.device)
        return network

    def _studio(self, network: nn.Module, size: Size) -> Studio:
        assert self._encoders is not None
        text, plan = self._encoders.encode_text([self._still(size).caption])[0], self.plan
        rig = Rig(
            self.model, self._encoders, network, self._encoders.decoder(),
            Sampling(plan.steps, plan.guidance, plan.shift), size, self.device, self.dtype, {"": text},
        )  # fmt: skip
        return Studio(rig)

    def _window(self, size: Size) -> Window:
        return Window("", self.plan.seed, size.frames, deepen(self._still(size).frames[0]))

    def _still(self, size: Size) -> RenderedClip:
        return render_clip(BASE_WORLD[0], seed=self.plan.seed, frames=1, height=size.height, width=size.width)


def one_block(model: VideoModel, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return the network of a model with one block instead of all, of random weights; none are read.

    Raises:
        WeightsError: no config of this model is here.
    """
    config = read_config(WanTransformer3DModel, shape_folder(model.source) / "transformer") | {"num_layers": 1}
    return random_part(WanTransformer3DModel, config, device=device, dtype=dtype, seed=0)


def draw_adapter(sizes: Sizes, targets: str, rank: int, seed: int, device: torch.device) -> Adapter:
    """Return a random adapter of alpha = rank for a network of these sizes, drawn on the CPU and then moved.

    Args:
        targets: a name of `adapters.targets.SETS`, or a regular expression.

    Raises:
        RecipeError: no layer has such a name.
    """
    generator = _generator(seed, rank)
    layers = {}
    for linear in sorted(adapted(sizes, SETS.get(targets, targets))):
        a = torch.randn(rank, linear.inputs, generator=generator) / linear.inputs**0.5
        b = SPREAD * torch.randn(linear.outputs, rank, generator=generator)
        layers[linear.name] = Layer(a.to(device), b.to(device), alpha=float(rank))
    return Adapter(layers, "diffusers")


def put_beside(adapter: Adapter, network: nn.Module, dtype: torch.dtype) -> None:
    """Put an adapter beside a network's weights, in the network's precision as diffusers loads it, frozen."""
    lora.put(adapter, network, "a random adapter")
    for name, weight in network.named_parameters():
        weight.requires_grad_(False)
        if "lora_" in name:
            weight.data = weight.data.to(dtype)


def weight_bytes(network: nn.Module) -> int:
    """Return the bytes of a network's weights and buffers, adapters included, each once."""
    tensors: dict[int, Tensor] = {id(t): t for t in (*network.parameters(), *network.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


def _sharing(network: nn.Module) -> nn.Module:
    """A copy of the modules; the weights are the very same."""
    return copy.deepcopy(network, {id(t): t for t in (*network.parameters(), *network.buffers())})


def _given_to_block(network: Any, forward: Callable[[], object]) -> tuple[Any, Any]:
    """What a network gives to its first block."""
    given: list[tuple[Any, Any]] = []

    def keep(_: nn.Module, args: Any, kwargs: Any) -> None:
        given.append((args, kwargs))

    handle = network.blocks[0].register_forward_pre_hook(keep, with_kwargs=True)
    with torch.no_grad():
        forward()
    handle.remove()
    return given[0]


def _generator(seed: int, of: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1000 + of)
