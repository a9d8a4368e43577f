"""Published checkpoints: every way to be stored, every way to be wrong, and the hub."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from cinetune.errors import MetricError, WeightsError
from cinetune.metrics.backbones import _weights, i3d, nano_frames
from cinetune.metrics.backbones._contract import Backbone
from cinetune.metrics.backbones._exact import exact
from cinetune.metrics.backbones._folding import folded
from cinetune.metrics.backbones._random import draw, randomised
from cinetune.metrics.backbones._resolve import ROLES, backbone, resolve
from fake_hub import COMMIT, REPO, serving

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """A convolution and its batch normalisation, as a unit of a published network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out


def as_safetensors(network: nn.Module, path: Path) -> Path:
    save_file(network.state_dict(), path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def as_state_dict(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def as_old_state_dict(network: nn.Module, path: Path) -> Path:
    """As torch wrote it before 1.6, and as the published I3D and Inception are."""
    torch.save(network.state_dict(), path.with_suffix(".pt"), _use_new_zipfile_serialization=False)
    return path.with_suffix(".pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def as_torchscript(network: nn.Module, path: Path) -> Path:
    torch.jit.script(network).save(str(path.with_suffix(".pt")))  # type: ignore[no-untyped-call]
    return path.with_suffix(".pt")


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("store", [as_safetensors, as_state_dict, as_old_state_dict, as_torchscript])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_same_weights_from_every_kind_of_file(store: Callable[[nn.Module, Path], Path], tmp_path: Path) -> None:
    true = randomised(Tiny(), 3)
    path = store(true, tmp_path / "weights")
    found = _weights.fill(Tiny(), _weights.read(path), path)
    for name, value in true.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    assert not any(value.requires_grad for value in found.parameters())


def test_old_checkpoints_without_counters_and_half_precision(tmp_path: Path) -> None:
    tensors = {name: value.half() for name, value in draw(Tiny(), 3).items()}
    assert not any("num_batches" in name for name in tensors)
    torch.save(tensors, tmp_path / "a.pth")
    found = _weights.fill(Tiny(), _weights.read(tmp_path / "a.pth"), tmp_path / "a.pth")
    assert found.conv.weight.dtype == torch.float32


def test_what_does_not_fit_is_named_and_counted(tmp_path: Path) -> None:
    tensors = draw(Tiny(), 3)
    del tensors["bn.bias"], tensors["bn.running_var"]
    tensors |= {"head.weight": torch.zeros(1), "conv.weight": torch.zeros(4, 3, 1, 1)}
    with pytest.raises(WeightsError, match=r"does not fit Tiny, first at bn\.bias \(2 tensors missing, 1 left over, 1"):
        _weights.fill(Tiny(), tensors, tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_weights(bad: float, tmp_path: Path) -> None:
    tensors = draw(Tiny(), 3)
    tensors["conv.weight"][0, 0, 0, 0] = bad
    with pytest.raises(WeightsError, match=r"NaN or infinite weights in 1 tensors, first in conv\.weight") as error:
        _weights.fill(Tiny(), tensors, tmp_path)
    one_line(error)


class Harmful:
    """What a pickled file can hold: a call."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("was-here",)


def test_nothing_pickled_is_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Harmful()}, "bad.pt")
    with pytest.raises(WeightsError, match=r"bad\.pt: damaged weights") as error:
        _weights.read(Path("bad.pt"))
    one_line(error)
    assert not Path("was-here").exists()


def test_damaged_empty_and_other_files(tmp_path: Path) -> None:
    whole = as_state_dict(randomised(Tiny()), tmp_path / "whole")
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:700])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("<html>sign in to download</html>", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", b"")
    for name in ("cut.pth", "empty.pt", "text.pt", "script.pt"):
        with pytest.raises(WeightsError, match="damaged weights") as error:
            _weights.read(tmp_path / name)
        assert name in one_line(error)
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "nested.pt")
    with pytest.raises(WeightsError, match="something else than named tensors"):
        _weights.read(tmp_path / "nested.pt")


def test_folding_is_the_same_function() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, fast = randomised(Tiny(), 3), folded(randomised(Tiny(), 3))
    torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)
    assert fast.conv.bias is not None
    assert isinstance(fast.bn, nn.Identity)


def test_convolutions_on_a_gpu_keep_all_bits_and_the_setting_comes_back() -> None:
    before = torch.backends.cudnn.allow_tf32
    with exact():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_drawn_weights_keep_to_their_recipe() -> None:
    """shared/reference/backbones/README.md: by name in sorted order, variances 0.5..1.5, weights 2 / fan-in."""
    rng = np.random.default_rng(5)
    drawn = draw(Tiny(), 5)
    np.testing.assert_array_equal(drawn["bn.bias"].numpy(), (0.1 * rng.standard_normal(4)).astype(np.float32))
    np.testing.assert_array_equal(drawn["bn.running_mean"].numpy(), (0.1 * rng.standard_normal(4)).astype(np.float32))
    np.testing.assert_array_equal(drawn["bn.running_var"].numpy(), rng.uniform(0.5, 1.5, 4).astype(np.float32))


# ------------------------------------------------------------------------------------------------- resolve


@pytest.mark.parametrize("name", sorted({published for _, published in ROLES.values()}))
def test_every_published_backbone_says_where_its_weights_are(name: str) -> None:
    found = backbone(name)
    assert found.name == name
    assert found.licence
    assert found.hub or found.files or found.obtain
    assert found.random is not None
    for file in found.files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.revision == "main" or len(bytes.fromhex(file.revision)) == 20
        assert len(file.repo.split("/")) == 2


def test_what_the_hub_does_not_hold_needs_a_path() -> None:
    with pytest.raises(MetricError, match=r"lpips_squeeze needs the path of its weights \(squeezenet1_1-b8a52dc0") as e:
        resolve("lpips_squeeze", "published", {}, CPU)
    one_line(e)


def test_offline_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    start = "^flateon/FVD-I3D-torchscript: neither a folder here nor to be had from the hub .Offline"
    with pytest.raises(WeightsError, match=start) as error:
        resolve("video", "published", {}, CPU)
    assert "or give --backbone i3d=PATH: i3d_torchscript.pt" in one_line(error)


PROGRAM = """
import json, sys
from cinetune.errors import WeightsError
from cinetune.metrics.backbones._contract import HubFile
from cinetune.metrics.backbones._hub import fetch
for fields in json.loads(sys.argv[1]):
    try:
        print(*fetch("net", [HubFile(*fields)], "elsewhere"))
    except WeightsError as error:
        print(error)
"""


def test_a_file_from_the_hub_is_checked_against_its_sum(tmp_path: Path) -> None:
    content, name = b"weights" * 100, "a/net.safetensors"
    right = (REPO, "main", name, hashlib.sha256(content).hexdigest())
    wrong, gone = (REPO, "main", name, "0" * 64), (REPO, "main", "b.pt", "0" * 64)
    with serving({name: content, "a/other.safetensors": b"not wanted"}) as hub:
        setting = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        lines = run(PROGRAM, json.dumps([right, wrong, gone]), **setting).splitlines()
        assert hub.gets("a/other.safetensors") == []
    path = Path(lines[0])
    assert path.read_bytes() == content
    assert path.parts[-3:] == (COMMIT, "a", "net.safetensors")
    assert lines[1].endswith("not 000000000000: not the published weights; or give --backbone net=PATH: elsewhere")
    assert lines[2] == f"{REPO}: b.pt is no longer there at main; or give --backbone net=PATH: elsewhere"


def run(program: str, *arguments: str, **setting: str) -> str:
    """Run in a process of its own, for huggingface_hub reads its environment on import."""
    leave = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {k: v for k, v in os.environ.items() if not k.upper().startswith(leave)} | setting
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment, capture_output=True, text=True, timeout=200, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError, match="does not fit I3d, first at Conv3d_1a_7x7"):
        i3d.load(_weights.shipped("nano_frames.safetensors"))
    assert isinstance(nano_frames.BACKBONE, Backbone)
