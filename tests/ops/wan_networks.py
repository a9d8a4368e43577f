"""The real WanTransformer3DModel at any size, with the adapter that the package injects, and inputs for it."""

import re
import warnings
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import nn

from cinetune.adapters import lora
from cinetune.ops.flops import Shape

RANK = 8


def build(config: dict[str, Any], pattern: str | None = "", *, half: bool = False) -> Any:
    """A network with a LoRA on what `pattern` matches ("": frozen, None: every weight trains)."""
    network: Any = WanTransformer3DModel(**{k: v for k, v in config.items() if not k.startswith("_")})
    network.requires_grad_(pattern is None)
    if half:  # as from_pretrained(dtype=bfloat16) does
        for name, weight in network.named_parameters():
            if not set(name.split(".")) & set(network._keep_in_fp32_modules):
                weight.data = weight.data.bfloat16()
    if pattern:
        names = [n for n, m in network.named_modules() if isinstance(m, nn.Linear) and re.fullmatch(pattern, n)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft warns of what it initialises on the meta device
            lora.inject(network, names, rank=RANK, alpha=RANK, seed=0)
    return network.train()


def inputs(config: dict[str, Any], shape: Shape, *, half: bool = False) -> dict[str, Any]:
    """What the network is called with, on the current device."""
    dtype, b = torch.bfloat16 if half else torch.float32, shape.batch
    latent = ((shape.frames - 1) // shape.temporal + 1, shape.height // shape.spatial, shape.width // shape.spatial)
    tokens = shape.tokens(tuple(config["patch_size"]))
    made = {
        "hidden_states": torch.ones(b, config["in_channels"], *latent, dtype=dtype),
        "timestep": torch.ones(b, tokens) if shape.time_per_token else torch.ones(b),
        "encoder_hidden_states": torch.ones(b, shape.text_tokens, config["text_dim"], dtype=dtype),
    }
    if config["image_dim"]:
        made["encoder_hidden_states_image"] = torch.ones(b, shape.image_tokens, config["image_dim"], dtype=dtype)
    return {**made, "return_dict": False}
