"""Where the cuts of a film are, found in one decode that also measures the colours of every shot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector
from scipy.ndimage import gaussian_filter

from cinetune.console import Advance
from cinetune.errors import FootageError
from cinetune.files import write_aside
from cinetune.footage.video_io import probe, read_frames

Small = UInt8[np.ndarray, "h w 3"]

DETECTION_WIDTH = 256  # pixels; PySceneDetect's own choice of size
REPEATED = 0.5  # grey levels; two frames this alike are one frame shown twice
COLOURS_EVERY_S = 0.5
COLOURS_WIDTH = 64  # pixels
CHANGED = 5.0  # grey levels; after a change this large the colours are looked at at once
LAB_BINS = (16, 16, 16)
LAB_RANGE = (0, 256, 64, 192, 64, 192)  # of L, a, b in 8 bits; stronger colours count as the strongest
WEIGHTS = (
    ContentDetector.Components(delta_hue=0.0),  # colour and light
    ContentDetector.Components(delta_hue=0.0, delta_sat=0.0),  # light alone
)


@dataclass(frozen=True)
class Scan:
    """What one decode of a film tells."""

    spans: Float64[np.ndarray, "shots 2"]
    """Time of the first frame and time just after the last frame of each shot, s; in order, without gaps."""
    colours: Float32[np.ndarray, "shots bins"]
    """Lab histogram of each shot; a row sums to 1."""
    frame_s: float
    """How long the last frame is shown, s."""


class CutDetector:
    """PySceneDetect's AdaptiveDetector with its default thresholds, and its blind spots covered.

    Of its detectors, ContentDetector's fixed threshold missed 15 of 15 cuts of a rendered black and white film and
    took the fast motion of an 8 fps animation for cuts. The adaptive one asks for a change three times that of the
    neighbouring frames; it missed none of 75 cuts in five rendered films. What is done about the rest:

    * hue is left out of its score (the mean change of hue, saturation and value): in dark and pale pixels hue is
      noise, which made cuts in the fade and the pale sky of Big Buck Bunny;
    * a black and white film has no saturation and half the score: a second detector looks at value alone, and the
      cuts of both count;
    * it finds cuts everywhere in films that show each frame two or three times: repeated frames are left out;
    * two frames at each end are never judged: the first and the last frame are shown to it three times;
    * it suppresses the second of two cuts within 15 frames, which would leave a cut inside a shot: no suppression.
      A false cut costs a window, a missed one spoils a clip.
    """

    def __init__(self) -> None:
        self._detectors = [AdaptiveDetector(min_scene_len=1, weights=weights) for weights in WEIGHTS]
        self._last: Small | None = None
        self._number = -1
        self.cuts: set[int] = set()
        """Numbers of the frames that begin a shot; complete after `finish`."""

    def see(self, rgb: Small) -> float:
        """Take the next frame; return its mean absolute difference to the last distinct one, grey levels."""
        self._number += 1
        if self._last is None:
            self._last = rgb
            for _ in range(3):
                self._judge(rgb)
            return 0.0
        change = float(cv2.absdiff(rgb, self._last).mean())
        if change >= REPEATED:
            self._last = rgb
            self._judge(rgb)
        return change

    def finish(self) -> None:
        """Judge the last frames."""
        if self._last is not None:
            for _ in range(2):
                self._judge(self._last)
        self.cuts.discard(0)

    def _judge(self, rgb: Small) -> None:
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        now = FrameTimecode(self._number, fps=25.0)  # only the number is used
        for detector in self._detectors:
            self.cuts |= {cut.frame_num for cut in detector.process_frame(now, bgr)}


def scan_film(path: Path, *, known_cuts: Sequence[float] = (), advance: Advance | None = None) -> Scan:
    """Decode a film once; return its shots and their colours.

    Args:
        path: any file that video_io reads.
        known_cuts: times at which somebody says that a shot begins, s; used besides the cuts that are found.
        advance: told the seconds of film that were decoded.

    Raises:
        FootageError: the file cannot be read to its end.
    """
    detector = CutDetector()
    times: list[float] = []
    samples: list[tuple[float, Small]] = []
    for time, frame in read_frames(path):
        small = shrink(frame, DETECTION_WIDTH)
        change = detector.see(small)
        if not samples or change >= CHANGED or time - samples[-1][0] >= COLOURS_EVERY_S:
            samples.append((time, shrink(small, COLOURS_WIDTH)))
        if advance is not None and times:
            advance(time - times[-1])
        times.append(time)
    if not times:
        raise FootageError(f"{path}: no frames in it; give a video file")
    detector.finish()
    frame_s = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1 / probe(path).fps
    if advance is not None:
        advance(frame_s)
    edges = [times[0], *(times[number] for number in sorted(detector.cuts)), times[-1] + frame_s]
    for cut in known_cuts:  # one that the detector found too, a frame apart, is not another cut
        if times[0] < cut < times[-1] and all(abs(cut - edge) > 2 * frame_s for edge in edges):
            edges.append(cut)
    edges.sort()
    spans = np.array(list(pairwise(edges)))
    return Scan(spans, np.stack(list(_colours_of(spans, samples))), frame_s)


def write_scan(path: Path, scan: Scan, key: str) -> None:
    """Keep a scan, whole or not at all; `key` says of what.

    Raises:
        RunError: the folder cannot be written, or the disk is full.
    """
    arrays = {"spans": scan.spans, "colours": scan.colours, "frame_s": np.array([scan.frame_s])}
    with write_aside(path) as aside:
        save_file(arrays, aside, metadata={"key": key})


def read_scan(path: Path, key: str) -> Scan | None:
    """Return the scan kept at `path`, or None where there is none, a damaged one, or one of something else."""
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            spans, colours, frame_s = (file.get_tensor(name) for name in ("spans", "colours", "frame_s"))
    except (SafetensorError, OSError):
        return None
    return Scan(spans, colours, float(frame_s[0]))


def shrink(frame: UInt8[np.ndarray, "h w 3"], width: int) -> UInt8[np.ndarray, "small_h small_w 3"]:
    """Return the frame at most `width` pixels wide, antialiased."""
    if frame.shape[1] <= width:
        return frame
    height = max(1, round(frame.shape[0] * width / frame.shape[1]))
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def colour_histogram(frames: Sequence[Small]) -> Float32[np.ndarray, " bins"]:
    """Return the Lab histogram of frames, summing to 1; softened, so that a drift over the edge of a bin is small."""
    lab = [cv2.cvtColor(frame, cv2.COLOR_RGB2LAB) for frame in frames]
    low, high = np.array(LAB_RANGE[::2]), np.array(LAB_RANGE[1::2])
    inside = [np.clip(frame, low, high - 1).astype(np.uint8) for frame in lab]
    counts = cv2.calcHist([np.concatenate(inside)], [0, 1, 2], None, list(LAB_BINS), list(LAB_RANGE))
    soft = gaussian_filter(counts, sigma=0.7, mode="nearest").ravel()
    return np.asarray(soft / soft.sum(), np.float32)


def _colours_of(
    spans: Float64[np.ndarray, "shots 2"], samples: Sequence[tuple[float, Small]]
) -> Iterator[Float32[np.ndarray, " bins"]]:
    """Yield the histogram of each span; of a span between two samples, that of the nearest one."""
    times = np.array([time for time, _ in samples])
    for start, end in spans:
        inside = np.flatnonzero((times >= start) & (times < end))
        nearest = [int(np.abs(times - (start + end) / 2).argmin())]
        yield colour_histogram([samples[int(n)][1] for n in (inside if len(inside) else nearest)])
