"""What each lever must provide, how they are chosen together, and that the documentation names them all."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cinetune import plugins
from cinetune.errors import CinetuneError, RecipeError
from cinetune.generate.levers._contract import Lever, Opening, Order
from cinetune.generate.studio import KIND, SPEEDS, choose
from cinetune.generate.window import Rig
from cinetune.models._wan import WanModel
from lever_studio import studio, window

DOCS = Path(__file__).parents[3] / "docs" / "levers.md"
NAMES = plugins.names(KIND)
WRONG = {"attention": "sage", "distilled": "/nowhere/at/all", "sage": "flash"}
"""Values that are refused; elsewhere a word is."""


def lever(name: str) -> Lever:
    loaded: Lever = plugins.load(KIND, name)
    return loaded


def table() -> list[str]:
    """The rows of docs/levers.md."""
    rows = ["| lever | does | changes | set to | source |", "|---|---|---|---|---|"]
    for name in NAMES:
        one = lever(name)
        value = f"`{one.value}`; {one.means}" if one.value and one.means else one.means
        rows.append(f"| `{name}` | {one.does} | {one.changes} | {value} | {one.source} |")
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_it_provides_what_it_must(name: str) -> None:
    one = lever(name)
    assert one.name == name
    assert one.does.endswith(".")
    assert one.source
    assert one.order is not Order.PARALLEL
    assert one.changes in ("nothing", "rounding", "content")
    assert bool(one.means) >= bool(one.value)
    assert set(one.clashes) <= set(NAMES) - {name}
    for other in one.clashes:
        assert name not in lever(other).clashes, "said by one of the two"
    assert not one.means.endswith(".")
    assert "|" not in one.does + one.means + one.source


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_value_is_one_line(tiny: WanModel, name: str) -> None:
    if not lever(name).means:
        with pytest.raises(RecipeError, match=f"--lever {name}=3: {name} takes no value; give --lever {name}"):
            choose("exact", [f"{name}=3"])
        return
    with pytest.raises(CinetuneError, match=f"--lever {name}") as error:
        studio(tiny, f"{name}={WRONG.get(name, 'blue')}", guidance=2.0)
    assert "\n" not in str(error.value)


def test_the_documentation_has_the_table_of_the_plug_ins() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("|")][: len(table())] == table()


def test_the_documentation_has_the_presets() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for speed, names in SPEEDS.items():
        assert f"**`{speed}`**: {', '.join(f'`{name}`' for name in names) or 'none'}." in text


def test_presets_go_together_and_keep_their_word() -> None:
    for speed in SPEEDS:
        pulls = choose(speed, [])
        assert [pull.lever.name for pull in pulls] == sorted(
            SPEEDS[speed], key=lambda name: (lever(name).order, name)
        ), "nothing was taken out for a clash"
        assert all(pull.value == pull.lever.value for pull in pulls)
    assert SPEEDS["exact"] == ()
    assert all(lever(name).changes != "content" for name in SPEEDS["balanced"])
    assert set(SPEEDS["balanced"]) < set(SPEEDS["fast"])


@pytest.mark.parametrize("speed", ["balanced", "fast"])
def test_presets_open_where_there_is_no_gpu(tiny: WanModel, speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    frames = studio(tiny, speed=speed, guidance=2.0)(window())
    said = capsys.readouterr().err
    for name in SPEEDS[speed]:
        idle = name in ("attention", "compile", "vae_bf16")
        assert (f"generate: without {name}" if idle else f"generate: {name}") in said
    if speed != "fast":
        assert np.array_equal(frames, studio(tiny, guidance=2.0)(window()))


def test_of_two_that_clash_the_one_that_was_asked_for_stays(capsys: pytest.CaptureFixture[str]) -> None:
    names = [pull.lever.name for pull in choose("fast", ["magnitude=0.1", "offload=2"])]
    assert "first_block" not in names
    assert "compile" not in names
    assert {"magnitude", "offload", "adaptive_guidance"} < set(names)
    said = capsys.readouterr().err
    assert "without first_block, which does not go together with magnitude: both leave blocks out" in said
    with pytest.raises(RecipeError, match="--lever first_block and magnitude do not go together: both leave"):
        choose("exact", ["magnitude", "first_block"])
    with pytest.raises(RecipeError, match="--lever compile and offload do not go together"):
        choose("exact", ["offload=1", "compile"])


def test_a_lever_that_must_be_told_says_so() -> None:
    with pytest.raises(RecipeError, match=r"--lever offload: give --lever offload=VALUE, a number of blocks"):
        choose("exact", ["offload"])
    with pytest.raises(RecipeError, match=r"--lever distilled: give --lever distilled=VALUE, PATH or PATH:STRENGTH"):
        choose("exact", ["distilled"])


def test_what_is_idle_is_left_out_of_a_preset_alone(tiny: WanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[bool] = []

    def apply(rig: Rig, value: str) -> str:
        applied.append(True)
        return ""

    one = Lever(
        name="one", does="It.", changes="nothing", order=Order.DECODE, source="here", apply=apply,
        idle=lambda rig, value: "nothing to do",
    )  # fmt: skip
    monkeypatch.setitem(SPEEDS, "mine", ("one",))
    monkeypatch.setattr("cinetune.generate.studio._lever", lambda name: one)
    studio(tiny, speed="mine")
    assert not applied
    studio(tiny, "one")
    assert applied


def test_weights_that_were_loaded_aside_come_to_the_device(tiny: WanModel) -> None:
    """Levers load into main memory what they make smaller; without offloading all of it is moved afterwards."""
    opening = Opening([], torch.device("cuda"), torch.device("cuda"))
    for name, value in (("fp8", "weights"), ("offload", "2")):
        opening.place = opening.device
        lever(name).open(opening, value)
        assert opening.place == torch.device("cpu")
    assert {w.device.type for w in studio(tiny, "fp8").rig.network.parameters()} == {"cpu"}
