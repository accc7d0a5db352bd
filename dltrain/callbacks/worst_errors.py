"""``worst_errors``: the validation samples with the largest loss, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dltrain import registry, worst
from dltrain.album import Album, file_name, is_due, title
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.readable import Reader, table

if TYPE_CHECKING:
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class WorstErrorsSettings:
    name: str = setting("Name of the callback.")
    every_epochs: int = setting("Looks for them after every so many epochs.", min=1)
    samples: int = setting("How many are shown, those with the largest loss first.", min=1, max=1000)
    max_samples: int | None = setting(
        "Looks through so many samples of the validation split at most; null looks through all.", min=1
    )


@registry.register("callbacks", "worst_errors", WorstErrorsSettings)
class WorstErrors(Callback):
    """Finds them in a pass over the validation split of its own, with the weights that were evaluated.

    ``worst_errors/`` in the run folder holds a CSV file for each time, and a picture where the samples are images;
    TensorBoard gets the picture, or a table.
    """

    settings: WorstErrorsSettings

    def __init__(self, settings: WorstErrorsSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._album = Album(context.folder.worst_errors, context.board)

    def on_fit_start(self, trainer: Trainer) -> None:
        self._album.begin(trainer, self.settings.every_epochs)

    def on_validation_end(self, trainer: Trainer) -> None:
        if not is_due(trainer, self.settings.every_epochs):
            return
        step, settings = trainer.step, self.settings
        found = worst.find(
            trainer.model,
            trainer.validation,
            Reader(self.context.data, step.loss),
            step.loss,
            trainer.autocast,
            settings.samples,
            settings.max_samples,
        )
        header, rows = table(found)
        self._album.table(file_name(trainer), [header, *rows])
        heading = f"{title(trainer)}: the largest losses"
        self._album.samples(self.context.data, found, "worst_errors", heading, trainer)
