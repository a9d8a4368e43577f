"""Whether a stated time can be true: no machine does more than its peak."""

from typing import NamedTuple

from cinetune.errors import RunError
from cinetune.ops.gpus import Gpu

BEST_PUBLISHED = 0.70
"""Share of the dense bf16 peak that no published run of Wan 14B exceeds without 8-bit attention or skipped work.

Source: 665 to 697 TFLOP/s on H100 and H200 of 989 (hao-ai-lab FastVideo with FA3 and compilation, 67 %; ModelTC
LightX2V, benchmark_source.md, 70 %), 193 TFLOP/s on A100 of 312 (Wan-Video/Wan2.1 README, 62 %).
"""


class Claim(NamedTuple):
    """What a stated time would mean."""

    seconds: float
    floor: float
    """Seconds at 100 % of the peak."""
    share: float
    """Share of the peak that it would need."""
    verdict: str
    """"impossible", "doubtful" or "plausible"."""
    text: str


def plausible(seconds: float, flops: float, gpu: Gpu, gpus: int = 1) -> Claim:
    """Compare a stated time with the floor time of its work.

    Args:
        seconds: the time claimed.
        flops: operations of the work (FLOP), every one of them: no caching, no distillation, dense bf16.
        gpu: on which it is said to have run.
        gpus: how many of them.

    Raises:
        RunError: not a positive time, or the peak of this GPU is not known.
    """
    if not seconds > 0:
        raise RunError(f"a time of {seconds} s; give more than 0")
    if gpu.tflops is None:
        raise RunError(f"{gpu.name}: not in the table of GPUs, so its peak is not known; name one with --gpu")
    peak = gpu.tflops * 1e12 * gpus
    floor, share = flops / peak, flops / seconds / peak
    where = f"{gpus} x {gpu.name}" if gpus > 1 else gpu.name
    if share > 1:
        verdict, why = "impossible", f"{floor / seconds:.1f} times below the floor of {floor:.0f} s (100 % of the peak)"
    elif share > BEST_PUBLISHED:
        verdict, why = "doubtful", f"needs {share:.0%} of the peak; nothing published exceeds {BEST_PUBLISHED:.0%}"
    else:
        verdict, why = "plausible", f"{share:.0%} of the peak; the floor is {floor:.0f} s"
    return Claim(seconds, floor, share, verdict, f"{seconds:g} s on {where}: {verdict}, {why}")
