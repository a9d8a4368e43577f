"""What every test gets: few threads, no network, and the real material where it is at hand."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cinetune.models._wan import WanModel

# Before torch is imported; child processes inherit it. One thread: pytest's workers side by side would wait for each
# other's second ones.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real footage, weights and reference values, which is not part of the repository."""
    folder = os.environ.get("CINETUNE_SHARED")
    if not folder:
        pytest.skip("no real material: the variable CINETUNE_SHARED names no folder")
    if not Path(folder).is_dir():
        pytest.fail(f"CINETUNE_SHARED={folder} is not a folder")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "WanModel":
    """A Wan2.1 of random weights in the published layout."""
    from tiny_model import build_tiny

    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails, unless it is marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
    look_up = socket.getaddrinfo

    def guarded(name: str) -> Any:
        def call(self: socket.socket, *args: Any) -> Any:
            address = args[0] if name != "sendto" else args[-1]
            if self.family in (socket.AF_INET, socket.AF_INET6):
                _refuse(address[0])
            return real[name](self, *args)

        return call

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse(host)
        return look_up(host, *args, **kwargs)

    for name in real:
        monkeypatch.setattr(socket.socket, name, guarded(name))
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


def _refuse(host: str | bytes | None) -> None:
    text = host.decode() if isinstance(host, bytes) else host
    if text in (None, "", "localhost", socket.gethostname()):
        return
    try:
        if ipaddress.ip_address(text).is_loopback:
            return
    except ValueError:
        pass  # a name
    pytest.fail(f"this test reached for the network ({text}); mark it `network` or serve it on loopback")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # First what takes longest: at the end one worker would be at it while the other has nothing to do.
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
