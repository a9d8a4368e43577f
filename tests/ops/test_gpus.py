from types import SimpleNamespace

import pytest
import torch

from cinetune.errors import RunError
from cinetune.ops.gpus import GPUS, detect, find_gpu


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("A100-80GB", "A100-80GB"), ("NVIDIA A100-SXM4-40GB", "A100-40GB"), ("h100", "H100-SXM"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"), ("NVIDIA H100 PCIe", "H100-PCIe"), ("H100-PCIe", "H100-PCIe"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB"), ("NVIDIA H200", "H200"), ("RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 5090", "RTX-5090"), ("l40s", "L40S"), ("NVIDIA B200", "B200"),
    ],
)  # fmt: skip
def test_names_as_people_and_drivers_write_them(said: str, meant: str) -> None:
    assert find_gpu(said).name == meant


@pytest.mark.parametrize(
    ("said", "offered"), [("h20", "H200"), ("a100", "A100-40GB or A100-80GB"), ("409", "RTX-4090"), ("", "RTX-5090")]
)
def test_an_unknown_name_is_refused_with_the_nearest(said: str, offered: str) -> None:
    with pytest.raises(RunError, match=f"did you mean .*{offered}"):
        find_gpu(said)


def test_every_gpu_has_numbers_and_a_source() -> None:
    for gpu in GPUS:
        assert 16 < gpu.memory < 200
        assert gpu.tflops is not None
        assert gpu.bandwidth is not None
        # no GPU here computes fewer than 100 or more than 600 operations in the time of reading one byte
        assert 100 < gpu.tflops * 1e12 / (gpu.bandwidth * 1e9) < 600
        assert gpu.source.startswith("NVIDIA")
    assert len({gpu.name for gpu in GPUS}) == len(GPUS)


@pytest.mark.parametrize(
    ("name", "gib", "known"), [("NVIDIA H200", 139.8, "H200"), ("NVIDIA A100-SXM4-80GB", 79.15, "A100-80GB")]
)
def test_the_gpu_of_the_machine_has_its_own_memory(
    monkeypatch: pytest.MonkeyPatch, name: str, gib: float, known: str
) -> None:
    properties = SimpleNamespace(name=name, total_memory=round(gib * 2**30))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    found = detect()
    assert found is not None
    assert (found.name, found.tflops) == (known, find_gpu(known).tflops)
    assert found.memory == pytest.approx(gib)


@pytest.mark.parametrize(
    "name", ["Quadro P400", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H100 NVL", "NVIDIA GeForce RTX 5090 D"]
)
def test_a_gpu_that_the_table_does_not_know_has_no_peak(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name=name, total_memory=2 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    found = detect()
    assert found is not None
    assert (found.name, found.tflops, found.memory) == (name, None, 2.0)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert detect() is None
