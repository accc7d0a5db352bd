"""Finished runs: their checkpoints by name, and their parts with trained weights."""

from __future__ import annotations

from typing import Any

from dltrain.checkpoint import CheckpointStore
from dltrain.config import Config
from dltrain.console import log
from dltrain.errors import CheckpointError
from dltrain.run import Parts, build, check_fingerprint
from dltrain.run_folder import RunFolder
from dltrain.trainer import load_weights


def load_trained(folder: RunFolder, config: Config, checkpoint: str) -> tuple[Parts, str]:
    """Builds a run's parts with the weights of one of its checkpoints.

    Args:
        checkpoint: as for ``load_state``.

    Returns:
        The parts, and the name of the checkpoint.

    Raises:
        CheckpointError: there is none, it is of another model, or the run's data have changed.
    """
    name, state = load_state(folder, checkpoint)
    parts = build(config)
    check_fingerprint(folder, parts.data)
    load_weights(parts.model, state["model"])
    return parts, name


def load_state(folder: RunFolder, checkpoint: str) -> tuple[str, dict[str, Any]]:
    """Verifies and reads a checkpoint of a run.

    Args:
        checkpoint: "best", "last", or a checkpoint's name. Where no best one is kept, the last is taken, and the
            log says so.

    Returns:
        The checkpoint's name, and what it holds.

    Raises:
        CheckpointError: it is missing, damaged, or its pointer is.
    """
    store = CheckpointStore(folder.checkpoints)
    if checkpoint not in ("best", "last"):
        if checkpoint not in store.names():
            there = ", ".join(["best", "last", *store.names()])
            raise CheckpointError(f"{folder.path} has no checkpoint '{checkpoint}'. There is: {there}")
        return checkpoint, store.load(checkpoint)
    name = store.pointed(checkpoint)
    if name is None and store.has_pointer(checkpoint):
        raise CheckpointError(
            f"{folder.checkpoints / checkpoint}.json is damaged. Name a checkpoint: --checkpoint with one of "
            f"{', '.join(store.names())}"
        )
    if name is None and checkpoint == "best" and store.pointed("last") is not None:
        log.warning("%s keeps no best weights: taking the last", folder.path)
        name = store.pointed("last")
    if name is None:
        if folder.read_result().get("status") == "done":
            raise CheckpointError(f"{folder.path} keeps no checkpoint: it was trained without callbacks.checkpoint")
        raise CheckpointError(f"{folder.path} has no checkpoint yet. Go on with it: dltrain resume {folder.path}")
    return name, store.load(name)
