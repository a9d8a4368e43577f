"""Which windows of which shots become clips, and of what size.

Clips of the recipe's own size come first: some of them are held out. Where there are buckets, a shot that is trained
on goes to one size: the first that it is long enough for, in the order of `ranked`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from cinetune import console
from cinetune.errors import FootageError
from cinetune.footage.films import Film
from cinetune.footage.shots import Scan
from cinetune.footage.splits import Piece, name_scenes, thin
from cinetune.footage.windows import Window, covered, cropped, plan_windows, seconds_needed
from cinetune.recipe import Footage, Size
from cinetune.records import Shot

AS_GOOD = 0.05
"""Share of the picture; sizes that cut off this much more than the best one fit as well."""


@dataclass(frozen=True)
class Source:
    """A film and what its scan found."""

    film: Film
    scan: Scan
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Planned:
    """A clip to be cut."""

    film: Film
    span: tuple[float, float]
    """Of its shot, s."""
    shot: str
    scene: str
    window: Window
    settings: Footage
    """At the size of the clip."""
    bucket: str = ""
    """Its size, or "" for that of held-out clips."""

    @property
    def id(self) -> str:
        """Names its files, too."""
        at = f"{self.shot}-{round(self.window.start * 1000):07d}"
        return f"{at}-{self.bucket}" if self.bucket else at

    @property
    def video(self) -> str:
        """Path in footage/."""
        return f"clips/{self.id}.mkv"

    @property
    def cache(self) -> str:
        """Path in footage/."""
        return f"cache/{self.id}.safetensors"

    @property
    def piece(self) -> Piece:
        """What the split needs to know of it."""
        return Piece(self.id, self.film.id, self.shot, self.scene, self.window.start, self.window.end)


def name_shots(film: Film, scan: Scan) -> Source:
    """Name the shots and scenes of a film."""
    spans = [(float(start), float(end)) for start, end in scan.spans]
    scenes = name_scenes(film.id, spans, scan.colours, film.lines)
    shots = tuple(
        Shot(f"{film.id}-{n:04d}", film.path.name, film.digest, round(start, 6), round(end, 6), scene)
        for n, ((start, end), scene) in enumerate(zip(spans, scenes, strict=True))
    )
    return Source(film, scan, shots)


def still_pictures(given: Sequence[Film], settings: Footage) -> list[Film]:
    """Return the pictures among what was given; none, and a word about it, where no size is of one frame."""
    pictures = [film for film in given if film.picture]
    if pictures and all(size.frames > 1 for size in settings.sizes):
        wanted = settings.sizes[0]._replace(frames=1)
        console.note(f"prepare: {len(pictures)} still pictures left out; footage.buckets has no size such as {wanted}")
        return []
    return pictures


def scene_of(picture: Film) -> str:
    """Return the scene of a still picture, which is one of its own."""
    return f"{picture.id}/picture"


def plan(sources: Sequence[Source], settings: Footage) -> list[Planned]:
    """Choose the windows of the recipe's own size.

    Raises:
        FootageError: every shot is shorter than a window.
    """
    planned, without = [], []
    for source in sources:
        windows = plan_windows(source.scan.spans, source.scan.frame_s, settings)
        planned += [_planned(source, window, settings, settings.sizes[0]) for window in windows]
        if not windows:
            longest = max(float(end - start) for start, end in source.scan.spans)
            without.append((longest, seconds_needed(source.scan.frame_s, settings), source.film.path.name))
    if without:
        longest, needed, name = max(without)
        reason = f"the longest shot ({name}) has {longest:.2f} s and a clip between two cuts needs {needed:.2f} s"
        if not planned:
            raise FootageError(f"no shot is long enough: {reason}; lower footage.frames or raise footage.fps")
        of_size = f" of {settings.sizes[0]}" if settings.buckets else ""
        console.note(f"prepare: {len(without)} of {len(sources)} films give no clip{of_size}: {reason}")
    _say_cropped([source.film for source in sources], settings.sizes[0])
    return _thinned(planned, settings)


def plan_buckets(
    sources: Sequence[Source], pictures: Sequence[Film], pieces: Sequence[Piece], parts: dict[str, str],
    settings: Footage,
) -> list[Planned]:  # fmt: skip
    """Choose what is trained on where there are buckets: the windows of each shot in its size, and the pictures.

    A shot trains where its clips of the recipe's own size do. One that has none, too short or left out, trains unless
    its scene is held out.

    Args:
        sources: the films.
        pictures: the still pictures; all of them train.
        pieces: the clips of the recipe's own size.
        parts: which of them train, by id; any other value, or none, is held out.
    """
    trained = {piece.shot for piece in pieces if parts.get(piece.id) == "train"}
    held = {name for piece in pieces if parts.get(piece.id) != "train" for name in (piece.shot, piece.scene)}
    video = [size for size in settings.sizes if size.frames > 1]
    still = [size for size in settings.sizes if size.frames == 1]
    planned, short, closed = list[Planned](), 0, 0
    for source in sources:
        order = ranked(source.film, video) + ranked(source.film, still)
        taken: dict[int, list[Planned]] = {}
        for size in order:
            windows = plan_windows(source.scan.spans, source.scan.frame_s, settings.at(size))
            fresh = [window for window in windows if window.shot not in taken]
            for number, mine in groupby(fresh, key=lambda window: window.shot):
                taken[number] = [_planned(source, window, settings, size) for window in mine]
        for number, shot in enumerate(source.shots):
            if shot.id not in trained and held & {shot.id, shot.scene}:
                closed += shot.id not in held
            else:
                short += number not in taken
                planned += taken.get(number, [])
    if short:
        console.note(f"prepare: {short} shots are too short for every size and give no clip")
    if closed:
        console.note(f"prepare: {closed} shots of held-out scenes left out, without a clip of {settings.sizes[0]}")
    for size in settings.sizes[1:]:
        _say_cropped(list({one.film.id: one.film for one in planned if one.bucket == str(size)}.values()), size)
    return _thinned(planned + _stills(pictures, still, settings), settings)


def ranked(film: Film, sizes: Sequence[Size]) -> list[Size]:
    """Return sizes in the order in which a film's shots, or a picture, ask for them.

    First those that cut off least of the picture, up to AS_GOOD more; of these the longest; of these the largest that
    need not enlarge it, then the one that enlarges it least. Behind them the others, by what they cut off.
    """
    least = min((_lost(film, size) for size in sizes), default=0.0) + AS_GOOD

    def key(size: Size) -> tuple[float, int, bool, int]:
        larger = size.height > film.info.height or size.width > film.info.width
        area = size.height * size.width
        return max(_lost(film, size), least), -size.frames, larger, area if larger else -area

    return sorted(sizes, key=key)


def _lost(film: Film, size: Size) -> float:
    """Return the share of the picture that is cut off."""
    height, width = film.info.height, film.info.width
    kept_height, kept_width = covered(height, width, size.height, size.width)
    return 1 - kept_height * kept_width / (height * width)


def _planned(source: Source, window: Window, settings: Footage, size: Size) -> Planned:
    shot, (start, end) = source.shots[window.shot], source.scan.spans[window.shot]
    bucket = "" if size == settings.sizes[0] else str(size)
    return Planned(source.film, (float(start), float(end)), shot.id, shot.scene, window, settings.at(size), bucket)


def _stills(pictures: Sequence[Film], sizes: Sequence[Size], settings: Footage) -> list[Planned]:
    """Return one clip for each picture, and say which one loses most."""
    chosen = [(film, ranked(film, sizes)[0]) for film in pictures]
    film, size = max(chosen, key=lambda pair: _lost(*pair), default=(None, settings.sizes[0]))
    if film and (words := cropped(film.info.height, film.info.width, size.height, size.width)):
        console.note(f"prepare: of {len(pictures)} pictures {film.path.name} loses most to {size}: {words}")
    window = Window(0, 0.0, round(1 / settings.fps, 6))
    return [
        Planned(film, (0.0, window.end), film.id, scene_of(film), window, settings.at(size), str(size))
        for film, size in chosen
    ]


def _thinned(planned: list[Planned], settings: Footage) -> list[Planned]:
    kept = thin(planned, settings.max_clips, lambda one: one.film.id)
    if len(kept) < len(planned):
        console.note(f"prepare: {len(kept)} of {len(planned)} windows taken, evenly over the films (footage.max_clips)")
    return kept


def _say_cropped(films: Sequence[Film], size: Size) -> None:
    """Say once for each size of picture what is cut off."""
    names: dict[tuple[int, int], list[str]] = {}
    for film in films:
        names.setdefault((film.info.width, film.info.height), []).append(film.path.name)
    for (width, height), same in names.items():
        lost = cropped(height, width, size.height, size.width)
        if lost:
            more = f" and {len(same) - 1} more" if len(same) > 1 else ""
            console.note(f"prepare: {same[0]}{more}: {width}x{height} loses {lost} to {size.width}x{size.height}")
