"""Whether an adapter was made for a model of this kind: by its layers, its card or recipe, and its file's metadata."""

import json
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from cinetune import console
from cinetune.adapters.keys import Key, sort_keys
from cinetune.adapters.reading import find_all, find_networks
from cinetune.errors import WeightsError

LONG = {"i2v": "image-to-video", "t2v": "text-to-video", "ti2v": "text-and-image-to-video"}
CHANNELS = {16: "t2v", 36: "i2v", 48: "ti2v"}
"""Input channels of the patch embedding (diffusers: scripts/convert_wan_to_diffusers.py)."""
METADATA = ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name", "base_model")
"""Where trainers name the base. musubi-tuner writes all ss_ ones, of which only the name of the checkpoint's file
tells kinds apart (hv_train_network.py, sai_model_spec.py: "wan2.1"); ai-toolkit writes "wan_2.1"; diffusion-pipe none,
but peft's adapter_config.json beside it (models/wan/wan.py)."""
_NAMES = {
    "i2v": r"i2v|flf2v|image[-_ ]to[-_ ]video",
    "t2v": r"t2v|text[-_ ]to[-_ ]video",
    "ti2v": r"ti2v",
}
_IMAGE_LAYERS = ("add_k_proj", "add_v_proj", "image_embedder")


def kind_of(name: str) -> str:
    """Return "i2v", "t2v" or "ti2v" as the name of a model says it, or "" where it says none, or two."""
    found = [kind for kind, rule in _NAMES.items() if re.search(rf"(?<![a-z0-9])({rule})(?![a-z0-9])", name.lower())]
    return found[0] if len(found) == 1 else ""


def check_kind(source: Path, *, made_for: str, kind: str, image_tokens: bool) -> None:
    """Refuse an adapter of another kind of Wan, and note where the kind cannot be known and layers are missing.

    A network trained whole says its own channels when it is loaded, and is not looked at here.

    Args:
        source: as `reading.find_all` takes it.
        made_for: kind of the base by recipe or card (`Style.kind`), or "".
        kind: of the model that it is to go on (`Facts.kind`).
        image_tokens: whether that model has layers for image tokens (`Facts.image_tokens`).

    Raises:
        WeightsError: no adapter, damaged, or made for another kind; one line.
    """
    if find_networks(source):
        return
    for file in find_all(source).values():
        keys, said, where = _look(file)
        if not said:
            said, where = made_for, "its card or recipe says"
        if not said:
            said, where = _by_metadata(file)
        if said and said != kind:
            raise WeightsError(
                f"{file}: made for {LONG[said]} ({where}), and this model is {LONG[kind]}; give an adapter of "
                f"{LONG[kind]}, or a {LONG[said]} base"
            )
        attention = any(".attn" in key.layer for key in keys)
        if not said and image_tokens and attention:
            console.note(
                f"{file}: no layers for image tokens (add_k_proj, add_v_proj): made for text-to-video, or without "
                "them; these layers stay as they are in the base"
            )


def _look(file: Path) -> tuple[list[Key], str, str]:
    """The keys of a file, the kind that its layers can only be of, and how one sees that."""
    try:
        with safe_open(file, framework="numpy") as opened:
            keys = sort_keys(opened.keys()).known
            first = [key.text for key in keys if key.layer == "patch_embedding" and key.part == "a"]
            channels = opened.get_slice(first[0]).get_shape()[1] if first else 0
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: not a readable safetensors file ({error})") from None
    if channels in CHANNELS:
        return keys, CHANNELS[channels], f"its patch embedding has {channels} channels"
    image = next((key.layer for key in keys if any(name in key.layer for name in _IMAGE_LAYERS)), "")
    return keys, "i2v" if image else "", f"it has {image}"


def _by_metadata(file: Path) -> tuple[str, str]:
    with safe_open(file, framework="numpy") as opened:
        said = dict(opened.metadata() or {})
    beside = file.with_name("adapter_config.json")
    if file.name == "adapter_model.safetensors" and beside.is_file():
        try:
            said["base_model"] = str(json.loads(beside.read_text(encoding="utf-8")).get("base_model_name_or_path"))
        except (ValueError, AttributeError):
            raise WeightsError(f"{beside}: not a JSON object; download it again") from None
    for key in METADATA:
        if kind := kind_of(said.get(key, "")):
            return kind, f"{key} says {said[key]}"
    return "", ""
