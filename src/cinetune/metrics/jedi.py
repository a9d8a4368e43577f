"""JEDi: maximum mean discrepancy in the features of V-JEPA."""

from collections.abc import Sequence

from cinetune.metrics import _video_set
from cinetune.metrics._contract import Card, Comparison, Features, Look, Positions, SetMetric
from cinetune.ops import distances

SCALE = 100.0
"""As published."""


def score(videos: Sequence[Features], clusters: Positions) -> Comparison:
    """Compare subsets by the unbiased MMD with the kernel (x . y / d)^2 over pairs from different clusters, x 100."""
    vectors = _video_set.vectors(videos)
    kernel = SCALE * distances.polynomial_kernel(vectors, vectors, degree=2, offset=0.0)
    return Comparison(lambda left, right: distances.mmd(kernel, left, right, clusters), lambda n: "")


METRIC = SetMetric(
    name="jedi",
    version="1",
    unit="100 x squared MMD",
    better="lower",
    least=8,
    source="Luo et al. 2024 (Beyond FVD), sec. 4; oooolga/JEDi for kernel and scale",
    card=Card(
        measures="How far the videos are from the real ones as a set in V-JEPA 2, which sees motion better than I3D.",
        caveats="Unbiased and through V-JEPA 2, where the published tool has the biased form and the first V-JEPA: the "
        "numbers are not those of its paper.",
        blind=("shuffle", "freeze", "drop", "colour"),
    ),
    look=Look("jedi", "1", "video_jepa", _video_set.look, many=_video_set.look_many),
    score=score,
)
