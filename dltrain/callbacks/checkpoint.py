"""``checkpoint``: saves the whole state now and then, and the weights that were best.

The training stands still only while the state is copied; a thread writes the copy. At most one is in memory: a save
that comes before the one before is on the disk waits for it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log
from dltrain.errors import DltrainError
from dltrain.metrics import is_higher_better
from dltrain.packing import pack

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

# Without min_seconds: saves by epochs or steps may cost this share of the time, and come this often, in seconds.
_MOST_TIME = 0.02
_SHORTEST = 0.5


@dataclass(frozen=True)
class CheckpointSettings:
    name: str = setting("Name of the callback.")
    monitor: str = setting("Metric whose best value decides the best weights, such as val/loss or val/accuracy.")
    every_epochs: int | None = setting("Save after every so many epochs; null does not.", min=1)
    every_steps: int | None = setting("Save after every so many optimizer updates; null does not.", min=1)
    every_seconds: float | None = setting("Save when so many seconds have gone by, within an epoch too.", above=0)
    min_seconds: float | None = setting(
        "Saves by epochs or steps that would come sooner than so many seconds after the last are left out; null "
        "leaves out what would cost more than 2 % of the time, or come sooner than after half a second. The end of "
        "the training is always saved.",
        min=0,
    )
    keep_last: int = setting("How many of the newest checkpoints to keep.", min=1)
    keep_best: int = setting("How many of the best weights to keep; 0 keeps none.", min=0)
    keep_every_epochs: int | None = setting(
        "Save after every so many epochs, and keep that checkpoint for ever; null does not.", min=1
    )


@dataclass
class _Best:
    """Weights that are among the best.

    Attributes:
        content: a packed copy, until it is handed over to be written.
        is_written: whether it is on the disk.
    """

    value: float
    epoch: int
    step: int
    content: memoryview | None = None
    is_written: bool = False

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
        self._saved: list[str] = []  # the newest, oldest first
        self._kept: list[str] = []  # for ever
        self._last_save = time.monotonic()
        self._seconds = 0.0  # that the training stood still for the last save
        self._writer = context.store.writer

    def on_fit_start(self, trainer: Trainer) -> None:
        self._last_save = time.monotonic()
        store = self.context.store
        if self.best:
            store.point("best", self.best[0].checkpoint)
        else:
            store.unpoint("best")  # first the pointer, then what it points to
        store.sweep(keep={*self._saved, *self._kept, *(best.checkpoint for best in self.best)})

    def on_validation_end(self, trainer: Trainer) -> None:
        value, keep = trainer.row[self.settings.monitor], self.settings.keep_best
        full = len(self.best) >= keep
        if value != value or (full and (keep == 0 or not self._better(value, self.best[keep - 1].value))):
            return
        epoch, step = trainer.row["epoch"], trainer.row["step"]
        weights = {"model": trainer.model.state_dict(), "epoch": epoch, "step": step, "value": value}
        self.best.append(_Best(value, epoch, step, pack(weights)))
        self.best.sort(key=lambda best: -best.value if self.higher_is_better else best.value)  # stable: first wins
        # Those that fall out are given up at once if they are in memory only, else when the state is saved.
        self.best = [best for place, best in enumerate(self.best) if place < keep or best.content is None]

    def _better(self, value: float, than: float) -> bool:
        return value > than if self.higher_is_better else value < than

    def on_checkpoint(self, trainer: Trainer) -> None:
        self._writer.check()
        if trainer.stop_reason is not None or self._is_due(trainer):
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        settings, state = self.settings, trainer.state
        at_epoch = state.batch == 0 and settings.every_epochs and state.epoch % settings.every_epochs == 0
        at_step = settings.every_steps is not None and state.step % settings.every_steps == 0
        if self._is_kept(trainer):
            return True
        if not (at_epoch or at_step or settings.every_seconds):
            return False
        elapsed = time.monotonic() - self._last_save
        if settings.every_seconds and elapsed >= settings.every_seconds:
            return True
        return bool(at_epoch or at_step) and elapsed >= self._least_seconds()

    def _is_kept(self, trainer: Trainer) -> bool:
        """Tells whether a checkpoint of this moment is one to keep for ever."""
        state, every = trainer.state, self.settings.keep_every_epochs
        return every is not None and state.batch == 0 and state.epoch > 0 and state.epoch % every == 0

    def _least_seconds(self) -> float:
        """Returns how long after the last save the next one may come."""
        if self.settings.min_seconds is not None:
            return self.settings.min_seconds
        return max(_SHORTEST, (self._seconds + self._writer.cpu_seconds) / _MOST_TIME)

    def _save(self, trainer: Trainer) -> None:
        """Copies the state, and hands it over to be written."""
        name = f"step-{trainer.state.step:08d}"
        if name in self._saved:  # a run that is stopped where it was resumed
            return
        started = time.monotonic()
        self._writer.wait()
        before, keep = (self.best, self._saved, self._kept), self.settings.keep_best
        saved = [*self._saved, name]
        kept = [*self._kept, name] if self._is_kept(trainer) else self._kept
        # The state says what will be there once it is saved.
        self.best, self._saved, self._kept = self.best[:keep], saved[-self.settings.keep_last :], kept
        try:
            content = pack(trainer.state_dict())
        except BaseException:
            self.best, self._saved, self._kept = before
            raise
        dropped = [best.checkpoint for best in before[0][keep:]]
        removed = [old for old in saved if old not in self._saved and old not in kept] + dropped
        best = self._hand_over_best()
        self._writer.submit(functools.partial(self._write, best, name, content, trainer.history.sync, removed))
        self._last_save = time.monotonic()
        self._seconds = self._last_save - started

    def _hand_over_best(self) -> list[tuple[_Best, memoryview, str | None]]:
        """Returns the best weights that are in memory only, to be written in this order, with their pointer."""
        handed = []
        for best in reversed(self.best[: self.settings.keep_best]):  # the best one last, so that its pointer stands
            if best.content is not None:
                handed.append((best, best.content, "best" if best is self.best[0] else None))
                best.content = None
        return handed

    def _write(
        self,
        best: list[tuple[_Best, memoryview, str | None]],
        name: str,
        content: memoryview,
        sync_rows: Callable[[], None],
        removed: list[str],
    ) -> None:
        """Writes what one save consists of; called by the writer."""
        store = self.context.store
        store.check_room(*(len(packed) for _, packed, _ in best), len(content))
        self._write_best(best)
        sync_rows()
        store.save(name, content, pointer="last")
        for old in removed:
            store.remove(old)

    def _write_best(self, handed: list[tuple[_Best, memoryview, str | None]]) -> None:
        for best, packed, pointer in handed:
            self.context.store.save(best.checkpoint, packed, pointer)
            best.is_written = True

    def on_fit_end(self, trainer: Trainer) -> None:
        # Those that fall out stay: the saved state may still count them among the best.
        self._writer.submit(functools.partial(self._write_best, self._hand_over_best()))
        self._writer.wait()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        try:
            self._writer.wait()
        except (DltrainError, OSError) as other:  # the error that is under way says more
            log.warning("%s", other)

    def best_weights(self) -> dict[str, torch.Tensor] | None:
        if not self.best:
            return None
        weights: dict[str, torch.Tensor] = self.context.store.load(self.best[0].checkpoint)["model"]
        return weights

    def result(self) -> dict[str, Any]:
        written = [best for best in self.best if best.is_written]
        if not written:
            return {}
        best = written[0]
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
        return {"monitor": self.settings.monitor, "best": best, "saved": list(self._saved), "kept": list(self._kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._saved, self._kept = state["saved"], state["kept"]
        if state["monitor"] != self.settings.monitor:  # values of another metric cannot be compared with these
            log.info("checkpoint looks for the best weights anew: it monitored %s before", state["monitor"])
            return
        self.best = [_Best(**best, is_written=True) for best in state["best"]][: self.settings.keep_best]
