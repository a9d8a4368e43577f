"""Classifier-free guidance on two halves of a group: each does one forward pass, and they exchange the answers.

diffusers 0.42 does one after the other on one process (pipelines/wan/pipeline_wan_i2v.py); xDiT (xdit-project/xDiT#632)
and LightX2V share the work as here.
"""

import torch
from torch import Tensor, distributed

from cinetune.generate.guidance import Answer


class Halves:
    """The two processes, one of each half, that exchange their answers."""

    def __init__(self, pair: distributed.ProcessGroup) -> None:
        """Take the pair; its first one answers for the prompt."""
        self.pair, self.half = pair, distributed.get_rank(pair)

    def both(self, prompt: Answer, negative: Answer) -> tuple[Tensor, Tensor]:
        """Return both answers, the same bits on both halves. Collective."""
        mine = (prompt, negative)[self.half]().contiguous()
        answers = [torch.empty_like(mine) for _ in range(2)]
        distributed.all_gather(answers, mine, group=self.pair)
        return answers[0], answers[1]

    def unguided(self, prompt: Answer, negative: Answer) -> Tensor:
        """Return the answer for the prompt where the other is not wanted.

        The second half goes on with its own prompt, where it would have nothing to do: what caches remember of a
        prompt stays with one half, and processes that share weights go through the same blocks. Collective.
        """
        return self.both(prompt, negative)[0]
