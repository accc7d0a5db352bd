"""``tensorboard``: curves, the config, the graph, and histograms for TensorBoard."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log
from dltrain.models import device_of

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class TensorBoardSettings:
    name: str = setting("Name of the callback.")
    graph: bool = setting("Writes the model's graph. It is traced once, at the start.")
    histograms_every_epochs: int | None = setting(
        "Writes histograms of weights and gradients after every so many epochs; null does not.", min=1
    )
    flush_seconds: float = setting("Longest time until a figure can be seen in TensorBoard.", above=0)


@registry.register("callbacks", "tensorboard", TensorBoardSettings)
class TensorBoard(Callback):
    """Writes to ``tensorboard/`` in the run folder.

    Gradients are cleared after each update, so those of the histograms are computed again, from the first batch
    of the epoch to come. A log folder that cannot be written is said once and does not end the training.
    """

    settings: TensorBoardSettings

    def __init__(self, settings: TensorBoardSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._writer: SummaryWriter | None = None
        self._last_flush = 0.0

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            log.warning("TensorBoard gets no more figures: %s. The training goes on without", error)

    def on_fit_start(self, trainer: Trainer) -> None:
        with self._surviving():
            self._open(trainer)

    def _open(self, trainer: Trainer) -> None:
        from torch.utils.tensorboard import SummaryWriter

        resumed = trainer.state.step > 0
        self._writer = SummaryWriter(
            str(self.context.folder.tensorboard),
            purge_step=_first_step_to_come(trainer) if resumed else None,  # a killed run may have written beyond
            flush_secs=2**31,  # flushed below, not by a clock of its own
        )
        self._last_flush = time.monotonic()
        if resumed:
            return
        text = self.context.folder.config.read_text(encoding="utf-8")
        indented = "".join(f"    {line}\n" for line in text.splitlines())
        self._writer.add_text("config", indented)
        if self.settings.graph:
            self._write_graph(trainer, self._writer)

    def on_validation_end(self, trainer: Trainer) -> None:
        if self._writer is None:
            return
        with self._surviving():
            for name, value in trainer.row.items():
                if "/" in name or name == "lr":
                    self._writer.add_scalar(name, value, trainer.row["step"])
            now = time.monotonic()
            if now - self._last_flush >= self.settings.flush_seconds:
                self._last_flush = now
                self._writer.flush()

    def on_epoch_end(self, trainer: Trainer) -> None:
        every = self.settings.histograms_every_epochs
        if self._writer is not None and every is not None and trainer.state.epoch % every == 0:
            with self._surviving():
                self._write_histograms(trainer, self._writer)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            with self._surviving():
                self._writer.close()
            self._writer = None

    def _write_graph(self, trainer: Trainer, writer: SummaryWriter) -> None:
        first = self.context.data.validation.head(1).inputs
        if isinstance(first, dict):
            log.info("TensorBoard gets no graph: it cannot draw a model of several inputs")
            return
        first = first.to(device_of(trainer.model))
        was_training = trainer.model.training
        trainer.model.eval()
        try:
            with warnings.catch_warnings():  # TensorBoard's writer would trace again, and warns that it need not
                warnings.simplefilter("ignore")
                # Checking the trace would import a second's worth of PyTorch and run the model twice more.
                traced = torch.jit.trace(trainer.model, first, check_trace=False)
                writer.add_graph(traced, first)
        except Exception as error:  # tracing runs the user's model in a way that the training does not
            log.warning("the graph for TensorBoard could not be traced: %s", error)
        finally:
            trainer.model.train(was_training)

    def _write_histograms(self, trainer: Trainer, writer: SummaryWriter) -> None:
        step, model = trainer.step, trainer.model
        batch = next(trainer.train.batches(trainer.state.epoch))
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        device = device_of(model)
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(cuda):  # dropout of this extra pass must not change the training
            loss = step.forward(batch).loss
        if loss.requires_grad:  # a model that learns without gradients has weights alone
            loss.backward()
        for name, parameter in model.named_parameters():
            for kind, values in (("weights", parameter.detach()), ("gradients", parameter.grad)):
                if values is not None and values.isfinite().all():  # TensorBoard has no histogram of NaN
                    writer.add_histogram(f"{kind}/{name}", values, trainer.state.step)
        step.clear_gradients()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])


def _first_step_to_come(trainer: Trainer) -> int:
    """Returns the first step of which a resumed run writes figures again.

    A row that was due only because the training ended there stands at the very step where it goes on.
    """
    step = trainer.state.step
    return step + 1 if trainer.row.get("step") == step else step
