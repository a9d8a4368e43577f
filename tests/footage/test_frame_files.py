"""Single frames for grading, read back by programs that had no part in writing them."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from cinetune.console import Advance
from cinetune.errors import FootageError
from cinetune.footage.frame_files import KINDS, write_frames
from cinetune.ops.film_colour import to_light
from cinetune.ops.video import to_shallow


def film(frames: int = 3, height: int = 41, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (frames, height, width, 3), np.uint16)


def read_exr(data: bytes) -> tuple[dict[str, bytes], np.ndarray]:
    """Return the attributes and the pixels (h w 3, float16) of a file of half floats in ZIP blocks.

    Source: "OpenEXR File Layout" and "Technical Introduction to OpenEXR", openexr.com.
    """
    assert data[:8] == bytes([0x76, 0x2F, 0x31, 0x01, 2, 0, 0, 0])
    attributes, at = {}, 8
    while data[at]:
        name, kind, rest = data[at:].split(b"\0", 2)
        at += len(name) + len(kind) + 2
        (size,) = struct.unpack_from("<i", data, at)
        attributes[name.decode()] = rest[4 : 4 + size]
        at += 4 + size
    _, _, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    blocks, lines = -(-(bottom + 1) // 16), []
    for number in range(blocks):
        (place,) = struct.unpack_from("<Q", data, at + 1 + 8 * number)
        line, size = struct.unpack_from("<2i", data, place)
        assert line == 16 * number
        packed, raw = data[place + 8 : place + 8 + size], 6 * (right + 1) * min(16, bottom + 1 - line)
        if size < raw:
            deltas = np.frombuffer(zlib.decompress(packed), np.uint8).astype(np.int64)
            deltas[1:] -= 128
            split = np.cumsum(deltas).astype(np.uint8)
            packed = np.stack([split[: raw // 2], split[raw // 2 :]], 1).tobytes()
        lines.append(np.frombuffer(packed, "<f2").reshape(-1, 3, right + 1))
    return attributes, np.concatenate(lines).transpose(0, 2, 1)[..., ::-1]


class Counter(Advance):
    done = 0

    def __call__(self, n: int | float = 1, text: str = "") -> None:
        self.done += int(n)


@pytest.mark.parametrize(("kind", "suffix"), [("png8", "png"), ("png16", "png"), ("exr", "exr")])
def test_names_count_progress_and_the_same_bytes(tmp_path: Path, kind: str, suffix: str) -> None:
    counter, folder = Counter(), tmp_path / "shot 1"
    assert write_frames(folder, iter(film()), kind, advance=counter) == counter.done == 3
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert sorted(files) == [f"shot 1.00000{n}.{suffix}" for n in (1, 2, 3)]
    write_frames(folder, iter(film()), kind)
    assert files == {file.name: file.read_bytes() for file in folder.iterdir()}
    write_frames(folder, iter(film(1)), kind)
    assert len(list(folder.iterdir())) == 1
    assert list(tmp_path.iterdir()) == [folder]


def test_png_holds_every_value(tmp_path: Path) -> None:
    frames = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256, 1).repeat(3, 3)
    frames[..., 0], frames[..., 1] = frames[:, ::-1, :, 0], frames[:, :, ::-1, 1]
    for kind, expected in (("png16", frames), ("png8", to_shallow(frames))):
        write_frames(tmp_path / kind, iter(frames), kind)
        path = tmp_path / kind / f"{kind}.000001.png"
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1], expected[0])
        data = path.read_bytes()
        assert b"sRGB\x00" in data or b"sRGB\x01" in data
        # gAMA and cHRM as the PNG specification gives them for sRGB, in 1/100000
        assert data[data.index(b"gAMA") + 4 :][:4] == struct.pack(">I", 45455)
        chroma = struct.unpack(">8I", data[data.index(b"cHRM") + 4 :][:32])
        assert chroma == (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@pytest.mark.parametrize("height", [1, 16, 41])
def test_exr_holds_linear_light(tmp_path: Path, height: int) -> None:
    smooth = np.linspace(0, 65535, 56 * height * 3).astype(np.uint16).reshape(height, 56, 3)
    frames = [film(1, height)[0], smooth]  # noise is stored as it is, what is smooth is packed
    write_frames(tmp_path / "a", iter(frames), "exr")
    for number, frame in enumerate(frames, 1):
        attributes, pixels = read_exr((tmp_path / "a" / f"a.{number:06}.exr").read_bytes())
        assert np.array_equal(pixels.astype(np.float32), to_light(frame))
    red_to_white = struct.unpack("<8f", attributes["chromaticities"])
    assert red_to_white == pytest.approx((0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329))
    assert attributes["compression"] == b"\3"  # ZIP, 16 lines
    assert struct.unpack("<f", attributes["pixelAspectRatio"]) == (1,)
    # what OpenEXR demands of every file
    assert {
        "channels", "compression", "dataWindow", "displayWindow", "lineOrder", "pixelAspectRatio",
        "screenWindowCenter", "screenWindowWidth",
    } <= set(attributes)  # fmt: skip
    half = struct.pack("<4i", 1, 0, 1, 1)
    assert attributes["channels"] == b"".join(name + b"\0" + half for name in (b"B", b"G", b"R")) + b"\0"


def test_a_folder_with_other_files_is_kept(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", film(2), "png8")
    write_frames(tmp_path / "a", film(1), "exr")  # of another kind, but frames of this folder
    (tmp_path / "a" / "notes.txt").write_text("the director's")
    with pytest.raises(FootageError, match=r"holds notes\.txt, which is no frame of it"):
        write_frames(tmp_path / "a", film(1), "png16")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["a.000001.exr", "notes.txt"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a"
    with pytest.raises(FootageError, match="no frames"):
        write_frames(folder, iter(()), "png8")
    with pytest.raises(FootageError, match="frame 1 is"):
        write_frames(folder, [film(1)[0], film(1, 8)[0]], "exr")
    with pytest.raises(FootageError, match="choose one of png8, png16, exr"):
        write_frames(folder, film(1), "tiff")
    monkeypatch.setattr("av.codecs_available", {"png"})
    with pytest.raises(FootageError, match="without the encoder exr; choose png8 or png16, or install PyAV"):
        write_frames(folder, film(1), "exr")
    assert list(tmp_path.iterdir()) == []
    assert {kind.encoder for kind in KINDS.values()} == {"png", "exr"}
