"""Properties of splits over many random films, and the small cases by hand."""

from itertools import combinations

import numpy as np
import pytest

from cinetune.errors import FootageError
from cinetune.footage.captions import Line
from cinetune.footage.splits import Piece, name_scenes, split, thin


def pieces_of(*shots: tuple[str, int], stride: float = 1.0, film: str = "f") -> list[Piece]:
    """Shots given as (scene, windows), ten seconds apart, windows of one second."""
    return [
        Piece(f"{film}{s}-{n}", film, f"{film}{s}", scene, 10 * s + n * stride, 10 * s + n * stride + 1)
        for s, (scene, count) in enumerate(shots)
        for n in range(count)
    ]


def check(pieces: list[Piece], answer: dict[str, str], *, by: str) -> None:
    """What holds of every split."""
    chosen = [p for p in pieces if p.id in answer]
    assert set(answer.values()) == {"train", "validation", "test"}
    for a, b in combinations(chosen, 2):
        if answer[a.id] != answer[b.id]:
            assert a.shot != b.shot or a.end <= b.start + 1e-6 or b.end <= a.start + 1e-6
            if by in ("scene", "shot"):
                assert getattr(a, by) != getattr(b, by)


def test_random_films_split_by_scene() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scenes = int(rng.integers(3, 12))
        shots = [(f"s{n if n < scenes else rng.integers(scenes)}", int(rng.integers(1, 9))) for n in range(scenes + 6)]
        pieces = pieces_of(*shots, stride=float(rng.choice([0.25, 0.5, 1.0])))
        held_out = float(rng.uniform(0.05, 0.8))
        told = split(pieces, held_out=held_out, max_test=1000, seed=seed)
        check(pieces, told.split, by="scene")
        assert set(told.split) == {p.id for p in pieces}
        assert told.overlapping == told.surplus == 0
        scene_of = {p.id: p.scene for p in pieces}
        parts = {
            name: {scene_of[i] for i, part in told.split.items() if part == name} for name in set(told.split.values())
        }
        held = len(parts["validation"]) + len(parts["test"])
        assert held == min(max(round(held_out * scenes), 2), scenes - 1)
        assert 0 <= len(parts["test"]) - len(parts["validation"]) <= 1
        shuffled = [pieces[int(n)] for n in rng.permutation(len(pieces))]
        assert split(shuffled, held_out=held_out, max_test=1000, seed=seed) == told


def test_share_of_clips_comes_near() -> None:
    """Scenes of very different length: the draw takes those that give about the share that was asked for."""
    shots = [(f"s{n}", size) for n, size in enumerate([40, 3, 5, 4, 30, 6, 2, 5, 25, 4, 6, 10])]
    pieces = pieces_of(*shots)
    for seed in range(20):
        told = list(split(pieces, held_out=0.25, max_test=1000, seed=seed).split.values())
        assert 0.12 < 1 - told.count("train") / len(told) < 0.35


def test_seeds_differ() -> None:
    pieces = pieces_of(*((f"s{n}", 4) for n in range(12)))
    assert len({str(sorted(split(pieces, held_out=0.3, max_test=9, seed=s).split.items())) for s in range(10)}) > 5


@pytest.mark.parametrize("stride", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("count", [5, 6, 9, 30])
def test_two_scenes(stride: float, count: int) -> None:
    pieces = pieces_of(("a", 40), ("b", count), stride=stride)
    told = split(pieces, held_out=0.25, max_test=1000, seed=0)
    check(pieces, told.split, by="")
    assert {part for i, part in told.split.items() if i.startswith("f0")} == {"train"}  # the longer one trains
    validation = [p for p in pieces if told.split.get(p.id) == "validation"]
    test = [p for p in pieces if told.split.get(p.id) == "test"]
    assert max(p.end for p in validation) <= min(p.start for p in test) + 1e-6
    assert len(test) >= len(validation)
    assert told.overlapping == count - len(validation) - len(test) == round(1 / stride) - 1
    assert len(told.notes) == 1
    assert "only two scenes" in told.notes[0]


def test_the_other_scene_is_held_out_where_the_smaller_cannot_be_divided() -> None:
    told = split(pieces_of(("a", 9), ("b", 1)), held_out=0.25, max_test=9, seed=0)
    assert [part for i, part in told.split.items() if i.startswith("f1")] == ["train"]


def test_one_scene_is_split_by_shot_and_neighbours_stay_together() -> None:
    pieces = pieces_of(*(("a", 4) for _ in range(12)))
    for seed in range(12):
        told = split(pieces, held_out=0.34, max_test=100, seed=seed)
        check(pieces, told.split, by="shot")
        assert "one scene" in told.notes[0]
        ring = [told.split[f"f{n}-0"] for n in range(12)]
        assert sum(ring[n] != ring[n - 1] for n in range(12)) == 3  # each part is one run round the film
    told = split(pieces_of(("a", 5), ("a", 9)), held_out=0.25, max_test=100, seed=0)
    assert len(told.notes) == 2


@pytest.mark.parametrize(
    ("shots", "words"),
    [((("a", 9),), "one shot"), ((("a", 1), ("b", 1)), "two shots or scenes"), ((("a", 1), ("a", 1)), "two shots")],
)
def test_too_little(shots: tuple[tuple[str, int], ...], words: str) -> None:
    with pytest.raises(FootageError, match=words) as error:
        split(pieces_of(*shots), held_out=0.25, max_test=9, seed=0)
    assert "\n" not in str(error.value)


def test_max_test_is_spread_over_scenes() -> None:
    pieces = pieces_of(*((f"s{n}", 12) for n in range(12)))
    told = split(pieces, held_out=0.5, max_test=7, seed=3)
    tested = [p for p in pieces if told.split.get(p.id) == "test"]
    counts = [sum(p.scene == scene for p in tested) for scene in {p.scene for p in tested}]
    assert len(tested) == 7
    assert sorted(counts) == [2, 2, 3]
    assert told.surplus == 36 - 7


def test_thin_is_even_and_fair() -> None:
    items = [("a", n) for n in range(100)] + [("b", n) for n in range(3)] + [("c", n) for n in range(50)]
    kept = thin(items, 23, lambda item: item[0])
    assert [sum(name == group for name, _ in kept) for group in "abc"] == [10, 3, 10]
    assert [n for name, n in kept if name == "a"] == list(range(5, 100, 10))
    assert kept == [item for item in items if item in kept]
    assert thin(items, 1000, lambda item: item[0]) == items
    many = [(str(n), n) for n in range(100)]
    assert [n for _, n in thin(many, 4, lambda item: item[0])] == [12, 37, 62, 87]


def colours(*names: str) -> np.ndarray:
    """One histogram a shot: the same letter is the same place in slightly different light."""
    rows = []
    for n, name in enumerate(names):
        row = np.zeros(64)
        row[ord(name) - 97] = 0.85
        row[30 + n % 30] = 0.15
        rows.append(row)
    return np.array(rows, np.float32)


def spans(count: int) -> list[tuple[float, float]]:
    return [(2.0 * n, 2.0 * n + 2) for n in range(count)]


def scenes_of(*names: str) -> list[str]:
    return name_scenes("f", spans(len(names)), colours(*names))


def test_coming_back_to_a_place_is_the_same_scene() -> None:
    one, two, three, four = scenes_of("a", "b", "c", "a")
    assert one == four
    assert len({one, two, three}) == 3


def test_taking_turns_is_one_scene() -> None:
    assert len(set(scenes_of("a", "b", "a", "b"))) == 1
    assert scenes_of("a", "b", "a", "b", "c", "b")[0] == scenes_of("a", "b", "a", "b", "c", "b")[5]
    assert len(set(scenes_of("a", "b", "a", "c"))) == 3


def test_every_film_has_its_own_scenes() -> None:
    assert not set(name_scenes("f", spans(2), colours("a", "b"))) & set(name_scenes("g", spans(2), colours("a", "b")))


def test_the_sidecar_is_believed() -> None:
    lines = [Line("x", 0, 2, "s"), Line("y", 2, 4, "t"), Line("z", 4, 6)]
    told = name_scenes("f", spans(4), colours("a", "a", "b", "b"), lines)
    assert told[:2] == ["f/s", "f/t"]
    assert told[2] == told[3]
    assert told[2] not in told[:2]
