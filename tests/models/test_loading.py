import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    UMT5Config,
    UMT5EncoderModel,
)

from cinetune.errors import WeightsError
from cinetune.models._checking import build_empty, check_folder, check_part, read_config
from cinetune.models._loading import load_part
from cinetune.models._quiet import quiet
from cinetune.models._random import published
from cinetune.models._resolve import find_model

CPU = torch.device("cpu")
TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 36, "out_channels": 16, "text_dim": 32,
    "freq_dim": 32, "ffn_dim": 128, "num_layers": 4, "image_dim": 40, "added_kv_proj_dim": 48, "rope_max_seq_len": 64,
}  # fmt: skip
CLASSES: dict[str, type[nn.Module]] = {
    "transformer": WanTransformer3DModel,
    "vae": AutoencoderKLWan,
    "text_encoder": UMT5EncoderModel,
    "image_encoder": CLIPVisionModel,
}
SHARD = "diffusion_pytorch_model-00002-of-00008.safetensors"
INDEX = "diffusion_pytorch_model.safetensors.index.json"
VISION = CLIPVisionConfig(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
    projection_dim=16,
)  # fmt: skip


def randomised(module: Any) -> Any:
    """No weight may equal what its class fills in by itself: a weight that is not loaded must show."""
    generator = torch.Generator().manual_seed(1)
    for weight in module.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1 + 0.5
    return module


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature model as the libraries save it, in shards of 100 KB."""
    folder = tmp_path_factory.mktemp("checkpoint")
    built = {
        "transformer": WanTransformer3DModel(**TRANSFORMER),
        "vae": AutoencoderKLWan(base_dim=4, num_res_blocks=1, temperal_downsample=[False, True, True]),
        "text_encoder": UMT5EncoderModel(
            UMT5Config(vocab_size=128, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
        ),
        "image_encoder": CLIPVisionModel(VISION),
    }
    with quiet():
        for part, module in built.items():
            randomised(module).save_pretrained(folder / part, max_shard_size="100KB")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanImageToVideoPipeline"}))
    assert len(list((folder / "transformer").glob("*.safetensors"))) == 8
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, also those that are not saved, and a tied weight under each of its names."""
    return chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def assert_same(a: Any, b: Any) -> None:
    ours, theirs = dict(tensors(a)), dict(tensors(b))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert not ours[name].is_meta, name
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("part", CLASSES)
def test_it_is_what_from_pretrained_gives_bit_for_bit(whole: Path, part: str, dtype: torch.dtype) -> None:
    loaded = load_part(CLASSES[part], whole / part, device=CPU, dtype=dtype)
    with quiet():
        assert_same(loaded, CLASSES[part].from_pretrained(whole / part, dtype=dtype))  # type: ignore[attr-defined]
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_every_weight_comes_from_the_files(whole: Path) -> None:
    loaded = dict(
        load_part(CLASSES["transformer"], whole / "transformer", device=CPU, dtype=torch.float32).state_dict()
    )
    saved = {k: v for file in (whole / "transformer").glob("*.safetensors") for k, v in load_file(file).items()}
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())


def test_the_islands_stay_in_fp32_and_the_output_is_the_same(whole: Path) -> None:
    loaded: Any = load_part(WanTransformer3DModel, whole / "transformer", device=CPU, dtype=torch.bfloat16)
    kept = {name for name, weight in loaded.named_parameters() if weight.dtype == torch.float32}
    islands = set(WanTransformer3DModel._keep_in_fp32_modules)
    assert kept == {name for name, _ in loaded.named_parameters() if islands & set(name.split("."))}
    assert {name.split(".")[-1] for name in kept} >= {"scale_shift_table", "weight"}
    assert loaded.rope.freqs_cos.dtype == torch.float32
    plain: Any = WanTransformer3DModel.from_pretrained(whole / "transformer", dtype=torch.bfloat16)
    given = {
        "hidden_states": torch.randn(1, 36, 2, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.ones(1, 512, 32, dtype=torch.bfloat16),
        "encoder_hidden_states_image": torch.ones(1, 5, 40, dtype=torch.bfloat16),
    }
    with torch.no_grad():
        assert torch.equal(loaded(**given).sample, plain.eval()(**given).sample)


def test_tied_embeddings_are_one_tensor_whichever_name_was_saved(whole: Path, tmp_path: Path) -> None:
    with quiet():
        built = UMT5EncoderModel.from_pretrained(whole / "text_encoder")
        built.save_pretrained(tmp_path / "one")
    saved = load_file(tmp_path / "one" / "model.safetensors")
    assert "encoder.embed_tokens.weight" not in saved
    saved["encoder.embed_tokens.weight"] = saved.pop("shared.weight")
    other = Path(shutil.copytree(tmp_path / "one", tmp_path / "other"))
    save_file(saved, other / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))  # as published
    for folder in (tmp_path / "one", other):
        loaded: Any = load_part(UMT5EncoderModel, folder, device=CPU, dtype=torch.float32)
        assert loaded.encoder.embed_tokens.weight is loaded.shared.weight
        assert torch.equal(loaded.shared.weight, built.shared.weight)


def test_an_image_encoder_saved_with_its_projection_and_old_names(tmp_path: Path) -> None:
    with_head = randomised(CLIPVisionModelWithProjection(VISION))
    with quiet():
        with_head.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert "visual_projection.weight" in saved
    assert "vision_model.pre_layrnorm.weight" in saved
    loaded: Any = load_part(CLIPVisionModel, tmp_path, device=CPU, dtype=torch.float32)
    assert torch.equal(loaded.pre_layrnorm.weight, saved["vision_model.pre_layrnorm.weight"])
    assert torch.equal(loaded.embeddings.position_ids, torch.arange(5)[None])
    save_file(saved | {"lm_head.weight": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 tensors that CLIPVisionModel does not have: lm_head\.weight"):
        check_part(CLIPVisionModel, tmp_path)


def test_a_whole_folder_is_accepted(whole: Path) -> None:
    check_folder(whole, CLASSES, expect_in_channels=36)


def test_nano_is_accepted_with_its_half_precision_vae() -> None:
    folder = find_model("nano").folder
    check_folder(folder, CLASSES, expect_in_channels=36, allow_half_vae=True)
    with pytest.raises(WeightsError, match=r"the VAE is stored in half precision \(F16\)"):
        check_folder(folder, CLASSES, expect_in_channels=36)
    loaded = load_part(AutoencoderKLWan, folder / "vae", device=CPU, dtype=torch.float32, allow_half_vae=True)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}


def test_a_checkpoint_of_published_size_is_checked_without_reading_it(tmp_path: Path) -> None:
    """Wan2.1 I2V 14B: its true names and shapes in fp32, 65.6 GB of them, in a file that takes no room on the disk."""
    config = published("wan2.1-i2v-14b-720p") / "transformer"
    shutil.copy(config / "config.json", tmp_path)
    built = build_empty(WanTransformer3DModel, read_config(WanTransformer3DModel, config), "")
    header, end = {}, 0
    for name, weight in built.state_dict().items():
        header[name] = {"dtype": "F32", "shape": list(weight.shape), "data_offsets": [end, end + 4 * weight.numel()]}
        end += 4 * weight.numel()
    text = json.dumps(header).encode()
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(file, 8 + len(text) + end)
    assert end == 4 * 16_394_878_784
    assert file.stat().st_blocks * 512 < 1e6
    check_part(WanTransformer3DModel, tmp_path, expect_in_channels=36)
    os.truncate(file, 8 + len(text) + end - 1)
    with pytest.raises(WeightsError, match=f"cut short: its header names {8 + len(text) + end} bytes"):
        check_part(WanTransformer3DModel, tmp_path, expect_in_channels=36)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    held = load_file(path)
    change(held)
    save_file(held, path, metadata={"format": "pt"})


def cut(path: Path, keep: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])


def forget(index: Path, name: str) -> None:
    edit(index, lambda content: content["weight_map"].pop(name))


def add_stray(folder: Path) -> None:
    rewrite(folder / SHARD, lambda held: held.update(stray=torch.zeros(3)))
    edit(folder / INDEX, lambda content: content["weight_map"].update(stray=SHARD))


NAMED = "blocks.1.attn1.to_k.bias"
DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no part": ("transformer", shutil.rmtree, r"no folder 'transformer'"),
    "no config": ("vae", lambda f: (f / "config.json").unlink(), r"config\.json: cannot be read"),
    "config not JSON": ("vae", lambda f: (f / "config.json").write_text("{"), r"config\.json: not JSON"),
    "config not an object": ("vae", lambda f: (f / "config.json").write_text("[]"), r"object is wanted, not a list"),
    "another class": (
        "transformer",
        lambda f: edit(f / "config.json", lambda c: c.update(_class_name="WanVACETransformer3DModel")),
        r"of WanVACETransformer3DModel, where WanTransformer3DModel is wanted",
    ),
    "another architecture": (
        "text_encoder",
        lambda f: edit(f / "config.json", lambda c: c.update(model_type="t5", architectures=["T5EncoderModel"])),
        r"of T5EncoderModel, where UMT5EncoderModel is wanted",
    ),
    "impossible config": (
        "transformer",
        lambda f: edit(f / "config.json", lambda c: c.update(patch_size="two")),
        r"config\.json: does not describe a WanTransformer3DModel",
    ),
    "impossible text config": (
        "text_encoder",
        lambda f: edit(f / "config.json", lambda c: c.update(d_model="wide")),
        r"config\.json: does not describe a UMT5EncoderModel",
    ),
    "no weights": ("vae", lambda f: [p.unlink() for p in f.glob("*model*")], r"no weights; diffusion_pytorch_model"),
    "only pickled weights": (
        "vae",
        lambda f: [p.rename(f / f"{n}.bin") for n, p in enumerate(sorted(f.glob("*model*")))],
        r"no weights; only \d+\.bin, which could run code",
    ),
    "truncated shard": (
        "transformer",
        lambda f: cut(f / SHARD, 0.6),
        r"00002-of-00008.*cut short: its header names \d+",
    ),
    "truncated header": ("transformer", lambda f: cut(f / SHARD, 0.01), r"00002-of-00008.*cut short: its header alone"),
    "empty shard": ("transformer", lambda f: cut(f / SHARD, 0), r"00002-of-00008.*(cut short|not a readable)"),
    "not safetensors": (
        "transformer",
        lambda f: (f / SHARD).write_bytes(b"\x10" + bytes(7) + b"not a header at all"),
        r"00002-of-00008.*not a readable safetensors file",
    ),
    "LFS pointer": (
        "transformer",
        lambda f: (f / SHARD).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        r"00002-of-00008.*Git LFS pointer",
    ),
    "missing shard": ("transformer", lambda f: (f / SHARD).unlink(), r"00002-of-00008.safetensors of 8 shards missing"),
    "index without a map": ("transformer", lambda f: (f / INDEX).write_text("{}"), r"no weight_map"),
    "index entry missing": (
        "transformer",
        lambda f: forget(f / INDEX, NAMED),
        r"1 tensors missing: blocks\.1\.attn1\.to_k\.bias",
    ),
    "index of another model": (
        "transformer",
        lambda f: edit(f / INDEX, lambda c: c["weight_map"].update({NAMED: SHARD.replace("00002", "00008")})),
        r"blocks\.1\.attn1\.to_k\.bias is not in .*00008-of-00008",
    ),
    "unexpected tensor": ("transformer", add_stray, r"1 tensors that WanTransformer3DModel does not have: stray"),
    "fewer layers in the files": (
        "transformer",
        lambda f: edit(f / "config.json", lambda c: c.update(num_layers=5)),
        r"32 tensors missing: blocks\.4\.\S+, blocks\.4\.\S+, blocks\.4\.\S+ and 29 more",
    ),
    "more layers in the files": (
        "transformer",
        lambda f: edit(f / "config.json", lambda c: c.update(num_layers=3)),
        r"32 tensors that WanTransformer3DModel does not have: blocks\.3\.",
    ),
    "wrong shape": (
        "transformer",
        lambda f: edit(f / "config.json", lambda c: c.update(text_dim=33)),
        r"shapes differ from config\.json: \S+ \(48, 32\) where \(48, 33\) is wanted",
    ),
    "wrong shape of a text encoder": (
        "text_encoder",
        lambda f: edit(f / "config.json", lambda c: c.update(vocab_size=129)),
        r"shapes differ from config\.json: shared\.weight \(128, 64\) where \(129, 64\) is wanted",
    ),
    "text encoder without a layer": (
        "text_encoder",
        lambda f: edit(f / "config.json", lambda c: c.update(num_layers=3)),
        r"\d+ tensors missing: encoder\.block\.2\.",
    ),
    "half precision": (
        "vae",
        lambda f: [
            rewrite(p, lambda h: h.update({k: v.half() for k, v in h.items()})) for p in f.glob("*.safetensors")
        ],
        r"the VAE is stored in half precision \(F16\)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_one_clear_line_before_anything_is_loaded(
    copy: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, harm, message = DAMAGES[damage]
    harm(copy / part)
    with pytest.raises(WeightsError, match=message) as caught:
        check_folder(copy, CLASSES, expect_in_channels=36)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(copy))
    monkeypatch.setattr(CLASSES[part], "from_pretrained", lambda *_, **__: pytest.fail("it was loaded all the same"))
    if part != "text_encoder":  # transformers' own loader does the checking of names, with empty tensors
        with pytest.raises(WeightsError, match=message):
            load_part(CLASSES[part], copy / part, device=CPU, dtype=torch.float32, expect_in_channels=None)


@pytest.mark.parametrize(
    ("has", "wanted", "message"),
    [
        (16, 36, r"in_channels is 16 \(text-to-video\), 36 \(image-to-video\) wanted"),
        (36, 16, r"in_channels is 36 \(image-to-video\), 16 \(text-to-video\) wanted"),
        (20, 36, r"in_channels is 20, 36 \(image-to-video\) wanted"),
    ],
)
def test_the_wrong_kind_of_transformer(tmp_path: Path, has: int, wanted: int, message: str) -> None:
    WanTransformer3DModel(**TRANSFORMER | {"in_channels": has, "num_layers": 1}).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=message):
        load_part(WanTransformer3DModel, tmp_path, device=CPU, dtype=torch.float32, expect_in_channels=wanted)
    load_part(WanTransformer3DModel, tmp_path, device=CPU, dtype=torch.float32, expect_in_channels=has)


@pytest.mark.parametrize("name", ["LTXPipeline", "CogVideoXImageToVideoPipeline", None])
def test_another_architecture_is_named(copy: Path, name: str | None) -> None:
    (copy / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(WeightsError, match=f"this is a {name}, not a Wan pipeline"):
        check_folder(copy, CLASSES)


def test_a_transformer_of_another_architecture_is_named(tmp_path: Path) -> None:
    small = LTXVideoTransformer3DModel(
        num_layers=1, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16
    )
    small.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="of LTXVideoTransformer3DModel, where WanTransformer3DModel is wanted"):
        load_part(WanTransformer3DModel, tmp_path, device=CPU, dtype=torch.float32)


def test_no_model_index(copy: Path) -> None:
    (copy / "model_index.json").unlink()
    with pytest.raises(WeightsError, match=r"no model_index\.json"):
        check_folder(copy, CLASSES)


def test_one_file_and_shards_side_by_side_follow_the_library(copy: Path) -> None:
    """diffusers takes the index first: a stale single file beside it is not what is loaded, nor what is checked."""
    stale = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({"stale": torch.zeros(1)}, stale)
    load_part(WanTransformer3DModel, copy / "transformer", device=CPU, dtype=torch.float32)
