"""The one training loop.

From ``fit`` to the optimizer a reader passes ``fit`` -> ``_train_epoch`` -> ``step`` -> the optimizer's update.
Nothing in the loop waits for the device: losses and metrics stay there until a row of figures is due.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from dltrain import averages, conditions, divergence, optimizers, seed
from dltrain.callbacks.base import HOOKS, Callback
from dltrain.config import TrainerSettings
from dltrain.data import Split, Task
from dltrain.divergence import Mishaps
from dltrain.durations import seconds_of
from dltrain.evaluate import evaluate
from dltrain.freezing import Freezing
from dltrain.history import History, Row
from dltrain.metrics import Metrics
from dltrain.models import FittedModel, device_of
from dltrain.schedulers import Schedule
from dltrain.steps import Step, place_in_update
from dltrain.weights import load_weights

# The loss is looked at for NaN after so many batches at the latest. Each look waits for the device once.
_CHECK_EVERY_BATCHES = 256


@dataclass
class TrainState:
    """Where the training is. Each counter has one meaning.

    Attributes:
        epoch: passes over the training data that are complete.
        batch: batches of the epoch now running that are done.
        step: optimizer updates, those that ``on_divergence=skip`` left out too.
        samples: training samples computed.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    samples: int = 0


class Trainer:
    """Trains a model on one split and evaluates it on others.

    Attributes:
        state: where the training is.
        mishaps: how often it was saved from diverging.
        row: the last row of figures; {} before the first.
        loss: the last batch's loss, on the device.
        stop_reason: why the training is to stop, or None.
        completed: whether it ended by itself, by a limit or a callback, and not by a signal or an error.
        time_is_up: whether it stops because ``max_time`` is used up.
        deadline: when that is, by ``time.monotonic``.
        rollback_rate: the rate to go on with in place of a trainer that diverged in this process; else None.
        test_figures: the final model's figures on the test split, by name; {} before the end or without a split.
        evaluation_metrics: of the split that was evaluated last; in ``on_validation_end`` the validation split.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        task: Task,
        step: Step,
        train: Split,
        validation: Split,
        test: Split | None,
        schedule: Schedule,
        learning_rate: float,
        callbacks: dict[str, Callback],
        history: History,
        freezing: Freezing | None = None,
        autocast: AbstractContextManager[Any] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.settings, self.task, self.step, self.schedule = settings, task, step, schedule
        self.train, self.validation, self.test = train, validation, test
        self.model: nn.Module = step.model
        self.learning_rate = self._configured_rate = learning_rate
        self.freezing = freezing
        self.fingerprint = fingerprint  # of the data
        self.rates = [group["initial_lr"] for group in step.optimizer.param_groups]  # as the config says
        self.callbacks, self.history, self.autocast = callbacks, history, autocast
        self.metrics = Metrics(task, step.loss)
        self.evaluation_metrics = Metrics(task, step.loss, evaluating=True)
        self.state = TrainState()
        self.mishaps = Mishaps()
        self.row: Row = {}
        self.loss: torch.Tensor | None = None
        self.stop_reason: str | None = None
        self.interrupted_by: int | None = None
        self._is_interrupted = False
        self.time_is_up = False
        self.rollback_rate: float | None = None
        self.completed = False
        self.test_figures: dict[str, float] = {}
        self.final_weights = "last"
        self._row_started = time.perf_counter()
        self._max_steps = settings.max_steps or float("inf")
        self.deadline = float("inf")
        self._averaging = next((name for name, c in callbacks.items() if c.overrides("averaged_weights")), None)
        self._hooks = {hook: [getattr(c, hook) for c in callbacks.values() if c.overrides(hook)] for hook in HOOKS}

    # --- the loop -----------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Trains until a limit is reached, a callback asks to stop, or a signal comes.

        Raises:
            DivergedError: the loss became NaN or infinite.
        """
        try:
            self._fire("on_fit_start")
            self._row_started = time.perf_counter()
            if self.rollback_rate is not None:
                self.set_base_learning_rate(self.rollback_rate)
            if self.settings.max_time is not None and self.deadline == float("inf"):
                self.deadline = time.monotonic() + seconds_of(self.settings.max_time)
            while not self._at_limit() and self.stop_reason is None:
                self._train_epoch()
                self._look_at_clock()
            self._finish()
        except BaseException as error:
            for hook in self._hooks["on_exception"]:
                with contextlib.suppress(Exception):  # the error that is under way says more than one of closing
                    hook(self, error)
            raise

    def _train_epoch(self) -> None:
        """Trains the rest of the current epoch, or up to the step at which the training must stop."""
        state, settings = self.state, self.settings
        every_steps, every_epochs = settings.evaluate_every_steps, settings.evaluate_every_epochs
        num_batches, row_due = self.train.num_batches, False
        skipping = settings.on_divergence == "skip"
        step, metrics, on_step_end = self.step, self.metrics, self._hooks["on_step_end"]
        self._fire("on_epoch_start")
        self._set_learning_rate("epoch", state.epoch)
        self.model.train()
        if self.freezing is not None:
            self.freezing.apply(state.epoch)
        for batch in self.train.batches(state.epoch, state.batch):
            if self.schedule.factor is not None:
                self._set_learning_rate("step", state.step)
            share, update = place_in_update(self.train, settings.accumulate, state.batch, batch.size)
            self.loss, outputs, terms = step(batch, share, update)
            if not step.is_bad:
                metrics.update(self.loss, outputs, batch.targets, terms)
            state.batch += 1
            state.samples += batch.size
            if state.batch % _CHECK_EVERY_BATCHES == 0:
                divergence.check_finite(self)
            if not update:
                continue
            state.step += 1
            if skipping:
                divergence.count_skipped(self)
            for hook in on_step_end:
                hook(self)
            row_due = every_steps is not None and state.step % every_steps == 0
            if state.batch < num_batches:  # else the epoch's end is the place to evaluate, to save and to stop
                if row_due:
                    self._log_row()
                self._look_at_clock()
                self._fire("on_checkpoint")
                if self.stop_reason is not None or state.step >= self._max_steps:
                    return
        state.epoch, state.batch = state.epoch + 1, 0
        if row_due or (every_epochs is not None and state.epoch % every_epochs == 0):
            self._log_row()
        self._fire("on_epoch_end")
        self._fire("on_checkpoint")

    def _finish(self) -> None:
        """Logs what is still due, then evaluates the test split with the best weights."""
        if self._is_interrupted or self.time_is_up:
            self._fire("on_checkpoint")
            self._fire("on_fit_end")
            return
        self.completed = True  # a signal from here on finds nothing more to train
        self.stop_reason = self.stop_reason or self._at_limit()
        self._fire("on_checkpoint")
        if self.row.get("step") != self.state.step:
            self._log_row(partial=True)
        self._fire("on_fit_end")
        self._load_final_weights()
        if self.test is not None:
            self.test_figures = self._evaluate(self.test)

    def _load_final_weights(self) -> None:
        """Loads the best weights where a callback has some, else their average where one makes it."""
        for name in sorted(self.callbacks):  # not in the order of the YAML, which never changes a result
            weights = self.callbacks[name].best_weights()
            if weights is not None:
                self.model.load_state_dict(weights)
                self.final_weights = name
                return
        average = self._averaged_weights()
        if self._averaging is not None and average is not None:
            self.model.load_state_dict(average, strict=False)
            self.final_weights = self._averaging

    # --- its parts ----------------------------------------------------------------------------------------

    def request_stop(self, reason: str, signal_number: int | None = None) -> None:
        """Asks the loop to stop after the current step; the first reason stands.

        A signal that comes when the training has been asked to end for another reason finds nothing more to train.
        """
        self._is_interrupted = self._is_interrupted or (signal_number is not None and self.stop_reason is None)
        self.stop_reason = self.stop_reason or reason
        self.interrupted_by = self.interrupted_by or signal_number

    def _look_at_clock(self) -> None:
        """Asks to stop where ``max_time`` is used up and something is left to train."""
        if time.monotonic() >= self.deadline and self.stop_reason is None and not self._at_limit():
            self.time_is_up = True
            self.request_stop(f"stopped after trainer.max_time={self.settings.max_time}")

    def _at_limit(self) -> str | None:
        """Returns which limit is reached, if one is."""
        if isinstance(self.model, FittedModel) and self.state.epoch:
            return f"fitted to all {self.train.num_samples:,} training samples"
        if self.settings.max_epochs is not None and self.state.epoch >= self.settings.max_epochs:
            return f"reached max_epochs={self.settings.max_epochs}"
        if self.state.step >= self._max_steps:
            return f"reached max_steps={self.settings.max_steps}"
        return None

    def set_base_learning_rate(self, learning_rate: float) -> None:
        """Trains with another rate than ``optimizer.lr`` from here on; each group keeps its ratio to it.

        The schedule follows, for it multiplies the base rate. A resumed run has it too, unless ``optimizer.lr`` is
        changed then.
        """
        for group, configured in zip(self.step.optimizer.param_groups, self.rates, strict=True):
            group["initial_lr"] = group["lr"] = configured / self._configured_rate * learning_rate
        self.learning_rate = learning_rate

    def _set_learning_rate(self, interval: str, position: int) -> None:
        if self.schedule.interval == interval and self.schedule.factor is not None:
            for group in self.step.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.schedule.factor(position)

    def _averaged_weights(self) -> dict[str, torch.Tensor] | None:
        return None if self._averaging is None else self.callbacks[self._averaging].averaged_weights(self)

    def _evaluate(self, split: Split) -> dict[str, float]:
        return evaluate(self.model, split, self.step.loss, self.evaluation_metrics, self.autocast)

    def _log_row(self, partial: bool = False) -> None:
        """Evaluates the weights, or their average, writes a row of figures and tells the callbacks.

        Args:
            partial: the row is due only because the training ends here. The sums of the epoch are kept then, so
                that a run that is extended goes on as if it had never ended.
        """
        divergence.check_finite(self)
        average = self._averaged_weights()
        with contextlib.nullcontext() if average is None else averages.swapped(self.model, average):
            self._write_row(partial)
        self.schedule.observe(self.row)

    def _write_row(self, partial: bool) -> None:
        figures = {f"train/{name}": value for name, value in self.metrics.compute().items()}
        figures.update({f"val/{name}": value for name, value in self._evaluate(self.validation).items()})
        for name in sorted(self.callbacks):
            figures.update(self.callbacks[name].figures(figures))
        now = time.perf_counter()
        self.row = {
            "epoch": self.state.epoch,
            "step": self.state.step,
            **optimizers.learning_rates(self.step.optimizer),
            **figures,
            "epoch_seconds": round(now - self._row_started, 6),
        }
        if partial:
            self.row["partial"] = True
        else:
            self.metrics.reset()
        self._row_started = now
        self.history.append(self.row)
        self._fire("on_validation_end")

    def check_weights(self) -> None:
        """
        Raises:
            DivergedError: a loss since the last row, or a weight, is NaN or infinite.
        """
        divergence.check_weights(self)

    def _fire(self, hook: str, *arguments: Any) -> None:
        for function in self._hooks[hook]:
            function(self, *arguments)

    # --- the whole state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Returns all that a resumed training needs to give the same bits.

        Raises:
            DivergedError: a loss or a weight is NaN or infinite, so the weights are not worth keeping.
        """
        self.check_weights()
        return {
            "progress": asdict(self.state),
            "mishaps": asdict(self.mishaps),
            "learning_rate": self.learning_rate,
            "row": self.row,
            "model": self.model.state_dict(),
            **self.step.state_dict(),
            "schedule": self.schedule.state_dict(),
            "metrics": self.metrics.state_dict(),
            "callbacks": {key: callback.state_dict() for key, callback in self.callbacks.items()},
            "callback_names": {key: callback.settings.name for key, callback in self.callbacks.items()},
            "random": seed.generator_states(),
            "made_with": conditions.of(self),
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[str]:
        """Takes over a state that ``state_dict`` returned; returns notes on what differs now.

        Raises:
            CheckpointError: it was saved for another model or another optimizer.
        """
        load_weights(self.model, state["model"])
        self.step.load_state_dict(state)
        self.state = TrainState(**state["progress"])
        self.mishaps = Mishaps(**state["mishaps"])
        self.row = state["row"]
        self.schedule.load_state_dict(state["schedule"])
        self.metrics.load_state_dict(move(state["metrics"], device_of(self.model)))
        notes = conditions.take_up_callbacks(self.callbacks, state["callbacks"], state["callback_names"])
        if state["made_with"]["rates"] == self.rates and state["learning_rate"] != self.learning_rate:
            self.set_base_learning_rate(state["learning_rate"])  # which was not that of the config
        notes += conditions.take_up_rates(self, state["made_with"])
        seed.restore_generators(state["random"])
        return notes + conditions.differences(state["made_with"], conditions.of(self))


def move(value: Any, device: torch.device) -> Any:
    """Returns a nested value with its tensors on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: move(item, device) for key, item in value.items()}
    return [move(item, device) for item in value] if isinstance(value, list) else value
