"""``ema`` and ``swa``: averages of the weights, which are evaluated and kept instead of the weights themselves.

The training goes on with the plain weights, and its figures are theirs; those of the validation and test splits, and
the best checkpoint, are the average's. The statistics of batch normalisation are averaged like weights. That is not
what they would be for the averaged weights, though it comes near where these move little; ``swa`` can compute them.

A checkpoint callback keeps what was best at any evaluation, and that may have been before the averaging started;
with ``callbacks.checkpoint.keep_best=0`` the test split is evaluated with the average in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dltrain import averages, registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log

if TYPE_CHECKING:
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class EMASettings:
    name: str = setting("Name of the callback.")
    start_epoch: int = setting("Epochs after which averaging starts; before, the plain weights are evaluated.", min=0)
    decay: float = setting(
        "Share of the average that each update keeps; the rest is of the new weights.", min=0, below=1
    )
    warmup: bool = setting("Keeps less at first: after t updates at most (1 + t) / (10 + t), as TensorFlow does.")
    every_steps: int = setting("Update the average after every so many optimizer updates.", min=1)


@dataclass(frozen=True)
class SWASettings:
    name: str = setting("Name of the callback.")
    start_epoch: int | None = setting(
        "Epochs after which averaging starts; before, the plain weights are evaluated. null takes three quarters of "
        "the training.",
        min=0,
    )
    every_steps: int | None = setting(
        "Take the weights into the average after every so many optimizer updates; null takes them after each epoch.",
        min=1,
    )
    renew_statistics: bool = setting(
        "Compute the statistics of batch normalisation for the averaged weights before each evaluation, with a pass "
        "over the training data; false averages them too."
    )


class Averaging(Callback):
    """What both averages do: hold one, and give it to be evaluated."""

    settings: EMASettings | SWASettings

    def __init__(self, settings: EMASettings | SWASettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self.start_epoch = 0
        self.average: averages.Weights | None = None
        self.updates = 0
        self._own: averages.Weights = {}

    def on_fit_start(self, trainer: Trainer) -> None:
        start = self.settings.start_epoch
        self.start_epoch = 3 * _num_epochs(trainer) // 4 if start is None else start
        self._own = averages.tensors_of(trainer.model)
        if self.average is not None:  # from a checkpoint
            self.average = {name: self.average[name].to(own.device) for name, own in self._own.items()}

    def begin(self) -> None:
        """Makes the weights of this moment the average."""
        self.average = {name: own.clone() for name, own in self._own.items()}

    @torch.no_grad()
    def take(self, share: float) -> None:
        """Moves the average towards the weights of this moment by a share of the way."""
        assert self.average is not None
        torch._foreach_lerp_(list(self.average.values()), list(self._own.values()), share)
        self.updates += 1

    def averaged_weights(self, trainer: Trainer) -> averages.Weights | None:
        return self.average

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.average is None and trainer.completed:
            log.warning(
                "%s averaged nothing: the training ended before, and the plain weights were evaluated. It starts after "
                "epoch %s (start_epoch)",
                self.settings.name,
                self.start_epoch,
            )

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, averages.KEY: self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates, self.average = state["updates"], state[averages.KEY]


def _num_epochs(trainer: Trainer) -> int:
    """Returns how many epochs the training has at most, the last one perhaps in part."""
    limits = trainer.settings
    updates = -(-trainer.train.num_batches // limits.accumulate)
    by_steps = -(-limits.max_steps // updates) if limits.max_steps is not None else None
    return min(length for length in (limits.max_epochs, by_steps) if length is not None)


@registry.register("callbacks", "ema", EMASettings)
class EMA(Averaging):
    """An exponential moving average of the weights (Polyak and Juditsky 1992; with decay, as in Szegedy et al. 2016).

    average <- decay * average + (1 - decay) * weights, from the weights that the epoch after ``start_epoch`` begins
    with.
    """

    settings: EMASettings

    def on_epoch_start(self, trainer: Trainer) -> None:
        if self.average is None and trainer.state.epoch >= self.start_epoch:
            self.begin()

    def on_step_end(self, trainer: Trainer) -> None:
        if self.average is not None and trainer.state.step % self.settings.every_steps == 0:
            decay = self.settings.decay
            if self.settings.warmup:
                decay = min(decay, (1 + self.updates) / (10 + self.updates))
            self.take(1 - decay)


@registry.register("callbacks", "swa", SWASettings)
class SWA(Averaging):
    """Stochastic weight averaging: the mean of the weights at several points of the training (Izmailov et al. 2018).

    The paper lets the rate stay high while it averages, constant or in cycles: ``scheduler=constant``, or
    ``scheduler=cosine_restarts`` with ``every_steps`` as its period.
    """

    settings: SWASettings

    def __init__(self, settings: SWASettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._renewed = 0  # updates of the average when its statistics were computed

    def on_step_end(self, trainer: Trainer) -> None:
        state, every = trainer.state, self.settings.every_steps
        if self.average is None and state.epoch < self.start_epoch:  # once begun it goes on in a longer training too
            return
        if state.batch == trainer.train.num_batches if every is None else state.step % every == 0:
            if self.average is None:
                self.begin()
            self.take(1 / (self.updates + 1))

    def averaged_weights(self, trainer: Trainer) -> averages.Weights | None:
        if self.average is None or not self.settings.renew_statistics or self._renewed == self.updates:
            return self.average
        if averages.has_statistics(trainer.model):
            with averages.swapped(trainer.model, self.average):
                batches = trainer.train.batches(trainer.state.epoch)
                averages.renew_statistics(trainer.model, batches, trainer.autocast)
        self._renewed = self.updates
        return self.average

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "renewed": self._renewed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._renewed = state["renewed"]
