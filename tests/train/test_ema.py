import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cinetune.train.ema import Ema
from ema_ranks import DECAY, UPDATES, build, change


def test_it_is_the_closed_form_from_the_first_update_on() -> None:
    network = build()
    ema, seen = Ema(network, DECAY), []
    for update in range(UPDATES):
        change(network, update)
        ema.update()
        seen.append({name: w.detach().double() for name, w in network.named_parameters() if w.requires_grad})
        shares = [(1 - DECAY) * DECAY ** (update - i) / (1 - DECAY ** (update + 1)) for i in range(update + 1)]
        assert sum(shares) == pytest.approx(1)
        for name, average in ema.weights().items():
            wanted = sum(share * w[name] for share, w in zip(shares, seen, strict=True))
            assert torch.allclose(average.double(), wanted, atol=1e-6)
        if update == 0:
            assert all(torch.equal(average, network.get_parameter(name)) for name, average in ema.weights().items())
    assert list(ema.weights()) == ["0.weight", "0.bias", "2.weight"], "what is trained, no more"


def test_applied_puts_every_bit_back_even_after_an_error() -> None:
    network = build()
    ema = Ema(network, DECAY)
    for update in range(UPDATES):
        change(network, update)
        ema.update()
    before = {name: w.detach().clone() for name, w in network.named_parameters()}

    def interrupted() -> None:
        with ema.applied():
            for name, average in ema.weights().items():
                assert torch.equal(network.get_parameter(name), average)
                assert not torch.equal(network.get_parameter(name), before[name])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(torch.equal(w, before[name]) for name, w in network.named_parameters())


def test_a_saved_average_goes_on_as_if_it_had_not_stopped() -> None:
    whole, network = Ema(one := build(), DECAY), build()
    half = Ema(network, DECAY)
    for update in range(2):
        change(one, update)
        whole.update()
        change(network, update)
        half.update()
    again = Ema(network, DECAY)
    again.load(half.state())
    for ema, trained in ((whole, one), (again, network)):
        change(trained, 2)
        ema.update()
    assert again.state()["updates"] == 3
    assert all(torch.equal(average, whole.weights()[name]) for name, average in again.weights().items())


def test_two_processes_of_fsdp2_hold_the_same_average(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "ema_ranks.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    network = build()
    ema, x = Ema(network, DECAY), torch.ones(2, 5)
    for update in range(UPDATES):
        change(network, update)
        ema.update()
    with torch.no_grad(), ema.applied():
        averaged = network(x)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for state in (found["state"], found["loaded"]):
            assert state["updates"] == UPDATES
            assert all(torch.equal(value, ema.weights()[name]) for name, value in state["weights"].items())
        assert torch.allclose(found["before"], network(x))
        assert torch.equal(found["after"], found["before"]), "a gathered root would still be the averaged one"
        assert torch.allclose(found["averaged"], averaged)
        assert not torch.allclose(found["averaged"], found["before"])
