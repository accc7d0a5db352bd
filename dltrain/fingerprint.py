"""What tells whether the data of a run are still those that it was trained on."""

from __future__ import annotations

import hashlib
import json

from dltrain.data import Data
from dltrain.errors import CheckpointError
from dltrain.run_folder import RunFolder


def check_fingerprint(folder: RunFolder, data: Data) -> None:
    """
    Raises:
        CheckpointError: the data are not those that the run was trained on.
    """
    if folder.task.exists() and folder.read_task().get("fingerprint") != fingerprint(data):
        raise CheckpointError(
            f"the data of {folder.path} have changed since it was trained, so its model does not fit them. "
            "Put the old data back, or train a new run"
        )


def fingerprint(data: Data) -> str:
    """Returns the SHA-256 of all samples and of what their numbers stand for."""
    digest = hashlib.sha256(json.dumps(data.preprocessing, sort_keys=True).encode())
    for source in data.splits.values():
        for piece in source.content():
            digest.update(piece)
    return digest.hexdigest()
