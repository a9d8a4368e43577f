"""Is a folder in diffusers layout what is wanted? Only JSON and headers are read: 60 GB fail within a second."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from diffusers import AutoencoderKLWan, ModelMixin
from diffusers.utils import SAFE_WEIGHTS_INDEX_NAME as DIFFUSERS_INDEX
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME as DIFFUSERS_FILE
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME as TRANSFORMERS_INDEX
from transformers.utils import SAFE_WEIGHTS_NAME as TRANSFORMERS_FILE

from cinetune.errors import WeightsError
from cinetune.models._headers import Stored, read_headers, read_json, some
from cinetune.models._quiet import quiet

CHANNELS = {16: "text-to-video", 36: "image-to-video", 48: "Wan2.2 TI2V-5B"}
"""What a transformer with so many input channels was trained for (diffusers: scripts/convert_wan_to_diffusers.py)."""
HALF = {"F16", "BF16"}
Shapes = dict[str, tuple[int, ...]]


def check_folder(
    folder: Path,
    classes: Mapping[str, type[nn.Module]],
    *,
    expect_in_channels: int | None = None,
    allow_half_vae: bool = False,
) -> None:
    """Check a model folder: is it Wan at all, and is every part there, whole, and of the right shape.

    Args:
        folder: a folder in diffusers layout.
        classes: which class each part is to be, such as {"transformer": WanTransformer3DModel}.
        expect_in_channels: input channels of the transformers: 16 text-to-video, 36 image-to-video.
        allow_half_vae: whether a VAE may be stored in half precision.

    Raises:
        WeightsError: the first thing that is wrong.
    """
    check_pipeline(folder)
    for part, cls in classes.items():
        channels = expect_in_channels if part.startswith("transformer") else None
        check_part(cls, folder / part, expect_in_channels=channels, allow_half_vae=allow_half_vae)


def check_pipeline(folder: Path) -> None:
    """Check that model_index.json names a Wan pipeline.

    Raises:
        WeightsError: no such file, damaged, or of another architecture, which is named.
    """
    path = folder / "model_index.json"
    if not path.is_file():
        raise WeightsError(f"{folder}: no model_index.json; give a folder in diffusers layout")
    name = str(read_json(path).get("_class_name"))
    if not name.startswith("Wan"):
        raise WeightsError(f"{folder}: this is a {name}, not a Wan pipeline; give a folder of Wan2.1 or Wan2.2")


def check_part(
    cls: type[nn.Module],
    folder: Path,
    *,
    expect_in_channels: int | None = None,
    allow_half_vae: bool = False,
) -> None:
    """Check one part's folder against the class that is to be loaded from it.

    Raises:
        WeightsError: the first thing that is wrong.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder.parent}: no folder {folder.name!r}; this is not the whole model, download it")
    config = read_config(cls, folder)
    if expect_in_channels is not None:
        _check_channels(folder, config.get("in_channels"), expect_in_channels)
    stored = read_headers(folder, weight_files(cls))
    if issubclass(cls, AutoencoderKLWan) and not allow_half_vae:
        half = sorted({entry.dtype for entry in stored.values()} & HALF)
        if half:  # the published VAE runs in fp32; rounded weights no longer give its numbers
            raise WeightsError(f"{folder}: the VAE is stored in half precision ({half[0]}); give the fp32 one")
    _check_tensors(cls, folder, config, stored)


def read_config(cls: type[nn.Module], folder: Path) -> dict[str, Any]:
    """Return a part's config.json.

    Raises:
        WeightsError: no such file, damaged, or of another class.
    """
    config = read_json(folder / "config.json")
    library: Any = cls
    if issubclass(library, PreTrainedModel):
        # By model type: CLIPVisionModel is saved as CLIPVisionModelWithProjection by the published checkpoints.
        same = config.get("model_type") == library.config_class.model_type
        found = (config.get("architectures") or [config.get("model_type")])[0]
    else:
        found = config.get("_class_name")
        same = found == cls.__name__
    if not same:
        raise WeightsError(f"{folder / 'config.json'}: of {found}, where {cls.__name__} is wanted; give that model")
    return config


def weight_files(cls: type[nn.Module]) -> tuple[str, str]:
    """Return the names under which a class's weights are looked for, in the order of its own library."""
    return (DIFFUSERS_INDEX, DIFFUSERS_FILE) if issubclass(cls, ModelMixin) else (TRANSFORMERS_FILE, TRANSFORMERS_INDEX)


def build_empty(cls: type[nn.Module], config: dict[str, Any], where: str) -> nn.Module:
    """Return the module of a config with its parameters on the meta device, shapes without memory; buffers are real.

    Raises:
        WeightsError: the config does not describe such a module; the message starts with `where`.
    """
    library: Any = cls
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            with init_empty_weights():
                if issubclass(library, PreTrainedModel):
                    built: nn.Module = library(library.config_class.from_dict(config))
                else:
                    built = library.from_config(config)
            if isinstance(built, PreTrainedModel):
                built.tie_weights()  # emptying the weights parted them
            return built
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, ArithmeticError, StrictDataclassError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{where}: does not describe a {cls.__name__} ({reason}); download it again") from None


def _check_channels(folder: Path, found: Any, wanted: int) -> None:
    if found != wanted:
        kinds = [f"{n} ({CHANNELS[n]})" if n in CHANNELS else str(n) for n in (found, wanted)]
        raise WeightsError(f"{folder}: in_channels is {kinds[0]}, {kinds[1]} wanted; give a model of that kind")


def _check_tensors(cls: type[nn.Module], folder: Path, config: dict[str, Any], stored: dict[str, Stored]) -> None:
    shapes = {name: entry.shape for name, entry in stored.items()}
    differ = _differ_transformers if issubclass(cls, PreTrainedModel) else _differ_diffusers
    missing, unexpected, wrong = differ(cls, folder, config, shapes)
    if missing:
        raise WeightsError(f"{folder}: {len(missing)} tensors missing: {some(missing)}; download it again")
    if wrong:
        raise WeightsError(f"{folder}: shapes differ from config.json: {some(wrong)}; download it again")
    if unexpected:
        raise WeightsError(
            f"{folder}: {len(unexpected)} tensors that {cls.__name__} does not have: {some(unexpected)}; "
            "these weights are of another model"
        )


def _differ_diffusers(
    cls: type[nn.Module], folder: Path, config: dict[str, Any], shapes: Shapes
) -> tuple[list[str], list[str], list[str]]:
    """Return names that are missing, names that are too many, and descriptions of wrong shapes."""
    built = build_empty(cls, config, str(folder / "config.json")).state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in built.items()}
    wrong = [
        f"{name} {shapes[name]} where {shape} is wanted"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    return sorted(wanted.keys() - shapes), sorted(shapes.keys() - wanted), wrong


def _differ_transformers(
    cls: type[PreTrainedModel], folder: Path, config: dict[str, Any], shapes: Shapes
) -> tuple[list[str], list[str], list[str]]:
    """Return the same as _differ_diffusers, as transformers itself sees it: old names, tied weights and all.

    It loads the tensors from a dictionary; here they are empty ones on the meta device.
    """
    build_empty(cls, config, str(folder / "config.json"))
    report = _dry_run(cls, config, shapes)
    unexpected = set(report["unexpected_keys"])
    saved_as = getattr(transformers, str((config.get("architectures") or [""])[0]), cls)
    if unexpected and saved_as is not cls:  # a head that the class wanted leaves out
        unexpected &= set(_dry_run(saved_as, config, shapes)["unexpected_keys"])
    wrong = [f"{name} {tuple(a)} where {tuple(b)} is wanted" for name, a, b in sorted(report["mismatched_keys"])]
    return sorted(report["missing_keys"]), sorted(unexpected), wrong


def _dry_run(cls: Any, config: dict[str, Any], shapes: Shapes) -> dict[str, Any]:
    empty = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    with quiet():
        _, report = cls.from_pretrained(
            None,
            config=cls.config_class.from_dict(config),
            state_dict=empty,
            dtype=torch.float32,
            device_map={"": "meta"},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=True,
        )
    found: dict[str, Any] = report
    return found
