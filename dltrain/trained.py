"""Finished runs: their checkpoints by name, and their parts with trained weights."""

from __future__ import annotations

from typing import Any

from dltrain.checkpoint import CheckpointStore
from dltrain.config import Config
from dltrain.errors import CheckpointError
from dltrain.run import Parts, build
from dltrain.run_folder import RunFolder
from dltrain.trainer import load_weights


def load_trained(folder: RunFolder, config: Config, checkpoint: str) -> Parts:
    """Builds a run's parts with the weights of one of its checkpoints.

    Args:
        checkpoint: "best", "last", or the name of a checkpoint; where there is no best one, the last is taken.

    Raises:
        CheckpointError: there is none, or it is of another model.
    """
    state = load_state(folder, checkpoint)
    parts = build(config)
    load_weights(parts.model, state["model"])
    return parts


def load_state(folder: RunFolder, checkpoint: str) -> dict[str, Any]:
    """Verifies and reads a checkpoint of a run by its name or pointer."""
    store = CheckpointStore(folder.checkpoints)
    name = checkpoint
    if checkpoint in ("best", "last"):
        pointed = store.pointed(checkpoint) or store.pointed("last")
        if pointed is None:
            raise CheckpointError(f"{folder.path} has no checkpoint yet. Go on with it: dltrain resume {folder.path}")
        name = pointed
    elif checkpoint not in store.names():
        raise CheckpointError(f"{folder.path} has no checkpoint '{checkpoint}'. There is: {', '.join(store.names())}")
    return store.load(name)
