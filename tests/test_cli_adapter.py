"""`cinetune adapter ...` as a user meets it: real processes, real files, one line and exit code 2 for bad input."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import command_line
from cinetune.adapters.form import Adapter, Layer
from cinetune.adapters.reading import read_adapter
from cinetune.adapters.writing import write_adapter
from cinetune.models.nano import FOLDER
from command_line import refused

STEM = "transformer.blocks.0.attn2.to_q"


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return command_line.call("adapter", *arguments, cwd=cwd)


def cross_attention(width: int = 192) -> Adapter:
    """Fits nano."""
    g = torch.Generator().manual_seed(0)
    names = [f"blocks.{n}.attn2.{part}" for n in range(6) for part in ("to_k", "to_out.0", "to_q", "to_v")]
    factors = [(torch.randn(4, width, generator=g), torch.randn(192, 4, generator=g) * 0.1) for _ in names]
    return Adapter({name: Layer(a, b, 8.0) for name, (a, b) in zip(names, factors, strict=True)}, "kohya")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good adapter, and one of each kind of bad one."""
    folder = tmp_path_factory.mktemp("files")
    one = {f"{STEM}.lora_A.weight": torch.ones(2, 192), f"{STEM}.lora_B.weight": torch.ones(192, 2)}
    write_adapter(folder / "good.safetensors", cross_attention(), "kohya")
    write_adapter(folder / "narrow.safetensors", cross_attention(width=160), "wan")
    whole = (folder / "good.safetensors").read_bytes()
    (folder / "damaged.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({**one, f"{STEM}.strange": torch.ones(1)}, folder / "unknown.safetensors")
    save_file({**one, f"{STEM}.dora_scale": torch.ones(192, 1)}, folder / "dora.safetensors")
    save_file({**one, f"{STEM}.lora_magnitude_vector": torch.ones(192)}, folder / "peft.safetensors")
    save_file({**one, f"{STEM}.lora_B.weight": torch.ones(192, 3)}, folder / "shape.safetensors")
    other = {key.replace("blocks.0.attn2", "single_transformer_blocks.0.attn"): w for key, w in one.items()}
    save_file(other, folder / "flux.safetensors")
    return folder


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("nosuch.safetensors", "no such adapter file"),
        ("damaged.safetensors", "not a readable safetensors file"),
        ("unknown.safetensors", "1 of 3 keys are no LoRA of a Wan2.1 layer: transformer.blocks.0.attn2.to_q.strange"),
        ("dora.safetensors", "1 of 3 keys hold what A, B and alpha cannot"),
        ("shape.safetensors", "A and B of shapes [2, 192] and [192, 3] do not fit"),
        ("flux.safetensors", "2 of 2 keys are no LoRA of a Wan2.1 layer"),
    ],
)
def test_bad_files(files: Path, tmp_path: Path, file: str, says: str) -> None:
    line = refused(call("convert", files / file, tmp_path / "out.safetensors", cwd=tmp_path))
    assert says in line
    assert file in line
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


def test_convert(files: Path, tmp_path: Path) -> None:
    done = call("convert", files / "good.safetensors", tmp_path / "out.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "24 layers from kohya to wan" in done.stdout
    state = load_file(tmp_path / "out.safetensors")
    assert torch.equal(state["diffusion_model.blocks.5.cross_attn.o.lora_B.weight"],
                       cross_attention().layers["blocks.5.attn2.to_out.0"].b * 2)  # fmt: skip
    dropped = call("convert", files / "dora.safetensors", tmp_path / "2.safetensors", "--drop", "--dtype", "bf16",
                   "--to", "kohya", "--keep-alpha", cwd=tmp_path)  # fmt: skip
    assert dropped.returncode == 0, dropped.stderr
    assert "left out 1 of 3 keys" in dropped.stderr
    line = refused(call("convert", files / "peft.safetensors", tmp_path / "4.safetensors", cwd=tmp_path))
    assert "no one meaning for DoRA's magnitudes" in line
    assert read_adapter(tmp_path / "2.safetensors").dtypes == [torch.bfloat16]
    assert "choose wan, diffusers, kohya" in refused(
        call("convert", files / "good.safetensors", tmp_path / "3.safetensors", "--to", "comfy", cwd=tmp_path)
    )


def test_inspect(files: Path, tmp_path: Path) -> None:
    table = call("inspect", files / "good.safetensors", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "good.safetensors: kohya format, float32, 24 layers" in table.stdout
    found = json.loads(call("inspect", files / "good.safetensors", "--json", cwd=tmp_path).stdout)
    assert (found["targets"], found["image_projections"], found["total"]["ranks"]) == ("cross-attention", False, [4])
    assert len(found["layers"]) == 24


def test_merge(files: Path, tmp_path: Path) -> None:
    done = call("merge", FOLDER / "transformer", files / "good.safetensors", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    name = "diffusion_pytorch_model.safetensors"
    old, new = load_file(FOLDER / "transformer" / name), load_file(tmp_path / "out" / name)
    changed = {key.removesuffix(".weight") for key in old if not torch.equal(old[key], new[key])}
    assert changed == set(cross_attention().layers)
    for file, out, says in [
        ("narrow.safetensors", "second", "the weight of blocks.0.attn2.to_k is [192, 160] there, [192, 192] here"),
        ("good.safetensors", "out", "is there already"),
    ]:
        assert says in refused(call("merge", FOLDER, files / file, tmp_path / out, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_resize(files: Path, tmp_path: Path) -> None:
    done = call("resize", files / "good.safetensors", tmp_path / "out.safetensors", "--rank", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "energy kept" in done.stdout
    assert {layer.rank for layer in read_adapter(tmp_path / "out.safetensors").layers.values()} == {2}
    line = refused(call("resize", files / "good.safetensors", tmp_path / "2.safetensors", cwd=tmp_path))
    assert "either --rank or --energy" in line


def test_card(files: Path, tmp_path: Path) -> None:
    arguments = ("card", files / "good.safetensors", tmp_path / "card", "--base", "owner/model")
    line = refused(call(*arguments, "--push", "owner/name", cwd=tmp_path))
    assert "not uploaded (OfflineModeIsEnabled" in line
    assert 'base_model: "owner/model"' in (tmp_path / "card" / "README.md").read_text()
