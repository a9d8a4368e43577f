"""diffusers' WanImageToVideoPipeline over a model's folder, on the published condition and noise levels."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from cinetune import console
from cinetune.adapters import lora
from cinetune.adapters.reading import EXPERT_ENDS, EXPERTS, find_all, find_networks, read_adapter
from cinetune.errors import WeightsError
from cinetune.models._contract import VideoModel
from cinetune.models._loading import load_part
from cinetune.models._quiet import quiet
from cinetune.models._scheduler import make_scheduler
from cinetune.models._sizes import published_size
from cinetune.models._velocity import Experts
from cinetune.recipe import Generate


@dataclass(frozen=True)
class Generator:
    """A loaded pipeline. One call makes one video."""

    pipeline: Any
    settings: Generate
    frames: int
    height: int
    width: int
    takes_first: bool = True
    """False for text-to-video, which is told the prompt alone."""
    load_base: Callable[[], torch.nn.Module] | None = field(default=None, repr=False)
    """Loads the model's own denoising network, or two."""
    swapped: set[str] = field(default_factory=set)
    """Parts whose place a network trained whole has taken."""

    def sized(self, rule: str) -> "Generator":
        """Return the same pipeline for the size that `rule` (asked, published) makes; says so when the rules differ."""
        published = published_size(self.height, self.width, self.height * self.width)
        if published == (self.height, self.width):
            return self
        asked = f"{self.height}x{self.width} was asked for"
        makes = f"the published rule makes {published[0]}x{published[1]}"
        console.note(f"showcase: {asked}, {makes}; taking the {rule} one (generate.size_rule)")
        return replace(self, height=published[0], width=published[1]) if rule == "published" else self

    def __call__(
        self, first: UInt8[np.ndarray, "h w 3"], prompt: str, seed: int, *, frames: int | None = None
    ) -> UInt8[np.ndarray, "f height width 3"]:
        """Return a video of `frames` frames (by default the recipe's) that starts with `first`."""
        given = {"image": Image.fromarray(first)} if self.takes_first else {}
        video = self.pipeline(
            prompt=prompt,
            negative_prompt=self.settings.negative,
            height=self.height,
            width=self.width,
            num_frames=frames or self.frames,
            num_inference_steps=self.settings.steps,
            guidance_scale=self.settings.guidance,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
            **given,
        ).frames[0]
        levels = video.clamp(0, 1).mul(255).round().to(torch.uint8)
        made: UInt8[np.ndarray, "f height width 3"] = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return made


def load_pipeline(
    model: VideoModel, settings: Generate, size: tuple[int, int, int], *, device: torch.device, dtype: torch.dtype
) -> Generator:
    """Load the pipeline of a model; `size` is frames, height, width.

    Raises:
        WeightsError: weights missing or damaged.
    """
    with quiet():
        from cinetune.generate._published import build
    model.check_size(*size)
    any_model: Any = model
    network = model.load_transformer(device, dtype)
    pipeline = build(model.load_encoders(device), network, any_model.facts, make_scheduler(settings.shift))
    pipeline.set_progress_bar_config(disable=True)
    return Generator(
        pipeline, settings, *size, takes_first=any_model.facts.kind != "t2v",
        load_base=lambda: model.load_transformer(device, dtype),
    )  # fmt: skip


def use_adapter(generator: Generator, adapter: Path | None) -> None:
    """Load an adapter, or networks trained whole, into the pipeline, or go back to the base (None).

    Args:
        adapter: a file, or a folder with one; of a model of two experts the folder with a file for each, or the file of
            one, whose name says which (`reading.find_all`); or a folder with `transformer` as full training saves it.

    Raises:
        WeightsError: not an adapter of this model, or of two experts and the file does not say of which.
    """
    generator.pipeline.unload_lora_weights()
    _put_base_back(generator)
    if adapter is None:
        return
    networks = find_networks(adapter)
    if networks:
        _swap(generator, networks)
        return
    found = find_all(adapter)
    two = generator.pipeline.transformer_2 is not None
    if two and "" in found:
        ends = " or ".join(EXPERT_ENDS.values())
        raise WeightsError(f"{found['']}: this model has two experts; give a file whose name ends in {ends}")
    if not two and "" not in found:
        raise WeightsError(f"{adapter}: for one expert of two, and this model has one network")
    adapters = {expert: read_adapter(file) for expert, file in found.items()}
    for expert, file in found.items():
        if adapters[
            expert
        ].dora:  # diffusers rounds the magnitudes, and with them every weight, to the base's precision
            lora.load(file, getattr(generator.pipeline, EXPERTS[expert or "high"]))
            continue
        try:
            generator.pipeline.load_lora_weights(
                file.parent, weight_name=file.name, load_into_transformer_2=expert == "low"
            )
        except (ValueError, RuntimeError, KeyError) as error:
            raise WeightsError(f"{file}: does not fit this model: {str(error).splitlines()[0]}") from None


def _swap(generator: Generator, networks: dict[str, Path]) -> None:
    """Put networks trained whole in the place of the base's; one at a time, so that no two lie in memory."""
    pipeline = generator.pipeline
    for part, folder in networks.items():
        old: Any = getattr(pipeline, part, None)
        if old is None:
            raise WeightsError(f"{folder}: one of two experts, and this model has one network")
        cls, device, dtype, channels = type(old), old.device, old.dtype, old.config.in_channels
        generator.swapped.add(part)
        del old
        pipeline.register_modules(**{part: None})
        loaded = load_part(cls, folder, device=device, dtype=dtype, expect_in_channels=channels)
        pipeline.register_modules(**{part: loaded})


def _put_base_back(generator: Generator) -> None:
    if not generator.swapped or generator.load_base is None:
        return
    generator.pipeline.register_modules(**dict.fromkeys(generator.swapped))
    base = generator.load_base()
    parts = base.by_name() if isinstance(base, Experts) else {"high": base}
    generator.pipeline.register_modules(**{EXPERTS[name]: part for name, part in parts.items()})
    generator.swapped.clear()
