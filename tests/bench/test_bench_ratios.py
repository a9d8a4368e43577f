"""Ratios for the magnitude cache, from the command line to the lever that takes them."""

from pathlib import Path

import torch
from typer.testing import CliRunner

from cinetune import cli_bench
from cinetune.generate.levers._ratios import read_ratios
from cinetune.generate.studio import choose, open_studio
from cinetune.generate.window import Sampling, Window
from cinetune.models._resolve import find_model


def test_nano_at_another_number_of_steps(tmp_path: Path) -> None:
    file, size = tmp_path / "ratios.json", (5, 32, 48)
    given = ["ratios", "--out", str(file), "--shape", "5x32x48", "--steps", "8", "--windows", "2", "--device", "cpu"]
    done = CliRunner().invoke(cli_bench.app, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = read_ratios(file)
    assert (found.model, found.steps, found.shift, found.guidance, found.negative) == ("nano", 8, 3.0, 1.0, None)
    assert len(found.prompt) == 8
    assert found.prompt[0] == 1
    assert all(0.5 < ratio < 2 for ratio in found.prompt)
    pulls = choose("exact", [f"magnitude=0.2:{file}"])
    studio = open_studio(
        find_model("nano"), [], Sampling(8, 1.0, 3.0), size, ["a boat"], device=torch.device("cpu"),
        dtype=torch.float32, pulls=pulls,
    )  # fmt: skip
    calls: list[int] = []
    studio.rig.network.blocks[-1].attn1.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[operator, union-attr, index]
    studio.latents(Window("a boat", 0, 5, None))
    assert 0 < len(calls) < 8, "some steps were left out"
