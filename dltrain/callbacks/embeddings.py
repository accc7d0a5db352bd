"""``embeddings``: samples and tokens as points where the model has put them, for TensorBoard's projector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from dltrain import embedded, registry, watching
from dltrain.album import file_name, is_due
from dltrain.averages import swapped
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import Config, setting
from dltrain.data import Data
from dltrain.projector import Projector

if TYPE_CHECKING:
    from dltrain.losses import Loss
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class EmbeddingsSettings:
    name: str = setting("Name of the callback.")
    every_epochs: int | None = setting("Writes them after every so many epochs; null at the end alone.", min=1)
    samples: int = setting(
        "How many samples of the validation split are shown by the values of the last hidden layer, spread over the "
        "split; where each step has an output, how many steps. 0 shows none.",
        min=0,
        max=20_000,
    )
    tokens: int = setting(
        "How many tokens, and categories of a column, are shown by the vectors that the model has learned for them, "
        "the most frequent first. 0 shows none.",
        min=0,
        max=100_000,
    )


@registry.register("callbacks", "embeddings", EmbeddingsSettings)
class Embeddings(Callback):
    """Writes what the tab PROJECTOR shows, with the weights that are evaluated.

    A sample has its truth and its prediction as labels, and its image where it is one. TensorBoard reads the list of
    what there is when it starts.
    """

    settings: EmbeddingsSettings

    def __init__(self, settings: EmbeddingsSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._projector = Projector(context.folder.tensorboard, context.board)

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        if not settings.samples and not settings.tokens:
            return [
                f"{key}: with samples = 0 and tokens = 0 there is nothing to show. Give one of them, or leave it out"
            ]
        if model is None or watching.can_be_last(model) or any(isinstance(m, nn.Embedding) for m in model.modules()):
            return []
        return [
            f"{key}: model.name = '{config.model.name}' has neither layers nor embeddings, so that there is nothing to "
            "show. Leave it out, or take another model"
        ]

    def on_fit_start(self, trainer: Trainer) -> None:
        self.context.board.open(trainer)
        self._projector.begin(trainer, self.settings.every_epochs)

    def on_validation_end(self, trainer: Trainer) -> None:
        if self.settings.every_epochs is not None and is_due(trainer, self.settings.every_epochs):
            self._write(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.settings.every_epochs is None and trainer.state.step:
            averages = (c.averaged_weights(trainer) for c in trainer.callbacks.values())
            average = next((weights for weights in averages if weights is not None), {})
            with swapped(trainer.model, average):
                self._write(trainer)
        self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self.context.board.close()

    def _write(self, trainer: Trainer) -> None:
        found = embedded.find(
            trainer.model,
            self.context.data,
            trainer.validation,
            trainer.step.loss,
            trainer.autocast,
            samples=self.settings.samples,
            tokens=self.settings.tokens,
        )
        self._projector.write(file_name(trainer), found)
