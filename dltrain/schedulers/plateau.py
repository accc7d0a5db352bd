"""``plateau``: the schedule that looks at a metric. Its state is saved with the training's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dltrain import registry
from dltrain.config import setting
from dltrain.history import Row
from dltrain.metrics import is_higher_better
from dltrain.schedulers.contract import Observer, SchedulerSettings


@dataclass(frozen=True)
class PlateauSettings(SchedulerSettings):
    monitor: str = setting("Metric that must get better, such as val/loss or val/accuracy.")
    patience: int = setting("The rate drops after so many evaluations without a better value.", min=1)
    gamma: float = setting("What the rate is multiplied with at each drop.", above=0, below=1)
    min_change: float = setting("A value counts as better only if it is better by more than this.", min=0)
    cooldown: int = setting("Evaluations after a drop that do not count towards the next.", min=0)
    lowest: float = setting("Share of the learning rate below which it does not drop.", min=0, max=1)


@registry.register("scheduler", "plateau", PlateauSettings)
class Plateau(Observer):
    """Drops by gamma when a metric no longer gets better (Keras and PyTorch: ReduceLROnPlateau)."""

    _STATE = ("factor", "current", "position", "best", "waited", "cooling")

    def __init__(self, settings: PlateauSettings, *, total: int) -> None:
        self.settings = settings
        self.factor = self.current = 1.0
        self.position = -1.0
        self.best: float | None = None
        self.waited = 0
        self.cooling = 0

    def __call__(self, position: float) -> float:
        if position != self.position:  # a drop in the middle of an epoch waits for the next, after a resume as well
            self.position, self.current = position, self.factor
        return self.current

    def observe(self, row: Row) -> None:
        value = row[self.settings.monitor]
        if self._is_better(value):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.cooling > 0:
            self.cooling, self.waited = self.cooling - 1, 0
        elif self.waited >= self.settings.patience:
            self.factor = max(self.settings.lowest, self.factor * self.settings.gamma)
            self.cooling, self.waited = self.settings.cooldown, 0

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return value == value  # NaN is never better
        gain = value - self.best if is_higher_better(self.settings.monitor) else self.best - value
        return gain > self.settings.min_change

    def begin_anew(self) -> None:
        self.factor = self.current = 1.0
        self.waited = self.cooling = 0

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._STATE:
            setattr(self, name, state[name])
