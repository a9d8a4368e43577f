"""The loop of the miniature's parts: resumed is the same as never stopped."""

import contextlib
from pathlib import Path

import torch
from torch import nn

from cinetune.nano import fit as fit_module
from cinetune.nano.fit import fit
from cinetune.nano.muon import optimisers


class KilledError(Exception):
    pass


def run(folder: Path, die_at: int | None = None) -> list[torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        if step == die_at:
            raise KilledError
        x = torch.randn(16, 4, generator=generator)
        out: torch.Tensor = (net(x) - x[:, :2].sin()).square().mean()
        return out

    folder.mkdir(exist_ok=True)
    trained = fit(
        folder, net, loss_of, name="toy", steps=30, optimisers=optimisers(net, lr=1e-2), seed=1, ema=0.9, warmup=5
    )
    return [w.detach().clone() for w in (*net.parameters(), *trained.parameters())]


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, monkeypatch: object) -> None:
    fit_module.SAVE_EVERY, kept = 10, fit_module.SAVE_EVERY
    try:
        whole = run(tmp_path / "whole")
        with contextlib.suppress(KilledError):
            run(tmp_path / "parts", die_at=17)
        parts = run(tmp_path / "parts")
    finally:
        fit_module.SAVE_EVERY = kept
    assert all(map(torch.equal, whole, parts))
