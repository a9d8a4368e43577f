"""How fast the fastest parts of the picture move."""

from cinetune.metrics import _flow
from cinetune.metrics._contract import Card, Features, ItemMetric, Measured


def score(features: Features) -> Measured:
    """Return the mean over neighbouring frames of the mean flow of the fastest 5 % of pixels.

    In % of the shorter side per frame. VBench counts a video as moving from 2.3 on (6 pixels of 256, at 8 a second).
    """
    if not len(features["fastest"]):
        return Measured(None, "a single frame has no neighbour")
    return Measured(float(features["fastest"].mean()))


METRIC = ItemMetric(
    name="dynamic_degree",
    version="1",
    unit="% of the shorter side per frame",
    better="neither",
    kind="video",
    least=8,
    source="VBench (Huang et al. 2024), dynamic degree; Vchitect/VBench vbench/dynamic_degree.py, before its "
    "threshold, with the flow of OpenCV DIS (Kroeger et al. 2016) instead of RAFT",
    card=Card(
        measures="How fast the fastest twentieth of the picture moves.",
        caveats="Neither side is better: compare with the true continuations at the same frame rate. Motion of more "
        "than about an eighth of the shorter side per frame is lost, so that faster can look slower.",
        blind=("noise", "drop", "reencode", "colour"),
    ),
    look=_flow.LOOK,
    score=score,
)
