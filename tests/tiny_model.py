"""A Wan2.1 folder of random weights, smaller than nano, in the published layout: for the arithmetic around them."""

from pathlib import Path

import torch

from cinetune.models._encoders import WanEncoders
from cinetune.models._wan import WanModel
from cinetune.nano import dit, towers, vae
from cinetune.nano.train import pack

CAPTIONS = ["A red car drives to the left.", "Two birds fly over the sea.", "A candle burns on a table, static camera."]


def build_tiny(folder: Path) -> WanModel:
    """Write the folder and return the model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = towers.build_tokenizer(CAPTIONS)
        both = towers.Towers(len(tokenizer))
        network = dit.build(0, text_dim=64, image_dim=96)
        for weight in network.parameters():  # an untrained output layer would hide every difference
            if weight.ndim == 1:
                weight.data.normal_(std=0.3)
        encoders = WanEncoders(
            vae.build(0, base_dim=8), both.text, tokenizer, both.image, towers.build_processor(), torch.device("cpu")
        )
    pack(folder, encoders, network)
    return WanModel(name="tiny", source=str(folder))
