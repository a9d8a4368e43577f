"""The embedded miniature of Wan2.1 I2V: same classes, same folder layout, made by `cinetune nano train`."""

from pathlib import Path

from cinetune.models._contract import Usual
from cinetune.models._wan import WanModel

FOLDER = Path(__file__).parent / "nano_weights"
MODEL = WanModel(
    name="nano",
    source=str(FOLDER),
    usual=Usual(frames=17, height=64, width=96, fps=16.0, steps=12, guidance=1.0, shift=3.0),
)
