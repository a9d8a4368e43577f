"""The decoder in bfloat16. What is encoded stays in fp32."""

import copy
from dataclasses import replace
from typing import Any

import torch

from cinetune.generate.levers._contract import Lever, Order, without_gpu
from cinetune.generate.window import Rig
from cinetune.models._quiet import quiet


def _apply(rig: Rig, value: str) -> str:
    decoder: Any = rig.decoder
    own = copy.deepcopy(decoder.vae)
    own.encoder = own.quant_conv = None  # its own copy of 0.1 GB would never be used
    with quiet():  # diffusers warns of modules to be kept in fp32, and names none
        rig.decoder = replace(decoder, vae=own.to(torch.bfloat16))
    return ""


LEVER = Lever(
    name="vae_bf16",
    does="Decodes in bfloat16.",
    changes="content",
    order=Order.DECODE,
    source="diffusers' documentation keeps Wan's VAE in fp32 (api/pipelines/wan); the bench measures what bf16 does",
    idle=without_gpu,
    apply=_apply,
)
