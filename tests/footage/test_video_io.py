"""Video files in and out: exactness, time, and every way a file can be wrong."""

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cinetune.errors import FootageError
from cinetune.footage.video_io import probe, read_frames, read_video, read_window, write_video

H, W = 32, 48


def numbered(number: int) -> np.ndarray:
    """A flat frame whose grey level is 4 x its number: it says which one it is, even after H.264."""
    return np.full((H, W, 3), 4 * number, np.uint8)


def number_of(frame: np.ndarray) -> int:
    return round(float(frame.mean()) / 4)


def noise(frames: int, height: int = H, width: int = W) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


def encode(
    path: Path, codec: str, pix_fmt: str, pts: list[int], base: Fraction, options: dict[str, str] | None = None,
    picture: Callable[[int], np.ndarray] = numbered,
) -> Path:  # fmt: skip
    """Write a video with any codec and any frame times, straight through PyAV."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=round(1 / float(base * (pts[1] - pts[0]))))
        stream.width, stream.height, stream.pix_fmt = W, H, pix_fmt
        stream.codec_context.time_base = base
        for number, at in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = at, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def textured(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (H, W, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 47)])
def test_lossless_comes_back_bit_for_bit(tmp_path: Path, height: int, width: int) -> None:
    frames = noise(5, height, width)
    write_video(tmp_path / "a.mkv", iter(frames), 16.0, lossless=True)
    back, fps = read_video(tmp_path / "a.mkv")
    assert np.array_equal(back, frames)
    assert fps == 16


def test_h264_keeps_colours_and_says_bt709(tmp_path: Path) -> None:
    frame = np.zeros((H, W, 3), np.uint8)
    frame[:, :16], frame[:, 16:32], frame[:, 32:] = (200, 30, 40), (30, 180, 60), (40, 60, 210)
    write_video(tmp_path / "a.mp4", [frame] * 3, 24.0, crf=4)
    back, _ = read_video(tmp_path / "a.mp4")
    centres = back[:, :, [8, 24, 40]].astype(int) - frame[None, :, [8, 24, 40]]
    assert np.abs(centres).max() <= 6  # the wrong matrix is off by 16 and more
    with av.open(str(tmp_path / "a.mp4")) as container:
        first = next(container.decode(video=0))
        assert (first.colorspace, first.color_primaries, first.color_trc, first.color_range) == (1, 1, 1, 1)
        assert first.format.name == "yuv420p"


def test_the_same_frames_make_the_same_bytes(tmp_path: Path) -> None:
    ramp = np.linspace(0, 200, 96)[None, None, :, None] + 3.0 * np.arange(20)[:, None, None, None]
    frames = np.broadcast_to(ramp, (20, 64, 96, 3)).astype(np.uint8) // 2 + noise(20, 64, 96) // 16
    made = set()
    for _ in range(8):  # x264 with its default settings differs in about half of the runs
        write_video(tmp_path / "a.mp4", frames, 16.0)
        made.add((tmp_path / "a.mp4").read_bytes())
    assert len(made) == 1


def test_probe_reads_the_header(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", map(numbered, range(24)), 24.0)
    info = probe(tmp_path / "a.mp4")
    assert (info.fps, info.frames, info.seconds) == (24, 24, 1.0)
    assert (info.height, info.width, info.codec) == (H, W, "h264")
    assert "mp4" in info.container


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("b.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "gray"),
    ],
)
def test_containers_and_codecs_keep_number_and_time(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = encode(tmp_path / name, codec, pix_fmt, list(range(30)), Fraction(1, 10))
    pairs = list(read_frames(path))
    assert [number_of(f) for _, f in pairs] == pytest.approx(list(range(30)), abs=2)
    assert [t for t, _ in pairs] == pytest.approx(np.arange(30) / 10, abs=0.001)
    assert probe(path).seconds == pytest.approx(3.0, abs=0.11)
    later = list(read_frames(path, start=1.5, end=2.0))
    assert [t for t, _ in later] == pytest.approx([1.5, 1.6, 1.7, 1.8, 1.9], abs=0.001)
    assert [number_of(f) for _, f in later] == pytest.approx(range(15, 20), abs=2)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_window_keeps_real_speed(tmp_path: Path, rate: int, suffix: str) -> None:
    path = encode(tmp_path / f"a{suffix}", "libx264", "yuv420p", list(range(60)), Fraction(1, rate))
    start = 0.25 if rate < 60 else 0.125
    window = read_window(path, start=start, frames=9, fps=16.0)
    wanted = [int((start + k / 16) * rate + 1e-6) for k in range(9)]
    assert [number_of(f) for f in window] == wanted


def test_window_at_the_films_own_rate_takes_every_frame_once(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", map(numbered, range(40)), 16.0, lossless=True)
    for first in (0, 7, 23):
        window = read_window(tmp_path / "a.mkv", start=first / 16, frames=17, fps=16.0)
        assert [number_of(f) for f in window] == list(range(first, first + 17))


def test_window_of_a_film_of_variable_rate_shows_what_a_viewer_sees(tmp_path: Path) -> None:
    ticks = [0, 100, 200, 300, 1000, 1100, 1200]  # ms: frame 3 stands still for 0.7 s
    path = encode(tmp_path / "a.mkv", "libx264", "yuv420p", ticks, Fraction(1, 1000))
    window = read_window(path, start=0.0, frames=13, fps=10.0)
    assert [number_of(f) for f in window] == [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 6]


def test_window_beyond_the_film_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", map(numbered, range(32)), 16.0)
    assert len(read_window(tmp_path / "a.mp4", start=0.9375, frames=17, fps=16.0)) == 17
    with pytest.raises(FootageError, match=r"ends at 2\.000 s"):
        read_window(tmp_path / "a.mp4", start=1.2, frames=17, fps=16.0)
    with pytest.raises(FootageError, match="cannot start"):
        read_window(tmp_path / "a.mp4", start=-0.5, frames=17, fps=16.0)


def test_reading_streams_and_closes(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", map(numbered, range(60)), 16.0)
    frames = read_frames(tmp_path / "a.mp4")
    assert number_of(next(frames)[1]) == 0
    frames.close()  # type: ignore[attr-defined]
    (tmp_path / "a.mp4").unlink()


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def still(path: Path) -> None:
    import cv2

    cv2.imwrite(str(path), numbered(3))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("none.mp4", lambda p: None, "no such file"),
        ("folder.mp4", lambda p: p.mkdir(), "a folder"),
        ("empty.mp4", lambda p: p.write_bytes(b""), "0 bytes"),
        ("text.txt", lambda p: p.write_text("Once upon a time\n" * 40), "not a video"),
        ("text.mp4", lambda p: p.write_text("Once upon a time\n" * 40), "not a video"),
        ("noise.mp4", lambda p: p.write_bytes(noise(1).tobytes()), "not a video"),
        ("words.srt", lambda p: p.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n"), "no video stream"),
        ("sound.m4a", sound_only, "no video stream"),
        ("still.png", still, "still picture"),
    ],
)
def test_what_is_no_film_is_refused_by_name(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / name
    make(path)
    for read in (probe, read_video, lambda p: read_window(p, start=0.0, frames=2, fps=16.0)):
        with pytest.raises(FootageError, match=message) as caught:
            read(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_mp4_without_its_index_is_named_as_such(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.mp4", "libx264", "yuv420p", list(range(30)), Fraction(1, 10), picture=textured)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(FootageError, match="moov"):
        probe(cut)


@pytest.mark.parametrize("kept", [0.35, 0.6, 0.85])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("b.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_a_film_cut_off_is_never_silently_short(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, kept: float
) -> None:
    options = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    whole = encode(tmp_path / name, codec, pix_fmt, list(range(30)), Fraction(1, 10), options, textured)
    data = whole.read_bytes()
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(FootageError, match=r"(cut off|damaged).*\d\.\d\d\d s"):
        read_video(cut)


def test_a_playlist_fetches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://192.0.2.1/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(FootageError):
        read_video(path)


def test_a_box_size_of_zero_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(struct.pack(">I4s", 16, b"ftyp") + b"isom\0\0\0\0" + struct.pack(">I4s", 0, b"mdat") + b"x" * 99)
    with pytest.raises(FootageError, match="moov"):
        probe(path)


def broken_iterator() -> Iterator[np.ndarray]:
    yield numbered(0)
    raise RuntimeError("the renderer failed")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    cases: list[tuple[Path, list[np.ndarray], dict[str, object], str]] = [
        (path, [], {}, "no frames"),
        (path, [np.zeros((33, 48, 3), np.uint8)], {}, "even sizes"),
        (path, [numbered(0), np.zeros((64, 48, 3), np.uint8)], {}, "frame 1"),
        (path, [numbered(0)], {"lossless": True}, "written as .mkv"),
        (tmp_path / "a.mkv", [numbered(0)], {}, "written as .mp4"),
        (path, [numbered(0)], {"crf": 99}, "crf"),
    ]
    for target, frames, options, message in cases:
        with pytest.raises(FootageError, match=message):
            write_video(target, frames, 16.0, **options)  # type: ignore[arg-type]
    with pytest.raises(FootageError, match="fps"):
        write_video(path, [numbered(0)], 0.0)
    with pytest.raises(RuntimeError, match="the renderer failed"):
        write_video(path, broken_iterator(), 16.0)
    assert list(tmp_path.iterdir()) == []  # whole or absent


def test_a_name_with_a_colon_is_a_file(tmp_path: Path) -> None:
    write_video(tmp_path / "take: 1 %d.mp4", [numbered(3)] * 2, 16.0)
    assert len(read_video(tmp_path / "take: 1 %d.mp4")[0]) == 2
