"""``learning_rate_monitor``: the rate of every group of parameters while the schedule moves it, for TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

# What optimizers keep in their groups besides the rate: "d" is the factor that those which find their rate
# themselves multiply it with (D-Adaptation, Prodigy).
_MOMENTA = ("momentum", "betas", "d")


@dataclass(frozen=True)
class LearningRateMonitorSettings:
    name: str = setting("Name of the callback.")
    every_steps: int = setting("Write after every so many optimizer updates.", min=1)
    momentum: bool = setting("Writes momentum or betas too: at first, and whenever one of them changes.")


@registry.register("callbacks", "learning_rate_monitor", LearningRateMonitorSettings)
class LearningRateMonitor(Callback):
    """Writes what the update that a step counts was made with.

    ``learning_rate`` is that of parameters without a group of their own, ``learning_rate/<pattern>`` that of a group.
    """

    settings: LearningRateMonitorSettings

    def __init__(self, settings: LearningRateMonitorSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._step = 0  # at which was written last
        self._written: dict[str, float] = {}
        self._momenta: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer) -> None:
        self.context.board.open(trainer)
        if self.context.board.lost(self._step):
            self._write(self._written)

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.state.step % self.settings.every_steps:
            return
        self._step = trainer.state.step
        self._written = _rates(trainer.step.optimizer)
        if self.settings.momentum:
            momenta = _momenta(trainer.step.optimizer)
            self._written |= {tag: value for tag, value in momenta.items() if self._momenta.get(tag) != value}
            self._momenta = momenta
        self._write(self._written)

    def _write(self, figures: dict[str, float]) -> None:
        for tag, value in figures.items():
            self.context.board.scalar(tag, value, self._step)
        self.context.board.flush_if_due()

    def on_fit_end(self, trainer: Trainer) -> None:
        self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self.context.board.close()

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step, "written": self._written, "momenta": self._momenta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._step, self._written, self._momenta = state["step"], state["written"], state["momenta"]


def _rates(optimizer: Optimizer) -> dict[str, float]:
    return {_tag("learning_rate", group): float(group["lr"]) for group in optimizer.param_groups}


def _momenta(optimizer: Optimizer) -> dict[str, float]:
    figures = {}
    for group in optimizer.param_groups:
        for name in _MOMENTA:
            value = group.get(name)
            if name == "betas" and value is not None:
                for number, beta in enumerate(value, start=1):
                    figures[_tag(f"beta{number}", group)] = float(beta)
            elif value is not None:
                figures[_tag(name, group)] = float(value)
    return figures


def _tag(name: str, group: dict[str, Any]) -> str:
    pattern = group.get("pattern")
    return f"{name}/{pattern}" if pattern else name
