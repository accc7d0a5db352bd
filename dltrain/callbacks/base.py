"""The callback contract. The hooks fire in this order::

    on_fit_start
    for each epoch:
        on_epoch_start
        for each batch: compute; after an optimizer update:
            on_step_end
            [a row of figures is due: on_validation_end]
            on_checkpoint
        [a row of figures is due: on_validation_end]
        on_epoch_end
        on_checkpoint
    on_checkpoint
    on_fit_end, or on_exception

Figures are plain floats in ``trainer.row`` before any hook sees them, and ``on_checkpoint`` fires after every
callback has had its say, so the order of callbacks in the YAML never changes a result. A callback reads the
trainer; the one thing it may do to it is ``trainer.request_stop(reason)``. A setting named ``monitor`` is the name
of a logged metric, and is checked against the task before the training starts.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dltrain import registry, user_code
from dltrain.board import Board
from dltrain.checkpoint import CheckpointStore
from dltrain.config import Config, TrainerSettings
from dltrain.data import Data
from dltrain.errors import did_you_mean
from dltrain.models import FittedModel
from dltrain.run_folder import RunFolder

if TYPE_CHECKING:
    from dltrain.losses import Loss
    from dltrain.trainer import Trainer

HOOKS = (
    "on_fit_start",
    "on_epoch_start",
    "on_step_end",
    "on_validation_end",
    "on_epoch_end",
    "on_checkpoint",
    "on_fit_end",
    "on_exception",
)


@dataclass(frozen=True)
class RunContext:
    """What a callback is built with, besides its settings.

    Attributes:
        config: the whole config.
        container: the same as plain values, as in ``config.yaml``.
        board: what goes to TensorBoard is written with it; opened in ``on_fit_start``, closed at the end.
    """

    folder: RunFolder
    store: CheckpointStore
    config: Config
    container: dict[str, Any]
    data: Data
    board: Board


def check_averaging(callbacks: dict[str, Any], trainer: TrainerSettings, model: nn.Module | None) -> list[str]:
    """Returns the mistakes of callbacks that average the weights, before they are built.

    Args:
        callbacks: the settings of each, by name.
        model: None where it could not be built.
    """
    averaging = []
    for key, settings in callbacks.items():
        kind = registry.find("callbacks", settings.name).factory
        if isinstance(kind, type) and issubclass(kind, Callback) and kind.overrides("averaged_weights"):
            averaging.append(key)
    problems = [
        f"callbacks.{key}: the weights have one average, and callbacks.{averaging[0]} is one. Leave one of them out"
        for key in averaging[1:]
    ]
    if isinstance(model, FittedModel):
        return [
            f"callbacks.{key}: the model is fitted in one step, so there is nothing to average" for key in averaging
        ]
    for key in averaging:
        start, length = getattr(callbacks[key], "start_epoch", None), trainer.max_epochs
        if start is not None and length is not None and start >= length:
            problems.append(
                f"callbacks.{key}.start_epoch = {start}: nothing would be averaged in trainer.max_epochs = {length}. "
                f"Start sooner, as with callbacks.{key}.start_epoch={3 * length // 4}"
            )
    return problems


def check_callbacks(
    config: Config, data: Data, model: nn.Module | None, loss: Loss | None
) -> tuple[list[str], list[str]]:
    """Returns the mistakes of callbacks in their own words, and the names of the figures that they add to a row.

    Args:
        model, loss: None where they could not be built.
    """
    problems, figures = [], []
    for key, settings in config.callbacks.items():
        kind = registry.find("callbacks", settings.name).factory
        if isinstance(kind, type) and issubclass(kind, Callback):
            problems += _wrong_hooks(f"callbacks.{key}", kind)
            problems += kind.mistakes(f"callbacks.{key}", settings, config=config, data=data, model=model, loss=loss)
            figures += kind.figure_names(settings)
    return problems, figures


def _wrong_hooks(key: str, kind: type[Callback]) -> list[str]:
    """Returns the mistakes of a class that defines hooks: names that are none, and arguments that do not fit."""
    problems = []
    for name in (name for name in dir(kind) if name.startswith("on_")):
        method = getattr(kind, name)
        if name in HOOKS and not kind.overrides(name):
            continue
        if name not in HOOKS:
            where, near = _where(key, kind, name), did_you_mean(name, HOOKS)
            problems.append(f"{where} is no hook and would never be called.{near} The hooks are {', '.join(HOOKS)}")
            continue
        wanted = list(inspect.signature(getattr(Callback, name)).parameters)
        try:
            inspect.signature(method).bind(*wanted)
        except (TypeError, ValueError):
            where = _where(key, kind, name)
            problems.append(f"{where} is called with ({', '.join(wanted)}): let it take these")
    return problems


def _where(key: str, kind: type[Callback], name: str) -> str:
    return f"{key}: {kind.__name__}.{name}{user_code.place(getattr(kind, name))}"


class Callback:
    """Base of all callbacks: hooks that do nothing. A hook that is not overridden costs nothing."""

    def __init__(self, settings: Any, *, context: RunContext) -> None:
        """
        Raises:
            TypeError: the class defines an ``on_...`` method that is no hook, which would never be called.
        """
        self.settings, self.context = settings, context
        unknown = [name for name in dir(self) if name.startswith("on_") and name not in HOOKS]
        if unknown:
            raise TypeError(f"{type(self).__name__}.{unknown[0]} is no hook. The hooks are {', '.join(HOOKS)}")

    @classmethod
    def overrides(cls, hook: str) -> bool:
        return getattr(cls, hook) is not getattr(Callback, hook)

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        """Returns what of these settings does not go with the data, the model or the rest of the config.

        It is asked before the run has a folder; its answers are reported with all other mistakes of the config.

        Args:
            key: of the settings, such as callbacks.early_stopping; each answer begins with it.
            model, loss: None where they could not be built.
        """
        return []

    @classmethod
    def figure_names(cls, settings: Any) -> list[str]:
        """Returns the names of ``figures``, so that settings such as ``monitor`` can name them."""
        return []

    def figures(self, row: dict[str, float]) -> dict[str, float]:
        """Returns figures that this callback adds to a row, by a name such as "val_to_train/loss".

        Args:
            row: the figures of training and validation, "train/..." and "val/...".
        """
        return {}

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step, or the first after a resume."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before an epoch's first batch, or the first of the rest of it after a resume."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After each optimizer update."""

    def on_validation_end(self, trainer: Trainer) -> None:
        """After a row of figures: ``trainer.row``; the model holds the weights that were evaluated."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After each epoch; ``trainer.state.epoch`` counts it already."""

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Where the whole state may be saved: all callbacks have seen the step or the epoch."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, and before the test split is evaluated; not after an error."""

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """When an error ends the training."""

    def best_weights(self) -> dict[str, torch.Tensor] | None:
        """Returns weights that should be evaluated at the end instead of the last ones, or None."""
        return None

    def averaged_weights(self, trainer: Trainer) -> dict[str, torch.Tensor] | None:
        """Returns weights that should be evaluated instead of the model's, some or all of them by name, or None.

        The trainer asks before each evaluation, and the model holds them until ``on_validation_end`` is over. A run
        has one callback at most that overrides this. ``state_dict`` has them under ``averages.KEY``.
        """
        return None

    def result(self) -> dict[str, Any]:
        """Returns what this callback has to say in ``result.json``."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know: tensors, numbers, text, lists and dicts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` returned."""
