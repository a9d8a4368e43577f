"""Against what the published Wan2.1 code computes, on its own miniature weights: from picture files to samples.

The reference is shared/reference/wan_official (its README says what each tensor is and how it was made).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cinetune.models._condition import clip_pixels, fit_frame
from cinetune.models._contract import Condition
from cinetune.models._encoders import WanEncoders
from cinetune.models._facts import Facts
from cinetune.models._sampling import sample
from cinetune.models._sizes import published_size
from cinetune.models._wan import WanModel

CPU = torch.device("cpu")
WITHIN = 5e-5
"""Every difference of every tensor must be below this."""


class Reference(WanModel):
    """Loose files, not a folder in diffusers layout; so its kind cannot be read and is said here."""

    facts = Facts(kind="i2v", image_tokens=True, boundary=None, spatial=8, patch=2, half_vae=False)


class Published:
    """The reference's weights in the package's own classes, its inputs and its outputs."""

    def __init__(self, folder: Path) -> None:
        self.said: dict[str, Any] = json.loads((folder / "golden.json").read_text())
        self.golden = load_file(folder / "golden.safetensors")
        self.first, self.last = (np.asarray(Image.open(folder / f"{n}.png").convert("RGB")) for n in ("first", "last"))
        self.model: Any = Reference(name="reference", source=str(folder))
        with torch.random.fork_rng(devices=[]):
            self.network = WanTransformer3DModel(**self.said["transformer_config"]).eval()
            vae = AutoencoderKLWan(**self.said["vae_config"]).eval()
            tower = CLIPVisionModel(CLIPVisionConfig(**self.said["clip_config"])).eval()
        for module, name in ((self.network, "transformer"), (vae, "vae"), (tower, "image_encoder")):
            module.load_state_dict(load_file(folder / f"{name}.safetensors"))
            module.requires_grad_(False)
        # The published checkpoints' own processor crops the centre; the encoders must not listen to it.
        self.encoders = WanEncoders(vae, None, None, tower, CLIPImageProcessorPil(), CPU)

    def condition(self, last: bool = False) -> Tensor:
        shape = self.first.shape
        height, width = published_size(shape[0], shape[1], self.said["condition"]["max_area"])
        first, end = (fit_frame(frame, height, width) for frame in (self.first, self.last))
        return self.encoders.condition(first, self.said["condition"]["num_frames"], end if last else None)

    def told(self) -> Condition:
        text = self.golden["text.context"]
        return Condition(
            self.condition(), self.encoders.encode_image(self.first)[None], text[None], text_length=(len(text),)
        )


@pytest.fixture(scope="module")
def published(shared: Path) -> Published:
    return Published(shared / "reference" / "wan_official")


def close(ours: Tensor, theirs: Tensor) -> bool:
    assert ours.shape == theirs.shape
    return bool((ours - theirs).abs().max() < WITHIN)


def test_the_size_made_of_a_picture(published: Published) -> None:
    for case in published.said["sizes"]:
        height, width = case["image_hw"]
        assert published_size(height, width, case["max_area"]) == tuple(case["pixel_hw"]), case


@pytest.mark.parametrize(("last", "key"), [(False, "condition.first"), (True, "condition.first_last")])
def test_condition_from_the_picture_files(published: Published, last: bool, key: str) -> None:
    assert close(published.condition(last)[0], published.golden[key])


def test_vae(published: Published) -> None:
    golden = published.golden
    latents = published.encoders.encode_video(golden["vae.video"][None])
    assert close(latents[0], golden["vae.latents"])
    assert close(published.encoders.decode(golden["vae.latents"][None])[0], golden["vae.decoded"])


def test_clip_pixels_and_tokens(published: Published) -> None:
    assert close(clip_pixels(published.first), published.golden["clip.pixel_values"])
    assert close(published.encoders.encode_image(published.first)[None], published.golden["clip.features"])
    cropped = CLIPImageProcessorPil()(images=Image.fromarray(published.first), return_tensors="pt").pixel_values
    assert (cropped - published.golden["clip.pixel_values"]).abs().max() > 0.5, "else this shows nothing"


@pytest.mark.parametrize("timestep", [999, 500, 37])
def test_velocity(published: Published, timestep: int) -> None:
    sigma = torch.tensor([timestep / 1000])
    ours = published.model.velocity(published.network, published.golden["noise"][None], sigma, published.told())
    assert close(ours[0], published.golden[f"dit.velocity.t{timestep}"])


@pytest.mark.parametrize(("steps", "shift"), [(4, 3), (20, 5)])
def test_from_picture_files_to_a_guided_sample(published: Published, steps: int, shift: int) -> None:
    latents = sample(
        published.model, published.network, published.told(), published.golden["noise"][None],
        steps=steps, shift=shift, guidance=5.0, negative=published.golden["text.negative"],
    )  # fmt: skip
    assert close(latents[0], published.golden[f"sample.latents.{steps}steps.shift{shift}.cfg5"])
    assert close(published.encoders.decode(latents)[0], published.golden[f"sample.video.{steps}steps"])
