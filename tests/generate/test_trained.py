"""What else than a plain adapter training may leave: networks trained whole, and DoRA."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cinetune.adapters import lora
from cinetune.errors import WeightsError
from cinetune.footage.video_io import read_video
from cinetune.generate.pipeline import load_pipeline, use_adapter
from cinetune.generate.stage import generate
from cinetune.models._wan import WanModel
from cinetune.recipe import Generate
from cinetune.train.trainable import make_trainable, named_trainable, save_trained
from tiny_kinds import build
from tiny_run import prepare_tiny, tiny_recipe

CPU = torch.device("cpu")
SETTINGS = Generate(steps=2, guidance=1.0)
FRAME = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def trained_whole(model: WanModel, folder: Path) -> None:
    recipe = tiny_recipe(model, train__method="full")
    network = model.load_transformer(CPU, torch.float32)
    parts = make_trainable(network, model, recipe)
    g = torch.Generator().manual_seed(3)
    weights = {name: w * (1 + 0.2 * torch.randn(w.shape, generator=g)) for name, w in named_trainable(network).items()}
    save_trained(folder, parts, weights, recipe)


def test_a_run_of_full_fine_tuning_is_generated_with_its_own_network(tiny: WanModel, tmp_path: Path) -> None:
    recipe = tiny_recipe(tiny, train__method="full", generate__shots="0")
    run = prepare_tiny(tmp_path / "run", tiny, recipe)
    trained_whole(tiny, run / "train" / "best")
    samples = generate(run, recipe, tiny, device=CPU)
    other = tmp_path / "model"
    shutil.copytree(tiny.folder, other)
    shutil.rmtree(other / "transformer")
    shutil.copytree(run / "train" / "best" / "transformer", other / "transformer")
    size = (recipe.footage.frames, recipe.footage.height, recipe.footage.width)
    theirs = load_pipeline(WanModel("other", str(other)), recipe.generate, size, device=CPU, dtype=torch.float32)
    for base, tuned in zip(samples[::3], samples[1::3], strict=True):
        shown = {s.arm: np.asarray(read_video(run / "generate" / s.video)[0]) for s in (base, tuned)}
        truth = np.asarray(read_video(run / "generate" / tuned.reference)[0])
        assert np.array_equal(shown["tuned"], theirs(truth[0], tuned.prompt, tuned.seed))
        assert not np.array_equal(shown["tuned"], shown["base"])
        assert len(tuned.adapter_sha256) == 64


def test_the_base_comes_back_after_whole_networks(tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "two experts")
    trained_whole(model, tmp_path / "best")
    shutil.rmtree(tmp_path / "best" / "transformer")  # only the low noise expert was trained
    generator = load_pipeline(model, SETTINGS, (5, 32, 48), device=CPU, dtype=torch.float32)

    def weights(part: str) -> torch.Tensor:
        return torch.cat([w.detach().flatten() for w in getattr(generator.pipeline, part).parameters()])

    before = {part: weights(part) for part in ("transformer", "transformer_2")}
    use_adapter(generator, tmp_path / "best")
    assert torch.equal(weights("transformer"), before["transformer"])
    assert not torch.equal(weights("transformer_2"), before["transformer_2"])
    use_adapter(generator, None)
    assert all(torch.equal(weights(part), value) for part, value in before.items())

    plain = load_pipeline(tiny, SETTINGS, (5, 32, 48), device=CPU, dtype=torch.float32)
    with pytest.raises(WeightsError, match="one of two experts, and this model has one network"):
        use_adapter(plain, tmp_path / "best")


def test_a_dora_keeps_its_precision_on_a_bf16_base(tiny: WanModel, tmp_path: Path) -> None:
    """diffusers' own loader would round its magnitudes, and with them every weight, to 8 bits."""
    recipe = tiny_recipe(tiny, lora__dora="true", train__precision="bf16")
    network = tiny.load_transformer(CPU, torch.bfloat16)
    parts = make_trainable(network, tiny, recipe)
    g = torch.Generator().manual_seed(3)
    weights = {name: w + 0.1 * torch.randn(w.shape, generator=g) for name, w in named_trainable(network).items()}
    save_trained(tmp_path, parts, weights, recipe)
    generator = load_pipeline(tiny, SETTINGS, (5, 32, 48), device=CPU, dtype=torch.bfloat16)
    before = generator(FRAME, "a car", 0)
    use_adapter(generator, tmp_path)
    found = {n: w for n, w in generator.pipeline.transformer.named_parameters() if "lora_" in n}
    assert found.keys() == weights.keys()
    assert all(torch.equal(w, weights[name]) for name, w in found.items())
    assert not np.array_equal(generator(FRAME, "a car", 0), before)
    use_adapter(generator, None)
    assert not lora.layers(generator.pipeline.transformer)
    assert np.array_equal(generator(FRAME, "a car", 0), before)
