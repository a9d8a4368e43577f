"""The least that trains: one cached batch, diffusers' network, peft's adapter, AdamW, one clipped update. Nothing else.

No data loading, no captions dropped, no log, no schedule, no checkpoints: what `benchmarks/train.py` compares with.
"""

import time
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file

from cinetune.models._contract import Condition
from cinetune.models._wan import CROSS_ATTENTION, IMAGE_PROJECTIONS, WanModel

TEXT = 512


class BareLoop:
    """A network with an adapter, a batch, and an optimiser."""

    def __init__(self, model: WanModel, files: list[Path], rank: int, rate: float, *, short_text: bool) -> None:
        """Take the batch from cache files; `short_text` uses this package's attention over unpadded captions."""
        self.model, self.short_text = model, short_text
        self.network = WanTransformer3DModel.from_pretrained(model.folder / "transformer", torch_dtype=torch.float32)
        self.network.requires_grad_(False)
        targets = CROSS_ATTENTION + IMAGE_PROJECTIONS
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), self.network)
        self.weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(self.weights, lr=rate)
        self.network.train()
        items = [load_file(file) for file in files]
        self.latents, self.first, self.image = (
            torch.stack([item[name] for item in items]) for name in ("latents", "first", "image")
        )
        self.lengths = tuple(len(item["text"]) for item in items)
        self.text = torch.zeros(len(items), TEXT, items[0]["text"].shape[1])
        for row, item in zip(self.text, items, strict=True):
            row[: len(item["text"])] = item["text"]

    def step(self, accumulation: int) -> float:
        """Do one update; return its seconds."""
        began = time.perf_counter()
        for _ in range(accumulation):
            noise = torch.randn_like(self.latents)
            sigma = torch.sigmoid(torch.randn(len(noise)))
            level = sigma.view(-1, 1, 1, 1, 1)
            noisy = (1 - level) * self.latents + level * noise
            predicted = self.predict(noisy, sigma)
            loss = (predicted - (noise - self.latents)).square().mean() / accumulation
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        loss.item()
        return time.perf_counter() - began

    def predict(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return the network's answer."""
        if self.short_text:
            text = self.text[:, : max(self.lengths)]
            return self.model.velocity(
                self.network, noisy, sigma, Condition(self.first, self.image, text, self.lengths)
            )
        out: torch.Tensor = self.network(
            torch.cat([noisy, self.first], dim=1), 1000 * sigma, self.text, self.image, return_dict=False
        )[0]
        return out
