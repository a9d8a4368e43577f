"""The package's own CLIP: transformers' CLIPModel in miniature, with tokenizer and image processor in its folder."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones import _weights
from cinetune.metrics.backbones._contract import Backbone, Identity

FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
BATCH = 32


class NanoClip:
    """Features: the projected embeddings, 64 numbers, not normalised."""

    def __init__(
        self,
        identity: Identity,
        model: CLIPModel,
        tokenizer: CLIPTokenizer,
        processor: CLIPImageProcessorPil,
        device: torch.device,
    ) -> None:
        """Take a loaded model to `device`."""
        self.identity = identity
        self._model = model.to(device)
        self._tokenizer = tokenizer
        self._processor = processor
        self._device = device

    @torch.inference_mode()
    def images(self, frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, "f 64"]:
        """Return one vector a frame."""
        parts = []
        for i in range(0, len(frames), BATCH):
            pixels = self._processor(list(frames[i : i + BATCH]), return_tensors="pt").pixel_values
            pooled = self._model.vision_model(pixels.to(self._device)).pooler_output
            parts.append(self._model.visual_projection(pooled))
        return np.asarray(torch.cat(parts).float().cpu().numpy())

    @torch.inference_mode()
    def text(self, caption: str) -> Float[np.ndarray, " 64"]:
        """Return the vector of a caption; what exceeds the context is cut off, as CLIP does."""
        tokens = self._tokenizer([caption], truncation=True, return_tensors="pt").input_ids
        pooled = self._model.text_model(tokens.to(self._device)).pooler_output
        return np.asarray(self._model.text_projection(pooled)[0].float().cpu().numpy())


def load(path: Path | None = None, device: torch.device = torch.device("cpu")) -> NanoClip:  # noqa: B008
    """Load the folder at `path`, or the one in the package.

    Raises:
        WeightsError: a file is missing or damaged.
    """
    path = path or _weights.shipped("nano_clip")
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise WeightsError(f"{path}: no {missing[0]}; `cinetune nano train` makes the folder, or give another path")
    tensors = _weights.read(path / "model.safetensors")
    try:
        model = CLIPModel(CLIPModel.config_class.from_pretrained(path))
        tokenizer = CLIPTokenizer.from_pretrained(path)
        processor = CLIPImageProcessorPil.from_pretrained(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: damaged CLIP folder ({reason}); get the folder again") from None
    _weights.fill(model, tensors, path / "model.safetensors")
    words = json.loads((path / "preprocessor_config.json").read_text(encoding="utf-8"))["size"]
    identity = Identity(
        "nano_clip", "1", f"bicubic to {words['height']}x{words['width']} (aspect not kept)", _fingerprint(path)
    )
    return NanoClip(identity, model, tokenizer, processor, device)


def _fingerprint(folder: Path) -> str:
    """One SHA-256 of all that decides the features: another vocabulary is another network."""
    return hashlib.sha256("".join(sha256(folder / name) for name in FILES).encode()).hexdigest()


BACKBONE = Backbone(
    name="nano_clip",
    kind="clip",
    licence="Apache-2.0",
    source="cinetune/nano/backbones.py, on rendered films",
    load=load,
)
