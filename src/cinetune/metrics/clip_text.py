"""CLIP-SIM, text to frame: how well the frames show what the caption says."""

from cinetune.metrics import _clip
from cinetune.metrics._contract import Card, Features, ItemMetric, Measured


def score(features: Features) -> Measured:
    """Return the mean over all frames of the cosine of frame and caption, -1..1."""
    if "text" not in features:
        return Measured(None, "there is no caption to compare the frames with; give prompts")
    return Measured(float((features["images"] @ features["text"]).mean(dtype="float64")))


METRIC = ItemMetric(
    name="clip_text",
    version="1",
    unit="cosine",
    better="higher",
    kind="video",
    least=8,
    source="Wu et al. 2021 (GODIVA), CLIP similarity; EvalCrafter (Liu et al. 2024), CLIP-Score",
    card=Card(
        measures="How well the frames show what the caption says.",
        caveats="Says nothing of quality or motion; the differences between models are often below its noise.",
        blind=("blur", "noise", "shuffle", "freeze", "drop", "reencode", "colour"),
    ),
    look=_clip.LOOK,
    score=score,
)
