"""A trained model without its data: what a run folder keeps is enough to predict new inputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dltrain import averages, device, registry, saved
from dltrain.checkpoint import load_state
from dltrain.config import Config
from dltrain.data import Task, Tensors
from dltrain.errors import CheckpointError
from dltrain.evaluate import outputs_of
from dltrain.losses import Loss
from dltrain.models import count_parameters
from dltrain.run_folder import RunFolder
from dltrain.weights import load_weights


@dataclass(frozen=True)
class Trained:
    """
    Attributes:
        kept: what the data set keeps of its preprocessing.
        checkpoint: the name of the one that the weights are from.
    """

    folder: RunFolder
    config: Config
    task: Task
    kept: dict[str, Any]
    model: nn.Module
    loss: Loss
    device: torch.device
    checkpoint: str

    @functools.cached_property
    def autocast(self) -> AbstractContextManager[Any] | None:
        return device.autocast(self.device, self.config.device.precision)

    @torch.inference_mode()
    def outputs(self, inputs: Tensors) -> Tensors:
        """Returns what the model says of a batch, on the CPU."""
        outputs = outputs_of(self.model, moved(inputs, self.device), self.autocast)
        return moved(outputs, torch.device("cpu"))

    def keeping(self, read: Callable[[dict[str, Any]], Any]) -> Any:
        """Returns what a function makes of the preprocessing that the run kept.

        Raises:
            CheckpointError: it is not what a training writes.
        """
        try:
            return read(self.kept)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{self.folder.task} is damaged: its preprocessing cannot be read ({type(error).__name__}: {error})"
            ) from error


def load(folder: RunFolder, config: Config, checkpoint: str) -> Trained:
    """Builds the model of a run with the weights of one of its checkpoints, in evaluation mode.

    Args:
        checkpoint: as for ``checkpoint.load_state``; where the training averaged the weights, it is their average.

    Raises:
        CheckpointError: there is none, or it is of another model.
        MachineError: the device cannot be used.
    """
    kept = folder.read_task().get("preprocessing", {})
    try:
        task = saved.saved_task(folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder.task} is damaged: its task cannot be read ({error})") from error
    target = device.choose(config.device)
    device.keep_freed_memory()
    name, state = load_state(folder, checkpoint)
    settings = config.model
    if getattr(settings, "pretrained", False):  # its first weights are not needed, and might have to be fetched
        settings = dataclasses.replace(settings, pretrained=False)
    model: nn.Module = registry.build("model", settings, task=task)
    load_weights(model, averages.weights_in(state))
    model = model.to(target).eval()
    loss: Loss = registry.build("loss", config.loss, task=task)
    device.set_threads(config.device.threads, count_parameters(model), config.trainer.evaluation_batch_size)
    return Trained(folder, config, task, kept, model, loss, target, name)


def moved(tensors: Tensors, target: torch.device) -> Tensors:
    if isinstance(tensors, dict):
        return {name: tensor.to(target) for name, tensor in tensors.items()}
    return tensors.to(target)
