"""One step compiled and one not, in a process of its own: `python compiled_step.py FOLDER kept|checkpointed|int8`."""

import sys
from pathlib import Path

from cinetune.models._wan import WanModel
from cinetune.speed.compiling import compile_blocks
from cinetune.speed.quantised import quantise
from cinetune.train.recompute import checkpoint_blocks
from tiny_step import CPU, adapted, relative, step

if __name__ == "__main__":
    import torch

    model, how = WanModel(name="tiny", source=str(Path(sys.argv[1]))), sys.argv[2]
    network = adapted(model)
    if how == "int8":
        quantise(network, "int8", CPU)
    if how != "kept":
        checkpoint_blocks(network)
    loss, gradients = step(network, model)
    compile_blocks(network, CPU)
    compiled, same = step(network, model)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    print(graphs, abs(compiled - loss) / loss, relative(same, gradients))
