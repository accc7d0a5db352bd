"""``confusion_matrix``: how often each class of the validation split is taken for which, as a picture and a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dltrain import confusion_picture, registry
from dltrain.album import Album, is_due, title
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import Config, setting
from dltrain.data import Data, Task
from dltrain.metrics import Metrics, confusion_size, is_higher_better

if TYPE_CHECKING:
    from dltrain.losses import Loss
    from dltrain.trainer import Trainer

_FITS = ("binary", "multiclass", "sequence_labels")


@dataclass(frozen=True)
class ConfusionMatrixSettings:
    name: str = setting("Name of the callback.")
    every_epochs: int = setting("Draws it after every so many epochs; the best and the last are always kept.", min=1)
    monitor: str = setting("Metric whose best value decides which one is kept as the best, such as val/loss.")


@registry.register("callbacks", "confusion_matrix", ConfusionMatrixSettings)
class ConfusionMatrix(Callback):
    """Shows the counts that the evaluation makes anyway: it costs no pass over the data.

    TensorBoard gets a picture; ``confusion_matrix/`` in the run folder holds last.png and last.csv, best.png and
    best.csv, with the name of the target before them where there are several.
    """

    settings: ConfusionMatrixSettings

    def __init__(self, settings: ConfusionMatrixSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self.higher_is_better = is_higher_better(settings.monitor)
        self.best: float | None = None
        self._best_title = ""
        self._best_counts: dict[str, torch.Tensor] = {}  # by target; the name of the only one is ""
        self._last_step: int | None = None
        self._album = Album(context.folder.confusion_matrix, context.board)

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        if loss is not None and not loss.aligned:
            return [
                f"{key}: loss.name = '{config.loss.name}' does not say which class each step has, so no step is "
                "compared. callbacks=[default,predictions] shows what the model reads"
            ]
        if any(_counts_classes(task) for _, task in _tasks(data.task)):
            return []
        many = f" of {data.task.output_size:,} classes" if data.task.kind in _FITS else ""
        return [
            f"{key}: it does not fit this {data.task.kind} data{many}. It fits {', '.join(_FITS[:-1])} and {_FITS[-1]} "
            "data of up to 1,024 classes; callbacks=[default,worst_errors] shows where any model errs most"
        ]

    def on_fit_start(self, trainer: Trainer) -> None:
        self._album.begin(trainer, 1)
        if self._best_counts:  # what a killed run wrote after its last save is not the best that is known
            self._write("best", self._best_title, {name: c.long() for name, c in self._best_counts.items()})

    def on_validation_end(self, trainer: Trainer) -> None:
        is_best = self._is_better(trainer.row[self.settings.monitor])
        due = is_due(trainer, self.settings.every_epochs)
        if not due and not is_best:
            return
        counts = _counts(trainer.evaluation_metrics)
        if is_best:
            self.best, self._best_title = trainer.row[self.settings.monitor], title(trainer)
            self._best_counts = {name: own.int() for name, own in counts.items()}
            self._write("best", self._best_title, counts)
        if due:
            self._last_step = trainer.row["step"]
            self._write("last", title(trainer), counts, show_at=self._last_step)

    def on_fit_end(self, trainer: Trainer) -> None:
        counts = _counts(trainer.evaluation_metrics)  # {} where a resumed run ended before its first evaluation
        if counts and self._last_step != trainer.row["step"]:
            self._write("last", title(trainer), counts)

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return value == value  # NaN is never better
        return value > self.best if self.higher_is_better else value < self.best

    def _write(self, which: str, when: str, counts: dict[str, torch.Tensor], show_at: int | None = None) -> None:
        tasks = dict(_tasks(self.context.data.task))
        for target, own in counts.items():
            names, size = list(tasks[target].class_names), len(own)
            names = names if len(names) == size else [str(place) for place in range(size)]
            array = own.numpy()
            right, total = int(array.trace()), int(array.sum())
            heading = f"{when}: {right:,} of {total:,} right ({right / max(1, total):.1%})"
            picture = confusion_picture.draw(array, names, f"{target}, {heading}" if target else heading)
            if show_at is not None:
                self._album.show(f"confusion_matrix/{target}" if target else "confusion_matrix", picture, show_at)
            name = f"{target}-{which}".replace("/", "_") if target else which
            self._album.picture(name, picture)
            header = ["true \\ predicted", *names]
            self._album.table(name, [header, *([n, *row] for n, row in zip(names, array.tolist(), strict=True))])

    def state_dict(self) -> dict[str, Any]:
        return {
            "monitor": self.settings.monitor,
            "best": self.best,
            "title": self._best_title,
            "counts": self._best_counts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["monitor"] == self.settings.monitor:  # values of another metric say nothing about this one
            self.best, self._best_title, self._best_counts = state["best"], state["title"], state["counts"]


def _tasks(task: Task) -> Iterator[tuple[str, Task]]:
    """Yields the tasks of the targets by name, "" for the only one."""
    yield from task.heads.items() if task.heads else [("", task)]


def _counts_classes(task: Task) -> bool:
    return task.kind in _FITS and confusion_size(task) > 0


def _counts(metrics: Metrics) -> dict[str, torch.Tensor]:
    """Returns (K, K) int64 counts on the CPU for each target that has classes."""
    found = {}
    for name, own in (metrics.heads or {"": metrics}).items():
        if _counts_classes(own.task) and own.confusion is not None:
            found[name] = own.confusion.cpu()
    return found
