"""Every metric in the folder keeps the contract, also on videos that hold nothing."""

from functools import cache

import numpy as np
import pytest
import torch

from cinetune import plugins
from cinetune.metrics._contract import CorpusMetric, Features, Item, ItemMetric, Measured, SetMetric
from cinetune.metrics.backbones._contract import Eye
from cinetune.metrics.backbones._resolve import ROLES, resolve

NAMES = plugins.names("metrics")
ITEM_NAMES = [name for name in NAMES if isinstance(plugins.load("metrics", name), ItemMetric)]
CORPUS_NAMES = [name for name in NAMES if isinstance(plugins.load("metrics", name), CorpusMetric)]
SET_NAMES = [name for name in NAMES if isinstance(plugins.load("metrics", name), SetMetric)]
GREY = np.full((5, 32, 48, 3), 128, np.uint8)


@cache
def eye(role: str | None) -> Eye | None:
    return resolve(role, "nano", {}, torch.device("cpu")) if role else None


def test_the_folder_holds_what_the_recipe_asks_for() -> None:
    assert {*ITEM_NAMES, *CORPUS_NAMES, *SET_NAMES} == set(NAMES)
    assert set(NAMES) >= {
        "lpips",
        "fvd",
        "kid",
        "clip_text",
        "clip_frames",
        "flicker",
        "motion_ratio",
        "psnr",
        "colour",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_says_what_it_is(name: str) -> None:
    metric = plugins.load("metrics", name)
    assert metric.name == name
    assert metric.unit
    assert metric.version
    assert metric.better in ("lower", "higher", "neither")
    assert metric.kind in ("set", "pair", "video", "corpus")
    assert metric.least >= 3
    assert len(metric.source) > 15, "name the paper and equation, or the repository and path"
    assert metric.look.pair == (metric.kind == "pair")
    assert metric.backbone is None or metric.backbone in ROLES
    assert metric.card.measures.endswith(".")
    assert metric.card.caveats.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_features_are_finite_arrays_and_do_not_touch_the_video(name: str, pair: Item) -> None:
    look = plugins.load("metrics", name).look
    pair.frames.setflags(write=False)
    before = pair.frames.copy()
    first, second = (look.features(pair, eye(look.backbone)) for _ in range(2))
    assert first
    for key, value in first.items():
        assert np.isfinite(value).all()
        assert (value == second[key]).all()
    assert (pair.frames == before).all()


@pytest.mark.parametrize("name", [*ITEM_NAMES, *CORPUS_NAMES])
@pytest.mark.parametrize("shape", [(5, 32, 48, 3), (2, 16, 16, 3), (1, 32, 48, 3), (3, 17, 23, 3)])
@pytest.mark.parametrize("kind", ["constant", "random", "identical"])
def test_degenerate_videos_have_a_finite_number_or_a_reason(name: str, shape: tuple[int, ...], kind: str) -> None:
    metric: ItemMetric | CorpusMetric = plugins.load("metrics", name)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    frames = np.zeros(shape, np.uint8) if kind == "constant" else noise
    reference = {"constant": np.full(shape, 255, np.uint8), "random": noise[::-1, ::-1].copy(), "identical": noise}[
        kind
    ]
    item = Item(frames, reference, "")
    if reason := metric.look.obstacle(item):
        assert len(reason) > 10
        return
    features, other = (metric.look.features(each, eye(metric.backbone)) for each in (item, Item(GREY, GREY, "")))
    for measured in _scores(metric, features, other):
        assert (measured.value is None) == bool(measured.reason)
        assert measured.value is None or np.isfinite(measured.value)


def _scores(metric: ItemMetric | CorpusMetric, features: Features, other: Features) -> list[Measured]:
    if isinstance(metric, ItemMetric):
        return [metric.score(features)]
    return [metric.score(features, training) for training in ([], [other], [other, features])]


@pytest.mark.parametrize("name", [n for n in ITEM_NAMES if plugins.load("metrics", n).kind == "pair"])
def test_pairs_that_cannot_be_compared_say_why(name: str) -> None:
    look = plugins.load("metrics", name).look
    assert "no true continuation" in look.obstacle(Item(GREY, None, ""))
    assert "5x32x48" in look.obstacle(Item(GREY, GREY[:4], ""))
    assert "5x16x48" in look.obstacle(Item(GREY, GREY[:, :16], ""))
    assert "single frame" in look.obstacle(Item(GREY[:1], GREY[:1], ""))


@pytest.mark.parametrize("name", SET_NAMES)
def test_a_set_is_like_its_copy(name: str, clips: list[np.ndarray]) -> None:
    """Through the backbone; with made-up features see test_sets.py."""
    metric: SetMetric = plugins.load("metrics", name)
    videos = [clip[:, ::step] for clip in clips for step in (1, -1)]  # eight, upright and upside down
    seen = [metric.look.features(Item(video, None, ""), eye(metric.backbone)) for video in videos]
    # Shares of neighbours leave out pairs of one cluster, so there a copy is a cluster of its own.
    clusters, alike = (np.arange(16), 1) if metric.better == "higher" else (np.arange(16) % 8, 0)
    same = metric.score([*seen, *seen], clusters)
    with pytest.raises(ValueError, match="need"):
        same.distance(np.arange(1), np.arange(1))
    if name == "fvd_infinite":
        with pytest.raises(ValueError, match="130 would do"):
            same.distance(np.arange(8), np.arange(8, 16))
    else:
        assert same.distance(np.arange(8), np.arange(8, 16)) == pytest.approx(alike, abs=1e-6)


def test_fvd_says_how_many_videos_would_do() -> None:
    made = plugins.load("metrics", "fvd").score([{"video": np.ones(64)}, {"video": np.zeros(64)}], np.arange(2))
    assert "24 videos" in made.caution(24)
    assert "65 would" in made.caution(24)
    assert made.caution(65) == ""
