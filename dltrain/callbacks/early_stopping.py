"""``early_stopping``: ends a training that no longer gets better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log
from dltrain.metrics import is_higher_better

if TYPE_CHECKING:
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class EarlyStoppingSettings:
    name: str = setting("Name of the callback.")
    monitor: str = setting("Metric that must get better, such as val/loss or val/accuracy.")
    patience: int | None = setting("Stop after so many evaluations without a better value; null never stops.", min=1)
    min_change: float = setting("A value counts as better only if it is better by more than this.", min=0)
    restore_best: bool = setting(
        "Evaluate the best weights at the end, not the last; a checkpoint callback that keeps a best does so by itself."
    )


@registry.register("callbacks", "early_stopping", EarlyStoppingSettings)
class EarlyStopping(Callback):
    """Counts evaluations since the monitored metric was best."""

    settings: EarlyStoppingSettings

    def __init__(self, settings: EarlyStoppingSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self.higher_is_better = is_higher_better(settings.monitor)
        self.best: float | None = None
        self.waited = 0
        self._weights: dict[str, torch.Tensor] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        self._stop_if_waited(trainer)  # a run that was killed after its last save has stopped already

    def on_validation_end(self, trainer: Trainer) -> None:
        if self.settings.patience is None:
            return
        value = trainer.row[self.settings.monitor]
        if self._is_better(value):
            self.best, self.waited = value, 0
            if self.settings.restore_best:
                state = trainer.model.state_dict()
                self._weights = {name: tensor.detach().clone() for name, tensor in state.items()}
            return
        self.waited += 1
        self._stop_if_waited(trainer)

    def _stop_if_waited(self, trainer: Trainer) -> None:
        patience = self.settings.patience
        if patience is not None and self.waited >= patience:
            than = "at all" if self.best is None else f"than {self.best:.6g}"
            trainer.request_stop(
                f"early stopping: {self.settings.monitor} has not become better {than} for {self.waited} evaluations"
            )

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return value == value  # NaN is never better
        gain = value - self.best if self.higher_is_better else self.best - value
        return gain > self.settings.min_change

    def best_weights(self) -> dict[str, torch.Tensor] | None:
        return self._weights

    def state_dict(self) -> dict[str, Any]:
        return {
            "monitor": self.settings.monitor,
            "best": self.best,
            "waited": self.waited,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["monitor"] != self.settings.monitor:  # values of another metric say nothing about this one
            log.info("early_stopping counts anew: it monitored %s before", state["monitor"])
            return
        self.best, self.waited, self._weights = state["best"], state["waited"], state["weights"]
