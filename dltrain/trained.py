"""Finished runs: their parts with trained weights."""

from __future__ import annotations

from dltrain import averages
from dltrain.assembly import Parts, build
from dltrain.checkpoint import load_state
from dltrain.config import Config
from dltrain.fingerprint import check_fingerprint
from dltrain.run_folder import RunFolder
from dltrain.weights import load_weights


def load_trained(folder: RunFolder, config: Config, checkpoint: str) -> tuple[Parts, str]:
    """Builds a run's parts with the weights of one of its checkpoints.

    Args:
        checkpoint: as for ``checkpoint.load_state``. Where the training averaged the weights, of the last one too it is
            the average that is taken.

    Returns:
        The parts, and the name of the checkpoint.

    Raises:
        CheckpointError: there is none, it is of another model, or the run's data have changed.
    """
    name, state = load_state(folder, checkpoint)
    parts = build(config)
    check_fingerprint(folder, parts.data)
    load_weights(parts.model, averages.weights_in(state))
    return parts, name
