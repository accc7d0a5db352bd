"""``tensorboard``: curves, the config, the graph, and histograms for TensorBoard."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dltrain import config_files, registry
from dltrain.callbacks import histograms
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log
from dltrain.models import device_of

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

# The groups of settings that TensorBoard may compare runs by.
_COMPARED = ("seed", "model", "data", "loss", "optimizer", "scheduler", "trainer")


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
        text = self.context.folder.config.read_text(encoding="utf-8")  # a resume may have changed it
        board.text("config", "".join(f"    {line}\n" for line in text.splitlines()), trainer.state.step)
        if trainer.state.step == 0:
            if not self._is_of_sweep(trainer):
                board.begin_session(_settings_of(self.context.container))
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
        if trainer.completed and not self._is_of_sweep(trainer):
            self.context.board.end_session()
        self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self.context.board.close()

    def _is_of_sweep(self, trainer: Trainer) -> bool:
        """Tells whether a sweep writes what its trials are compared by."""
        return any(callback.settings.name == "sweep" for callback in trainer.callbacks.values())

    def _write_graph(self, trainer: Trainer) -> None:
        device, inputs = device_of(trainer.model), self.context.data.validation.head(1).inputs
        model: nn.Module = trainer.model
        if isinstance(inputs, dict):
            model = _OneByOne(model, tuple(inputs))
            first = tuple(tensor.to(device) for tensor in inputs.values())
        else:
            first = (inputs.to(device),)
        was_training = trainer.model.training
        model.eval()
        try:
            with warnings.catch_warnings():  # TensorBoard's writer would trace again, and warns that it need not
                warnings.simplefilter("ignore")
                # Checking the trace would import a second's worth of PyTorch and run the model twice more.
                traced = torch.jit.trace(model, first, check_trace=False, strict=False)  # it may return a dict
                self.context.board.graph(traced, first)
        except Exception as error:  # tracing runs the user's model in a way that the training does not
            log.warning("the graph for TensorBoard could not be traced: %s", error)
        finally:
            trainer.model.train(was_training)


class _OneByOne(nn.Module):
    """A model of several inputs by name, which takes them one after the other, as a graph has them."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.model(dict(zip(self.names, inputs, strict=True)))


def _settings_of(container: dict[str, Any]) -> dict[str, float | str]:
    """Returns the settings that a run may be compared by: numbers as such, all else as text; none that is unset."""
    groups = {name: container[name] for name in _COMPARED if name in container}
    found: dict[str, float | str] = {}
    for key, value in config_files.flatten(groups).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[key] = value
        elif value not in (None, [], {}):
            found[key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return found
