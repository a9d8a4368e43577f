"""The pipeline that `generate` uses, over every kind of Wan, against the batched sampler of validation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cinetune.generate.pipeline import load_pipeline
from cinetune.models._condition import fit_frame
from cinetune.models._contract import Condition
from cinetune.models._sampling import draw_noise, sample
from cinetune.models._wan import WanModel
from cinetune.ops.video import to_frames
from cinetune.recipe import Generate
from tiny_kinds import build
from tiny_model import CAPTIONS

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["i2v", "t2v", "ti2v", "two experts", "t2v of two experts"])
def test_a_picture_of_any_size_gives_what_the_sampler_gives(tiny: WanModel, tmp_path: Path, kind: str) -> None:
    model: Any = tiny if kind == "i2v" else build(tiny, tmp_path / "model", kind)
    coarse = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((70, 50), Image.Resampling.BICUBIC))
    settings = Generate(steps=4, guidance=2.0, shift=3.0)
    made = load_pipeline(model, settings, (9, 32, 48), device=CPU, dtype=torch.float32)(picture, CAPTIONS[1], 5)

    encoders = model.load_encoders(CPU)
    text, negative = encoders.encode_text([CAPTIONS[1], ""])
    given = encoders.condition(fit_frame(picture, 32, 48), 9)
    condition = Condition(given, encoders.encode_image(picture)[None], text[None], (len(text),))
    latents = sample(
        model, model.load_transformer(CPU, torch.float32), condition, draw_noise((16, 3, 4, 6), 5)[None],
        steps=4, shift=3.0, guidance=2.0, negative=negative,
    )  # fmt: skip
    ours = to_frames(encoders.decode(latents)[0])
    assert np.abs(made.astype(int) - ours).max() <= 1
    assert ours.std() > 5


def test_the_published_size_rule_is_there_by_name(tiny: WanModel, capsys: pytest.CaptureFixture[str]) -> None:
    generator = load_pipeline(tiny, Generate(), (17, 480, 832), device=CPU, dtype=torch.float32)
    asked, published = generator.sized("asked"), generator.sized("published")
    assert (asked.height, asked.width) == (480, 832)
    assert (published.height, published.width) == (464, 832)
    assert capsys.readouterr().err.count("480x832 was asked for, the published rule makes 464x832") == 2
