"""Content-debiased Frechet video distance: FVD through a network that learnt from videos without labels."""

from collections.abc import Sequence

from cinetune.metrics import _frechet, _video_set
from cinetune.metrics._contract import Card, Comparison, Features, Look, Positions, SetMetric


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the Frechet distance of the Gaussians fitted to their vectors, covariances over n."""
    return _frechet.compare([features["video"][None] for features in videos], ddof=0)


METRIC = SetMetric(
    name="fvd_debiased",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="Ge et al. 2024 (On the Content Bias in Frechet Video Distance); songweige/content-debiased-fvd for n",
    card=Card(
        measures="FVD through VideoMAE, which weighs motion more than I3D does.",
        caveats="Biased upwards with few videos, and more than FVD: its features have more dimensions.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=Look("fvd_debiased", "1", "video_mae", _video_set.look, many=_video_set.look_many),
    score=score,
    moments=True,
)
