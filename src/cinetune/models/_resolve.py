"""From a name to a model, and from a hub id to a folder on this machine."""

from pathlib import Path
from typing import Any

from cinetune import plugins
from cinetune.errors import WeightsError


def find_model(name: str) -> Any:
    """Return the model called `name`: a plugin, a folder in diffusers layout, or a hub id `owner/name`.

    Raises:
        PluginError: neither a built-in name, nor a folder, nor a hub id.
    """
    from cinetune.models._wan import WanModel

    if name in plugins.names("models") or (":" in name and not Path(name).is_dir()):
        return plugins.load("models", name)
    if Path(name).is_dir() or (name.count("/") == 1 and not name.startswith((".", "/"))):
        return WanModel(name=Path(name).name, source=name)
    return plugins.load("models", name)


def resolve(source: str) -> Path:
    """Return the folder of a model in diffusers layout, downloading it (with resume) where `source` is a hub id.

    Raises:
        WeightsError: no such folder, or the hub cannot be reached or does not know the id.
    """
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise WeightsError(f"{folder}: no model_index.json; give a folder in diffusers layout")
        return folder
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:  # huggingface_hub raises a different class for each way in which a download can fail
        return Path(snapshot_download(source, allow_patterns=patterns))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{source}: neither a folder here nor to be had from the hub ({type(error).__name__}: {reason}); "
            "download it elsewhere and give the folder"
        ) from None
