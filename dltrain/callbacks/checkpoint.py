"""``checkpoint``: saves the whole state now and then, and the weights that were best."""

from __future__ import annotations

import time
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
class CheckpointSettings:
    name: str = setting("Name of the callback.")
    monitor: str = setting("Metric whose best value decides the best weights, such as val/loss or val/accuracy.")
    every_epochs: int | None = setting("Save after every so many epochs; null does not.", min=1)
    every_steps: int | None = setting("Save after every so many optimizer updates; null does not.", min=1)
    every_seconds: float | None = setting("Save when so many seconds have gone by, within an epoch too.", above=0)
    min_seconds: float = setting(
        "Saves by epochs or steps that would come sooner than so many seconds after the last are left out; the end "
        "of the training is always saved.",
        min=0,
    )
    keep_last: int = setting("How many of the newest checkpoints to keep.", min=1)
    keep_best: int = setting("How many of the best weights to keep; 0 keeps none.", min=0)


@dataclass
class _Best:
    """Weights that are among the best.

    Attributes:
        weights: a copy, until it is written to disk.
    """

    value: float
    epoch: int
    step: int
    weights: dict[str, torch.Tensor] | None = None

    @property
    def checkpoint(self) -> str:
        return f"best-step-{self.step:08d}"


@registry.register("callbacks", "checkpoint", CheckpointSettings)
class Checkpoint(Callback):
    """Writes the best weights first, then the whole state, then prunes: nothing is lost at any instant."""

    settings: CheckpointSettings

    def __init__(self, settings: CheckpointSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self.higher_is_better = is_higher_better(settings.monitor)
        self.best: list[_Best] = []
        self._saved: list[str] = []
        self._last_save = time.monotonic()

    def on_fit_start(self, trainer: Trainer) -> None:
        self._last_save = time.monotonic()
        store = self.context.store
        if self.best:
            store.point("best", self.best[0].checkpoint)
        else:
            store.unpoint("best")  # first the pointer, then what it points to
        store.sweep(keep={*self._saved, *(best.checkpoint for best in self.best)})

    def on_validation_end(self, trainer: Trainer) -> None:
        value, keep = trainer.row[self.settings.monitor], self.settings.keep_best
        full = len(self.best) >= keep
        if value != value or (full and (keep == 0 or not self._better(value, self.best[keep - 1].value))):
            return
        weights = {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()}
        self.best.append(_Best(value, trainer.row["epoch"], trainer.row["step"], weights))
        self.best.sort(key=lambda best: -best.value if self.higher_is_better else best.value)  # stable: first wins
        # Those that fall out are given up at once if they are in memory only, else when the state is saved.
        self.best = [best for place, best in enumerate(self.best) if place < keep or best.weights is None]

    def _better(self, value: float, than: float) -> bool:
        return value > than if self.higher_is_better else value < than

    def on_checkpoint(self, trainer: Trainer) -> None:
        if trainer.stop_reason is not None or self._is_due(trainer):
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        settings, state = self.settings, trainer.state
        at_epoch = state.batch == 0 and settings.every_epochs and state.epoch % settings.every_epochs == 0
        at_step = settings.every_steps is not None and state.step % settings.every_steps == 0
        if not (at_epoch or at_step or settings.every_seconds):
            return False
        elapsed = time.monotonic() - self._last_save
        if settings.every_seconds and elapsed >= settings.every_seconds:
            return True
        return bool(at_epoch or at_step) and elapsed >= settings.min_seconds

    def _save(self, trainer: Trainer) -> None:
        name = f"step-{trainer.state.step:08d}"
        if name in self._saved:  # a run that is stopped where it was resumed
            return
        trainer.check_weights()  # before the best weights replace better ones
        store = self.context.store
        dropped = self._write_best()
        saved = [*self._saved, name]
        self._saved = saved[-self.settings.keep_last :]  # the state says what will be there once it is saved
        trainer.history.sync()
        store.save(name, trainer.state_dict(), pointer="last")
        self._last_save = time.monotonic()
        for old in [*saved[: -self.settings.keep_last], *(best.checkpoint for best in dropped)]:
            store.remove(old)

    def _write_best(self) -> list[_Best]:
        """Writes the best weights that are in memory only; returns those that are no longer among the best."""
        kept = self.best[: self.settings.keep_best]
        dropped = [best for best in self.best[self.settings.keep_best :] if best.weights is None]
        self.best = kept
        for best in reversed(kept):  # the best one last, so that its pointer stands
            if best.weights is not None:
                state = {"model": best.weights, "epoch": best.epoch, "step": best.step, "value": best.value}
                pointer = "best" if best is kept[0] else None
                self.context.store.save(best.checkpoint, state, pointer)
                best.weights = None
        return dropped

    def on_fit_end(self, trainer: Trainer) -> None:
        self._write_best()  # those that fall out stay: the saved state may still count them among the best

    def best_weights(self) -> dict[str, torch.Tensor] | None:
        if not self.best:
            return None
        weights: dict[str, torch.Tensor] = self.context.store.load(self.best[0].checkpoint)["model"]
        return weights

    def result(self) -> dict[str, Any]:
        if not self.best:
            return {}
        best = self.best[0]
        return {
            "best": {
                "metric": self.settings.monitor,
                "value": best.value,
                "epoch": best.epoch,
                "step": best.step,
                "checkpoint": best.checkpoint,
            }
        }

    def state_dict(self) -> dict[str, Any]:
        best = [{"value": best.value, "epoch": best.epoch, "step": best.step} for best in self.best]
        return {"monitor": self.settings.monitor, "best": best, "saved": list(self._saved)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._saved = state["saved"]
        if state["monitor"] != self.settings.monitor:  # values of another metric cannot be compared with these
            log.info("checkpoint looks for the best weights anew: it monitored %s before", state["monitor"])
            return
        self.best = [_Best(**best) for best in state["best"]][: self.settings.keep_best]
