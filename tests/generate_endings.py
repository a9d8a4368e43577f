"""Processes that stop in the middle of their work: `python generate_endings.py FOLDER CASES...`.

Each case is four processes: 0 and 3 wait for 1 in a collective, and 2 is in a long computation of its own. What they
write goes to FOLDER/CASE.txt; FOLDER/endings.json has the exit codes, and the seconds from the moment at which one
stops to the end of the last.
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

import torch
from torch import distributed

from cinetune import console
from cinetune.errors import CinetuneError, RecipeError
from cinetune.generate.parallel import watch
from cinetune.speed.processes import join

CPU = torch.device("cpu")
LONG = 300.0
"""Seconds of the long computation: nobody waits for its end."""
BROKEN = {"keeper": 0, "keeper silent": 0}
"""The process that stops where it is not 1; process 0 keeps the store."""


SILENT = ("silent", "keeper silent")


def stop(case: str) -> None:
    if case in ("kill", "keeper"):
        os.kill(os.getpid(), signal.SIGKILL)
    if case in SILENT:
        os.kill(os.getpid(), signal.SIGSTOP)
    if case == "terminated":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONG)
    if case == "error":
        raise RecipeError("shot 3: there is no such picture; give another")
    if case == "bug":
        raise ZeroDivisionError("division by zero")


def work(rank: int, world: int, case: str, folder: Path) -> None:
    join(rank, world, CPU)
    with watch.watching(rank, world) as others:
        others.meet()
        if rank == BROKEN.get(case, 1):
            time.sleep(1.5)
            (folder / f"{case}.when").write_text(str(time.time()))
            stop(case)
        elif rank == 2:
            began, big = time.monotonic(), torch.rand(512, 512)
            while time.monotonic() - began < LONG:
                big = (big @ big).softmax(dim=0)
        else:
            distributed.all_reduce(torch.zeros(1))


def begin(rank: int, case: str, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meet_at(rank, 4, port)
    if case in SILENT:
        watch.BEAT = 0.1
    out = os.open(folder / f"{case}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        work(rank, 4, case, folder)
    except CinetuneError as error:  # as the command line does
        console.error(f"cinetune: {error}")
        sys.exit(2)


def meet_at(rank: int, world: int, port: int) -> None:
    """Set the environment as torchrun does, but for the store, which process 0 keeps."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )


def free_port() -> int:
    """A port that is free now; asked for shortly before its use, since any connection may take it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def main(folder: Path, cases: list[str]) -> None:
    fork, found = multiprocessing.get_context("fork"), {}
    for case in cases:
        port = free_port()
        ranks = [fork.Process(target=begin, args=(rank, case, port, folder)) for rank in range(4)]
        for process in ranks:
            process.start()
        broken = ranks[BROKEN.get(case, 1)]
        for process in ranks:
            if process is not broken:
                process.join()
        seconds = time.time() - float((folder / f"{case}.when").read_text())
        if case in SILENT:
            broken.kill()
        broken.join()
        found[case] = {"codes": [process.exitcode for process in ranks], "seconds": seconds}
    (folder / "endings.json").write_text(json.dumps(found))


if __name__ == "__main__":
    if "RANK" in os.environ:  # under torchrun
        work(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "kill", Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
