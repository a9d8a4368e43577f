"""What is encoded, and what a cache file notices."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_prepare import FakeEncoders

from cinetune.errors import RecordError, RunError
from cinetune.footage.cache import encode_clip, encode_empty, read_cache, read_label, write_cache

TENSORS = {"latents": torch.arange(24.0).reshape(2, 3, 2, 2), "text": torch.ones(3, 4)}


def test_encodes_the_clips_own_first_frame() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (9, 16, 24, 3), np.uint8)
    encoders = FakeEncoders()
    told = encode_clip(encoders, frames, "a cat")
    assert {name: tuple(t.shape) for name, t in told.items()} == {
        "latents": (3, 3, 2, 3), "first": (7, 3, 2, 3), "image": (4, 3), "text": (6, 2),
    }  # fmt: skip
    assert all(t.dtype == torch.float32 and t.is_contiguous() for t in told.values())
    torch.testing.assert_close(told["first"][4:, 0], told["latents"][:, 0])  # frame 0 of both, in -1..1
    assert (told["first"][4:, 1:] == 0).all()  # grey frames are 0 in -1..1
    np.testing.assert_array_equal(told["image"].numpy(), frames[0].reshape(-1, 3)[:4])
    assert encode_empty(encoders)["text"].shape == (1, 2)
    assert (encoders.texts, encoders.images) == (2, 1)


def test_a_still_picture_is_given_no_first_frame() -> None:
    """The first frame would be the whole answer: mask, condition latents and image tokens are zero."""
    frames = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), np.uint8)
    told = encode_clip(FakeEncoders(), frames, "a cat")
    assert {name: tuple(t.shape) for name, t in told.items()} == {
        "latents": (3, 1, 2, 3), "first": (7, 1, 2, 3), "image": (4, 3), "text": (6, 2),
    }  # fmt: skip
    assert not told["first"].any()
    assert not told["image"].any()
    assert told["latents"].any()


def test_comes_back_as_it_was_and_in_the_same_bytes(tmp_path: Path) -> None:
    label = {f"key {n}": "ü" * n for n in range(20)} | {"clip": "a"}
    for name in ("a", "b"):
        write_cache(tmp_path / name, TENSORS, label)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = read_cache(tmp_path / "a", {"clip": "a"})
    assert all(torch.equal(back[name], TENSORS[name]) for name in TENSORS)
    told = read_label(tmp_path / "a")
    assert told is not None
    assert told["clip"] == "a"


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_cache(path, TENSORS, {"clip": "a"})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), 60, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(RecordError) as error:
            read_cache(path, {"clip": "a"})
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_off_file_is_noticed(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.safetensors"
    write_cache(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert read_label(path) is None
    with pytest.raises(RecordError, match="damaged"):
        read_cache(path)


def test_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_cache(path, TENSORS, {"fingerprint": "old"})
    with pytest.raises(RecordError, match="fingerprint is 'old', expected 'new'"):
        read_cache(path, {"fingerprint": "new"})
    with pytest.raises(RecordError, match="no such cache file"):
        read_cache(tmp_path / "absent")
    (tmp_path / "text").write_text("not safetensors at all", encoding="utf-8")
    with pytest.raises(RecordError, match="damaged or not a cache"):
        read_cache(tmp_path / "text")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError):
        write_cache(tmp_path / "file" / "a.safetensors", TENSORS, {})
