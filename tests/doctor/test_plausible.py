import dataclasses

import pytest

from cinetune.doctor.plausible import plausible
from cinetune.errors import RunError
from cinetune.ops.flops import Shape, read_sizes, sampler_flops
from cinetune.ops.gpus import find_gpu
from ops.wan_configs import I2V_14B

VIDEO = sampler_flops(read_sizes(I2V_14B, "x"), Shape(81, 720, 1280), steps=40, guidance=5.0)


def test_187_seconds_for_720p_on_one_a100_cannot_be() -> None:
    """Forty steps with guidance: 80 x 6.54 PFLOP over 312 TFLOP/s are 1677 s."""
    claim = plausible(187, VIDEO, find_gpu("A100-80GB"))
    assert claim.verdict == "impossible"
    assert claim.floor == pytest.approx(1677, abs=1)
    assert claim.floor / claim.seconds == pytest.approx(8.97, abs=0.01)
    assert "9.0 times below the floor of 1677 s" in claim.text


@pytest.mark.parametrize(
    ("seconds", "gpu", "gpus", "share"),
    [(2715.5, "A100-80GB", 1, 0.62), (389.7, "A100-80GB", 8, 0.54), (1491.6, "H100", 1, 0.35), (751, "H200", 1, 0.70)],
)
def test_published_times_are_plausible(seconds: float, gpu: str, gpus: int, share: float) -> None:
    """Wan-Video/Wan2.1 README and ModelTC/LightX2V (bf16), with the shares that the field notes give."""
    claim = plausible(seconds, VIDEO, find_gpu(gpu), gpus)
    assert claim.share == pytest.approx(share, abs=0.01)
    assert claim.verdict in ("plausible", "doubtful")
    assert (claim.verdict == "doubtful") == (claim.share > 0.7)


def test_faster_than_anything_published_is_doubtful() -> None:
    assert plausible(600, VIDEO, find_gpu("H200")).verdict == "doubtful"


def test_a_time_that_is_none_and_a_gpu_without_a_peak() -> None:
    with pytest.raises(RunError, match="more than 0"):
        plausible(0, VIDEO, find_gpu("H200"))
    with pytest.raises(RunError, match="peak is not known"):
        plausible(1, VIDEO, dataclasses.replace(find_gpu("H200"), tflops=None))
