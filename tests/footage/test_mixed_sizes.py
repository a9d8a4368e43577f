"""Films and still pictures in, clips of several sizes out."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from test_prepare import BLUE, CPU, GREEN, GREY, RED, clips_of, differing, fake, film, one_line, recipe, shot

from cinetune.errors import FootageError, RecipeError
from cinetune.footage.cache import read_cache
from cinetune.footage.prepare import prepare
from cinetune.footage.video_io import read_video

BUCKETS = '["9x32x48", "5x48x32", "1x32x48", "1x48x32"]'


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shots of two seconds, two upright ones, one of 0.8 s; an upright and a lying picture, a black one."""
    folder = tmp_path_factory.mktemp("material")
    film(folder / "hall.mp4", shot(RED, 32, 1), shot(GREEN, 32, 2), shot(BLUE, 32, 3), shot(GREY, 32, 4))
    film(folder / "phone.mp4", *(shot(c, 32, 5, 72, 48) for c in (RED, GREY)))
    film(folder / "short.mp4", shot(GREEN, 13, 6), shot(RED, 13, 7))
    Image.fromarray(shot(RED, 1, 8)[0]).save(folder / "poster.png")
    Image.fromarray(shot(BLUE, 1, 9, 90, 60)[0]).save(folder / "sketch.webp", lossless=True)
    Image.new("RGB", (64, 48)).save(folder / "black.jpg")
    (folder / "poster.txt").write_text("a red poster\n", encoding="utf-8")
    return folder


def test_every_clip_has_the_size_it_fits(material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = prepare([material], tmp_path, recipe(buckets=BUCKETS), fake(), device=CPU)
    clips = clips_of(tmp_path)
    assert (made.films, made.pictures, made.shots, made.blank) == (3, 3, 8, 1)
    held = [clip for clip in clips if clip.split != "train"]
    assert {(c.frames, c.height, c.width) for c in held} == {(5, 32, 48)}
    assert {c.split for c in held} == {"validation", "test"}
    trained = [clip for clip in clips if clip.split == "train"]
    assert not {c.scene for c in trained} & {c.scene for c in held}
    for clip in clips:
        frames, fps = read_video(tmp_path / "footage" / clip.video)
        assert frames.shape == (clip.frames, clip.height, clip.width, 3)
        assert fps == pytest.approx(8)
        told = read_cache(tmp_path / "footage" / clip.cache, {"clip": clip.id})
        assert told["latents"].shape[1:] == ((clip.frames - 1) // 4 + 1, clip.height // 8, clip.width // 8)
        assert told["first"].any() == (clip.frames > 1)
    of_film = {name: {(c.frames, c.height, c.width) for c in trained if c.film == name} for name in
               ("hall.mp4", "phone.mp4", "poster.png", "sketch.webp")}  # fmt: skip
    assert of_film["hall.mp4"] == {(9, 32, 48)}  # two seconds hold nine frames of 1/8 s
    assert of_film["phone.mp4"] <= {(5, 48, 32)}
    assert of_film["poster.png"] == {(1, 32, 48)}
    assert of_film["sketch.webp"] == {(1, 48, 32)}
    poster = next(c for c in clips if c.film == "poster.png")
    assert (poster.caption, poster.caption_source, poster.motion) == ("a red poster", "sidecar", 0)
    sketch = next(c for c in clips if c.film == "sketch.webp")
    assert sketch.caption.startswith("Sketch: a ")
    assert "movement" not in sketch.caption
    assert "still" not in sketch.caption
    count = Counter(f"{c.frames}x{c.height}x{c.width}" for c in trained)
    told_counts = ", ".join(
        f"{count[size]} of {size}" for size in ("5x32x48", "9x32x48", "5x48x32", "1x32x48", "1x48x32")
    )
    out, err = capsys.readouterr()
    assert f"training clips: {told_counts}" in err
    assert "of 3 pictures black.jpg loses most to 1x32x48: 10 % of the height" in err
    assert "3 pictures" in out


def test_again_the_same_and_no_buckets_as_before(material: Path, tmp_path: Path) -> None:
    """A second call does nothing; pictures that no size takes change nothing of what films become."""
    run = tmp_path / "run"
    first = prepare([material], run, recipe(buckets=BUCKETS), fake(), device=CPU)
    again = fake()
    assert prepare([material], run, recipe(buckets=BUCKETS), again, device=CPU) == first
    assert again.loaded == 0
    films = sorted(material.glob("*.mp4"))
    prepare([material], run, recipe(), fake(), device=CPU)
    prepare(films, tmp_path / "films", recipe(), fake(), device=CPU)
    assert differing(run, tmp_path / "films") == ["footage/prepared.json"]  # its key knows of the pictures


def test_pictures_without_a_size_are_said(material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = prepare([material], tmp_path, recipe(), fake(), device=CPU)
    assert made.pictures == 0
    assert "3 still pictures left out; footage.buckets has no size such as 1x32x48" in capsys.readouterr().err


def test_bad_input_is_named(material: Path, tmp_path: Path) -> None:
    with pytest.raises(FootageError) as error:
        prepare([material / "poster.png"], tmp_path / "a", recipe(buckets=BUCKETS), fake(), device=CPU)
    one_line(error, "only still pictures", "add a film")
    bad = Path(shutil.copy(material / "poster.png", tmp_path / "bad.png"))
    bad.write_bytes(bad.read_bytes()[:-300])
    with pytest.raises(FootageError) as error:
        prepare([material, bad], tmp_path / "b", recipe(buckets=BUCKETS), fake(), device=CPU)
    one_line(error, "bad.png", "damaged")
    assert not (tmp_path / "b" / "footage" / "clips.jsonl").exists()
    with pytest.raises(RecipeError, match="too many frames"):
        prepare([material], tmp_path / "c", recipe(buckets='["121x32x48"]'), fake(), device=CPU)
    assert not (tmp_path / "c").exists()
