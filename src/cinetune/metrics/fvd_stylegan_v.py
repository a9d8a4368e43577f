"""Frechet video distance by the protocol of StyleGAN-V: its own resize, and covariances over n instead of n - 1."""

from collections.abc import Sequence

from cinetune.metrics import _frechet, _video_set
from cinetune.metrics._contract import Card, Comparison, Features, Look, Positions, SetMetric


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the Frechet distance of the Gaussians fitted to their vectors, covariances over n."""
    return _frechet.compare([features["video"][None] for features in videos], ddof=0)


METRIC = SetMetric(
    name="fvd_stylegan_v",
    version="1",
    unit="squared feature distance",
    better="lower",
    least=8,
    source="universome/stylegan-v, src/metrics/frechet_video_distance.py and metric_utils.py",
    card=Card(
        measures="FVD by the protocol of StyleGAN-V, for comparison with numbers of papers that use it.",
        caveats="Biased as FVD is; dividing by n takes a factor (n - 1) / n off the spread, not off the means.",
        blind=("shuffle", "freeze", "drop"),
    ),
    look=Look("fvd_stylegan_v", "1", "video_stylegan_v", _video_set.look, many=_video_set.look_many),
    score=score,
    moments=True,
)
