import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from made import adapter_for

from cinetune.adapters.card import write_card
from cinetune.adapters.style import find_style, style_words, training_clips
from cinetune.adapters.writing import write_adapter
from cinetune.errors import RecordError, RunError
from cinetune.footage.procedural import DOMAINS, render_clip
from cinetune.recipe import load_recipe
from cinetune.records import Clip, write_records


def captions(domain: str, count: int = 12) -> list[str]:
    return [render_clip(domain, seed=s, frames=1, height=32, width=48).caption for s in range(count)]


def make_run(run: Path, said: list[str], model: str = "nano") -> Path:
    """A run with an adapter, a shot a caption, and held-out clips that say something else."""
    recipe = load_recipe("nano", {"model": json.dumps(model)})
    write_adapter(run / "train/best/pytorch_lora_weights.safetensors", adapter_for(), "diffusers")
    (run / "recipe.json").write_text(json.dumps({"id": recipe.id, **recipe.model_dump(mode="json")}))
    clips = [
        Clip(f"c{n}", f"s{n}", f"scene-{n}", "f.mkv", 0.0, 16.0, 17, 64, 96, caption, "sidecar", "train", 3.0,
             f"clips/c{n}.mkv", f"cache/c{n}.safetensors")
        for n, caption in enumerate(said)
    ]  # fmt: skip
    held_out = [dataclasses.replace(clip, shot=f"test {clip.shot}", split="test", caption="x y z") for clip in clips]
    write_records(run / "footage/clips.jsonl", clips + held_out * 3)
    return run


@pytest.mark.parametrize(
    ("domain", "words"),
    [("day", "in bright daylight"), ("dusk", "at dusk under an orange sky"), ("noir", "at night in black and white"),
     ("snow", "in falling snow"), ("historical", "by candle light"), ("scifi", "in neon light"),
     ("human", "in plain soft light")],
)  # fmt: skip
def test_rendered_films_say_their_light_first(domain: str, words: str) -> None:
    """Each world ends its captions with these words; other parts are drawn at random."""
    assert domain in DOMAINS
    assert style_words(captions(domain))[0] == words


def test_words_are_what_most_captions_share() -> None:
    assert style_words(["Noir Style: a", "the noir style b", "A cat, in noir style", "fog"]) == ("Noir Style",)
    assert style_words(["bwnoir, a man", "bwnoir, a dog", "bwnoir, the sea"]) == ("bwnoir",)
    assert style_words(["a man walks", "the sea", "snow falls", "a man sits"], 0.5) == ("man",)
    assert style_words(["a red boat", "a red cart", "a red hat, in fog", "in fog"]) == ("red",)
    assert style_words(["in the fog, in a picture", "in the fog, in a picture", "in the fog"]) == ("in the fog",)


def test_nothing_in_common_is_nothing() -> None:
    assert style_words(["a man walks", "the sea at noon", "snow on a roof"]) == ()
    assert style_words(["in the picture, to the left"] * 4) == ()
    assert style_words(["by candle light"] * 2) == ()  # two shots may share it by chance
    assert style_words([]) == ()


def test_a_run_from_each_of_its_places(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", captions("noir"))
    for source in (run, run / "train/best", run / "train/best/pytorch_lora_weights.safetensors"):
        style = find_style(source)
        assert (style.source, style.words, style.base, style.kind) == (
            "run", ("at night in black and white",), "nano", "i2v",
        )  # fmt: skip
        assert (style.grades, style.sharpness) == (None, None)
        assert len(training_clips(source)) == 12
    assert training_clips(run)[0][1] == run / "footage/clips/c0.mkv"


def test_a_shot_of_many_clips_has_one_say(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["in red light", "in red light, a man", "a dog in red light"])
    clips = [clip for clip, _ in training_clips(run)]
    long = [
        dataclasses.replace(clips[0], id=f"more-{n}", shot="long", caption="a gull over the sea") for n in range(30)
    ]
    write_records(run / "footage/clips.jsonl", clips + long)
    assert find_style(run).words == ("in red light",)


def test_a_card_tells_what_its_run_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", captions("historical"), "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers")
    known = find_style(run)
    grades = np.arange(12, dtype=np.float64).reshape(2, 2, 3) / 7
    whole = dataclasses.replace(known, grades=grades, sharpness=(12.5, 14.0), height=480)
    text = write_card(run, tmp_path / "card", style=whole).read_text()
    assert ModelCard(text).data.instance_prompt == ", ".join(known.words)  # the hub's own reader
    assert "Style words, which the captions it was trained on share: `by candle light`" in text
    for source in (tmp_path / "card", tmp_path / "card/comfyui_lora.safetensors"):
        style = find_style(source)
        assert (style.source, style.words, style.base, style.kind, style.sharpness, style.height) == (
            "card", known.words, "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "i2v", (12.5, 14.0), 480,
        )  # fmt: skip
        assert style.grades is not None
        assert np.abs(style.grades - grades).max() <= 5e-4
    before = (tmp_path / "card/style.json").read_bytes()
    write_card(run, tmp_path / "card", style=whole)
    assert (tmp_path / "card/style.json").read_bytes() == before


def test_a_card_of_somebody_else(tmp_path: Path) -> None:
    readme = "---\nbase_model:\n- Wan-AI/Wan2.1-T2V-14B\ninstance_prompt: ohwx man, film grain\n---\n# hello\n"
    (tmp_path / "README.md").write_text(readme)
    style = find_style(tmp_path)
    assert (style.source, style.words, style.base, style.kind) == (
        "card", ("ohwx man", "film grain"), "Wan-AI/Wan2.1-T2V-14B", "t2v",
    )  # fmt: skip


def test_nothing_known_is_said_so(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a.safetensors", adapter_for(), "wan")
    for readme in (None, "# notes\n", "---\nlicense: mit\n---\n", "---\ninstance_prompt: null\n---\n"):
        if readme is not None:
            (tmp_path / "README.md").write_text(readme)
        assert find_style(tmp_path / "a.safetensors").source == ""
    write_card(tmp_path / "a.safetensors", tmp_path / "card")
    assert not (tmp_path / "card/style.json").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("README.md", "---\na: [1\n---\n"), ("README.md", "---\n- a\n---\n"), ("style.json", "{"), ("style.json", "[]"),
     ("style.json", '{"schema": 2, "words": [], "grades": null}'),
     ("style.json", '{"schema": 1, "words": [], "grades": [[1, 2, 3]], "sharpness": null}'),
     ("style.json", '{"schema": 1, "words": [], "grades": null, "sharpness": 3.0}')],
)  # fmt: skip
def test_damaged_cards_are_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RecordError, match=name) as caught:
        find_style(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_edited_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", captions("day", 3))
    (run / "recipe.json").write_text("{}")
    with pytest.raises(RunError):
        find_style(run)
