"""The training loop on a Wan2.1 of random weights: what it does at each step, and that it can be killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cinetune.adapters import lora
from cinetune.errors import RecordError, RunError
from cinetune.footage.cache import read_cache, write_cache
from cinetune.models._resolve import find_model
from cinetune.models._velocity import Experts
from cinetune.models._wan import WanModel
from cinetune.ops import flow
from cinetune.records import Clip, read_records
from cinetune.train.batches import generator
from cinetune.train.data import collate, indices, load_split, order
from cinetune.train.loop import train
from cinetune.train.trainable import make_trainable
from tiny_kinds import build
from tiny_run import label, prepare_tiny, tiny_recipe
from tiny_train import Steps

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tiny: WanModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_tiny(tmp_path_factory.mktemp("train") / "run", tiny, tiny_recipe(tiny))


@pytest.fixture
def run(prepared: Path, tmp_path: Path) -> Path:
    """A fresh run folder over the same footage."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "footage").symlink_to(prepared / "footage", target_is_directory=True)
    for name in ("recipe.json", "films.json", "environment.json"):
        (tmp_path / "run" / name).write_bytes((prepared / name).read_bytes())
    return tmp_path / "run"


def artefacts(run: Path) -> dict[str, object]:
    """Everything a training run leaves that does not tell the time."""
    folder = run / "train"
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timed = ("seconds", "step_seconds", "tokens_per_second", "tflops", "peak_bytes", "data_wait", "seconds_left")
    return {
        "adapter": (folder / "best" / lora.FILE_NAME).read_bytes(),
        "log": [{k: v for k, v in row.items() if k not in timed} for row in log],
        "validations": (folder / "validations.jsonl").read_text(),
        "summary": {k: v for k, v in json.loads((folder / "summary.json").read_text()).items() if k != "seconds"},
    }


def test_the_stream_visits_every_clip_once_a_pass_and_can_be_entered_anywhere() -> None:
    whole = indices(0, 35, 7, seed=3)
    for epoch in range(5):
        assert sorted(whole[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert whole[:7] != whole[7:14]
    assert [n for start in range(0, 35, 5) for n in indices(start, 5, 7, seed=3)] == whole
    assert order(7, 2, seed=3) == whole[14:21]


def test_one_update_is_the_mean_gradient_clipped_once(tiny: WanModel, run: Path) -> None:
    """Compared with the same arithmetic written out over one large batch."""
    recipe = tiny_recipe(tiny, train__image_dropout="0.0", train__caption_dropout="0.0", train__clip_norm="0.01")
    settings = recipe.train
    data = load_split(run / "footage", read_records(run / "footage" / "clips.jsonl", Clip), "train")
    ours, theirs = (tiny.load_transformer(CPU, torch.float32) for _ in range(2))
    for network in (ours, theirs):
        make_trainable(network, tiny, recipe)
    before = [weight.detach().clone() for weight in lora.parameters(ours)]
    loss = Steps(ours, tiny, data, recipe).take(5, rate=0.3)

    losses = []
    for place, n in enumerate(indices(5 * 4, 4, len(data.items), recipe.seed), start=5 * 4):
        g = generator(recipe.seed, place)
        torch.rand(2, generator=g)
        sigma = flow.shift_sigma(torch.randn(1, generator=g).sigmoid(), settings.shift)
        none = torch.zeros(1, dtype=torch.bool)
        latents, condition = collate(data, [n], none, none)
        noise = torch.randn(latents.shape, generator=g)
        noisy = (1 - sigma) * latents + sigma * noise
        losses.append((tiny.velocity(theirs, noisy, sigma, condition) - (noise - latents)).square().mean())
    mean = torch.stack(losses).mean()
    mean.backward()
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    norm = torch.stack([w.grad.norm() for w in lora.parameters(theirs) if w.grad is not None]).norm()
    assert norm > 0.01, "the clip must bite for this to test it"
    for start, a, b in zip(before, lora.parameters(ours), lora.parameters(theirs), strict=True):
        assert b.grad is not None
        assert torch.allclose(start - a, 0.3 * b.grad * (0.01 / norm), atol=1e-7)


def test_recomputing_activations_gives_the_same_gradients(tiny: WanModel, run: Path) -> None:
    data = load_split(run / "footage", read_records(run / "footage" / "clips.jsonl", Clip), "train")
    gradients = []
    for checkpointing in ("false", "true"):
        recipe = tiny_recipe(tiny, train__checkpointing=checkpointing)
        network = tiny.load_transformer(CPU, torch.float32)
        make_trainable(network, tiny, recipe)
        before = [w.detach().clone() for w in lora.parameters(network)]
        Steps(network, tiny, data, recipe).take(4)
        gradients.append([a - b for a, b in zip(before, lora.parameters(network), strict=True)])
    assert any(g.any() for g in gradients[0])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


def test_same_recipe_twice_is_the_same_bytes_whatever_the_global_generator(
    tiny: WanModel, run: Path, tmp_path: Path
) -> None:
    recipe = tiny_recipe(tiny)
    train(run, recipe, tiny, device=CPU)
    first = artefacts(run)
    other = tmp_path / "again"
    other.mkdir()
    (other / "footage").symlink_to(run / "footage", target_is_directory=True)
    torch.manual_seed(99)
    train(other, recipe, tiny, device=CPU)
    assert artefacts(other) == first
    assert [row["step"] for row in first["log"]] == list(range(1, 9))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["tiny", "nano"])
def test_killed_and_resumed_is_bit_for_bit_the_same(tiny: WanModel, tmp_path: Path, name: str) -> None:
    """24 steps are 12 or so, kill -9, and the rest: on random weights and on nano itself."""
    model = tiny if name == "tiny" else find_model("nano")
    recipe = tiny_recipe(model, train__steps="24")
    run = prepare_tiny(tmp_path / "run", model, recipe)
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    train(whole, recipe, model, device=CPU)

    command = [sys.executable, "-m", "cinetune", "train", str(run), "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    log = run / "train" / "log.jsonl"
    while time.monotonic() < deadline and not (log.is_file() and len(log.read_text().splitlines()) >= 11):
        time.sleep(0.01)
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    steps = len(log.read_text().splitlines())
    assert 11 <= steps < 24, "killed half-way"
    (run / ".lock").write_text(str(process.pid))  # what the killed process left, whether or not it got that far
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ))
    if torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"]):
        assert artefacts(run) == artefacts(whole)


def test_it_stops_on_the_plateau_and_keeps_the_best(tiny: WanModel, run: Path) -> None:
    # A learning rate of almost nothing: no validation can gain more than the minimum.
    recipe = tiny_recipe(
        tiny, train__learning_rate="1e-9", train__steps="40", validation__every="2", validation__patience="2"
    )
    done = train(run, recipe, tiny, device=CPU)
    assert (done.stopped, done.steps, done.gain) == ("plateau", 6, False)
    rows = [json.loads(line) for line in (run / "train" / "validations.jsonl").read_text().splitlines()]
    assert [(row["gained"], row["waited"]) for row in rows] == [(True, 0), (False, 1), (False, 2)]
    assert done.best_step == min(rows, key=lambda row: row["lpips"])["step"], "kept by however little"
    assert rows[0]["base_lpips"] == pytest.approx(rows[0]["lpips"], abs=1e-4)


def test_damaged_checkpoint_and_unprepared_run_are_one_line(tiny: WanModel, run: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(tiny)
    (run / "train").mkdir()
    (run / "train" / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(RunError, match="damaged checkpoint"):
        train(run, recipe, tiny, device=CPU)
    with pytest.raises(RecordError, match=r"clips\.jsonl: no such record file"):
        train(tmp_path / "empty", recipe, tiny, device=CPU)


def test_a_loss_that_is_not_finite_is_an_error(tiny: WanModel, run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run / "footage", damaged / "footage")
    for clip in read_records(damaged / "footage" / "clips.jsonl", Clip):
        tensors = read_cache(damaged / "footage" / clip.cache)
        if clip.split == "train":
            tensors["latents"][:] = float("inf")
            write_cache(damaged / "footage" / clip.cache, tensors, label(damaged / "footage", clip))
    with pytest.raises(RunError, match=r"step 1: .*not finite.*lower train\.learning_rate; there is no checkpoint yet"):
        train(damaged, tiny_recipe(tiny), tiny, device=CPU)


@pytest.mark.parametrize("kind", ["t2v", "ti2v", "t2v of two experts"])
def test_other_kinds_of_wan_train(tiny: WanModel, tmp_path: Path, kind: str) -> None:
    model = build(tiny, tmp_path / "model", kind)
    recipe = tiny_recipe(model, train__steps="4")
    run = prepare_tiny(tmp_path / "run", model, recipe)
    done = train(run, recipe, model, device=CPU)
    assert done.steps == 4
    network = model.load_transformer(CPU, torch.float32)
    parts = list(network.by_name().values()) if isinstance(network, Experts) else [network]
    for adapter, part in zip(done.adapters, parts, strict=True):
        lora.load(adapter, part)
        assert max(w.abs().max() for name, w in part.named_parameters() if "lora_B" in name) > 0


def test_a_checkpoint_of_another_model_is_one_line(tiny: WanModel, run: Path) -> None:
    recipe = tiny_recipe(tiny, train__steps="4")
    train(run, recipe, tiny, device=CPU)
    path = run / "train" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    name, weight = next(iter(state["state"]["weights"].items()))
    for other, why in (
        ({name: weight[:, :-1]}, f"of another model: {name} is"),
        ({"blocks.9.new": weight}, r"other weights \(one differs in blocks.9.new\)"),
    ):
        torch.save({**state, "state": {**state["state"], "weights": {**state["state"]["weights"], **other}}}, path)
        with pytest.raises(RunError, match=why):
            train(run, recipe, tiny, device=CPU)
