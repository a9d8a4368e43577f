"""Checkpoints as others publish them: safetensors, PyTorch state dicts and TorchScript archives.

Nothing pickled is trusted: a state dict is read with `weights_only`, and of a TorchScript archive only the tensors are
taken, never the program.
"""

import pickle
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cinetune.errors import WeightsError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a checkpoint by its name, as stored.

    Raises:
        WeightsError: damaged, or something else than named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _scripted(path) if is_torchscript(path) else _pickled(path)
    except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: damaged weights ({reason}); get the file again") from None


def is_torchscript(path: Path) -> bool:
    """Say whether a file is a program with its weights, as `torch.jit.save` writes it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _scripted(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.jit is old; so are the archives that people use
        return dict(torch.jit.load(str(path), map_location="cpu").state_dict())  # type: ignore[no-untyped-call]


def _pickled(path: Path) -> dict[str, Tensor]:
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(f"{path}: holds something else than named tensors; give a state dict")
    return {str(name): value for name, value in found.items()}
