import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cinetune.adapters import lora
from cinetune.adapters.reading import EXPERT_FILES, find_networks, find_weights, read_adapter
from cinetune.errors import RecipeError, WeightsError
from cinetune.files import folder_aside
from cinetune.models._velocity import Experts
from cinetune.models._wan import CROSS_ATTENTION, IMAGE_PROJECTIONS, WanModel
from cinetune.train import trainable
from cinetune.train.trainable import load_dtype, make_trainable, named_trainable, save_trained
from tiny_kinds import build
from tiny_run import tiny_recipe
from tiny_step import relative, step

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def experts(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> WanModel:
    return build(tiny, tmp_path_factory.mktemp("experts") / "model", "two experts")


def made(model: WanModel, **changes: str) -> tuple[torch.nn.Module, dict[str, torch.nn.Module], Any]:
    recipe = tiny_recipe(model, **changes)
    network = model.load_transformer(CPU, load_dtype(recipe))
    return network, make_trainable(network, model, recipe), recipe


def weights_of(network: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """What an engine would give: other values than the network's own, by name."""
    g = torch.Generator().manual_seed(seed)
    return {name: torch.randn(w.shape, generator=g) for name, w in named_trainable(network).items()}


def test_plain_is_the_adapter_it_always_was(tiny: WanModel, tmp_path: Path) -> None:
    network, parts, recipe = made(tiny)
    by_hand = tiny.load_transformer(CPU, torch.float32)
    lora.inject(by_hand, CROSS_ATTENTION + IMAGE_PROJECTIONS, rank=recipe.lora.rank, alpha=recipe.lora.alpha,
                seed=recipe.seed)  # fmt: skip
    lora.save(tmp_path / "by-hand.safetensors", by_hand)
    save_trained(tmp_path, parts, named_trainable(network), recipe)
    assert list(parts) == [lora.FILE_NAME]
    assert (tmp_path / lora.FILE_NAME).read_bytes() == (tmp_path / "by-hand.safetensors").read_bytes()
    assert find_weights(tmp_path) == [tmp_path / lora.FILE_NAME]


def test_targets_ranks_and_scales_are_the_recipes(tiny: WanModel) -> None:
    ranks = r"{ 'blocks\.0\..*' = 2, 'blocks\.[1-9]\.ffn.*' = 16 }"
    network, _, recipe = made(tiny, lora__targets="all-linear", lora__image_projections="false", lora__ranks=ranks)
    layers = lora.form(network).layers
    assert {name.split(".", 2)[2] for name in layers} == {
        "ffn.net.0.proj",
        "ffn.net.2",
        *(f"attn{n}.{part}" for n in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")),
    }
    for name, layer in layers.items():
        first = name.startswith("blocks.0.")
        assert layer.rank == (2 if first else 16 if "ffn" in name else recipe.lora.rank)
        assert layer.scale == recipe.lora.alpha / recipe.lora.rank
    again, _, _ = made(tiny, lora__targets=r"'blocks\.1\..*ffn.*'", lora__rslora="true", lora__dora="true",
                       lora__ranks="{ '.*proj' = 4 }")  # fmt: skip
    for name, layer in lora.form(again).layers.items():
        rank = 4 if name.endswith("proj") else recipe.lora.rank
        assert layer.scale == pytest.approx(recipe.lora.alpha / rank**0.5)
        assert layer.magnitude is not None
        assert re.fullmatch(r"blocks\.1\..*ffn.*", name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lora__targets": "nothing.*"}, "no linear layer has such a name"),
        ({"lora__targets": "'('"}, "not a regular expression"),
        ({"lora__ranks": "{ 'blocks.99.*' = 4 }"}, "no layer of lora.targets has such a name, such as blocks.0.attn2"),
        ({"lora__ranks": "{ '(' = 4 }"}, "lora.ranks '(': not a regular expression"),
        ({"lora__ranks": "{ '.*to_q' = 4, 'blocks.0.*' = 2 }"}, "blocks.0.attn2.to_q matches two entries"),
    ],
)
def test_names_of_no_layer_are_refused(tiny: WanModel, changes: dict[str, str], says: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(says)):
        made(tiny, **changes)


@pytest.mark.parametrize("which", ["both", "high", "low"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_experts_are_saved_each_with_its_own(experts: WanModel, tmp_path: Path, which: str, method: str) -> None:
    network, parts, recipe = made(experts, lora__experts=which, train__method=method)
    assert isinstance(network, Experts)
    weights = weights_of(network, 3)
    save_trained(tmp_path, parts, weights, recipe)
    names = ["high", "low"] if which == "both" else [which]
    folders = {"high": "transformer", "low": "transformer_2"}
    for name in names:
        prefix = f"{folders[name]}."
        if method == "lora":
            assert list(parts) == [EXPERT_FILES[n] for n in names]
            found = read_adapter(tmp_path / EXPERT_FILES[name]).layers["blocks.0.attn2.to_q"]
            assert torch.equal(found.b, weights[f"{prefix}blocks.0.attn2.to_q.lora_B.default.weight"])
        else:
            assert list(parts) == [folders[n] for n in names]
            state = load_file(find_networks(tmp_path)[folders[name]] / "diffusion_pytorch_model.safetensors")
            assert {f"{prefix}{key}" for key in state} == {n for n in weights if n.startswith(prefix)}
            assert all(torch.equal(value, weights[f"{prefix}{key}"]) for key, value in state.items())
    assert len(list(tmp_path.iterdir())) == len(names)
    if which != "both":
        other = "transformer_2." if which == "high" else "transformer."
        assert not any(name.startswith(other) for name in weights)


def test_full_is_every_weight_in_fp32_and_a_folder_that_loads(
    tiny: WanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tiny, train__method="full", train__precision="bf16")
    assert load_dtype(recipe) == torch.float32
    network = tiny.load_transformer(CPU, torch.bfloat16)  # even so
    parts = make_trainable(network, tiny, recipe)
    assert named_trainable(network).keys() == dict(network.named_parameters()).keys()
    assert {w.dtype for w in named_trainable(network).values()} == {torch.float32}
    weights = weights_of(network, 5)
    monkeypatch.setattr(trainable, "SHARD", 10**6)
    with folder_aside(tmp_path / "best") as aside:
        save_trained(aside, parts, weights, recipe)
    folder = tmp_path / "best" / "transformer"
    assert len(list(folder.glob("*.safetensors"))) > 2, "in shards"
    assert find_weights(tmp_path / "best") == sorted(folder.glob("*.safetensors"))
    assert "_name_or_path" not in json.loads((folder / "config.json").read_text())
    model = tmp_path / "model"
    model.mkdir()
    for part in tiny.folder.iterdir():
        if part.name != "transformer":
            (model / part.name).symlink_to(part)
    (model / "transformer").symlink_to(folder)
    again = WanModel("again", str(model)).load_transformer(CPU, torch.float32)
    assert all(torch.equal(w, weights[name]) for name, w in again.named_parameters())
    with pytest.raises(WeightsError, match="a network trained whole"):
        read_adapter(tmp_path / "best")


def test_full_in_bf16_computes_in_bf16_with_fp32_weights(tiny: WanModel) -> None:
    seen: dict[str, torch.dtype] = {}
    results = {}
    for precision in ("fp32", "bf16"):
        network: Any = made(tiny, train__method="full", train__precision=precision, train__checkpointing="true")[
            0
        ].train()
        for name in ("condition_embedder.time_embedder.linear_1", "blocks.0.ffn.net.2", "blocks.0.norm1"):
            network.get_submodule(name).register_forward_hook(
                lambda _m, _i, out, key=f"{precision} {name}": seen.update({key: out.dtype})
            )
        results[precision] = step(network, tiny)
    assert {key: dtype for key, dtype in seen.items() if dtype == torch.bfloat16}.keys() == {"bf16 blocks.0.ffn.net.2"}
    assert len(seen) == 6
    assert results["bf16"][0] == pytest.approx(results["fp32"][0], rel=0.02)
    assert 0 < relative(results["bf16"][1], results["fp32"][1]) < 0.1
    assert {g.dtype for g in results["bf16"][1].values()} == {torch.float32}


def test_the_same_folder_twice_is_the_same_bytes(tiny: WanModel, tmp_path: Path) -> None:
    network, parts, recipe = made(tiny, train__method="full")
    for name in ("a", "b"):
        save_trained(tmp_path / name, parts, named_trainable(network), recipe)
    a, b = (sorted((tmp_path / name / "transformer").iterdir()) for name in ("a", "b"))
    assert [file.read_bytes() for file in a] == [file.read_bytes() for file in b]
