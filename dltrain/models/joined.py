"""``wide_deep`` and ``multi_input``: models that take several named inputs, and join them before the last layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dltrain import activations, initializers, registry
from dltrain.config import setting
from dltrain.data import InputSpec, Task, Tensors
from dltrain.errors import ConfigError
from dltrain.models import WithAuxiliary, require_values
from dltrain.models.columns import row_of


@dataclass(frozen=True)
class WideDeepSettings:
    name: str = setting("Name of the model.")
    hidden: list[int] = setting("Units of each hidden layer of the deep part, first to last.", min=1)
    activation: str = setting("Function after each hidden layer.", choices=activations.CHOICES)
    auxiliary: float = setting(
        "Share of the loss, in training, of an output of the deep part alone; 0 has no such output.", min=0, below=1
    )
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "wide_deep", WideDeepSettings)
class WideDeep(nn.Module):
    """The input itself beside a deep network of it, joined to a linear output (Cheng et al. 2016).

    Of data with the inputs ``wide`` and ``deep`` each part takes its own; of one input, both parts take it.
    An auxiliary output makes the deep part learn to predict by itself.
    """

    def __init__(self, settings: WideDeepSettings, *, task: Task) -> None:
        super().__init__()
        wide, deep = _wide_and_deep(task)
        self.wide_row, wide_width = row_of(wide)
        self.deep = _Branch(deep, settings.hidden, settings.activation)
        self.output = nn.Linear(wide_width + self.deep.width, task.output_size)
        self.share = settings.auxiliary
        self.auxiliary = nn.Linear(self.deep.width, task.output_size) if self.share else None
        initializers.initialize(self, settings.init)

    def forward(self, inputs: Tensors) -> torch.Tensor | WithAuxiliary:
        """Maps (B, ...), or {"wide": (B, ...), "deep": (B, ...)}, to (B, K), in training with auxiliary ones."""
        wide, deep = (inputs["wide"], inputs["deep"]) if isinstance(inputs, dict) else (inputs, inputs)
        end = self.deep(deep)
        output: torch.Tensor = self.output(torch.cat([self.wide_row(wide), end], dim=1))
        if self.auxiliary is None or not self.training:
            return output
        return WithAuxiliary(output, {"deep": self.auxiliary(end)}, 1 - self.share, self.share)


@dataclass(frozen=True)
class MultiInputSettings:
    name: str = setting("Name of the model.")
    branch: list[int] = setting("Units of each hidden layer of each input's own branch; [] has no branches.", min=1)
    hidden: list[int] = setting("Units of each hidden layer after the branches are joined.", min=1)
    activation: str = setting("Function after each hidden layer.", choices=activations.CHOICES)
    init: initializers.Init = setting(initializers.MEANING, check=initializers.check)


@registry.register("model", "multi_input", MultiInputSettings)
class MultiInput(nn.Module):
    """A branch of hidden layers for each named input; their ends, side by side, go through more layers."""

    def __init__(self, settings: MultiInputSettings, *, task: Task) -> None:
        super().__init__()
        specs = task.inputs if isinstance(task.inputs, dict) else {"input": task.inputs}
        for spec in specs.values():
            require_values("multi_input", task, spec)
        self.branches = nn.ModuleDict(
            {name: _Branch(spec, settings.branch, settings.activation) for name, spec in specs.items()}
        )
        width = sum(branch.width for branch in self.branches.values() if isinstance(branch, _Branch))
        self.joined = _Branch(InputSpec((width,)), settings.hidden, settings.activation)
        self.output = nn.Linear(self.joined.width, task.output_size)
        initializers.initialize(self, settings.init)

    def forward(self, inputs: Tensors) -> torch.Tensor:
        """Maps {name: (B, ...)}, or one (B, ...), to (B, K)."""
        named = inputs if isinstance(inputs, dict) else {"input": inputs}
        ends = [branch(named[name]) for name, branch in self.branches.items()]
        output: torch.Tensor = self.output(self.joined(torch.cat(ends, dim=1)))
        return output


class _Branch(nn.Module):
    """Hidden layers over all values of an input.

    Attributes:
        width: the numbers that come out for a sample.
    """

    def __init__(self, spec: InputSpec, hidden: list[int], activation: str) -> None:
        super().__init__()
        row, width = row_of(spec)
        layers = [row]
        pieces = activations.pieces(activation)
        for units in hidden:
            layers += [nn.Linear(width, units * pieces), activations.activation(activation)]
            width = units
        self.layers = nn.Sequential(*layers)
        self.width = width

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, width)."""
        output: torch.Tensor = self.layers(inputs)
        return output


def _wide_and_deep(task: Task) -> tuple[InputSpec, InputSpec]:
    """
    Raises:
        ConfigError: the inputs have other names, or are tokens.
    """
    if not isinstance(task.inputs, dict):
        require_values("wide_deep", task)
        return task.inputs, task.inputs
    if set(task.inputs) != {"wide", "deep"}:
        raise ConfigError(
            f"model.name = 'wide_deep': it takes inputs named wide and deep, and this data gives "
            f"{', '.join(task.inputs)}. Name them so, or take model=multi_input"
        )
    for spec in task.inputs.values():
        require_values("wide_deep", task, spec)
    return task.inputs["wide"], task.inputs["deep"]
