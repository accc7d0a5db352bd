"""``perceptron``: units with a step, trained by Rosenblatt's rule."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from dltrain import initializers, registry
from dltrain.config import setting
from dltrain.data import Task, Tensors
from dltrain.errors import ConfigError
from dltrain.models import RuleModel
from dltrain.models.targets import require_one_target, wanted


@dataclass(frozen=True)
class PerceptronSettings:
    name: str = setting("Name of the model.")
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "perceptron", PerceptronSettings)
class Perceptron(RuleModel):
    """One unit for yes or no (or for each label), or one for each class, of which the highest wins.

    After each sample x with the target t the weights change by lr (t - y) x and the biases by lr (t - y), with y
    what the units answered (Rosenblatt 1958, as Minsky and Papert 1969 state it). Of several classes only the unit
    of the right class goes up and that of the wrong winner down (Duda and Hart 1973, 5.12, Kesler's construction).
    Where a plane parts the classes, a finite number of mistakes finds one (Novikoff 1962).

    The output is the score before the step, of which metrics look at the sign or the highest.
    """

    def __init__(self, settings: PerceptronSettings, *, task: Task) -> None:
        super().__init__()
        width = require_one_target("perceptron", task)
        if task.kind == "regression":
            raise ConfigError(
                "model.name = 'perceptron': it answers yes or no, and this data wants numbers. "
                "Choose model=linear, or data.task=classification where the numbers are classes"
            )
        self.task = task
        self.layer = nn.Linear(width, task.output_size).requires_grad_(False)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to scores (B, K)."""
        scores: torch.Tensor = self.layer(inputs.flatten(1))
        return scores

    def answers(self, scores: torch.Tensor) -> torch.Tensor:
        """Returns what the units (..., K) say: 1 or 0. A score of 0 is a no, as it is for the metrics."""
        if self.task.kind == "multiclass":
            return F.one_hot(scores.argmax(dim=-1), self.task.output_size).to(scores.dtype)
        return (scores > 0).to(scores.dtype)

    @torch.no_grad()
    def learn(self, inputs: Tensors, targets: Tensors, lr: float) -> None:
        assert isinstance(inputs, torch.Tensor)
        for row, target in zip(inputs.flatten(1), wanted(self.task, targets), strict=True):
            change = lr * (target - self.answers(self.layer(row)))
            self.layer.weight.addr_(change, row)  # the outer product (K, D)
            self.layer.bias.add_(change)
