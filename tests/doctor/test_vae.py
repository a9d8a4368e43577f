import json

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch.utils.flop_counter import FlopCounterMode

from cinetune.doctor.vae import LiveBytes, count_vae
from cinetune.models.nano import FOLDER

CONFIGS = {"wan": {}, "nano": json.loads((FOLDER / "vae" / "config.json").read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", CONFIGS)
def test_extended_counts_are_those_of_the_whole_video(name: str) -> None:
    """Another size and length than those counted: operations to the last one, memory within 3 %."""
    frames, height, width = 17, 96, 128
    with torch.device("meta"), torch.no_grad():
        vae = AutoencoderKLWan.from_config(CONFIGS[name])
        with FlopCounterMode(display=False) as encoding:
            vae.encode(torch.empty(1, 3, frames, height, width))
        z = torch.empty(1, 16, 5, height // 8, width // 8)
        with FlopCounterMode(display=False) as decoding:
            vae.decode(z)
        with LiveBytes() as live:
            vae.decode(z)
    cost = count_vae(CONFIGS[name], frames, height, width)
    assert cost.encode_flops == encoding.get_total_flops()
    assert cost.decode_flops == decoding.get_total_flops()
    assert cost.decode_bytes == pytest.approx(live.peak, rel=0.03)
    assert cost.parameters == sum(w.numel() for w in vae.parameters())


def test_the_published_vae_at_720p() -> None:
    """Against the counts of the field notes: 126.9 M parameters, 639 TFLOP to decode, 382 to encode."""
    cost = count_vae({}, 81, 720, 1280)
    assert cost.parameters == 126_892_531
    assert cost.decode_flops / 1e12 == pytest.approx(639, abs=0.5)
    assert cost.encode_flops / 1e12 == pytest.approx(382, abs=0.5)
    assert cost.tiled_bytes < cost.decode_bytes / 4


def test_tiles_are_never_said_to_need_more() -> None:
    cost = count_vae({}, 17, 64, 96)
    assert cost.tiled_bytes == cost.decode_bytes


def test_live_bytes_of_tensors_that_come_and_go() -> None:
    given = torch.zeros(100)
    with LiveBytes() as live:
        first = given + 1  # 400 bytes
        second = first.double()  # 800 more: the peak
        del first
        view = second[:10]
        assert live.now == 800
    assert live.peak == 1200
    assert view.numel() == 10
