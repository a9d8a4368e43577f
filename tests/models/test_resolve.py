import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cinetune.errors import PluginError
from cinetune.models._resolve import find_model
from fake_hub import COMMIT, REPO, Hub, serving

PROGRAM = """
import sys, huggingface_hub.constants as constants
constants.DOWNLOAD_CHUNK_SIZE = 1000  # 10 MB otherwise, and a piece that was broken off is not written
from cinetune.errors import WeightsError
from cinetune.models._resolve import resolve
try:
    print(resolve(sys.argv[1], tuple(sys.argv[2:]) or None))
except WeightsError as error:
    print("WeightsError:", error)
"""
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = {
        "model_index.json": b'{"_class_name": "WanImageToVideoPipeline"}',
        "README.md": b"not wanted",
        "transformer/config.json": b'{"_class_name": "WanTransformer3DModel"}',
        WEIGHTS: bytes(range(256)) * 100,
        "vae/config.json": b"{}",
        VAE: bytes(reversed(range(256))) * 40,
        "text_encoder/pytorch_model.bin": b"pickled",
    }
    with serving(files) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def fetch(hub: Hub, home: Path, *arguments: str, offline: bool = False) -> tuple[str, str]:
    """Resolve in a process of its own, for huggingface_hub reads its environment on import: last line out, and err."""
    leave = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {k: v for k, v in os.environ.items() if not k.upper().startswith(leave)}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "5"}
    environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(arguments or [REPO])],
        env=environment, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    return run.stdout.strip().splitlines()[-1], run.stderr


def blob(hub: Hub, home: Path, name: str) -> Path:
    return home / "hub" / "models--owner--model" / "blobs" / hub.sum_of(name)


def test_it_arrives_whole_and_only_what_is_safe(hub: Hub, home: Path) -> None:
    out, err = fetch(hub, home)
    folder = Path(out)
    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert found == {name: content for name, content in hub.files.items() if not name.endswith((".md", ".bin"))}
    assert "download owner/model (MB)" in err
    asked = len(hub.asked)
    again, err = fetch(hub, home)
    assert again == out
    assert [entry for entry in hub.asked[asked:] if entry[0] == "GET"] == []
    assert "owner/model" not in err


def test_only_the_parts_wanted(hub: Hub, home: Path) -> None:
    folder = Path(fetch(hub, home, REPO, "vae")[0])
    assert sorted(f"{file.relative_to(folder)}" for file in folder.rglob("*") if file.is_file()) == [
        "model_index.json", "vae/config.json", VAE,
    ]  # fmt: skip
    assert hub.gets(WEIGHTS) == []


@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/3", COMMIT])
def test_a_revision(hub: Hub, home: Path, revision: str) -> None:
    hub.revision = revision.replace("/", "%2F")
    assert Path(fetch(hub, home, f"{REPO}@{revision}", "vae")[0]).name == COMMIT
    out, _ = fetch(hub, home, f"{REPO}@unknown", "vae")
    assert out.startswith(f"WeightsError: {REPO}: neither a folder here nor to be had from the hub (RevisionNotFound")


def test_a_broken_connection_is_resumed_by_the_next_call(hub: Hub, home: Path) -> None:
    whole, half = len(hub.files[WEIGHTS]), 12_000
    hub.cut_at[WEIGHTS] = half
    out, _ = fetch(hub, home)
    assert out.startswith(f"WeightsError: {REPO}: the download stopped (HfHubHTTPError")
    assert out.endswith("run this again, it goes on from there")
    assert hub.gets(WEIGHTS) == [None, f"bytes={half}-"], "first at once, where the hub was down by then"
    partial = blob(hub, home, WEIGHTS).with_name(f"{hub.sum_of(WEIGHTS)}.cinetune-part")
    assert partial.read_bytes() == hub.files[WEIGHTS][:half]
    assert not blob(hub, home, WEIGHTS).exists()

    hub.healthy()
    hub.asked.clear()
    folder = Path(fetch(hub, home)[0])
    assert hub.gets(WEIGHTS) == [f"bytes={half}-"]
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert len(hub.files[WEIGHTS]) == whole
    assert not partial.exists()


def test_a_broken_connection_is_resumed_within_the_call(hub: Hub, home: Path) -> None:
    hub.cut_at[WEIGHTS] = 12_000
    hub.broken = NeverBroken()
    folder = Path(fetch(hub, home)[0])
    assert hub.gets(WEIGHTS)[:2] == [None, "bytes=12000-"]
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


class NeverBroken(set[str]):
    """A hub that is there again at once."""

    def __contains__(self, _: object) -> bool:
        return False


def test_a_file_of_another_sum_never_enters_the_cache(hub: Hub, home: Path) -> None:
    hub.claimed[WEIGHTS] = "ab" * 32
    out, _ = fetch(hub, home)
    assert out == f"WeightsError: {REPO}: {WEIGHTS} has not the sum that the hub names; run this again to fetch it anew"
    assert not list((home / "hub").rglob("blobs/abab*"))
    hub.claimed.clear()
    assert (Path(fetch(hub, home)[0]) / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_what_another_program_put_there_is_checked_once(hub: Hub, home: Path) -> None:
    folder = Path(fetch(hub, home)[0])
    record = folder.parents[1] / "cinetune-verified.json"
    known = json.loads(record.read_text())["files"]
    assert set(known) == {hub.sum_of(WEIGHTS), hub.sum_of(VAE)}
    record.unlink()
    assert "check owner/model (MB)" in fetch(hub, home)[1]
    assert json.loads(record.read_text())["files"] == known
    assert "check owner/model" not in fetch(hub, home)[1]

    damaged = bytearray(hub.files[VAE])
    damaged[5000] ^= 1
    blob(hub, home, VAE).write_bytes(damaged)
    out, _ = fetch(hub, home, offline=True)
    assert out == f"WeightsError: {REPO}: {VAE} is damaged in the cache and was removed; run this again to fetch it"
    assert hashlib.sha256((Path(fetch(hub, home)[0]) / VAE).read_bytes()).hexdigest() == hub.sum_of(VAE)


def test_too_little_space_is_said_before_anything_is_fetched(hub: Hub, home: Path) -> None:
    hub.sizes[WEIGHTS] = 10**18
    out, _ = fetch(hub, home)
    assert out.startswith(f"WeightsError: {REPO}: 1000000000.0 GB to download, ")
    assert "set HF_HOME" in out
    assert hub.asked == []


def test_offline(hub: Hub, home: Path) -> None:
    out, _ = fetch(hub, home, offline=True)
    assert out.startswith(f"WeightsError: {REPO}: neither a folder here nor to be had from the hub (OfflineMode")
    online, _ = fetch(hub, home)
    asked = len(hub.asked)
    assert fetch(hub, home, offline=True)[0] == online
    assert len(hub.asked) == asked


def test_offline_with_a_part_missing(hub: Hub, home: Path) -> None:
    vae, _ = fetch(hub, home, REPO, "vae")
    assert fetch(hub, home, REPO, "vae", offline=True)[0] == vae
    assert fetch(hub, home, REPO, "transformer", offline=True)[0].startswith(
        "WeightsError: owner/model: neither a folder"
    )


def test_a_hub_out_of_reach(hub: Hub, home: Path) -> None:
    online, _ = fetch(hub, home)
    hub.url = "http://127.0.0.1:9"  # discard: nobody listens
    out, err = fetch(hub, home)
    assert out == online
    assert "owner/model: the hub cannot be reached (ConnectError" in err
    out, _ = fetch(hub, home / "other")
    assert out.startswith(f"WeightsError: {REPO}: neither a folder here nor to be had from the hub (ConnectError")


def test_an_unknown_model_and_an_impossible_name(hub: Hub, home: Path) -> None:
    for name, reason in (("owner/other", "RepositoryNotFound"), ("owner/mo del", "HFValidationError")):
        out, _ = fetch(hub, home, name)
        assert out.startswith(f"WeightsError: {name}: neither a folder here nor to be had from the hub ({reason}")


def test_names_with_a_revision_are_models() -> None:
    assert find_model("owner/model@refs/pr/3").source == "owner/model@refs/pr/3"
    with pytest.raises(PluginError):
        find_model("model@main")
