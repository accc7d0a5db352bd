"""``progress``: a live line in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dltrain import console, registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from dltrain.history import Row
    from dltrain.trainer import Trainer

_REDRAWS_A_SECOND = 8
_BAR_WIDTH = 24


@dataclass(frozen=True)
class ProgressSettings:
    name: str = setting("Name of the callback.")
    terminal_seconds: float = setting("In a terminal: shortest time between two lines of figures that stay.", min=0)
    plain_seconds: float = setting("Without a terminal: shortest time between two lines.", min=0)


@registry.register("callbacks", "progress", ProgressSettings)
class Progress(Callback):
    """Shows epoch, step, loss, metrics, rate and time left.

    The live line is drawn by a thread of its own, a few times a second, from what the trainer knows anyway:
    it costs the loop nothing.
    """

    settings: ProgressSettings

    def __init__(self, settings: ProgressSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._live: Live | None = None
        self._wait = settings.plain_seconds
        self._last_line = 0.0
        self._start_time = 0.0
        self._first_step = 0
        self._printed: Row | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        self._last_line = self._start_time = time.monotonic()
        self._first_step = trainer.state.step
        if console.is_live():
            from rich.live import Live

            self._wait = self.settings.terminal_seconds
            self._live = Live(
                get_renderable=lambda: self._line(trainer),
                console=console.error_console(),
                refresh_per_second=_REDRAWS_A_SECOND,
                transient=True,
            )
            self._live.start()

    def on_validation_end(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if now - self._last_line >= self._wait:
            self._last_line = now
            self._print_row(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._close()
        if trainer.row and trainer.row is not self._printed:
            self._print_row(trainer)

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print_row(self, trainer: Trainer) -> None:
        self._printed = row = trainer.row
        epochs = trainer.settings.max_epochs
        of = f"/{epochs}" if epochs else ""
        console.log.info(
            "epoch %s%s  step %s  %s  %s",
            row["epoch"],
            of,
            row["step"],
            console.figures(row),
            self._rate(trainer),
        )

    def _rate(self, trainer: Trainer) -> str:
        done = trainer.state.step - self._first_step
        seconds = time.monotonic() - self._start_time
        return f"{done / seconds:.0f} steps/s" if done and seconds > 0 else ""

    def _line(self, trainer: Trainer) -> Table:
        """Returns the live line; called by the drawing thread."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        state, settings = trainer.state, trainer.settings
        total = total_steps(trainer)
        left = ""
        done = state.step - self._first_step
        if done:
            seconds = (time.monotonic() - self._start_time) / done * max(0, total - state.step)
            left = f"{console.duration(seconds)} left"
        loss = f"loss {console.number(float(trainer.loss))}" if trainer.loss is not None else ""
        epochs = f"/{settings.max_epochs}" if settings.max_epochs else ""
        epoch = f"epoch {min(state.epoch + 1, settings.max_epochs or state.epoch + 1)}{epochs}"
        step, rate = f"step {state.step}/{total}", self._rate(trainer)
        validation = console.figures(trainer.row, ("val/",))
        texts = [step, loss, validation, rate, left]
        for least in (rate, step, validation):  # left out, in this order, where the terminal is too narrow
            if sum(len(text) + 2 for text in [epoch, *texts]) + _BAR_WIDTH > console.error_console().width:
                texts.remove(least)
        line = Table.grid(padding=(0, 2))
        line.add_row(epoch, ProgressBar(total=total, completed=state.step, width=_BAR_WIDTH), *texts)
        return line


def total_steps(trainer: Trainer) -> int:
    """Returns the optimizer updates of the whole training, as far as the limits tell."""
    settings = trainer.settings
    updates = -(-trainer.train.num_batches // settings.accumulate)
    limits = [settings.max_steps, settings.max_epochs and settings.max_epochs * updates]
    return min(limit for limit in limits if limit)
