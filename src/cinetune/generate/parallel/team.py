"""The processes that torchrun started, and how they share the work of a rig."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from cinetune import console
from cinetune.errors import RecipeError, RunError
from cinetune.generate.parallel.degrees import OPTION, Degrees, check_fit
from cinetune.generate.parallel.guidance import Halves
from cinetune.generate.parallel.order import close
from cinetune.generate.parallel.shards import shard
from cinetune.generate.parallel.watch import Watch, watching
from cinetune.generate.window import Rig
from cinetune.models._decoder import WanDecoder
from cinetune.models._velocity import parts
from cinetune.speed.processes import join, own_device, place
from cinetune.speed.ulysses import split_tokens

T = TypeVar("T")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Process:
    """This process among those that were started together."""

    rank: int
    world: int
    device: torch.device
    """Its own."""
    watch: Watch | None
    """None where it is alone."""

    def from_main(self, value: T) -> T:
        """Return what process 0 gives: what they see of disks and memory may differ. Collective."""
        return value if self.world == 1 else _broadcast(value, None)


@contextmanager
def together(device: torch.device) -> Iterator[Process]:
    """Connect the processes that torchrun started; from here on one that stops ends all (`watch`).

    Args:
        device: what to compute on; of several GPUs, each process takes the one of its local rank.

    Raises:
        RunError: the environment is not torchrun's, or this machine has fewer GPUs than processes.
    """
    rank, world, local = place()
    if world == 1:
        yield Process(rank, world, own_device(device, local), None)
        return
    join(rank, world, device)
    with watching(rank, world) as watch:
        yield Process(rank, world, own_device(device, local), watch)
    distributed.destroy_process_group()


class Team:
    """The processes in their places on one mesh: segments x guidance x ulysses, neighbours sharing tokens."""

    def __init__(self, process: Process, degrees: Degrees) -> None:
        """Take the places. Collective.

        Raises:
            RunError: the degrees are those of another number of processes.
        """
        if degrees.world != process.world:
            raise RunError(f"{OPTION} {degrees} is for {degrees.world} processes, and there are {process.world}")
        self.process, self.degrees = process, degrees
        self.segment, member = divmod(process.rank, degrees.group)
        """The group of this process, as `assign` counts them."""
        self.leads = member == 0
        """Whether it is the first of its group, which writes what the group has made."""
        self.main = process.rank == 0
        self._mesh: DeviceMesh | None = None
        self._members: DeviceMesh | None = None
        if process.world > 1:
            sizes = (degrees.segments, degrees.guidance, 1, degrees.ulysses)
            names, kind = ("segments", "guidance", "ring", "ulysses"), process.device.type
            self._mesh = init_device_mesh(kind, sizes, mesh_dim_names=names)
            groups = init_device_mesh(kind, (degrees.segments, degrees.group), mesh_dim_names=("segments", "members"))
            self._members = groups["members"]

    def place(self, device: torch.device) -> torch.device:
        """Return where the network is loaded: main memory where no device has to hold all of it."""
        return torch.device("cpu") if self.degrees.shard else device

    def share(self, rig: Rig) -> None:
        """Share the work of a rig: adapters are in, weights rounded, blocks compiled and caches on. Collective.

        Raises:
            RecipeError: a half for the negative prompt without guidance, heads that do not divide, weights to be
                sharded that wait in main memory, or an attention kernel that cannot share tokens.
        """
        degrees, mesh, members = self.degrees, self._mesh, self._members
        if mesh is None or members is None or degrees.group == 1:
            return
        first: Any = parts(rig.network)[0]
        check_fit(degrees, first.config.num_attention_heads, {}, guided=rig.sampling.guidance > 1)
        if degrees.shard and rig.offloaded:
            raise RecipeError(f"{OPTION} {degrees}: weights that wait in main memory cannot be sharded too; "
                              "leave out the lever offload, or shard")  # fmt: skip
        if degrees.guidance == 2:
            halves = Halves(mesh["guidance"].get_group())
            rig.both, rig.unguided = halves.both, halves.unguided
        if degrees.ulysses > 1:
            self._split(rig, mesh)
        if degrees.shard:
            shard(rig.network, members)
        close(rig)
        if isinstance(rig.decoder, WanDecoder):
            rig.decoder = replace(rig.decoder, group=members.get_group())
        else:
            console.note(
                f"generate: every process decodes the whole video; a {type(rig.decoder).__name__} has no tiles"
            )

    def from_lead(self, value: T) -> T:
        """Return what the first process of the group gives: what is on disk may be seen late. Collective in a group."""
        if self._members is None or self.degrees.group == 1:
            return value
        return _broadcast(value, self._members.get_group())

    def gather(self, value: T) -> list[T]:
        """Return what each process gives, by rank, once all have come so far. Collective."""
        self.wait()
        if self.process.world == 1:
            return [value]
        everything = [value] * self.process.world
        distributed.all_gather_object(everything, value)
        return everything

    def wait(self) -> None:
        """Wait for all processes, however long other groups have to work. Collective."""
        if self.process.watch is not None:
            self.process.watch.meet()

    def _split(self, rig: Rig, mesh: DeviceMesh) -> None:
        together = mesh["ulysses"].get_group()

        def add_up(tensor: Tensor) -> Tensor:
            total = tensor.clone()
            distributed.all_reduce(total, group=together)
            return total

        try:
            split_tokens(rig.network, self.degrees.ulysses, mesh, option=f"{OPTION} ulysses")
        except ValueError:  # of diffusers, naming methods of its own
            first: Any = parts(rig.network)[0]
            kernel = first.blocks[0].attn1.processor._attention_backend.value
            raise RecipeError(f"{OPTION} {self.degrees}: the attention kernel {kernel} cannot share tokens; "
                              "choose another, such as --lever attention=native") from None  # fmt: skip
        rig.vote = add_up


def _broadcast(value: T, group: distributed.ProcessGroup | None) -> T:
    """Return what the first process of a group gives, or of all."""
    given = [value]
    distributed.broadcast_object_list(given, group_src=0, group=group, device=_CPU)
    return given[0]
