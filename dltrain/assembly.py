"""The composition root: config -> data -> model -> loss -> optimizer -> step -> trainer, in that order."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dltrain import (
    device,
    freezing,
    gradient_free,
    optimizers,
    registry,
    schedulers,
    seed,
    steps,
    transfer,
    trial,
)
from dltrain.board import Board
from dltrain.callbacks.base import Callback, RunContext, check_averaging, check_callbacks
from dltrain.checkpoint import CheckpointStore
from dltrain.config import Config
from dltrain.data import Data, Split
from dltrain.errors import ConfigError
from dltrain.fingerprint import fingerprints, together
from dltrain.history import History
from dltrain.losses import Loss, penalties
from dltrain.metrics import check_monitor
from dltrain.models import FittedModel, count_parameters
from dltrain.run_folder import RunFolder
from dltrain.trainer import Trainer


class Shared:
    """What the runs of one process share: a sweep reads its data and describes its machine once, and not each time.

    Attributes:
        environment: what the environment is, once it was asked; {} before.
        observers: make callbacks that watch each run besides those of its config, of which it knows nothing.
    """

    def __init__(self, observers: tuple[Callable[[RunContext], Callback], ...] = ()) -> None:
        self.environment: dict[str, Any] = {}
        self.observers = observers
        self._settings: Any = None
        self._data: Data | None = None
        self._fingerprints: dict[str, str] | None = None

    def load(self, settings: Any) -> Data:
        """Returns the data set of these settings, which is read where that of the run before was another one.

        Raises:
            DataError: it cannot be used.
        """
        if self._data is None or settings != self._settings:
            self._data = None  # two at once may be too much
            self._data = registry.build("data", settings)
            self._settings, self._fingerprints = settings, None
        return self._data

    def fingerprints(self, data: Data) -> dict[str, str]:
        """Of the data: reads all samples once."""
        if data is not self._data:
            return fingerprints(data)
        if self._fingerprints is None:
            self._fingerprints = fingerprints(data)
        return self._fingerprints


@dataclass(frozen=True)
class Parts:
    """What a config describes, built, before any folder is made."""

    config: Config
    device: torch.device
    data: Data
    model: nn.Module
    loss: Loss
    shared: Shared

    @functools.cached_property
    def fingerprints(self) -> dict[str, str]:
        return self.shared.fingerprints(self.data)

    def split(self, name: str, *, shuffle: bool = False) -> Split:
        """Returns the batches of "train", "validation" or "test"."""
        trainer = self.config.trainer
        return self.data.splits[name].split(
            batch_size=trainer.batch_size if shuffle else trainer.evaluation_batch_size,
            seed=self.config.seed if shuffle else None,
            device=self.device,
        )


def build(config: Config, shared: Shared | None = None) -> Parts:
    """Builds data, model and loss, and checks what can be checked only then.

    Args:
        shared: with other runs of this process.

    Raises:
        ConfigError: parts that do not fit each other, or a monitored metric that is never logged.
        DataError: the data cannot be used.
        MachineError: the device cannot be used.
    """
    target = device.choose(config.device)
    device.keep_freed_memory()
    shared = shared or Shared()
    data = shared.load(config.data)
    problems: list[str] = []
    model = loss = None
    with _collected(problems):
        model = build_model(config, data, target)
    with _collected(problems):
        loss = registry.build("loss", config.loss, task=data.task)
        loss.check_data(data)
    misused, figures = check_callbacks(config, data, model, loss)
    for key, monitor in _monitors(config):
        with _collected(problems):
            check_monitor(key, monitor, data.task, loss, figures)
    problems += misused
    problems += check_averaging(config.callbacks, config.trainer, model)
    if model is not None:
        few = data.validation.head(2).map(lambda tensor: tensor.to(target))
        misfits = trial.trial_pass(model, few, data.task)
        if not misfits:
            misfits = trial.single_sample_batch(model, few.inputs, len(data.train), config.trainer.batch_size)
            misfits += trial.without_gradient(model, few.inputs)
        problems += misfits
        problems += gradient_free.mistakes(config, model, data, loss)
        problems += [] if isinstance(model, FittedModel) else list(_waiting_in_vain(config))
    if problems or model is None or loss is None:
        raise ConfigError(*problems)
    config = gradient_free.settled(config, model, data)
    size = count_parameters(model)
    if isinstance(model, FittedModel):  # which may compare each sample with each
        size = len(data.train)
    device.set_threads(config.device.threads, size, min(config.trainer.batch_size, len(data.train)))
    return Parts(config, target, data, model, loss, shared)


def build_model(config: Config, data: Data, target: torch.device) -> nn.Module:
    """Builds the model with the first weights that the seed gives it; this starts the training's chance anew.

    Raises:
        ConfigError: it does not fit the data.
    """
    seed.seed_everything(config.seed)
    model: nn.Module = registry.build("model", config.model, task=data.task).to(target)
    freezing.freeze(model, config.transfer)
    return model


def _watching(config: Config) -> dict[str, Any]:
    """Returns the settings of what may look at figures, by key."""
    return {**{f"callbacks.{name}": own for name, own in config.callbacks.items()}, "scheduler": config.scheduler}


def _waiting_in_vain(config: Config) -> Iterator[str]:
    """Yields a mistake for each that counts evaluations, where there are none before the end."""
    if config.trainer.evaluate_every_epochs is not None or config.trainer.evaluate_every_steps is not None:
        return
    for key, settings in _watching(config).items():
        patience = getattr(settings, "patience", None)
        if patience is not None and hasattr(settings, "monitor"):
            without = "choose another scheduler" if key == "scheduler" else f"leave {key} out"
            yield (
                f"{key}.patience = {patience}: it counts evaluations, and there are none before the end, for "
                "trainer.evaluate_every_epochs and trainer.evaluate_every_steps are null. Set "
                f"trainer.evaluate_every_epochs=1, or {without}"
            )


def _monitors(config: Config) -> Iterator[tuple[str, str]]:
    """Yields the metrics that something watches, each after the key of the setting that names it."""
    if config.sweep.metric is not None:
        yield "sweep.metric", config.sweep.metric
    for key, settings in _watching(config).items():
        if hasattr(settings, "monitor"):
            yield f"{key}.monitor", settings.monitor


@contextlib.contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def start_from(parts: Parts) -> tuple[Path | None, list[str]]:
    """Gives a new run's model the weights of ``model.init_from``.

    Returns:
        Which file or run that is, and what was loaded; None and nothing where the model starts anew.

    Raises:
        ConfigError, CheckpointError: see ``transfer``.
    """
    init_from = parts.config.transfer.init_from
    if init_from is None:
        return None, []
    source = transfer.source(init_from)
    return source, transfer.load_first_weights(parts.model, source)


def build_step(parts: Parts) -> steps.Step:
    """Builds the optimizer and the step around it."""
    config = parts.config
    step = gradient_free.build_step(parts.model, parts.loss, config.optimizer.lr)
    if step is not None:
        return step
    optimizer = optimizers.build(
        config.optimizer,
        parts.model.named_parameters(),
        config.parameter_groups.groups,
        later=freezing.trained_later(parts.model, config.transfer),
    )
    freezing.check_some_train(parts.model, config.transfer, optimizer)
    return steps.build(
        parts.model,
        parts.loss,
        optimizer,
        clip_norm=config.trainer.clip_norm,
        accumulate=config.trainer.accumulate,
        autocast=device.autocast(parts.device, config.device.precision),
        penalty=penalties.build(parts.model, config.penalties),
        on_divergence=config.trainer.on_divergence,
    )


def build_trainer(parts: Parts, step: steps.Step, folder: RunFolder, container: dict[str, Any]) -> Trainer:
    """Builds the trainer of a run folder."""
    config, settings = parts.config, parts.config.trainer
    store = CheckpointStore(folder.checkpoints)
    context = RunContext(folder, store, config, container, parts.data, Board(folder.tensorboard))
    callbacks: dict[str, Callback] = {
        name: registry.build("callbacks", callback, context=context) for name, callback in config.callbacks.items()
    }
    for observer in (make(context) for make in parts.shared.observers):
        callbacks[f"({observer.settings.name})"] = observer  # which no callback of a config is called
    train = parts.split("train", shuffle=True)
    schedule = schedulers.build(
        config.scheduler,
        max_epochs=settings.max_epochs,
        max_steps=settings.max_steps,
        epoch_steps=-(-train.num_batches // settings.accumulate),
    )
    return Trainer(
        settings,
        task=parts.data.task,
        step=step,
        train=train,
        validation=parts.split("validation"),
        test=parts.split("test") if parts.data.test is not None else None,
        schedule=schedule,
        learning_rate=config.optimizer.lr,
        callbacks=callbacks,
        history=History(folder.metrics),
        freezing=freezing.build(parts.model, config.transfer, step.parameters),
        autocast=step.autocast,
        fingerprint=together(parts.fingerprints),
    )
