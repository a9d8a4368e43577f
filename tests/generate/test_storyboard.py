"""The storyboard: read once, every mistake named with its shot, and the same id for the same film."""

import hashlib
import json
import re
import shutil
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from cinetune.errors import RecipeError
from cinetune.generate.prompts import cut_prompts, prompt_of
from cinetune.generate.shot import RESTYLING, Sampling, Shot
from cinetune.generate.storyboard import Board, ResolvedBoard, load_board, short_form
from cinetune.models._contract import Usual
from cinetune.models._wan import PUBLISHED
from cinetune.recipe.section import Section

ROOT = Path(__file__).parents[2]
NANO = Usual(frames=17, height=64, width=96, fps=16, steps=12, guidance=1, shift=3)
PLAIN = 'prompt = "Fog."\nseconds = 1\n'


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures of the example and a few bad ones."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(("quay.png", "keeper-on-set.jpg", "dusk.png", "night.png")):
        Image.new("RGB", (16, 16), (number, 50, 50)).save(folder / name)
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(folder / "short.png")
    (folder / "short.png").write_bytes((folder / "short.png").read_bytes()[:-2000])
    return folder


def board(folder: Path, text: str) -> Board:
    (folder / "b.toml").write_text(text, encoding="utf-8")
    return load_board(folder / "b.toml")


def example(folder: Path) -> Board:
    return board(folder, (resources.files("cinetune") / "generate/boards/harbour.toml").read_text(encoding="utf-8"))


def test_the_example(pictures: Path) -> None:
    harbour = example(pictures)
    assert (harbour.title, harbour.height, harbour.width, harbour.fps, harbour.seed) == ("Harbour", 480, 832, 16, 7)
    assert harbour.sampling == Sampling(steps=30, guidance=4, shift=3, window=81, overlap=5, anchor=0.5)
    assert [shot.name for shot in harbour.shots] == ["quay", "boat", "keeper", "lamp"]
    quay, boat, keeper, lamp = harbour.shots
    assert quay.still is not None
    assert quay.still.path == pictures / "quay.png"
    assert quay.still.sha256 == hashlib.sha256((pictures / "quay.png").read_bytes()).hexdigest()
    assert (boat.after, boat.still, boat.seconds) == ("previous", None, 7.5)
    assert keeper.reference is not None
    assert (keeper.reference.path.name, keeper.strength, keeper.seed) == ("keeper-on-set.jpg", 0.5, 3)
    assert lamp.last is not None
    assert (lamp.last.path.name, lamp.frames, lamp.seconds) == ("night.png", 81, None)
    assert harbour.chains == ((quay, boat), (keeper,), (lamp,))


def test_the_least_board(tmp_path: Path) -> None:
    least = board(tmp_path, f"[[shot]]\n{PLAIN}[[shot]]\n{PLAIN}")
    assert [shot.name for shot in least.shots] == ["shot-1", "shot-2"]
    assert (least.style, least.seed, least.height, least.fps) == ("auto", 0, None, None)
    assert least.sampling == Sampling()
    assert board(tmp_path, f"\ufeff[[shot]]\r\n{PLAIN}[[shot]]\r\n{PLAIN}") == least, "as Windows editors write it"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no shots; add [[shot]]"),
        ('title = "x"\n', "no shots"),
        (f"[shot]\n{PLAIN}", "double brackets"),
        ("shot = 3\n", "shot = 3"),
        ("shot = [3]\n", 'shot 1 ("shot-1")'),
        ("[[shot]]\nprompt = \n", "not TOML: Invalid value (at line 2"),
        (f"[[shots]]\n{PLAIN}", "unknown key 'shots'; did you mean shot?"),
        (f"widht = 96\n[[shot]]\n{PLAIN}", "unknown key 'widht'; did you mean width?"),
        (f"steps = 3\n[[shot]]\n{PLAIN}", "unknown key 'steps'; did you mean sampling.steps?"),
        (f"[sampling]\nguidence = 3\n[[shot]]\n{PLAIN}", "did you mean sampling.guidance?"),
        (f"[[shot]]\n{PLAIN}fps = 16\n", "shot 1 (\"shot-1\"): unknown key 'shot.fps'; did you mean fps?"),
        (f'[[shot]]\nname = "quay"\n{PLAIN}sceonds = 3\n', 'shot 1 ("quay"): unknown key'),
        ("[[shot]]\nseconds = 1\n", "shot 1 (\"shot-1\"): 'prompt' is missing"),
        ('[[shot]]\nprompt = " "\nseconds = 1\n', "the prompt is empty"),
        ("[[shot]]\nprompt = 3\nseconds = 1\n", "prompt = 3"),
        ('[[shot]]\nprompt = "a"\n', "no length; give seconds or frames"),
        (f"[[shot]]\n{PLAIN}frames = 5\n", "two lengths; give seconds or frames"),
        (f'[[shot]]\n{PLAIN}still = "quay.png"\nreference = "dusk.png"\n', "two beginnings, still and reference"),
        (f'[[shot]]\n{PLAIN}[[shot]]\n{PLAIN}still = "quay.png"\nafter = "previous"\n', 'shot 2 ("shot-2"): two begin'),
        (f'[[shot]]\n{PLAIN}after = "previous"\n', 'shot 1 ("shot-1"): after = "previous", and no shot is before it'),
        (f'[[shot]]\n{PLAIN}[[shot]]\n{PLAIN}after = "quay"\n', "after = 'quay': Input should be 'previous'"),
        (f'[[shot]]\n{PLAIN}still = "queue.png"\n', "still: missing keyframe: there is no file"),
        (f'[[shot]]\n{PLAIN}still = ""\n', "missing keyframe"),
        (f'[[shot]]\n{PLAIN}reference = "no.png"\n', "missing reference"),
        (f'[[shot]]\n{PLAIN}last = "no.png"\n', "missing last frame"),
        (f'[[shot]]\n{PLAIN}still = "text.png"\n', "text.png: a damaged picture"),
        (f'[[shot]]\n{PLAIN}still = "short.png"\n', "short.png: a damaged picture"),
        (f"[[shot]]\n{PLAIN}still = 3\n", "still = 3"),
        (f"height = 470\nwidth = 832\n[[shot]]\n{PLAIN}", "height: 470 is not a multiple of 16; give 464 or 480"),
        (f"height = 480\n[[shot]]\n{PLAIN}", "height and width go together"),
        (f"height = 16\nwidth = 832\n[[shot]]\n{PLAIN}", "height = 16"),
        (f"fps = -1\n[[shot]]\n{PLAIN}", "fps = -1"),
        (f"seed = -1\n[[shot]]\n{PLAIN}", "seed = -1"),
        (f"[sampling]\nwindow = 80\n[[shot]]\n{PLAIN}", "sampling.window: 80 is not 4n + 1"),
        (f"[sampling]\nwindow = 80\n[[shot]]\n{PLAIN}", "give 77 or 81"),
        (f"[sampling]\noverlap = 4\n[[shot]]\n{PLAIN}", "give 1 or 5"),
        (f"[sampling]\noverlap = 17\nwindow = 17\n[[shot]]\n{PLAIN}", "an overlap of 17 frames leaves nothing new"),
        (f"[sampling]\nsteps = 0\n[[shot]]\n{PLAIN}", "sampling.steps = 0"),
        (
            '[[shot]]\nprompt = "a"\nframes = 16\n',
            "frames: 16 is not 4n + 1, which the model's frames are; give 13 or 17",
        ),
        ('[[shot]]\nprompt = "a"\nframes = -3\n', "frames = -3"),
        ('[[shot]]\nprompt = "a"\nseconds = -1\n', "seconds = -1"),
        ('[[shot]]\nprompt = "a"\nseconds = inf\n', "seconds = inf"),
        (f"[[shot]]\n{PLAIN}strength = 0.5\n", "strength is that of restyling"),
        (f'[[shot]]\n{PLAIN}reference = "quay.png"\nstrength = 1.5\n', "strength = 1.5"),
        (f'[[shot]]\nname = "a/b"\n{PLAIN}', "the name 'a/b' cannot be that of a file"),
        (f'[[shot]]\nname = ".."\n{PLAIN}', "cannot be that of a file"),
        (f'[[shot]]\nname = ""\n{PLAIN}', "cannot be that of a file"),
        (
            f'[[shot]]\nname = "Quay"\n{PLAIN}[[shot]]\nname = "quay"\n{PLAIN}',
            'shot 2 ("quay"): shot 1 has this name too',
        ),
        (f'[[shot]]\nname = "shot-2"\n{PLAIN}[[shot]]\n{PLAIN}', "shot 1 has this name too"),
        ("fps = 0\nseed = -1\n[[shot]]\n" + PLAIN, "(and 1 more)"),
    ],
)
def test_mistakes(pictures: Path, text: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        board(pictures, text)
    message = str(caught.value)
    assert message.startswith(f"{pictures / 'b.toml'}: ")
    assert says in message
    assert "\n" not in message


def test_what_is_no_board(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.toml: no such storyboard"):
        load_board(tmp_path / "absent.toml")
    with pytest.raises(RecipeError, match="no such storyboard"):
        load_board(tmp_path)
    (tmp_path / "film.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot read this as a text file; a storyboard is TOML"):
        load_board(tmp_path / "film.toml")


def test_length(tmp_path: Path) -> None:
    for seconds, fps, frames in ((10, 16, 160), (7.5, 16, 120), (1.53, 16, 24), (0.1, 25, 3), (10, 23.976, 240)):
        one = board(tmp_path, f'[[shot]]\nprompt = "a"\nseconds = {seconds}\n')
        assert one.frames_of(one.shots[0], fps) == frames
    one = board(tmp_path, '[[shot]]\nprompt = "a"\nframes = 81\n')
    assert one.frames_of(one.shots[0], 16) == 81
    one = board(tmp_path, '[[shot]]\nname = "blink"\nprompt = "a"\nseconds = 0.02\n')
    with pytest.raises(RecipeError, match=r'b\.toml: shot 1 \("blink"\): 0\.02 s at 16 frames per second is no frame'):
        one.resolved(NANO)


@pytest.mark.parametrize(("size", "shift"), [("", 3), ("height = 720\nwidth = 1280\n", 5)])
def test_the_published_shift_follows_the_size(pictures: Path, size: str, shift: float) -> None:
    assert board(pictures, f"{size}[[shot]]\n{PLAIN}").resolved(PUBLISHED).sampling.shift == shift
    own = board(pictures, f"{size}[sampling]\nshift = 4\n[[shot]]\n{PLAIN}").resolved(PUBLISHED)
    assert own.sampling.shift == 4


def test_resolved_leaves_nothing_open(pictures: Path) -> None:
    text = f'[sampling]\nsteps = 3\n[[shot]]\n{PLAIN}[[shot]]\nseed = 5\nreference = "quay.png"\n{PLAIN}'
    resolved = board(pictures, text).resolved(NANO)
    assert (resolved.height, resolved.width, resolved.fps) == (64, 96, 16)
    assert resolved.sampling.model_dump() == {
        "steps": 3,
        "guidance": 1,
        "shift": 3,
        "window": 17,
        "overlap": 5,
        "anchor": 0.5,
    }
    assert [shot.strength for shot in resolved.shots] == [None, RESTYLING]
    first = int(hashlib.sha256(b'[0, "shot-1"]').hexdigest()[:8], 16) % 2**31
    assert [shot.seed for shot in resolved.shots] == [first, 5]
    assert resolved.resolved(replace(NANO, height=480, width=832)) == resolved, "what is said is not said again"
    again = ResolvedBoard.model_validate_json(resolved.model_dump_json(by_alias=True))
    assert (again.shots, again.id) == (resolved.shots, resolved.id)
    with pytest.raises(RecipeError, match=r"b\.toml: sampling: an overlap of 17"):
        board(pictures, f"[sampling]\noverlap = 17\n[[shot]]\n{PLAIN}").resolved(NANO)


def test_seeds_follow_board_and_name(tmp_path: Path) -> None:
    def seeds(text: str) -> dict[str, int]:
        read = board(tmp_path, text)
        return {shot.name: read.seed_of(shot) for shot in read.shots}

    named = f'[[shot]]\nname = "quay"\n{PLAIN}'
    one = seeds(f"{named}[[shot]]\n{PLAIN}")
    assert len(set(one.values())) == 2
    assert seeds(f"seed = 1\n{named}")["quay"] != one["quay"]
    assert seeds(f"[[shot]]\n{PLAIN}{named}")["quay"] == one["quay"], "a shot put before it changes nothing"


def test_ids_say_what_film_is_made(pictures: Path, tmp_path: Path) -> None:
    text = (resources.files("cinetune") / "generate/boards/harbour.toml").read_text(encoding="utf-8")
    harbour = example(pictures).resolved(NANO)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(pictures, elsewhere)

    def now(changed: str) -> dict[str, str]:
        return board(elsewhere, changed).resolved(NANO).ids

    def differ(changed: str) -> set[str]:
        assert changed != text
        return {name for name, digest in now(changed).items() if digest != harbour.ids.get(name)}

    assert now(text) == harbour.ids, "pictures count by content, not by path"
    assert board(elsewhere, text).resolved(NANO).id == harbour.id
    assert differ(text.replace('"Harbour"', '"Port"')) == set()
    assert differ(text.replace("seconds = 5", "seconds = 6")) == {"keeper"}
    assert differ(text.replace("seconds = 7.5", "seconds = 8")) == {"boat"}
    assert differ(text.replace("seconds = 10", "seconds = 11")) == {"quay", "boat"}, "boat continues quay"
    assert differ(text.replace("seed = 3", "seed = 4")) == {"keeper"}
    assert differ(text.replace("seed = 7", "seed = 8")) == {"quay", "boat", "lamp"}
    assert differ(text.replace("steps = 30", "steps = 31")) == set(harbour.ids)
    assert differ(text.replace("thick fog", "thin fog")) == set(harbour.ids)
    assert differ(text.replace("strength = 0.5", "strength = 0.6")) == {"keeper"}
    assert differ(text.replace("strength = 0.5\n", "")) == differ(text.replace("strength = 0.5", "strength = 0.6"))
    assert differ(text.replace('name = "quay"', 'name = "quay"\nseed = 1')) == {"quay", "boat"}
    Image.new("RGB", (16, 16), (9, 9, 9)).save(elsewhere / "night.png")
    assert {name for name, digest in now(text).items() if digest != harbour.ids[name]} == {"lamp"}
    swapped = harbour.model_copy(update={"shots": harbour.shots[:2] + harbour.shots[:1:-1]})
    assert swapped.ids == harbour.ids
    assert swapped.id != harbour.id, "another order is another film"


def test_short_form_is_a_board_of_one_shot(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = board(pictures, f'height = 64\nwidth = 96\nseed = 3\n[[shot]]\n{PLAIN}still = "quay.png"\n')
    short = short_form(pictures / "quay.png", "Fog.", seconds=1, seed=3, height=64, width=96)
    assert short.model_dump() == long.model_dump()
    assert short.resolved(NANO).id == long.resolved(NANO).id
    monkeypatch.chdir(pictures)
    assert short_form(Path("quay.png"), "Fog.", seconds=1, seed=3, height=64, width=96).id == long.id
    restyled = short_form(pictures / "quay.png", "Fog.", frames=17, strength=0.3).shots[0]
    assert (restyled.still, restyled.strength, restyled.frames) == (None, 0.3, 17)
    assert short_form(None, "Fog.", seconds=1).shots[0].still is None
    with pytest.raises(RecipeError, match=r"missing keyframe: there is no file no\.png"):
        short_form(Path("no.png"), "Fog.", seconds=1)
    with pytest.raises(RecipeError, match="no length"):
        short_form(None, "Fog.")
    with pytest.raises(RecipeError, match="did you mean style"):
        short_form(None, "Fog.", seconds=1, styel="x")


def test_frozen_and_documented(tmp_path: Path) -> None:
    least = board(tmp_path, f"[[shot]]\n{PLAIN}")
    with pytest.raises(ValidationError, match="frozen"):
        least.shots[0].prompt = "Sun."  # type: ignore[misc]
    undocumented = [
        name for kind in (Board, Sampling, Shot) for name, field in kind.model_fields.items() if not field.description
    ]
    assert undocumented == []


@pytest.mark.parametrize(
    ("prompt", "words", "told"),
    [
        ("A boat comes in.", ("muted blue light",), "A boat comes in, muted blue light"),
        ("A boat\n  comes in", (" muted\nblue light. ", "fog"), "A boat comes in, muted blue light, fog"),
        ("A boat comes in!", ("fog",), "A boat comes in! fog"),
        ("A boat comes in.", (), "A boat comes in."),
        ("A boat in Thick Fog.", ("thick fog.",), "A boat in Thick Fog."),
        ("A boat in thick fog.", ("blue", "thick fog"), "A boat in thick fog, blue"),
    ],
)
def test_style_words_follow_the_prompt(prompt: str, words: tuple[str, ...], told: str) -> None:
    assert prompt_of(Shot(name="a", prompt=prompt, seconds=1), words) == told


@pytest.mark.parametrize(("style", "words"), [("auto", ("card",)), ("", ()), ("blue, dim", ("blue, dim",))])
def test_whose_style_words(style: str, words: tuple[str, ...]) -> None:
    assert short_form(None, "Fog.", seconds=1, style=style).words(("card",)) == words


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Nano's own."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resources.files("cinetune") / "models" / "nano_weights" / "tokenizer")


def test_what_is_cut_of_a_long_prompt(tokenizer: Any) -> None:
    """Against the tokenizer's own truncation, which is what the network gets: every word is read or cut."""
    words = [f"gull{n}" for n in range(150)]
    one = short_form(None, " ".join(words), seconds=1, negative=" ".join(reversed(words)))
    lines = cut_prompts(one, ("in thick fog",), tokenizer)
    assert [line.partition(":")[0] for line in lines] == ['shot 1 ("shot-1")', "the negative prompt"]
    for line, told in zip(lines, (f"{' '.join(words)}, in thick fog", " ".join(reversed(words))), strict=True):
        ids = tokenizer(told, truncation=True, max_length=512)["input_ids"]
        read = tokenizer.decode(ids, skip_special_tokens=True).split()
        cut = (
            line.partition('"shot-1"' if "shot-1" in line else "prompt")[2].partition('"')[2].removesuffix('"').split()
        )
        whole = told.split()
        assert whole[-len(cut) :] == cut
        kept = len(whole) - len(cut)
        assert read[:kept] == whole[:kept]
        assert read[kept:] in ([], [cut[0][: len(read[-1])]]), "of the first word that is cut a part may be read"
        assert f"{len(tokenizer(told, verbose=False)['input_ids'])} tokens" in line


def test_a_prompt_of_just_512_tokens_is_whole(tokenizer: Any) -> None:
    text = "q"
    while len(tokenizer(f"{text}q", verbose=False)["input_ids"]) <= 512:
        text += "q"
    assert len(tokenizer(text)["input_ids"]) == 512
    assert cut_prompts(short_form(None, text, seconds=1), (), tokenizer) == []
    (line,) = cut_prompts(short_form(None, f"{text} gulls", seconds=1), (), tokenizer)
    assert line.endswith('cut off: "gulls"')


def test_the_page_shows_the_example_and_every_field(pictures: Path) -> None:
    page = (ROOT / "docs" / "storyboard.md").read_text(encoding="utf-8")
    least, whole = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert whole == (resources.files("cinetune") / "generate/boards/harbour.toml").read_text(encoding="utf-8")
    assert board(pictures, least.replace("harbour.png", "quay.png")).shots[0].seconds == 5
    rows = {name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    kinds: tuple[type[Section], ...] = (Board, Sampling, Shot)
    assert rows == {name for kind in kinds for name in kind.model_fields} - {"sampling", "shots"}
    shown = set(tomllib.loads(whole)) | {key for shot in tomllib.loads(whole)["shot"] for key in shot}
    assert {name for name in Shot.model_fields if name not in shown} == set(), "the example shows every field"


def test_the_messages_on_the_page_are_the_real_ones(pictures: Path) -> None:
    page = (ROOT / "docs" / "storyboard.md").read_text(encoding="utf-8")
    text = (resources.files("cinetune") / "generate/boards/harbour.toml").read_text(encoding="utf-8")
    for old, new in (("seconds = 7.5", "secnds = 7.5"), ("frames = 81", "frames = 80"), ("quay.png", "key.png")):
        with pytest.raises(RecipeError) as caught:
            board(pictures, text.replace(old, new))
        said = str(caught.value).replace(str(pictures / "b.toml"), "harbour.toml").replace(f"{pictures}/", "")
        assert said.replace("key.png", "quay.png").removesuffix(" (and 1 more)") in page


def test_ids_are_canonical(tmp_path: Path) -> None:
    """A hash of JSON that does not depend on the order of keys or on how a number is written."""
    one = board(tmp_path, '[[shot]]\nprompt = "a"\nseconds = 1\n')
    other = board(tmp_path, '[[shot]]\nseconds = 1.0\nprompt = "a"\n')
    assert one.id == other.id
    assert one.id == hashlib.sha256(json.dumps([["shot-1", one.ids["shot-1"]]]).encode()).hexdigest()[:12]
