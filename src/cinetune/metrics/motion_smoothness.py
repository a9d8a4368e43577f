"""Whether things keep their speed and direction from one frame to the next."""

from cinetune.metrics import _flow
from cinetune.metrics._contract import Card, Features, ItemMetric, Measured

STILL = 0.02
"""Mean flow, % of the shorter side per frame, below which nothing moves: a twentieth of a pixel of 256."""


def score(features: Features) -> Measured:
    """Return 1 - |change of flow along the path| / (|flow before| + |flow after|), summed over all pixels and frames.

    1 is motion that never changes, 0 motion that turns round or stops from each frame to the next.
    """
    if not len(features["speed"]):
        return Measured(None, "a single frame has no neighbour")
    if not len(features["both"]):
        return Measured(None, "two frames have one motion: there is no other to compare it with")
    both = float(features["both"].sum())
    if features["speed"].mean() < STILL or both == 0:
        return Measured(None, f"nothing moves (mean flow below {STILL} % of the shorter side per frame)")
    return Measured(1 - float(features["change"].sum()) / both)


METRIC = ItemMetric(
    name="motion_smoothness",
    version="1",
    unit="share",
    better="higher",
    kind="video",
    least=8,
    source="this project: second difference of optical flow (OpenCV DIS, Kroeger et al. 2016) along the path; VBench "
    "(Huang et al. 2024), motion smoothness, asks the same of a frame interpolation network",
    card=Card(
        measures="How well things keep their speed and direction from frame to frame: 1 is even motion, 0 is jerks.",
        caveats="Where little moves it measures the errors of the flow, and real actions start and stop too: compare "
        "with the true continuations at the same frame rate.",
        blind=("blur", "colour"),
    ),
    look=_flow.LOOK,
    score=score,
)
