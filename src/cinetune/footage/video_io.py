"""Film files in: any container and codec FFmpeg knows, decoded frame by frame with their real times.

Times are seconds from the first frame of the video stream. Frames are uint8 RGB as stored (no rotation, no
correction of non-square pixels). Nothing here holds more than a few frames, apart from what it returns.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from cinetune.errors import FootageError
from cinetune.footage._gathering import gather
from cinetune.footage._video_write import write_video

__all__ = ["VideoInfo", "probe", "read_frames", "read_video", "read_window", "write_video"]

_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg draws text files as pictures of a terminal
_HDR_CURVES = {16: "PQ", 18: "HLG"}  # H.273 transfer characteristics


@dataclass(frozen=True)
class VideoInfo:
    """What a film's header says, before decoding."""

    fps: float
    """Mean frames per second; a film of variable rate has no other."""
    frames: int | None
    """None where the container does not count them."""
    seconds: float
    height: int
    width: int
    codec: str
    container: str


def probe(path: Path) -> VideoInfo:
    """Read a film's header.

    Raises:
        FootageError: no such file, a folder, an empty file, not a video, or no pictures in it.
    """
    with _opened(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        seconds = _declared_seconds(container, stream) or _measured_seconds(path, container, stream)
        if not rate or seconds <= 0:
            raise FootageError(f"{path}: holds no frames; export or download it again")
        context = stream.codec_context
        return VideoInfo(
            fps=float(rate),
            frames=stream.frames or None,
            seconds=seconds,
            height=context.height,
            width=context.width,
            codec=context.name,
            container=container.format.name,
        )


def read_frames(
    path: Path, *, start: float | None = None, end: float | None = None
) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """Yield (time in s, frame) of every frame with start <= time < end, in order.

    Raises:
        FootageError: as `probe`; the file is damaged or ends before its own header says; HDR; the size changes.
    """
    first = -math.inf if start is None else start - 1e-6
    last = math.inf if end is None else end - 1e-6
    for time, frame in _decoded(path, start or 0.0):
        if time >= last:
            return
        if time >= first:
            yield time, _to_rgb(path, time, frame)


def read_window(path: Path, *, start: float, frames: int, fps: float) -> UInt8[np.ndarray, "f h w 3"]:
    """Return `frames` pictures from `start` (s) on at `fps`: at each moment the one a viewer would see.

    That is the newest frame not after the moment, so speed stays real whatever the film's own rate is.

    Raises:
        FootageError: as `read_frames`; the window begins before the film or ends after it.
    """
    chosen: list[UInt8[np.ndarray, "h w 3"]] = []
    held: tuple[float, VideoFrame] | None = None
    picture: np.ndarray | None = None  # `held` as RGB, converted once however often it is shown
    slack, shown_until = 0.0, 0.0
    for time, frame in _decoded(path, start):
        slack = _slack(frame)
        while held is not None and len(chosen) < frames and start + len(chosen) / fps < time - slack:
            picture = _to_rgb(path, *held) if picture is None else picture
            chosen.append(picture)
        if len(chosen) == frames:
            break
        if held is None and start < time - slack:
            raise FootageError(f"{path}: begins at {time:.3f} s; a window cannot start at {start:.3f} s")
        held, picture, shown_until = (time, frame), None, time + _duration(frame, 1 / fps)
    while held is not None and len(chosen) < frames and start + len(chosen) / fps < shown_until + slack:
        picture = _to_rgb(path, *held) if picture is None else picture
        chosen.append(picture)
    if len(chosen) < frames:
        until = start + frames / fps
        raise FootageError(f"{path}: ends at {shown_until:.3f} s, before the window {start:.3f}..{until:.3f} s")
    return np.stack(chosen)


def read_video(path: Path) -> tuple[UInt8[np.ndarray, "f h w 3"], float]:
    """Return every frame of a short video, and its mean frames per second.

    Raises:
        FootageError: as `read_frames` and `_gathering.gather`.
    """
    return gather(path, (frame for _, frame in read_frames(path))), probe(path).fps


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a film and find its pictures.

    Raises:
        FootageError: as `probe`.
    """
    if path.is_dir():
        raise FootageError(f"{path}: a folder, not a film; name the files in it")
    if not path.exists():
        raise FootageError(f"{path}: no such file; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise FootageError(f"{path}: an empty file (0 bytes); copy or download it again")
    try:
        # only local files: a playlist must not make this program fetch what it names
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.error.InvalidDataError:
        raise FootageError(f"{path}: {_why_unreadable(path)}") from None
    except av.error.FFmpegError as error:
        raise FootageError(f"{path}: cannot be opened ({error.strerror}); check the file") from None
    with container:
        kind = container.format.name
        if kind in _TEXT_ART or kind.endswith("_pipe") or kind == "image2":
            raise FootageError(f"{path}: not a video but a text or a still picture ({kind}); name a film file")
        streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not streams:
            raise FootageError(f"{path}: no video stream in it (sound or subtitles only); name a film with pictures")
        if streams[0].codec_context is None or not streams[0].codec_context.width:
            raise FootageError(f"{path}: its pictures cannot be decoded; convert it to H.264 first")
        streams[0].thread_type = "AUTO"
        yield container, streams[0]


def _why_unreadable(path: Path) -> str:
    """Return why FFmpeg refused the file: an MP4 without its index, or no video at all."""
    with path.open("rb") as file:
        boxes: list[bytes] = []
        while len(head := file.read(8)) == 8 and head[4:].isalnum():
            boxes.append(head[4:])
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(file.read(8), "big") - 8 if size == 1 else size
            if size < 8:
                break
            file.seek(size - 8, 1)
    if boxes[:1] == [b"ftyp"] and b"moov" not in boxes:
        return "cut off: an MP4 without its index (moov); copy, download or export it again"
    return "not a video that FFmpeg can read; check the file, or convert it to MP4"


def _decoded(path: Path, start: float) -> Iterator[tuple[float, VideoFrame]]:
    """Yield (time, frame) from the last key frame at or before `start` to the end of the film.

    Raises:
        FootageError: as `read_frames`.
    """
    for seeking in (True, False) if start > 0 else (False,):
        with _opened(path) as (container, stream):
            if seeking and not _seek(container, stream, start):
                continue
            frames = _from_here(path, container, stream)
            if seeking:
                head = _first_or_none(frames)
                if head is None or head[0] > start + _slack(head[1]):
                    continue  # the index was wrong: decode from the beginning
                yield head
            yield from frames
            return


def _first_or_none(frames: Iterator[tuple[float, VideoFrame]]) -> tuple[float, VideoFrame] | None:
    """Return the first frame after a jump; None where nothing could be decoded, which proves nothing yet."""
    try:
        return next(frames, None)
    except FootageError:
        return None


def _seek(container: InputContainer, stream: VideoStream, start: float) -> bool:
    """Go to the last key frame at or before `start`; False where the container cannot."""
    assert stream.time_base is not None
    try:
        container.seek(int(start / stream.time_base) + (stream.start_time or 0), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def _from_here(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    """Decode to the end, and insist that it is the end.

    Raises:
        FootageError: as `read_frames`.
    """
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    reached = time = -1 / rate
    try:
        for frame in container.decode(stream):
            # a raw stream may carry no times at all
            time = time + 1 / rate if frame.pts is None else _time(frame, stream)
            reached = max(reached, time + _duration(frame, 1 / rate))
            yield time, frame
    except av.error.FFmpegError as error:
        raise FootageError(
            f"{path}: damaged or cut off: readable until {max(reached, 0):.3f} s, then {error.strerror}; "
            "copy, download or export it again"
        ) from None
    declared = _declared_seconds(container, stream)
    if declared is not None and reached < declared - 1.5 / rate:
        raise FootageError(
            f"{path}: cut off: ends at {max(reached, 0):.3f} s, its header says {declared:.3f} s; "
            "copy, download or export it again"
        )
    if container.format.name == "gif":
        _insist_on_trailer(path, reached)


def _insist_on_trailer(path: Path, reached: float) -> None:
    """A GIF has no length in its header; a whole one ends with a semicolon (some writers pad with zeros).

    Raises:
        FootageError: the file ends with something else.
    """
    with path.open("rb") as file:
        file.seek(-min(64, path.stat().st_size), 2)
        tail = file.read().rstrip(b"\0\r\n")
    if not tail.endswith(b";"):
        raise FootageError(f"{path}: cut off: readable until {reached:.3f} s; copy, download or export it again")


def _time(frame: VideoFrame, stream: VideoStream) -> float:
    """Return seconds since the first frame of the stream."""
    assert frame.pts is not None
    assert frame.time_base is not None
    return float((frame.pts - (stream.start_time or 0)) * frame.time_base)


def _duration(frame: VideoFrame, usual: float) -> float:
    """Return how long a frame is shown, s; `usual` where the container does not say."""
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual


def _slack(frame: VideoFrame) -> float:
    """Return how far a time may be off because the container rounds: one tick, at most a quarter frame; s."""
    tick = float(frame.time_base or 0)
    return min(tick, _duration(frame, tick) / 4) + 1e-6


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the length of the pictures according to the header, or None where it does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if tag := stream.metadata.get("DURATION"):  # Matroska, "00:00:02.041000000"
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    # the container's own length is that of its longest stream, sound included
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else None


def _measured_seconds(path: Path, container: InputContainer, stream: VideoStream) -> float:
    """Return the length of the pictures by walking through the packets, without decoding.

    Raises:
        FootageError: the file is damaged.
    """
    assert stream.time_base is not None
    usual = 1 / (stream.average_rate or stream.guessed_rate or 25)
    last = 0.0
    try:
        for packet in container.demux(stream):
            if packet.pts is not None:
                ticks = packet.pts - (stream.start_time or 0)
                last = max(last, float(ticks * stream.time_base + (packet.duration or 0) * stream.time_base))
    except av.error.FFmpegError as error:
        raise FootageError(f"{path}: damaged ({error.strerror}); copy, download or export it again") from None
    return last or float(usual)


def _to_rgb(path: Path, time: float, frame: VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
    """Convert with the matrix the film names; where it names none, BT.709 from 720 lines on and BT.601 below.

    Raises:
        FootageError: the frame is damaged, or HDR.
    """
    if frame.is_corrupt:
        raise FootageError(f"{path}: damaged or cut off at {time:.3f} s; copy, download or export it again")
    if frame.color_trc in _HDR_CURVES:
        raise FootageError(f"{path}: HDR ({_HDR_CURVES[frame.color_trc]}); convert it to BT.709 (SDR) first")
    if frame.colorspace == 2:  # unspecified
        frame.colorspace = 1 if frame.height >= 720 else 6
    return np.asarray(frame.to_ndarray(format="rgb24", threads=1))
