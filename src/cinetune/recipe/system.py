"""Recipe, section system: how the work is done, not what comes of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cinetune.recipe.section import Section

Tracker = Literal["tensorboard", "wandb", "trackio"]


class System(Section):
    """Processes, memory and speed of training. Not part of the recipe's id: a run may go on under another system."""

    engine: Literal["auto", "single", "ddp", "fsdp2", "zero2", "zero3"] = "auto"
    """How processes share the work. auto: single for one process; for several, fsdp2."""
    context_parallel: int = Field(1, ge=1)
    """Processes that share the tokens of one video (Ulysses)."""
    prefetch: int = Field(2, ge=0, le=64)
    """Micro-batches made ahead of time by a thread of its own; 0 makes them in the loop. The numbers are the same."""
    attention: str = "auto"
    """Kernel of the attention: a name of diffusers' (native, _native_cudnn, _native_flash, _flash_3, ...), or auto: the
    fastest here, forward and backward at the run's own size, among those that agree with native."""
    compile: bool = False
    """Compile the block (torch.compile): the first step takes a minute or so longer, and the others less."""
    keep_blocks: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """With train.checkpointing, blocks that keep their activations all the same; auto: as many as the free memory of
    the GPU holds, none on a CPU."""
    offload_blocks: int = Field(0, ge=0)
    """Blocks whose frozen weights wait in main memory and are copied to the GPU in time; for small GPUs."""
    trackers: tuple[Tracker, ...] = ("tensorboard",)
    """Where the numbers of the log go as well; log.jsonl is written in any case."""
    dashboard: bool = True
    """Show loss, LPIPS, speed and memory while training, on a live terminal; else one line every ten seconds."""

    @model_validator(mode="after")
    def _goes_together(self) -> "System":
        if self.offload_blocks and self.engine in ("fsdp2", "zero2", "zero3"):
            raise ValueError(
                f"offload_blocks moves whole blocks, which engine {self.engine!r} shards; give engine 'single' or 'ddp'"
            )
        if self.offload_blocks and self.compile:
            raise ValueError("offload_blocks and compile do not go together: leave one of them out")
        return self
