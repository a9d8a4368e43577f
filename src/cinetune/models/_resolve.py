"""From a name to a model, and from a hub id to a folder on this machine."""

from pathlib import Path
from typing import Any

from cinetune import plugins
from cinetune.errors import WeightsError

RANDOM = "random:"
"""Before the name of a shape: random weights of it."""


def find_model(name: str) -> Any:
    """Return the model called `name`: a plugin, a folder in diffusers layout, or a hub id `owner/name[@revision]`.

    `random:` before a name, a hub id or a folder is a model of that shape with random weights, for measuring.

    Raises:
        PluginError: neither a built-in name, nor a folder, nor a hub id.
        WeightsError: `random:` before a shape that is not here; the message lists those there are.
    """
    from cinetune.models._wan import WanModel

    if name.startswith(RANDOM):
        from cinetune.models._random import shape_folder
        from cinetune.models._random_model import RandomModel

        shape = name.removeprefix(RANDOM)
        shape_folder(shape)  # an unknown one is refused now, not when its first part is built
        return RandomModel(name=name, source=shape)
    if name in plugins.names("models") or (":" in name and not Path(name).is_dir()):
        return plugins.load("models", name)
    if Path(name).is_dir() or (name.partition("@")[0].count("/") == 1 and not name.startswith((".", "/"))):
        return WanModel(name=Path(name).name, source=name)
    return plugins.load("models", name)


def resolve(source: str, parts: tuple[str, ...] | None = None) -> Path:
    """Return the folder of a model in diffusers layout, downloading what is missing where `source` is a hub id.

    Args:
        source: a folder, or a hub id `owner/name` or `owner/name@revision` (a branch, tag or commit).
        parts: the folders wanted, such as ("transformer",); None is the whole model.

    Raises:
        WeightsError: no such folder, or the hub cannot be reached or does not know the id.
    """
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise WeightsError(f"{folder}: no model_index.json; give a folder in diffusers layout")
        return folder
    from cinetune.models._download import download

    repo, _, revision = source.partition("@")
    return download(repo, revision=revision or None, parts=parts)
