"""What a model's own config files say, and not one weight: a folder, a hub id, or a single transformer/config.json."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

from cinetune.errors import WeightsError
from cinetune.models._checking import build_empty, read_config
from cinetune.models._random import packaged, shape_folder
from cinetune.models._resolve import RANDOM, find_model
from cinetune.ops.flops import CLIP_TOKENS, Sizes, parameters, read_sizes

CONFIGS = ("model_index.json", "*/config.json")
PUBLISHED = {"text encoder": 5_680_910_336, "image encoder": 630_766_080}
"""Parameters of UMT5-XXL's encoder and of CLIP ViT-H/14's image half, with which every Wan model is published.

Where they are not to be read. Source: models/configs, counted on the meta device.
"""


@dataclass(frozen=True)
class Described:
    """A model by its configs."""

    name: str
    sizes: Sizes
    vae: Mapping[str, Any] | None
    """Of `AutoencoderKLWan`; {} for the published Wan2.1; None where it is not known."""
    spatial: int
    """Pixels of one latent along a side."""
    temporal: int
    time_per_token: bool
    encoders: Mapping[str, int]
    """Parameters of text and image encoder."""
    assumed: tuple[str, ...]
    """What was not to be read anywhere."""
    on_disk: int
    """Bytes of weights already in the folder."""
    free_disk: int
    """Bytes free where the weights are, or would be downloaded to."""
    image_tokens: int = CLIP_TOKENS
    """Tokens of one picture from the image encoder."""
    experts: int = 1
    """Networks that share the work by noise level; two in Wan2.2 A14B."""

    @property
    def parameters(self) -> int:
        """Of the denoising network."""
        return sum(parameters(self.sizes).values())


def describe_model(given: str, spatial: int | None = None) -> Described:
    """Return what the config files of a model say.

    Args:
        given: a name (of a model, or of a published one such as wan2.1-i2v-14b-720p), a folder in diffusers layout, a
            hub id (only its configs are downloaded, and none where the package has them), the path of a transformer's
            config.json, or `random:` and a shape that is here.
        spatial: pixels of one latent along a side, for a bare config.json; by default 8.

    Raises:
        PluginError: no such model.
        WeightsError: no config.json, or not one of a Wan network.
    """
    path = Path(given)
    if path.is_file():
        sizes, folder, name = read_sizes(_read(path), given), None, path.resolve().parent.name
    else:
        name, folder = _place(given)
        config = folder / "transformer" / "config.json"
        sizes = read_sizes(_read(config), str(config))
    assumed: list[str] = []
    vae: Mapping[str, Any] | None = _optional(folder, "vae")
    if vae is None and (spatial or 8) == 8:
        vae, assumed = {}, ["the VAE of Wan2.1 (no vae/config.json here)"]
    elif vae is None:
        assumed.append("nothing about the VAE (no vae/config.json here): its time and memory are left out")
    encoders, image_tokens = {}, CLIP_TOKENS
    for title, part in (("text encoder", "text_encoder"), ("image encoder", "image_encoder")):
        if title == "image encoder" and not sizes.image_dim:
            continue
        found = _optional(folder, part)
        if folder and found is not None:
            built = _build(part, folder / part)
            encoders[title] = sum(weight.numel() for weight in built.parameters())
            if part == "image_encoder":
                image_tokens = (built.config.image_size // built.config.patch_size) ** 2 + 1
        else:
            encoders[title] = PUBLISHED[title]
            assumed.append(f"the published {title} of {PUBLISHED[title] / 1e9:.2f} B (no {part}/config.json here)")
    experts = 2 if folder and (folder / "transformer_2").is_dir() else 1
    if experts > 1:
        assumed.append("one of the two experts on the GPU at a time, the other in host memory")
    index = folder / "model_index.json" if folder else None
    return Described(
        name=name,
        sizes=sizes,
        vae=vae,
        spatial=spatial or int((vae or {}).get("scale_factor_spatial") or 8),
        temporal=int((vae or {}).get("scale_factor_temporal") or 4),
        time_per_token=bool(index and index.is_file() and _read(index).get("expand_timesteps", False)),
        encoders=encoders,
        assumed=tuple(assumed),
        on_disk=sum(file.stat().st_size for file in folder.rglob("*.safetensors")) if folder else 0,
        free_disk=shutil.disk_usage(folder or path.resolve().parent).free,
        image_tokens=image_tokens,
        experts=experts,
    )


def _place(given: str) -> tuple[str, Path]:
    """The name of a model and the folder of its configs."""
    known = packaged()
    if given.startswith(RANDOM):
        return given, shape_folder(given.removeprefix(RANDOM))
    if given in known:
        return given, known[given]
    model = find_model(given)
    return model.name, known.get(model.source) or _folder(model.source)


def _folder(source: str) -> Path:
    """A folder as it is; of a hub id the configs alone, a few kilobytes, where `resolve` would fetch the weights."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    try:  # huggingface_hub raises a different class for each way in which a download can fail
        return Path(snapshot_download(source, allow_patterns=list(CONFIGS)))
    except Exception as error:
        raise WeightsError(
            f"{source}: neither a folder here nor to be had from the hub ({type(error).__name__}); "
            "give the path of its transformer/config.json"
        ) from None


def _optional(folder: Path | None, part: str) -> dict[str, Any] | None:
    file = folder / part / "config.json" if folder else None
    return _read(file) if file and file.is_file() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        config = loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise WeightsError(f"{file}: no such file; give a folder in diffusers layout or a config.json") from None
    except (JSONDecodeError, UnicodeDecodeError):
        raise WeightsError(f"{file}: not JSON; give a transformer/config.json") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{file}: not a JSON object; give a transformer/config.json")
    return config


def _build(part: str, folder: Path) -> Any:
    """An encoder without weights."""
    from transformers import CLIPVisionModel, UMT5EncoderModel

    cls = UMT5EncoderModel if part == "text_encoder" else CLIPVisionModel
    return build_empty(cls, read_config(cls, folder), str(folder / "config.json"))
