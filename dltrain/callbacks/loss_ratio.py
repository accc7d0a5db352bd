"""``loss_ratio``: how much larger the loss of validation is than that of training, which shows overfitting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting
from dltrain.steps import MAIN

NAME = "val_to_train/loss"


@dataclass(frozen=True)
class LossRatioSettings:
    name: str = setting("Name of the callback.")


@registry.register("callbacks", "loss_ratio", LossRatioSettings)
class LossRatio(Callback):
    """Adds val/loss / train/loss to each row of figures, to be shown, plotted and monitored (Geron 2019, chapter 12).

    The loss of training is the mean over the epoch, while the weights changed and with dropout, so that the ratio is
    below 1 as long as the model learns fast. What is added to the loss for the size of the weights is left out: the
    loss of validation has no such part.
    """

    @classmethod
    def figure_names(cls, settings: Any) -> list[str]:
        return [NAME]

    def figures(self, row: dict[str, float]) -> dict[str, float]:
        return {NAME: ratio(row["val/loss"], row.get(f"train/{MAIN}", row["train/loss"]))}


def ratio(validation: float, training: float) -> float:
    """Returns validation / training; infinity where only the training has no loss any more, 1 where both have none.

    NaN where a loss is negative, as that of Poisson counts may be: a ratio says nothing then.
    """
    if validation < 0 or training < 0:
        return math.nan
    if training == 0:
        return 1.0 if validation == 0 else validation * math.inf
    return validation / training
