"""Features on disk: what comes back, what many writers do to each other, and what is read when."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cinetune.errors import RecordError
from cinetune.evaluate.store import Place, Shelf, Store

DIGEST = "ab" * 32
SIZE = (5, 32, 48)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find(DIGEST).size is None
    frames = np.arange(6.0).reshape(2, 3)
    store.save(DIGEST, SIZE, {"k1": {"frames": frames, "none": np.zeros((0, 4))}, "k2": "too short"})
    store.save(DIGEST, SIZE, {"k3": {"frames": frames[0]}})
    store.save("ab" * 8 + "cd" * 24, (1, 2, 3), {"k1": "another video"})
    known = store.find(DIGEST)
    assert known.size == SIZE
    assert set(known.places) == {"k1", "k2", "k3"}
    first = store.load(known.places["k1"])
    assert isinstance(first, dict)
    assert np.array_equal(first["frames"], frames)
    assert first["none"].shape == (0, 4)
    assert store.load(known.places["k2"]) == "too short"


def test_a_video_of_which_nothing_was_seen_has_its_size(tmp_path: Path) -> None:
    Store(tmp_path).save(DIGEST, SIZE, {})
    assert Store(tmp_path).find(DIGEST).size == SIZE


def test_writers_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    """Eight writers of the same and of other keys, while a ninth reads."""

    def write(n: int) -> None:
        keys = {f"k{k}": {"x": np.full(1000, k, np.float64)} for k in ([n, n + 1] if n % 2 else [0, 1])}
        Store(tmp_path).save(DIGEST, SIZE, keys)

    def read(_: int) -> None:
        for key, place in Store(tmp_path).find(DIGEST).places.items():
            features = Store(tmp_path).load(place)
            assert isinstance(features, dict)
            assert (features["x"] == int(key[1:])).all()

    with ThreadPoolExecutor(9) as pool:
        jobs = [pool.submit(write, n % 8) for n in range(64)] + [pool.submit(read, n) for n in range(16)]
        for job in jobs:
            job.result()
    assert set(Store(tmp_path).find(DIGEST).places) == {f"k{n}" for n in range(9)}
    assert not list(tmp_path.rglob(".aside-*"))


def test_a_shelf_reads_one_video_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    place = store.save(DIGEST, SIZE, {"k": {"x": np.ones(3)}})["k"]
    shelf = Shelf(store, [place, "no reference", Place(tmp_path / "gone.safetensors", "k")])
    assert len(shelf) == 3
    assert shelf[1] == "no reference"
    assert [isinstance(seen, dict) for seen in shelf[:2]] == [True, False]
    with pytest.raises(RecordError, match=r"gone\.safetensors: damaged features"):
        list(shelf)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(DIGEST, SIZE, {"k": {"x": np.ones(3)}})
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(RecordError, match=path.name):
        store.find(DIGEST)


def test_the_same_video_gives_the_same_bytes(tmp_path: Path) -> None:
    """Safetensors writes several metadata keys in random order."""
    seen = {"k1": {"x": np.ones(3), "a": np.zeros(2)}, "k2": "too short", "k3": "no caption", "k4": "no reference"}
    files = [Store(tmp_path / str(n)).save(DIGEST, SIZE, seen)["k1"].file for n in range(20)]
    assert len({file.read_bytes() for file in files}) == 1
