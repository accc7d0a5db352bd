"""``tensorboard``: curves, the config, the graph, and histograms for TensorBoard."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log

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
    of the epoch to come.
    """

    settings: TensorBoardSettings

    def __init__(self, settings: TensorBoardSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._writer: SummaryWriter | None = None
        self._last_flush = 0.0

    def on_fit_start(self, trainer: Trainer) -> None:
        from torch.utils.tensorboard import SummaryWriter

        resumed = trainer.state.step > 0
        self._writer = SummaryWriter(
            str(self.context.folder.tensorboard),
            purge_step=trainer.state.step + 1 if resumed else None,  # a killed run may have written beyond
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
        assert self._writer is not None
        for name, value in trainer.row.items():
            if "/" in name or name == "lr":
                self._writer.add_scalar(name, value, trainer.row["step"])
        now = time.monotonic()
        if now - self._last_flush >= self.settings.flush_seconds:
            self._last_flush = now
            self._writer.flush()

    def on_epoch_end(self, trainer: Trainer) -> None:
        every = self.settings.histograms_every_epochs
        if every is not None and trainer.state.epoch % every == 0:
            self._write_histograms(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write_graph(self, trainer: Trainer, writer: SummaryWriter) -> None:
        first = next(trainer.validation.batches(epoch=0)).inputs[:1]
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

    def _write_histograms(self, trainer: Trainer) -> None:
        assert self._writer is not None
        step, model = trainer.step, trainer.model
        batch = next(trainer.train.batches(trainer.state.epoch))
        states = torch.get_rng_state()  # dropout of this extra pass must not change the training
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        step.forward(batch)[0].backward()
        for name, parameter in model.named_parameters():
            self._writer.add_histogram(f"weights/{name}", parameter.detach(), trainer.state.step)
            if parameter.grad is not None:
                self._writer.add_histogram(f"gradients/{name}", parameter.grad, trainer.state.step)
        step.clear_gradients()
        torch.set_rng_state(states)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
