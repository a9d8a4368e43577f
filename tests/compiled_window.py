"""A window compiled and not, in a process of its own: `python compiled_window.py MODEL ADAPTER LEVER...`.

What the compiler traces through is not to be wrapped in checks of signatures, as it is among the tests.
"""

import sys
from pathlib import Path

import torch

from cinetune.generate.network import Trained
from cinetune.models._wan import WanModel
from lever_studio import apart, studio, window

if __name__ == "__main__":
    source, adapter, *levers = sys.argv[1:]
    model, trained = WanModel(name="tiny", source=source), (Trained(Path(adapter)),)
    exact = studio(model, *levers, trained=trained, steps=4, guidance=2.0).latents(window())
    room = studio(model, *levers, "compile", trained=trained, steps=4, guidance=2.0)
    made = room.latents(window())
    again = room.latents(window())
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    print(graphs, apart(made, exact), float((again - made).abs().max()))
