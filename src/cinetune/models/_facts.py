"""What kind of Wan a folder holds: read from its own configs, never from a table of names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cinetune.errors import WeightsError
from cinetune.models._headers import read_json

HALF_VAE = "_stored_in_half"
"""Name in the VAE's config; diffusers leaves names that begin with an underscore alone."""
Kind = Literal["i2v", "t2v", "ti2v"]


@dataclass(frozen=True)
class Facts:
    """One checkpoint's shape, as far as the code around the network depends on it."""

    kind: Kind
    """i2v: the given frame comes in 20 further channels. t2v: none is given. ti2v (Wan2.2 5B): the given frame takes
    the place of the first latent frame, which is told timestep 0."""
    image_tokens: bool
    """The cross-attention sees the given frame through CLIP (Wan2.1 i2v)."""
    boundary: float | None
    """Wan2.2 A14B: noise level from which up `transformer` works, and below which `transformer_2` does."""
    spatial: int
    """Pixels of one latent along height and width."""
    patch: int
    """Latents of one token along height and width."""
    half_vae: bool
    """The folder says that its VAE is stored in half precision on purpose, as nano's is."""
    channels: int = 16
    """Of the latents."""

    @property
    def step(self) -> int:
        """Height and width are multiples of this many pixels."""
        return self.spatial * self.patch


def read_facts(folder: Path) -> Facts:
    """Read model_index.json and the configs of transformer and VAE.

    Raises:
        WeightsError: a config is missing or not JSON, or the channels are those of no Wan.
    """
    for part in ("transformer", "vae"):
        if not (folder / part).is_dir():
            raise WeightsError(f"{folder}: no folder {part!r}; this is not the whole model, download it")
    index = read_json(folder / "model_index.json")
    network, vae = read_json(folder / "transformer" / "config.json"), read_json(folder / "vae" / "config.json")
    inner, outer = network.get("in_channels", 16), vae.get("z_dim", 16)
    kind: Kind
    if inner == outer + 20:
        kind = "i2v"
    elif inner == outer:
        kind = "ti2v" if index.get("expand_timesteps") else "t2v"
    else:
        raise WeightsError(
            f"{folder / 'transformer' / 'config.json'}: in_channels is {inner} beside a VAE of {outer} channels; "
            f"image-to-video has {outer + 20}, text-to-video {outer}"
        )
    return Facts(
        kind=kind,
        image_tokens=network.get("image_dim") is not None,
        boundary=index.get("boundary_ratio"),
        spatial=vae.get("scale_factor_spatial", 8),
        patch=network.get("patch_size", (1, 2, 2))[-1],
        half_vae=bool(vae.get(HALF_VAE)),
        channels=outer,
    )
