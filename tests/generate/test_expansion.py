"""A shot made of windows: who owns each frame, what each window is told, and going on after a stop."""

import itertools

import numpy as np
import pytest
import torch

from cinetune.errors import RecipeError, RunError
from cinetune.footage.procedural import DOMAINS, render_clip
from cinetune.generate import drift, joins
from cinetune.generate.expansion import Span, make_shot, plan_windows, seed_of
from cinetune.generate.studio import open_studio
from cinetune.generate.window import Frames, Sampling, Studio, Window
from cinetune.models._resolve import find_model
from cinetune.models._wan import WanModel
from cinetune.ops.video import deepen

KEY = np.full((1, 16, 16, 3), 1000, np.uint16)


class Fake:
    """Windows that go on counting: channel 0 rises by 100 a frame, channel 1 is the number of the call."""

    def __init__(self) -> None:
        self.asked: list[Window] = []

    def __call__(self, window: Window) -> Frames:
        assert window.first is not None
        count = np.arange(window.frames)[:, None, None] * 100 + int(window.first[0, 0, 0])
        frames = np.zeros((window.frames, 16, 16, 3), np.uint16)
        frames[..., 0], frames[..., 1] = count, 1000 * len(self.asked)
        self.asked.append(window)
        return frames


class Shelf(dict[int, Frames]):
    def save(self, number: int, frames: Frames) -> Frames:
        self[number] = frames.copy()
        return self[number]


def shot(make: Fake | Studio, spans: list[Span], begin: Frames | None = KEY, *, shelf: Shelf | None = None,
         prompt: str = "", seed: int = 7, **more: object) -> Frames:  # fmt: skip
    shelf = Shelf() if shelf is None else shelf
    return np.concatenate(list(make_shot(make, spans, begin, prompt, seed, load=shelf.get, save=shelf.save, **more)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("window", "overlap"), [(17, 1), (17, 5), (17, 9), (17, 13), (81, 1), (81, 5), (81, 33), (5, 1)]
)
def test_plans(window: int, overlap: int) -> None:
    for frames in range(1, 400):
        spans = plan_windows(frames, window, overlap)
        lengths = [span.frames for span in spans]
        assert all(n % 4 == 1 and n <= window for n in lengths)
        assert max(lengths) - min(lengths) <= 4
        assert spans[0].start == 0
        assert spans[-1].end == frames
        for before, span in itertools.pairwise(spans):
            assert span.start == before.start + before.frames - overlap
            assert (span.overlap, before.cut) == (overlap, 0)
        assert 0 <= spans[-1].cut < 4
        assert spans[-1].overlap + spans[-1].cut < spans[-1].frames
        assert [span.needs for span in spans] == [None, *range(len(spans) - 1)]
        reached = window + (len(spans) - 2) * (window - overlap)  # by one window less
        assert len(spans) == 1 or reached < frames


def test_a_plan_of_the_published_length() -> None:
    assert plan_windows(161, 81, 1) == [Span(0, 81, 0, None), Span(80, 81, 1, 0)]
    assert plan_windows(161, 81, 5) == [Span(0, 57, 0, None), Span(52, 57, 5, 0), Span(104, 57, 5, 1)]


@pytest.mark.parametrize(
    ("frames", "window", "overlap", "says"),
    [(9, 16, 1, "window = 16: give 4n [+] 1 frames, such as 13 or 17"), (9, 17, 0, "overlap = 0: .* 1 or 5"),
     (40, 17, 17, "leaves nothing new"), (0, 17, 1, "0 frames")],
)  # fmt: skip
def test_no_such_plan(frames: int, window: int, overlap: int, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        plan_windows(frames, window, overlap)


@pytest.mark.parametrize(("frames", "overlap"), [(41, 1), (40, 1), (41, 5), (62, 9), (90, 13)])
def test_no_frame_is_lost_or_shown_twice(frames: int, overlap: int) -> None:
    video = shot(Fake(), plan_windows(frames, 17, overlap), anchor=None)
    assert np.array_equal(video[:, 0, 0, 0], 1000 + 100 * np.arange(frames))


def test_owners_where_one_frame_is_shared() -> None:
    video = shot(Fake(), plan_windows(33, 17, 1), anchor=None)
    assert np.array_equal(video[:, 0, 0, 1], [0] * 17 + [1000] * 16)


def test_shares_of_a_fade() -> None:
    video = shot(Fake(), plan_windows(29, 17, 5), anchor=None)
    fade = np.rint(1000 * np.arange(1, 6) / 6)
    assert np.array_equal(video[:, 0, 0, 1], [0] * 12 + fade.tolist() + [1000] * 12)


def test_what_each_window_is_told() -> None:
    make, last = Fake(), KEY[0] + 1
    seen = np.zeros((40, 40, 3), np.uint16)
    shot(make, plan_windows(41, 17, 5), prompt="a car", last=last, seen=seen)
    first, middle, final = make.asked
    assert first.first is not None
    assert np.array_equal(first.first, KEY[0])
    assert first.seen is seen
    assert [w.known is None for w in make.asked] == [True, False, False]
    assert [w.last is None for w in make.asked] == [True, True, False]
    assert final.known is not None
    assert np.array_equal(final.known[0], final.first)
    assert final.known.shape == (5, 16, 16, 3)
    assert [w.seed for w in make.asked] == [seed_of(7, n) for n in range(3)]
    assert len({seed_of(seed, n) for seed in range(50) for n in range(50)}) == 2500
    assert seed_of(7, 0) == 7
    assert middle.prompt == "a car"


def test_a_shot_that_goes_on_from_another() -> None:
    make, before = Fake(), np.concatenate([KEY, KEY + 100, KEY + 200, KEY + 300, KEY + 400])
    video = shot(make, plan_windows(33, 17, 5), before, anchor=None)
    assert np.array_equal(video[:, 0, 0, 0], 1000 + 100 * np.arange(33))
    assert make.asked[0].known is before


def test_frames_are_shown_before_the_next_window_is_made() -> None:
    make = Fake()
    pieces = make_shot(make, plan_windows(41, 17, 5), KEY, "", 0, load=lambda _: None, save=lambda n, frames: frames)
    shown = [(len(piece), len(make.asked)) for piece in pieces]
    assert shown == [(12, 1), (12, 2), (17, 3)]


def test_refused() -> None:
    spans = plan_windows(40, 17, 5)
    with pytest.raises(RecipeError, match="40 frames ends on no picture; give 37 or 41"):
        make_shot(Fake(), spans, KEY, "", 0, load=lambda _: None, save=lambda n, frames: frames, last=KEY[0])
    with pytest.raises(RecipeError, match="17 given frames leave nothing new"):
        shot(Fake(), spans, np.repeat(KEY, 17, axis=0))
    with pytest.raises(RunError, match="window 2 was saved with"):
        shot(Fake(), spans, shelf=Shelf({1: np.zeros((13, 16, 16, 3), np.uint16)}))


def test_a_stopped_shot_goes_on_to_the_same_bytes(tiny: WanModel) -> None:
    studio = open_studio(tiny, [], Sampling(2, 1.0, 3.0), (9, 32, 48), ["a car"], device=torch.device("cpu"),
                         dtype=torch.float32)  # fmt: skip
    key = deepen(render_clip("day", seed=1, frames=1, height=32, width=48).frames)
    spans, whole = plan_windows(21, 9, 5), Shelf()
    video = shot(studio, spans, key, shelf=whole, prompt="a car")
    assert len(whole) == 4
    assert video.shape == (21, 32, 48, 3)
    for kept in range(5):
        again = Shelf({n: whole[n] for n in range(kept)})
        assert np.array_equal(shot(studio, spans, key, shelf=again, prompt="a car"), video)
        assert sorted(again) == [0, 1, 2, 3]


@pytest.mark.slow
def test_nano_keeps_its_colours_better_than_plain_chaining_and_its_joins_do_not_show() -> None:
    clips = [render_clip(domain, seed=900 + n, frames=1) for n, domain in enumerate(DOMAINS)]
    prompts = [clip.caption for clip in clips]
    studio = open_studio(find_model("nano"), [], Sampling(12, 1.0, 3.0), (17, 64, 96), prompts,
                         device=torch.device("cpu"), dtype=torch.float32)  # fmt: skip
    moved: dict[int, list[float]] = {1: [], 5: []}
    film = []
    for n, clip in enumerate(clips):
        for overlap, anchor in ((1, None), (5, drift.ANCHOR)):
            spans = plan_windows(65, 17, overlap)
            video = shot(studio, spans, deepen(clip.frames), prompt=clip.caption, seed=n, anchor=anchor)
            grades, steps = drift.Grades(), joins.Steps()
            grades.add(video)
            steps.add(video)
            last = grades.drift("shot", 16).last
            assert last is not None
            moved[overlap].append(last)
            if overlap == 5:
                film.append(joins.Seen(clip.domain, n * 65 / 16, 16, spans, np.array(steps.values)))
    assert np.mean(moved[5]) < np.mean(moved[1])
    assert joins.judge(joins.find_joins(film)).holds
