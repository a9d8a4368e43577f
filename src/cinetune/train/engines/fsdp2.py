"""Every rank holds a part of every weight; a block is put together when its turn comes (torch's fully_shard)."""

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from cinetune.speed.processes import hush_torch
from cinetune.train.engines._base import Base, agree
from cinetune.train.engines._contract import MakeOptimiser, State
from cinetune.train.engines._ulysses import refuse_experts, share_tokens


class Fsdp2(Base):
    """FSDP2, one group a block and one for the rest, the frozen base in its own precision beside the fp32 adapter."""

    name = "fsdp2"
    lockstep = True

    def prepare(self, network: nn.Module, make_optimiser: MakeOptimiser) -> nn.Module:
        """Split the tokens, where asked for, shard the blocks, then make the optimiser of the shards.

        The network may lie on the CPU: each part moves to the device as it is sharded.

        Raises:
            RunError: a network of two experts.
        """
        refuse_experts(network, self.name)
        hush_torch()
        agree(network)
        share_tokens(network, self.ranks, self.device)
        any_network: Any = network
        mesh = init_device_mesh(self.device.type, (self.ranks.world,))
        for block in any_network.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh)
        # Gradients that wait for the last part wait whole: little for an adapter, too much for a full fine-tune.
        self._each_part = all(weight.requires_grad for weight in network.parameters())
        self._network = any_network
        return super().prepare(network, make_optimiser)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add this part's gradient; fully_shard takes the mean over all ranks where the sum is wanted."""
        self._network.set_requires_gradient_sync(last or self._each_part)
        super().backward(loss * self.ranks.world, last=last)

    def load_state(self, state: State) -> None:
        """Put a state that any engine gave into network and optimiser.

        Raises:
            RunError: it is of other weights.
        """
        for module in self._network.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # after a forward pass the root stays put together, of the old weights
        super().load_state(state)

    def _whole(self, tensor: Tensor) -> Tensor:
        return super()._whole(tensor.full_tensor() if isinstance(tensor, DTensor) else tensor)

    def _part(self, tensor: Tensor, weight: nn.Parameter) -> Tensor:
        if not isinstance(weight, DTensor) or tensor.shape != weight.shape:
            return super()._part(tensor, weight)
        mesh, placements = weight.device_mesh, weight.placements
        return distribute_tensor(tensor.to(self.device), mesh, placements, src_data_rank=None)


ENGINE = Fsdp2
