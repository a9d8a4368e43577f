"""The look that the three metrics of optical flow share: how things move, and what moving does not explain."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from cinetune.metrics._contract import Features, Item, Look

SIDE = 256
"""Pixels of the shorter side at which flow is estimated; larger frames are reduced to it."""
LEAST_SIDE = 16
"""Smaller frames are enlarged to it: the estimator compares patches of 8 x 8 pixels at two scales."""
FASTEST = 0.05
"""Share of the pixels that counts as the fastest (VBench, dynamic degree)."""

Frame = UInt8[np.ndarray, "h w 3"]
Flow = Float[np.ndarray, "h w 2"]
"""Displacement in x and y, pixels."""
Seen = Bool[np.ndarray, "h w"]


def look(item: Item, _: None) -> Features:
    """Return what there is to know of each two neighbouring frames t and t+1, and of each three.

    Lengths are in % of the shorter side. `speed`: mean length of the flow (frames - 1). `fastest`: the same of the
    fastest 5 % (frames - 1). `visible`: share of the pixels of t that are seen in t+1 too (frames - 1). `error`: mean
    squared difference of these and the pixels of t+1 that the flow leads to, pixels 0..1; 0 where none is visible
    (frames - 1). `change`: mean length of the change of the flow along the path (frames - 2). `both`: mean length of
    the two flows added (frames - 2).
    """
    estimate = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    frame = _fit(item.frames[0])
    grey = _grey(frame)
    percent = 100 / min(grey.shape)
    pairs: dict[str, list[float]] = {"speed": [], "fastest": [], "visible": [], "error": []}
    triples: dict[str, list[float]] = {"change": [], "both": []}
    before: Flow | None = None
    for whole in item.frames[1:]:
        following = _fit(whole)
        after = _grey(following)
        there, back = (
            np.asarray(estimate.calc(a, b, None))  # type: ignore[call-overload] # None: from no motion
            for a, b in ((grey, after), (after, grey))
        )
        lengths = np.linalg.norm(there, axis=-1)
        pairs["speed"].append(percent * float(lengths.mean(dtype=np.float64)))
        pairs["fastest"].append(percent * _fastest(lengths))
        seen = visible(there, back)
        pairs["visible"].append(float(seen.mean()))
        pairs["error"].append(_error(frame, following, there, seen))
        if before is not None:
            change, both = _change(before, there)
            triples["change"].append(percent * change)
            triples["both"].append(percent * both)
        before, frame, grey = there, following, after
    return {name: np.array(values, np.float64) for name, values in (pairs | triples).items()}


def visible(there: Flow, back: Flow) -> Seen:
    """Return which pixels the flow back brings home again, and that stay inside the frame.

    Source: Sundaram et al. 2010 (Dense Point Trajectories by GPU-Accelerated Large Displacement Optical Flow);
    phoenix104104/fast_blind_video_consistency utils.py, detect_occlusion, first mask.
    """
    ahead = _along(back, there)
    error = np.square(there + ahead).sum(-1)
    allowed = 0.01 * (np.square(there).sum(-1) + np.square(ahead).sum(-1)) + 0.5
    return np.asarray((error <= allowed) & _inside(there))


def _fit(frame: UInt8[np.ndarray, "_h _w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    height, width = frame.shape[:2]
    short = min(height, width)
    wanted = min(max(short, LEAST_SIDE), SIDE)
    if short == wanted:
        return frame
    size = (round(width * wanted / short), round(height * wanted / short))
    how = cv2.INTER_AREA if short > wanted else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, size, interpolation=how))


def _grey(frame: Frame) -> UInt8[np.ndarray, "h w"]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


def _fastest(lengths: Float[np.ndarray, "h w"]) -> float:
    count = max(1, int(FASTEST * lengths.size))
    return float(np.partition(lengths.ravel(), -count)[-count:].mean(dtype=np.float64))


def _targets(flow: Flow) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Where each pixel goes, x and y."""
    y, x = np.indices(flow.shape[:2], np.float32)
    return x + flow[..., 0], y + flow[..., 1]


def _inside(flow: Flow) -> Seen:
    x, y = _targets(flow)
    height, width = flow.shape[:2]
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


def _along(values: Float[np.ndarray, "h w c"], flow: Flow) -> Float[np.ndarray, "h w c"]:
    """Return the values at the end of each pixel's flow, bilinear; past the edge, those at the edge."""
    x, y = _targets(flow)
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _error(frame: Frame, following: Frame, flow: Flow, seen: Seen) -> float:
    if not seen.any():
        return 0.0
    warped = _along(following.astype(np.float32) / 255, flow)
    return float(np.square(frame.astype(np.float32) / 255 - warped)[seen].mean(dtype=np.float64))


def _change(before: Flow, after: Flow) -> tuple[float, float]:
    """Mean length of the change of flow along the path, and of both flows, over what stays inside the frame."""
    ahead = _along(after, before)
    seen = _inside(before)
    if not seen.any():
        return 0.0, 0.0
    moved = (np.linalg.norm(flow, axis=-1)[seen] for flow in (ahead - before, before, ahead))
    change, first, second = (float(lengths.mean(dtype=np.float64)) for lengths in moved)
    return change, first + second


LOOK = Look("flow", "1", None, look)
