"""The run's one writer for TensorBoard, which the callbacks share.

While a run goes on, TensorBoard reads the newest file of events in its folder and no other, so there must be one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dltrain.console import log

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from dltrain.trainer import Trainer


class Board:
    """Writes curves, histograms, pictures and texts to ``tensorboard/`` in the run folder.

    A folder that cannot be written is said once and does not end the training: nothing is written from then on.

    Attributes:
        flush_seconds: longest time until something can be seen, where ``flush_if_due`` is called often enough.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flush_seconds = 10.0  # the setting of the tensorboard callback takes its place
        self._writer: SummaryWriter | None = None
        self._purged_from: int | None = None
        self._users = 0
        self._last_flush = 0.0
        self._excepthook = threading.excepthook

    def open(self, trainer: Trainer) -> None:
        """Lets one more callback write; called in its ``on_fit_start``."""
        self._users += 1
        if self._users > 1:
            return
        # What a killed run has written beyond its checkpoint goes, and is written again.
        self._purged_from = _first_step_to_come(trainer) if trainer.state.step else None
        self._excepthook, threading.excepthook = threading.excepthook, self._but_of_the_disk
        with self._surviving():
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(
                str(self.folder),
                # A new run too says that it starts: TensorBoard takes the first start that it reads for no restart,
                # and would keep what the second one purges.
                purge_step=self._purged_from or 0,
                flush_secs=2**31,  # flushed below, not by a clock of its own
            )
        self._last_flush = time.monotonic()

    def close(self) -> None:
        """Takes leave of one callback; the file is closed with the last. Called at the end and after an error."""
        self._users = max(0, self._users - 1)
        if self._users:
            return
        if self._writer is not None:
            with self._surviving():
                self._writer.close()
            self._writer = None
        if threading.excepthook == self._but_of_the_disk:
            threading.excepthook = self._excepthook

    def lost(self, step: int) -> bool:
        """Tells whether what was written at a step before the resume is gone, though the training begins after it.

        It has to be written again, except what belongs to a row of figures: that row is gone as well.
        """
        return self._purged_from is not None and step >= self._purged_from

    def scalar(self, tag: str, value: float, step: int) -> None:
        with self._surviving():
            if self._writer is not None:
                self._writer.add_scalar(tag, value, step)

    def histogram(self, tag: str, values: torch.Tensor, step: int) -> None:
        """Writes how values are distributed; not where one is NaN or infinite: of that there is no histogram."""
        with self._surviving():
            if self._writer is not None and values.isfinite().all():
                self._writer.add_histogram(tag, values, step)

    def image(self, tag: str, picture: Any, step: int, layout: str = "CHW") -> None:
        """
        Args:
            picture: array or tensor, of uint8 or of 0 to 1.
            layout: its axes, such as CHW or HWC.
        """
        with self._surviving():
            if self._writer is not None:
                self._writer.add_image(tag, picture, step, dataformats=layout)

    def text(self, tag: str, text: str, step: int | None = None) -> None:
        """
        Args:
            text: Markdown.
        """
        with self._surviving():
            if self._writer is not None:
                self._writer.add_text(tag, text, step)

    def pr_curve(self, tag: str, true_positives: torch.Tensor, false_positives: torch.Tensor, step: int) -> None:
        """
        Args:
            true_positives, false_positives: (T,) how many samples are rightly and wrongly called positive at each of T
                thresholds, from 0 to 1; at the first one all are.
        """
        with self._surviving():
            if self._writer is None:
                return
            hits, alarms = true_positives.double(), false_positives.double()
            # Where nothing is called positive, or nothing is, a figure counts as 0, as TensorBoard's own do.
            precision, recall = hits / (hits + alarms).clamp(min=1), hits / hits[0].clamp(min=1)
            counts = (hits, alarms, alarms[0] - alarms, hits[0] - hits, precision, recall)
            self._writer.add_pr_curve_raw(tag, *counts, step, num_thresholds=len(hits))

    def graph(self, traced: Any, inputs: Any) -> None:
        """
        Args:
            traced: as ``torch.jit.trace`` returns it.
            inputs: a tensor, or a tuple of several, with which it was traced.
        """
        with self._surviving():
            if self._writer is not None:
                self._writer.add_graph(traced, inputs)

    def hyperparameters(self, values: dict[str, str], figures: dict[str, float], step: int) -> None:
        """Writes what TensorBoard's HParams tab compares runs by.

        Args:
            values: of the hyper-parameters, by key, as text; numbers are shown as numbers.
            figures: what came of them; each is shown as best/NAME.
        """
        with self._surviving():
            if self._writer is None:
                return
            named = {f"best/{name}": value for name, value in figures.items()}
            for summary in _hparams({key: _number_or_text(text) for key, text in values.items()}, named):
                self._writer._get_file_writer().add_summary(summary)
            for name, value in named.items():
                self._writer.add_scalar(name, value, step)

    def begin_session(self, values: dict[str, float | str]) -> None:
        """Writes the settings of a run that is no part of a sweep, so that TensorBoard can compare it with others.

        It says nothing of which of them matter or what came of them: TensorBoard finds out what differs among the runs
        that it shows, and takes all their curves.
        """
        with self._surviving():
            if self._writer is not None:
                self._writer._get_file_writer().add_summary(_hparams(values, {})[1])

    def end_session(self) -> None:
        """Writes that a run with ``begin_session`` has come to its end."""
        with self._surviving():
            if self._writer is not None:
                self._writer._get_file_writer().add_summary(_hparams({}, {})[2])

    def flush_if_due(self) -> None:
        """Lets readers see what was written, where the last time was ``flush_seconds`` ago."""
        now = time.monotonic()
        if self._writer is not None and now - self._last_flush >= self.flush_seconds:
            self._last_flush = now
            with self._surviving():
                self._writer.flush()

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            log.warning("TensorBoard gets no more figures: %s. The training goes on without", error)

    def _but_of_the_disk(self, raised: threading.ExceptHookArgs) -> None:
        """Shows what a thread raised; not what TensorBoard's raises of the disk, which comes up in ours as well."""
        if not (isinstance(raised.exc_value, OSError) and type(raised.thread).__module__.startswith("tensorboard.")):
            self._excepthook(raised)


def _hparams(values: dict[str, float | str], figures: dict[str, float]) -> tuple[Any, Any, Any]:
    """Returns what TensorBoard knows hyper-parameters by: the experiment, the start of a session and its end."""
    from torch.utils.tensorboard.summary import hparams

    summaries: tuple[Any, Any, Any] = hparams(values, figures)
    return summaries


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _first_step_to_come(trainer: Trainer) -> int:
    """Returns the first step of which a resumed run writes figures again.

    A row that was due only because the training ended there stands at the very step where it goes on.
    """
    step = trainer.state.step
    return step + 1 if trainer.row.get("step") == step else step
