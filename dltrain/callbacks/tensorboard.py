"""``tensorboard``: curves, the config, the graph, and histograms for TensorBoard."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dltrain import registry
from dltrain.callbacks import histograms
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log
from dltrain.models import device_of

if TYPE_CHECKING:
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class TensorBoardSettings:
    name: str = setting("Name of the callback.")
    graph: bool = setting("Writes the model's graph. It is traced once, at the start.")
    histograms_every_epochs: int | None = setting(
        "Writes histograms of weights and gradients after every so many epochs; null does not. "
        "callbacks=[default,histograms] has more to choose.",
        min=1,
    )
    flush_seconds: float = setting("Longest time until a figure can be seen in TensorBoard.", above=0)


@registry.register("callbacks", "tensorboard", TensorBoardSettings)
class TensorBoard(Callback):
    """Writes to ``tensorboard/`` in the run folder; see ``board`` for how."""

    settings: TensorBoardSettings

    def __init__(self, settings: TensorBoardSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        context.board.flush_seconds = settings.flush_seconds
        every = settings.histograms_every_epochs
        own = any(other.name == "histograms" for other in context.config.callbacks.values())
        self._histograms: histograms.HistogramsSettings | None = None
        if every is not None and not own:  # else each would stand there twice
            self._histograms = histograms.HistogramsSettings("histograms", every, True, True, False)

    def on_fit_start(self, trainer: Trainer) -> None:
        board = self.context.board
        board.open(trainer)
        if trainer.state.step == 0:
            text = self.context.folder.config.read_text(encoding="utf-8")
            board.text("config", "".join(f"    {line}\n" for line in text.splitlines()))
            if self.settings.graph:
                self._write_graph(trainer)
        if self._histograms is not None:
            histograms.write_again(trainer, board, self._histograms)

    def on_validation_end(self, trainer: Trainer) -> None:
        for name, value in trainer.row.items():
            if "/" in name or name == "lr":
                self.context.board.scalar(name, value, trainer.row["step"])
        self.context.board.flush_if_due()

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self._histograms is not None:
            histograms.write_if_due(trainer, self.context.board, self._histograms)

    def on_fit_end(self, trainer: Trainer) -> None:
        self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self.context.board.close()

    def _write_graph(self, trainer: Trainer) -> None:
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
                self.context.board.graph(traced, first)
        except Exception as error:  # tracing runs the user's model in a way that the training does not
            log.warning("the graph for TensorBoard could not be traced: %s", error)
        finally:
            trainer.model.train(was_training)
