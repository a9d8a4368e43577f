"""Videos that are no film file: animated WebP, folders of numbered pictures; and sums of any of them."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cinetune.errors import FootageError
from cinetune.footage import _gathering, any_video
from cinetune.footage.any_video import digest, is_sequence, read_any
from cinetune.footage.video_io import write_video

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 10, 14, 3), np.uint8)


def sequence(folder: Path, numbers: list[int], name: str = "shot_{:03d}.png") -> Path:
    folder.mkdir(parents=True)
    for frame, number in zip(FRAMES, numbers, strict=False):
        Image.fromarray(frame).save(folder / name.format(number))
    return folder


def webp(path: Path, frames: np.ndarray = FRAMES) -> Path:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=40, lossless=True)
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(FootageError, match=match) as error:
        read_any(path)
    assert str(path.name) in str(error.value)
    assert "\n" not in str(error.value)


def test_animated_webp_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = webp(tmp_path / "a.webp")
    assert any_video.is_animated_webp(path)
    assert np.array_equal(read_any(path), FRAMES)


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    seen = np.dstack([FRAMES[0], np.full((10, 14), 255, np.uint8)])
    hidden = np.dstack([FRAMES[1], np.zeros((10, 14), np.uint8)])
    first, second = Image.fromarray(seen), Image.fromarray(hidden)
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], duration=40, lossless=True, exact=True)
    frames = read_any(tmp_path / "a.webp")
    assert np.array_equal(frames[0], FRAMES[0])
    assert not frames[1].any()


def test_a_webp_that_is_cut_off_or_a_still_picture(tmp_path: Path) -> None:
    path = webp(tmp_path / "a.webp")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, "damaged or cut off")
    Image.fromarray(FRAMES[0]).save(tmp_path / "still.webp")
    refused(tmp_path / "still.webp", "still picture")


def test_a_sequence_is_read_by_number(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "a", list(range(8, 20)), "f{}.png")  # by name, f10 comes before f8
    (folder / ".hidden").write_text("")
    assert np.array_equal(read_any(folder), FRAMES)
    assert len(read_any(sequence(tmp_path / "b", [0, 10, 20]))) == 3  # thinned evenly


def test_what_is_a_sequence(tmp_path: Path) -> None:
    assert is_sequence(sequence(tmp_path / "a", [1, 2]))
    assert is_sequence(sequence(tmp_path / "b", [1, 2], "{:04d}.jpg"))
    mixed = sequence(tmp_path / "c", [1, 2])
    (mixed / "notes.txt").write_text("")
    assert not is_sequence(mixed)
    names = sequence(tmp_path / "d", [1])
    Image.fromarray(FRAMES[0]).save(names / "poster.png")
    assert not is_sequence(names)
    (tmp_path / "e").mkdir()
    assert not is_sequence(tmp_path / "e")
    webp(tmp_path / "e" / "clip1.webp")
    webp(tmp_path / "e" / "clip2.webp")
    assert not is_sequence(tmp_path / "e")  # two videos


def test_sequences_that_are_damaged(tmp_path: Path) -> None:
    refused(sequence(tmp_path / "a", [1, 2, 3, 5]), "missing after number 3")
    twice = sequence(tmp_path / "b", [1, 2])
    Image.fromarray(FRAMES[0]).save(twice / "shot_1.png")
    refused(twice, "have one number")
    sizes = sequence(tmp_path / "c", [1, 2])
    Image.fromarray(FRAMES[0][:5]).save(sizes / "shot_003.png")
    with pytest.raises(FootageError, match=r"shot_003\.png: 14x5 in a sequence of 14x10"):
        read_any(sizes)
    broken = sequence(tmp_path / "d", [1, 2])
    (broken / "shot_002.png").write_bytes((broken / "shot_002.png").read_bytes()[:60])
    with pytest.raises(FootageError, match=r"shot_002\.png: a damaged picture"):
        read_any(broken)
    deep = sequence(tmp_path / "e", [1])
    Image.fromarray(np.zeros((10, 14), np.uint16)).save(deep / "shot_002.png")
    with pytest.raises(FootageError, match=r"shot_002\.png: more than 8 bits"):
        read_any(deep)
    plain = tmp_path / "f"
    plain.mkdir()
    refused(plain, "not one of numbered pictures")


def test_a_whole_film_is_refused_before_memory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.concatenate([FRAMES, FRAMES])
    write_video(tmp_path / "a.mkv", frames, 16.0, lossless=True)
    assert np.array_equal(read_any(tmp_path / "a.mkv"), frames)
    monkeypatch.setattr(_gathering, "free_memory", lambda: _gathering.SPARE)
    refused(tmp_path / "a.mkv", "too long")


def test_the_sum_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"frames")
    assert digest(tmp_path / "a.mp4") == hashlib.sha256(b"frames").hexdigest()
    one, other = sequence(tmp_path / "a", [1, 2, 3]), sequence(tmp_path / "b", [7, 8, 9], "x{}.png")
    assert digest(one) == digest(other)
    Image.fromarray(FRAMES[5]).save(other / "x10.png")
    assert digest(one) != digest(other)


def test_files_that_cannot_be_summed(tmp_path: Path) -> None:
    def fails(path: Path, match: str) -> None:
        with pytest.raises(FootageError, match=match) as error:
            digest(path)
        str(error.value).encode()

    fails(tmp_path / "none.mp4", "no such file")
    os.mkfifo(tmp_path / "pipe.mp4")
    fails(tmp_path / "pipe.mp4", "not a plain file")
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    fails(Path(name), r"caf\\xe9\.mp4: its name is not UTF-8")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"frames")
    path.chmod(0)
    if os.geteuid():
        with pytest.raises(FootageError, match="cannot be read"):
            digest(path)
        return
    shut = [folder for folder in path.parents if not folder.stat().st_mode & 1]
    modes = {folder: folder.stat().st_mode for folder in shut}
    for folder in shut:
        folder.chmod(modes[folder] | 1)  # let others through to the file
    try:
        os.seteuid(65534)  # root may read anything, nobody may not
        with pytest.raises(FootageError, match=r"a\.mp4: cannot be read \(Permission denied\)"):
            digest(path)
    finally:
        os.seteuid(0)
        for folder, mode in modes.items():
            folder.chmod(mode)
