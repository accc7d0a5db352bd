"""``summary``: says at the start what is trained on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting
from dltrain.console import log
from dltrain.data import Data, InputSpec, Task
from dltrain.models import FittedModel, RuleModel, count_parameters, device_of, notes_of

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class SummarySettings:
    name: str = setting("Name of the callback.")


@registry.register("callbacks", "summary", SummarySettings)
class Summary(Callback):
    """Logs the data, the model, the device and the folder, a line each."""

    def on_fit_start(self, trainer: Trainer) -> None:
        if trainer.rollback_rate is not None:  # all has been said
            return
        config, data = self.context.config, self.context.data
        log.info("data    %s: %s; %s", config.data.name, describe_task(data.task), describe_splits(data))
        log.info(
            "model   %s: %s parameters%s; %s",
            config.model.name,
            f"{count_parameters(trainer.model):,}",
            _trained(trainer),
            _learns(trainer.model, config),
        )
        for note in notes_of(trainer.model):
            log.info("        %s", note)
        device = device_of(trainer.model)
        count = torch.get_num_threads()
        threads = f", {count} thread{'s' if count > 1 else ''}" if device.type == "cpu" else ""
        log.info("device  %s, %s%s", device.type, config.device.precision, threads)
        log.info("run     %s", self.context.folder.path)
        if trainer.state.step:
            log.info("resumed at epoch %s, step %s", trainer.state.epoch, trainer.state.step)


def _learns(model: nn.Module, config: Config) -> str:
    """Returns what changes the weights."""
    if isinstance(model, FittedModel):
        return "fitted at once"
    by = "its own rule" if isinstance(model, RuleModel) else f"optimizer {config.optimizer.name}"
    return f"{by}, lr {config.optimizer.lr:g}"


def _trained(trainer: Trainer) -> str:
    """Returns how many parameters are trained, where it is a part of them or will be."""
    trained, later = count_parameters(trainer.model, trained=True), ""
    if trainer.freezing is not None and trainer.freezing.described():
        later = f", {trainer.freezing.described()}"
    elif not 0 < trained < count_parameters(trainer.model):
        return ""
    return f", {trained:,} of them trained{later}"


def describe_task(task: Task) -> str:
    """Returns what is predicted from what, in words."""
    if isinstance(task.inputs, dict):
        shape = " and ".join(f"{name} {_shape(spec)}" for name, spec in task.inputs.items())
    else:
        shape = _shape(task.inputs)
    if task.heads:
        return f"{', '.join(f'{name} ({_output(head)})' for name, head in task.heads.items())} from {shape}"
    if task.kind == "next_token":
        places = "at each of" if task.per_step else "from"
        return f"next token out of {task.output_size} {places} {shape}{'' if task.per_step else ' before it'}"
    return f"{_output(task)} from {shape}" + (f" ({task.kind})" if task.class_names else "")


def _output(task: Task) -> str:
    if task.kind == "regression":
        return f"{task.output_size} value{'s' if task.output_size > 1 else ''}"
    if task.kind == "seq2seq":
        return f"a sequence of {task.output_size} tokens"
    return f"{max(2, task.output_size)} classes"


def _shape(spec: InputSpec) -> str:
    return "x".join(map(str, spec.shape))


def describe_splits(data: Data) -> str:
    validation = "the same evaluated" if data.evaluates_training_data else f"{len(data.validation):,} validation"
    test = f", {len(data.test):,} test" if data.test is not None else ""
    return f"{len(data.train):,} training, {validation}{test} samples"
