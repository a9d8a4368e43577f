"""Finished films: what players are told, how near the picture is, and the same bytes every time."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cinetune.errors import FootageError
from cinetune.footage.film_video import KINDS, write_film
from cinetune.footage.video_io import probe, read_video
from cinetune.ops.film_colour import to_ycbcr

H, W = 96, 160
KIND = pytest.mark.parametrize("kind", KINDS)


def film(frames: int = 12) -> np.ndarray:
    """A disc that moves before slow waves of colour, with a little grain."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[0:H, 0:W] / H
    made = []
    for n in range(frames):
        waves = [0.5 + 0.4 * np.sin(5 * x + 0.2 * n), 0.5 + 0.4 * np.sin(6 * y + 4 * x), 0.45 + 0.4 * np.cos(3 * x - y)]
        light = 0.6 + 0.4 * (np.hypot(x - 0.5 - 0.03 * n, y - 0.5) < 0.3)
        made.append(65535 * np.stack(waves, -1) * light[..., None] + chance.normal(0, 400, (H, W, 1)))
    return np.clip(made, 0, 65535).astype(np.uint16)


def write(folder: Path, kind: str, frames: np.ndarray, fps: float | Fraction = 24, crf: int | None = None) -> Path:
    path = folder / f"film{KINDS[kind].suffix}"
    assert write_film(path, iter(frames), fps, kind=kind, crf=crf) == len(frames)
    return path


def planes(path: Path) -> Iterator[list[np.ndarray]]:
    """Yield Y', Cb and Cr of every frame as the decoder has them, in codes of 8 bits (with fractions)."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            deep = frame.format.components[0].bits > 8
            codes = [
                np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)[:, : plane.width]
                for plane in frame.planes
            ]
            yield [code / (4 if deep else 1) for code in codes]


def rgb(codes: list[np.ndarray]) -> np.ndarray:
    """Return R'G'B' 0..1 by the equations of BT.709, each colour sample shown where its block of luma is."""
    y, *colour = codes
    luma = (y - 16) / 219
    blue, red = ((plane.repeat(len(y) // len(plane), 0).repeat(2, 1) - 128) / 224 for plane in colour)
    r, b = luma + 1.5748 * red, luma + 1.8556 * blue
    return np.stack([r, (luma - 0.2126 * r - 0.0722 * b) / 0.7152, b], -1)


@KIND
@pytest.mark.parametrize("fps", [16, 24000 / 1001, 23.976, Fraction(30000, 1001), 12.5])
def test_rate_and_length_are_exact(tmp_path: Path, kind: str, fps: float | Fraction) -> None:
    path = write(tmp_path, kind, film(), fps)
    rate = Fraction(24000, 1001) if int(fps) == 23 else Fraction(fps)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == stream.base_rate == rate
        assert stream.frames == 12
        assert stream.time_base is not None
        assert stream.duration is not None
        assert stream.duration * stream.time_base == 12 / rate
        times = [frame.pts * stream.time_base for frame in container.decode(stream) if frame.pts is not None]
    assert times == [n / rate for n in range(12)]


@pytest.mark.parametrize(
    ("kind", "codec", "profile", "pix_fmt", "tag"),
    [
        ("h264", "h264", "High", "yuv420p", "avc1"),
        ("hevc10", "hevc", "Main 10", "yuv420p10le", "hvc1"),
        ("prores", "prores", "HQ", "yuv422p10le", "apch"),
    ],
)
def test_what_players_are_told(tmp_path: Path, kind: str, codec: str, profile: str, pix_fmt: str, tag: str) -> None:
    path = write(tmp_path, kind, film(3))
    data = path.read_bytes()
    # the container's own word on colour: nclx in MP4, with a byte for the range; nclc in QuickTime
    atom = b"colrnclc\0\1\0\1\0\1" if kind == "prores" else b"colrnclx\0\1\0\1\0\1\0"
    assert data.count(b"colr") == data.count(atom) == 1
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.profile, context.pix_fmt, context.codec_tag) == (codec, profile, pix_fmt, tag)
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        frame = next(container.decode(video=0))
        assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (1, 1, 1, 1)
    # and the stream's, which a raw decoder sees without the container
    if kind == "prores":
        header = data[data.index(b"icpf") :]
        assert header[8:12] == b"apl0"
        assert header[18:21] == bytes([1, 1, 1])  # SMPTE RDD 36, frame header: primaries, transfer, matrix
    else:
        assert vui_of(path) == (1, 1, 1, 1)


def vui_of(path: Path) -> tuple[int, int, int, int]:
    """Return the colours that the raw H.264 or HEVC stream names, unpacked from its container."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        name = stream.codec_context.name
        raw = av.bitstream.BitStreamFilterContext(f"{name}_mp4toannexb", stream)
        units = b"".join(bytes(out) for packet in container.demux(stream) for out in raw.filter(packet))
    decoder = av.CodecContext.create(name, "r")
    frames = [frame for packet in decoder.parse(units) for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    first = frames[0]
    return first.color_primaries, first.color_trc, first.colorspace, first.color_range


def decibels(error: np.ndarray) -> float:
    return float(10 * np.log10(1 / np.mean(error**2)))


@pytest.mark.parametrize(("kind", "luma_db", "colour_db"), [("h264", 40, 4), ("hevc10", 40, 4), ("prores", 53, 0.5)])
def test_the_picture_is_near(tmp_path: Path, kind: str, luma_db: float, colour_db: float) -> None:
    """Luma above 40 dB, where people see no difference, and for ProRes above 53, a third of a level of 8 bits in the
    mean (0.56 rms); colour hardly below what its halving alone costs; and no cast of a level of 8 bits.
    """
    frames = film()
    shown = list(planes(write(tmp_path, kind, frames)))
    assert len(shown) == len(frames)
    for codes, frame in zip(shown, frames, strict=True):
        exact = [code / 4 for code in to_ycbcr(frame, 10, halve_lines=KINDS[kind].halves_lines, dither=False)]
        assert decibels((codes[0] - exact[0]) / 219) > luma_db
        assert decibels(rgb(codes) - frame / 65535) > decibels(rgb(exact) - frame / 65535) - colour_db
        assert abs((rgb(codes) - rgb(exact)).mean((0, 1))).max() < 1 / 255


@KIND
def test_the_reader_of_films_sees_the_same_colours(tmp_path: Path, kind: str) -> None:
    frame = np.zeros((H, W, 3), np.uint16)
    frame[:, :48], frame[:, 48:96], frame[:, 96:] = (51400, 7710, 10280), (7710, 46260, 15420), (10280, 15420, 53970)
    path = write(tmp_path, kind, np.stack([frame] * 3))
    back, _ = read_video(path)
    assert abs(back[:, 48, [24, 72, 128]] - frame[48, [24, 72, 128]] / 257).max() <= 3  # another matrix: 16 and more
    info = probe(path)
    assert (info.fps, info.frames, info.height, info.width) == (24, 3, H, W)


@pytest.mark.parametrize(
    ("kind", "levels", "worst"), [("h264", 220, 2.0), ("hevc10", 800, 0.6), ("prores", 877, 0.126)]
)
def test_a_ramp_of_16_bits(tmp_path: Path, kind: str, levels: int, worst: float) -> None:
    """Of the 877 levels that 10 bits have between black and white, far more than 256 are there.

    ProRes keeps them all, exactly as rounded (an eighth of a code of 8 bits); the others blur a few together.
    """
    ramp = np.rint(np.linspace(0, 65535, 1024)).astype(np.uint16)[None, None, :, None]
    frames = np.broadcast_to(ramp, (2, 64, 1024, 3))
    for y, *_ in planes(write(tmp_path, kind, frames)):
        assert len(np.unique(y)) >= levels
        assert abs(y - (16 + frames[0, ..., 0] * (219 / 65535))).max() <= worst


def test_a_dark_gradient_has_no_bands_in_8_bits(tmp_path: Path) -> None:
    """Means over small areas follow the gradient; with plain rounding they are off by up to half a level."""
    code = np.linspace(30, 36, 240)[None, None, :, None]
    frames = np.rint(np.broadcast_to((code - 16) / 219 * 65535, (8, 96, 240, 3))).astype(np.uint16)
    for y, *_ in planes(write(tmp_path, "h264", frames)):
        means = y.reshape(12, 8, 30, 8).mean((1, 3))
        wanted = np.broadcast_to(code[0, 0, :, 0], (96, 240)).reshape(12, 8, 30, 8).mean((1, 3))
        assert np.sqrt(np.mean((means - wanted) ** 2)) < 0.12  # bands: 0.25 and more
        assert np.sqrt(np.mean((np.rint(wanted) - wanted) ** 2)) > 0.24


@KIND
def test_the_same_frames_make_the_same_bytes(tmp_path: Path, kind: str) -> None:
    frames = film(20)
    made = {write(tmp_path, kind, frames).read_bytes() for _ in range(4)}
    assert len(made) == 1


def test_crf_is_quality(tmp_path: Path) -> None:
    frames = film(6)
    for kind in ("h264", "hevc10"):
        sizes = [write(tmp_path, kind, frames, crf=crf).stat().st_size for crf in (8, 18, 30)]
        assert sizes == sorted(sizes, reverse=True)
        assert write(tmp_path, kind, frames).stat().st_size == sizes[1]


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(message: str, frames: np.ndarray, kind: str = "h264", name: str = "a.mp4", **options: float) -> None:
        with pytest.raises(FootageError, match=message) as caught:
            write_film(tmp_path / name, iter(frames), options.pop("fps", 24), kind=kind, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    good = film(2)
    refused("choose one of h264, hevc10, prores", good, "av1")
    refused(r"prores is written as \.mov", good, "prores")
    refused(r"h264 is written as \.mp4", good, "h264", "a.mov")
    refused("no frames", good[:0])
    refused("frame 0 is uint8", good.astype(np.uint8))
    refused("fps 0", good, fps=0)
    refused("crf 52", good, crf=52)
    refused("crf -1", good, "hevc10", crf=-1)
    refused("leave crf 18 out", good, "prores", "a.mov", crf=18)
    refused("even sizes, not 159x96; crop by one pixel", good[:, :, :-1])
    refused("even sizes, not 160x95; crop by one pixel", good[:, :-1], "hevc10")
    refused("even sizes, not 159x96; crop by one pixel", good[:, :, :-1], "prores", "a.mov")
    refused("libx265 cannot encode 2x2", good[:, :2, :2], "hevc10")
    monkeypatch.setattr("av.codecs_available", {"libx264", "prores_ks"})
    refused("hevc10: .* without the encoder libx265; choose h264 or prores, or install", good, "hevc10")
    assert list(tmp_path.iterdir()) == []


@KIND
def test_a_film_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, kind: str) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from film(9)
        raise RuntimeError("the renderer failed")

    path = write(tmp_path, kind, film(2))
    old = path.read_bytes()
    with pytest.raises(RuntimeError, match="the renderer failed"):
        write_film(path, broken(), 24, kind=kind)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_prores_takes_an_odd_number_of_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "prores", film(2)[:, :-1])
    assert probe(path).height == H - 1
