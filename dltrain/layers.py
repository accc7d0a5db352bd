"""The layers of a model as a table: what comes out of each, and how many parameters it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dltrain.data import InputSpec, Tensors


@dataclass(frozen=True)
class Layer:
    """A layer that has no layers inside, or one that has parameters of its own besides.

    Attributes:
        output: shape without the batch; None where the layer was never called.
        parameters: its own; those shared with a layer before are counted there.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int


def zeros(inputs: InputSpec | dict[str, InputSpec], batch_size: int, device: torch.device) -> Tensors:
    """Returns samples of zeros, (B, *shape)."""
    if isinstance(inputs, dict):
        return {name: _zeros(spec, batch_size, device) for name, spec in inputs.items()}
    return _zeros(inputs, batch_size, device)


def _zeros(spec: InputSpec, batch_size: int, device: torch.device) -> torch.Tensor:
    return torch.zeros((batch_size, *spec.shape), dtype=getattr(torch, spec.dtype), device=device)


def layers(model: nn.Module, inputs: InputSpec | dict[str, InputSpec]) -> list[Layer]:
    """Returns the layers in the order in which a sample passes them, then those that it does not pass.

    Args:
        inputs: of one sample; two of zeros are sent through the model, in evaluation mode.
    """
    shapes: dict[nn.Module, tuple[int, ...] | None] = {}
    leaves = {
        module: name or "(model)"
        for name, module in model.named_modules()
        if not list(module.children()) or list(module.parameters(recurse=False))
    }

    def note(module: nn.Module, _: Any, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) else output
        shapes.setdefault(module, tuple(first.shape[1:]) if isinstance(first, torch.Tensor) else None)

    hooks = [module.register_forward_hook(note) for module in leaves]
    was_training = model.training
    device = next(iter(model.parameters())).device
    try:
        model.eval()
        with torch.inference_mode():
            model(zeros(inputs, 2, device))
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)
    counted: set[int] = set()
    table = []
    for module in [*shapes, *[module for module in leaves if module not in shapes]]:
        own = [p for p in module.parameters(recurse=False) if id(p) not in counted]
        counted.update(id(p) for p in own)
        size = sum(p.numel() for p in own)
        table.append(Layer(leaves[module], type(module).__name__, shapes.get(module), size))
    return table
