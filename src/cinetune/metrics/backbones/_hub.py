"""Published weights from the hub: resumed where a download stopped, and checked against a known sum."""

from collections.abc import Sequence
from pathlib import Path

from cinetune.errors import WeightsError
from cinetune.files import sha256
from cinetune.metrics.backbones._contract import HubFile
from cinetune.models._download import download_matching


def fetch(name: str, files: Sequence[HubFile], obtain: str) -> list[Path]:
    """Return the paths of files: those in the cache already, or else what the hub sends.

    Args:
        name: of the backbone that wants them.
        files: at least one.
        obtain: where else they are to be had.

    Raises:
        WeightsError: the hub cannot be reached, or what it has is not what it should be.
    """
    if not files:
        raise WeightsError(f"{name}: the hub has no copy of its weights; give --backbone {name}=PATH: {obtain}")
    try:
        return [_file(file) for file in files]
    except WeightsError as error:
        raise WeightsError(f"{error}; or give --backbone {name}=PATH: {obtain}") from None


def _file(file: HubFile) -> Path:
    path = download_matching(file.repo, revision=file.revision, patterns=[file.path]) / file.path
    if not path.is_file():
        raise WeightsError(f"{file.repo}: {file.path} is no longer there at {file.revision}")
    if (found := sha256(path)) != file.sha256:
        raise WeightsError(f"{path}: SHA-256 {found[:12]}, not {file.sha256[:12]}: not the published weights")
    return path
