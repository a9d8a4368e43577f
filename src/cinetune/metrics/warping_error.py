"""What is left between neighbouring frames when their motion is undone."""

from cinetune.metrics import _flow
from cinetune.metrics._contract import Card, Features, ItemMetric, Measured


def score(features: Features) -> Measured:
    """Return the mean over neighbouring frames of the mean squared difference of visible pixels, pixels 0..1.

    Pairs that share no visible pixel are left out.
    """
    if not len(features["error"]):
        return Measured(None, "a single frame has no neighbour")
    some = features["visible"] > 0
    if not some.any():
        return Measured(None, "no pixel can be followed from any frame to the next: there is nothing to compare")
    return Measured(float(features["error"][some].mean()))


METRIC = ItemMetric(
    name="warping_error",
    version="1",
    unit="squared difference of pixels 0..1",
    better="lower",
    kind="video",
    least=8,
    source="Lai et al. 2018 (Learning Blind Video Temporal Consistency), E_warp; phoenix104104/"
    "fast_blind_video_consistency evaluate_WarpError.py; here with the video's own flow (OpenCV DIS, Kroeger et al. "
    "2016) and the forward-backward test of Sundaram et al. 2010",
    card=Card(
        measures="How much neighbouring frames differ once their motion is undone: flicker, boiling and tearing.",
        caveats="A still or blurred picture has the least, and what the flow cannot follow does not count. Frames are "
        "compared at a shorter side of at most 256 pixels; not comparable with numbers from other flow estimators.",
        blind=("blur", "freeze", "reencode", "colour"),
    ),
    look=_flow.LOOK,
    score=score,
)
