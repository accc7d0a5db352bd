"""Ends trials early that fall behind the others, and tells TensorBoard what was swept."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner

from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import TrainerSettings
from dltrain.history import History

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

# Each time, halving keeps the best one in so many, as its authors and those of Hyperband do.
_KEEPS_ONE_IN = 3

# Trials that median waits for before it ends any; Optuna's own number.
_FIRST_WHOLE = 5


def build(name: str, evaluations: int, first: int | None) -> BasePruner:
    """Returns a pruner.

    Args:
        name: "median"; "halving": successive halving, asynchronous (Li et al. 2020, arXiv:1810.05934); "hyperband" (Li
            et al. 2018, arXiv:1603.06560).
        evaluations: that a trial has, at most.
        first: how many a trial has at least; None takes a ninth of them, for median a tenth.
    """
    if name == "median":
        return MedianPruner(_FIRST_WHOLE, n_warmup_steps=first or max(1, evaluations // 10))
    least = min(evaluations, first or max(1, evaluations // _KEEPS_ONE_IN**2))
    if name == "halving":
        return SuccessiveHalvingPruner(least, _KEEPS_ONE_IN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return HyperbandPruner(least, evaluations, _KEEPS_ONE_IN)


def evaluations_of(settings: TrainerSettings, updates: int) -> int:
    """Returns how many rows of figures a training has, at most.

    Args:
        updates: of the weights in an epoch.
    """
    limits = [settings.max_steps, settings.max_epochs and settings.max_epochs * updates]
    steps = min(limit for limit in limits if limit)
    every = [settings.evaluate_every_steps or 0, (settings.evaluate_every_epochs or 0) * updates]
    distances = [distance for distance in every if distance]
    both = steps // math.lcm(*distances) if len(distances) == 2 else 0  # a row at both counts once
    return max(1, sum(steps // distance for distance in distances) - both)


@dataclass(frozen=True)
class ObserverSettings:
    name: str = "sweep"


class TrialObserver(Callback):
    """Watches a trial's run for the sweep; of it nothing stands in the run's config or changes a bit of its results."""

    def __init__(
        self,
        context: RunContext,
        metric: str,
        values: dict[str, str],
        better: Callable[[float, float], float],
        report: Callable[[int, float, BasePruner | None], bool] | None,
        pruner: Callable[[int], BasePruner],
    ) -> None:
        """
        Args:
            values: what was swept, by key.
            better: of two values of the metric, the better one.
            report: notes an evaluation, counted from 1, and returns whether the trial should end; None where nothing
                is pruned.
            pruner: makes one for as many evaluations as there will be.
        """
        super().__init__(ObserverSettings(), context=context)
        self._metric, self._values, self._better, self._report = metric, values, better, report
        self._make_pruner = pruner
        self._pruner: BasePruner | None = None
        self._evaluations, self._last = 0, 1
        self._best: float | None = None
        self._pruned: str | None = None
        self._has_board = any(other.name == "tensorboard" for other in context.config.callbacks.values())

    def on_fit_start(self, trainer: Trainer) -> None:
        updates = -(-trainer.train.num_batches // trainer.settings.accumulate)
        self._last = evaluations_of(trainer.settings, updates)
        self._pruner = self._make_pruner(self._last) if self._report is not None else None
        value = None
        for row in History(self.context.folder.metrics).rows():  # of before a resume
            value = row.get(self._metric)
            self._note(value)
        if self._has_board:
            self.context.board.open(trainer)
        if isinstance(value, float):  # where it was killed after it should have ended, and before it had
            self._prune_if_behind(trainer, value)

    def on_validation_end(self, trainer: Trainer) -> None:
        value = trainer.row[self._metric]
        self._note(value)
        self._prune_if_behind(trainer, value)

    def _prune_if_behind(self, trainer: Trainer, value: float) -> None:
        if self._report is None or value != value:
            return
        # At its end there is nothing more to save, and a training that is complete has a place among the others.
        is_over = self._evaluations >= self._last or trainer.stop_reason is not None
        if self._report(self._evaluations, value, None if is_over else self._pruner) and not is_over:
            count = f"{self._evaluations} evaluation{'s' if self._evaluations > 1 else ''}"
            self._pruned = f"pruned after {count}: {self._metric} {value:.6g} falls behind"
            trainer.request_stop(self._pruned)

    def _note(self, value: Any) -> None:
        self._evaluations += 1
        if isinstance(value, float) and value == value:
            self._best = value if self._best is None else self._better(self._best, value)

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._has_board:
            if self._best is not None and trainer.completed:
                self.context.board.hyperparameters(self._values, {self._metric: self._best}, trainer.state.step)
            self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        if self._has_board:
            self.context.board.close()

    def result(self) -> dict[str, Any]:
        return {} if self._pruned is None else {"pruned": self._pruned}
