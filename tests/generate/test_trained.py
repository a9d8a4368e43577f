"""What else than a plain adapter training may leave: networks trained whole, and DoRA."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cinetune.errors import WeightsError
from cinetune.footage.video_io import read_video
from cinetune.generate.network import Trained, open_network
from cinetune.generate.stage import generate
from cinetune.generate.studio import open_studio
from cinetune.generate.window import Sampling, Window
from cinetune.models._velocity import Experts
from cinetune.models._wan import WanModel
from cinetune.ops.video import deepen, to_shallow
from cinetune.train.trainable import make_trainable, named_trainable, save_trained
from tiny_kinds import build
from tiny_run import prepare_tiny, tiny_recipe

CPU = torch.device("cpu")


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
    sampling = Sampling(recipe.generate.steps, recipe.generate.guidance, recipe.generate.shift)
    prompts = [sample.prompt for sample in samples]
    theirs = open_studio(
        WanModel("other", str(other)), [], sampling, size, prompts, device=CPU, dtype=torch.float32
    )  # fmt: skip
    for base, tuned in zip(samples[::3], samples[1::3], strict=True):
        shown = {s.arm: np.asarray(read_video(run / "generate" / s.video)[0]) for s in (base, tuned)}
        truth = np.asarray(read_video(run / "generate" / tuned.reference)[0])
        made = theirs(Window(tuned.prompt, tuned.seed, recipe.footage.frames, deepen(truth[0])))
        assert np.array_equal(shown["tuned"], to_shallow(made))
        assert not np.array_equal(shown["tuned"], shown["base"])
        assert len(tuned.adapter_sha256) == 64


def test_one_expert_trained_whole_beside_the_other_of_the_base(tiny: WanModel, tmp_path: Path) -> None:
    model = build(tiny, tmp_path / "model", "two experts")
    trained_whole(model, tmp_path / "best")
    shutil.rmtree(tmp_path / "best" / "transformer")  # only the low noise expert was trained

    def weights(trained: list[Trained]) -> list[torch.Tensor]:
        network = open_network(model, trained, CPU, torch.float32)
        assert isinstance(network, Experts)
        return [torch.cat([w.detach().flatten() for w in part.parameters()]) for part in network.by_name().values()]

    before, after = weights([]), weights([Trained(tmp_path / "best")])
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    with pytest.raises(WeightsError, match="one of two experts, and this model has one network"):
        open_network(tiny, [Trained(tmp_path / "best")], CPU, torch.float32)
    with pytest.raises(WeightsError, match="stands alone"):
        open_network(model, [Trained(tmp_path / "best"), Trained(tmp_path / "best")], CPU, torch.float32)


def test_a_dora_keeps_its_precision_on_a_bf16_base(tiny: WanModel, tmp_path: Path) -> None:
    """diffusers' own loader would round its magnitudes, and with them every weight, to 8 bits."""
    recipe = tiny_recipe(tiny, lora__dora="true", train__precision="bf16")
    network = tiny.load_transformer(CPU, torch.bfloat16)
    parts = make_trainable(network, tiny, recipe)
    g = torch.Generator().manual_seed(3)
    weights = {name: w + 0.1 * torch.randn(w.shape, generator=g) for name, w in named_trainable(network).items()}
    save_trained(tmp_path, parts, weights, recipe)
    opened = open_network(tiny, [Trained(tmp_path)], CPU, torch.bfloat16)
    found = {n: w for n, w in opened.named_parameters() if "lora_" in n}
    assert found.keys() == weights.keys()
    assert all(torch.equal(w, weights[name]) for name, w in found.items())
    with pytest.raises(WeightsError, match="a DoRA cannot be weakened or stacked"):
        open_network(tiny, [Trained(tmp_path, 0.5)], CPU, torch.bfloat16)
