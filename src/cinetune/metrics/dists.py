"""Structure and texture of a video against its true continuation."""

from cinetune.metrics import _lpips
from cinetune.metrics._contract import Card, ItemMetric

METRIC = ItemMetric(
    name="dists",
    version="1",
    unit="distance",
    better="lower",
    kind="pair",
    least=8,
    source="Ding et al. 2020 (Image Quality Assessment: Unifying Structure and Texture Similarity); "
    "dingkeyan93/DISTS DISTS_pytorch/DISTS_pt.py",
    card=Card(
        measures="How different the textures and the structure of each frame are from those of the true continuation.",
        caveats="Forgives texture that is right but in another place. A copy of the first frame scores well where "
        "little moves.",
    ),
    look=_lpips.look("dists"),
    score=_lpips.score,
)
