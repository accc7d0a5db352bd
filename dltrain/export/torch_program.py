"""``torch``: a program of PyTorch (``torch.export``), which runs without dltrain and without the model's Python code.

TorchScript (``torch.jit``) did that before, and is deprecated. The program is what the ONNX file is made from, too.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from dltrain.data import InputSpec, Task, Tensors
from dltrain.errors import ConfigError
from dltrain.export.stand_ins import stand_in
from dltrain.losses.contract import by_head

INPUT = "inputs"  # what the one input is called
FILE = "model.pt2"
BATCH, TIME = "batch", "time"

# PyTorch notes of every size that may change that it is 2 at least, and takes 1 all the same.
_ALWAYS = 2
_EXAMPLES = 3  # samples that the program is traced with

_TALKATIVE = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "onnxscript", "onnx_ir")


@dataclass(frozen=True)
class Axis:
    """An axis of an input whose length is free.

    Attributes:
        shortest, longest: None where there is no bound.
    """

    name: str
    shortest: int = 1
    longest: int | None = None


Axes = dict[str, tuple[int | Axis, ...]]


@dataclass(frozen=True)
class Program:
    """What can be exported of a model.

    Attributes:
        exported: takes the inputs as the model does: a tensor, or a dict of tensors by name.
        axes: of each input; a number is the length that it must have.
    """

    exported: ExportedProgram
    axes: Axes


class _Answers(nn.Module):
    """A model whose outputs are those that a task has: of several heads a dict of tensors."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.task = stand_in(model), task

    def forward(self, inputs: Tensors) -> Tensors:
        outputs: Tensors = self.model(inputs)
        return by_head(self.task, outputs) if self.task.heads else outputs


def specs_of(task: Task) -> dict[str, InputSpec]:
    """Returns the inputs by name."""
    return task.inputs if isinstance(task.inputs, dict) else {INPUT: task.inputs}


@torch.no_grad()
def program_of(model: nn.Module, task: Task, name: str) -> Program:
    """Traces a model on the CPU, in evaluation mode.

    Args:
        name: of the model, for messages.

    Raises:
        ConfigError: the model cannot be exported.
    """
    specs = specs_of(task)
    several = isinstance(task.inputs, dict)
    inputs = {name: _example(spec) for name, spec in specs.items()}
    shapes = {name: _free(spec) for name, spec in specs.items()}
    given, free = (inputs, shapes) if several else (inputs[INPUT], shapes[INPUT])
    answers = _Answers(model, task).eval()
    reasons: list[str] = []
    for strict in (False, True):  # the second reads the model's code, and copes with some that the first does not
        torch.compiler.reset()  # else the loops of recurrent layers are taken from an export before this one
        try:
            with quiet():
                exported = torch.export.export(answers, (given,), dynamic_shapes=(free,), strict=strict)
        except Exception as error:  # what a model may do that cannot be traced has no end
            reasons.append(str(error).strip().partition("\n")[0])
            continue
        return Program(exported, _axes(exported, specs))
    raise ConfigError(
        f"model.name = '{name}': PyTorch cannot export it, for what it computes depends on the values that it is given "
        f"({reasons[0]}). --format safetensors keeps its weights"
    )


def save(program: Program, path: Path) -> None:
    with quiet():
        torch.export.save(program.exported, path)


def filled(inputs: Tensors, task: Task, axes: Axes) -> Tensors:
    """Returns inputs whose tokens are filled up with padding to as many as a program takes at least."""
    specs, named = specs_of(task), inputs if isinstance(inputs, dict) else {INPUT: inputs}
    whole: dict[str, torch.Tensor] = {}
    for name, tensor in named.items():
        missing = 0
        if specs[name].vocabulary_size is not None:
            time = axes[name][1]
            missing = max(0, (time.shortest if isinstance(time, Axis) else time) - tensor.shape[1])
        sides = (missing, 0) if specs[name].padding == "left" else (0, missing)
        whole[name] = functional.pad(tensor, sides) if missing else tensor
    return whole if isinstance(inputs, dict) else whole[INPUT]


def load(path: Path) -> nn.Module:
    """Returns a saved program as a module."""
    with quiet():
        module: nn.Module = torch.export.load(path).module()
    return module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps PyTorch's exporters from telling of their work: what is of use in it is told by dltrain."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _example(spec: InputSpec) -> torch.Tensor:
    """Returns samples of an input, of which only the shape is looked at."""
    if spec.vocabulary_size is not None:
        return torch.ones((_EXAMPLES, *spec.shape), dtype=torch.int64)
    return torch.zeros((_EXAMPLES, *spec.shape))


def _free(spec: InputSpec) -> dict[int, Any]:
    """Returns which axes may have any length; that of the tokens where the model can do so."""
    free: dict[int, Any] = {0: Dim.DYNAMIC}
    return free if spec.vocabulary_size is None else {**free, 1: Dim.AUTO}


def _axes(exported: ExportedProgram, specs: dict[str, InputSpec]) -> Axes:
    """Returns the axes of each input."""
    shapes = {node.name: node.meta["val"].shape for node in exported.graph.nodes if node.op == "placeholder"}
    bounds = {str(symbol): bound for symbol, bound in exported.range_constraints.items()}
    axes: Axes = {}
    for name, placeholder in zip(specs, exported.graph_signature.user_inputs, strict=True):
        called = TIME if len(specs) == 1 else f"{name}_{TIME}"
        sizes = [_axis(called, size, bounds.get(str(size))) for size in shapes[str(placeholder)][1:]]
        axes[name] = (Axis(BATCH), *sizes)
    return axes


def _axis(name: str, size: Any, bound: Any) -> int | Axis:
    """
    Args:
        size: a number, or what stands for one that is free.
        bound: between which numbers that may be.
    """
    if bound is None:
        return int(size)
    shortest, longest = int(bound.lower), int(bound.upper) if bound.upper.is_Integer else None
    return Axis(name, 1 if shortest <= _ALWAYS else shortest, longest)
