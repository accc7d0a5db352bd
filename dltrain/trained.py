"""Finished runs: their parts with trained weights."""

from __future__ import annotations

from dltrain import averages, device, registry
from dltrain.assembly import Parts, Shared, build, build_model
from dltrain.checkpoint import load_state
from dltrain.config import Config
from dltrain.data import Data
from dltrain.fingerprint import check_fingerprint
from dltrain.losses import Loss
from dltrain.models import count_parameters
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


def load_trained_on(folder: RunFolder, config: Config, checkpoint: str, data: Data) -> tuple[Parts, str]:
    """Builds a run's parts as ``load_trained`` does, with data that need not be those that it was trained on.

    What only a training needs, such as its callbacks, is not looked at.

    Args:
        data: with the task of the run, as its preprocessing makes them.

    Raises:
        CheckpointError: there is none, or it is of another model.
        ConfigError: a target is none that the loss can take.
        MachineError: the device cannot be used.
    """
    target = device.choose(config.device)
    device.keep_freed_memory()
    name, state = load_state(folder, checkpoint)
    model = build_model(config, data, target)
    load_weights(model, averages.weights_in(state))
    loss: Loss = registry.build("loss", config.loss, task=data.task)
    loss.check_data(data)
    device.set_threads(config.device.threads, count_parameters(model), config.trainer.evaluation_batch_size)
    return Parts(config, target, data, model, loss, Shared()), name
