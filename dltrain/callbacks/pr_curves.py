"""``pr_curves``: precision and recall of each class at every threshold, for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from dltrain import registry
from dltrain.album import is_due
from dltrain.callbacks.base import Callback
from dltrain.config import Config, setting
from dltrain.data import Data, Task
from dltrain.evaluate import apart, outputs_of
from dltrain.losses import by_head
from dltrain.models import device_of
from dltrain.precision_recall import KINDS, CurveCounts, curve_names

if TYPE_CHECKING:
    from dltrain.losses import Loss
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class PRCurvesSettings:
    name: str = setting("Name of the callback.")
    every_epochs: int = setting("Draws them after every so many epochs.", min=1)
    classes: int = setting(
        "How many classes have a curve of their own, the first of them; a last curve is of all classes.", min=1, max=200
    )


@registry.register("callbacks", "pr_curves", PRCurvesSettings)
class PRCurves(Callback):
    """Goes through the validation split in a pass of its own, with the weights that were evaluated.

    TensorBoard shows them under PR CURVES, a slider goes through the epochs.
    """

    settings: PRCurvesSettings

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        if loss is not None and not loss.aligned:
            return [
                f"{key}: loss.name = '{config.loss.name}' does not say which class each step has, so no step can be "
                "right or wrong. callbacks=[default,predictions] shows what the model reads"
            ]
        if any(_tasks(data.task)):
            return []
        return [
            f"{key}: it does not fit this {data.task.kind} data. It fits {', '.join(KINDS[:-1])} and {KINDS[-1]} data; "
            "callbacks=[default,worst_errors] shows where any model errs most"
        ]

    def on_fit_start(self, trainer: Trainer) -> None:
        self.context.board.open(trainer)

    def on_validation_end(self, trainer: Trainer) -> None:
        if not is_due(trainer, self.settings.every_epochs):
            return
        for target, counts in self._counted(trainer).items():
            names = curve_names(counts.task, self.settings.classes)
            for name, hits, alarms in zip(names, *counts.curves(), strict=True):
                tag = "/".join(part for part in ("pr_curves", target, name) if part)
                self.context.board.pr_curve(tag, hits, alarms, trainer.row["step"])
        self.context.board.flush_if_due()

    def _counted(self, trainer: Trainer) -> dict[str, CurveCounts]:
        """Returns the counts of the validation split by the target's name, "" for the only one."""
        task, device = self.context.data.task, device_of(trainer.model)
        counts = {name: CurveCounts(own, self.settings.classes, device) for name, own in _tasks(task)}
        with apart(trainer.model):
            for batch in trainer.validation.batches(0):
                outputs = outputs_of(trainer.model, batch.inputs, trainer.autocast)
                parts = by_head(task, outputs) if task.heads else {"": outputs}
                targets = batch.targets if isinstance(batch.targets, dict) else {"": batch.targets}
                for name, own in counts.items():
                    own.update(parts[name], targets[name])  # type: ignore[arg-type]
        return counts

    def on_fit_end(self, trainer: Trainer) -> None:
        self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self.context.board.close()


def _tasks(task: Task) -> Iterator[tuple[str, Task]]:
    """Yields the tasks that have classes by the target's name, "" for the only one."""
    for name, own in task.heads.items() if task.heads else [("", task)]:
        if own.kind in KINDS:
            yield name, own
