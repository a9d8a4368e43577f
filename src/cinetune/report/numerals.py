"""Numbers as text: as many digits as their interval supports, and never a minus zero."""

import math

from cinetune.records import Result

ACRONYMS = frozenset({"clip", "cmmd", "dino", "dists", "fid", "fvd", "kid", "kvd", "lpips", "psnr", "ssim", "vgg"})
PROPER = {"jedi": "JEDi", "rlpips": "R-LPIPS", "stylegan": "StyleGAN", "v": "V", "videogpt": "VideoGPT"}
"""Words with a spelling of their own."""


def label(metric: str) -> str:
    """Return a metric's name as people write it: "clip_text" -> "CLIP text".

    A metric from outside the package is called `module:OBJECT`; it keeps the name after the colon.
    """
    words = metric.rpartition(":")[2].lower().split("_")
    return " ".join(word.upper() if word in ACRONYMS else PROPER.get(word, word) for word in words)


def decimals(low: float, high: float) -> int:
    """Return the digits after the point that show the width of an interval to two significant digits."""
    width = abs(high - low)
    if width == 0 or not math.isfinite(width):
        return 3
    return min(6, max(0, 1 - math.floor(math.log10(width))))


def result_decimals(result: Result) -> int:
    """Return the digits after the point for a result: by its interval, else three significant digits."""
    if result.low is not None and result.high is not None:
        return decimals(result.low, result.high)
    if not result.estimate:
        return 3
    return min(6, max(0, 2 - math.floor(math.log10(abs(result.estimate)))))


def fixed(value: float, digits: int) -> str:
    """Return `value` with `digits` after the point; what rounds to zero has no sign."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def interval(low: float, high: float, digits: int) -> str:
    """Return "-0.09 to -0.05"."""
    return f"{fixed(low, digits)} to {fixed(high, digits)}"


def p_text(p_value: float | None) -> str:
    """Return a p-value; a permutation test with few resamples cannot claim less than it resolves."""
    if p_value is None:
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def percent(level: float) -> str:
    """Return 0.95 as "95 %"."""
    return f"{level * 100:g} %"


def listing(words: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
