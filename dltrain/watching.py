"""What goes into the layers of a model in a pass: the values of its last hidden layer, and its embeddings.

Shapes in comments: B batch, T time, C channels, H hidden units.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

# The layers of which the last one gives the outputs.
_OUTPUT_LAYERS = (nn.Linear, _ConvNd)


class Watch:
    """Watches the layers of a model while it computes; a context.

    Attributes:
        inputs: what went into each layer last, by its name, in the order in which they were called last.
    """

    def __init__(self, model: nn.Module) -> None:
        self._named = dict(model.named_modules())
        self._learned = [name for name, layer in self._named.items() if any(True for _ in layer.parameters(False))]
        self.inputs: dict[str, torch.Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Watch:
        self._handles = [layer.register_forward_pre_hook(self._note(name)) for name, layer in self._named.items()]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, name: str) -> Any:
        def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            if arguments and isinstance(arguments[0], torch.Tensor):
                self.inputs.pop(name, None)  # a layer that is called again is the last one again
                self.inputs[name] = arguments[0]

        return note

    def last_layer(self) -> str | None:
        """Returns the name of the layer that gave the outputs, or None where there is none that is known to."""
        return next((name for name in reversed(self.inputs) if isinstance(self._named[name], _OUTPUT_LAYERS)), None)

    def is_first(self, layer: str) -> bool:
        """Tells whether no layer before this one learns anything, so that what went in are the samples themselves."""
        return next(name for name in self.inputs if name in self._learned) == layer


def can_be_last(model: nn.Module) -> bool:
    """Tells whether a model has a layer that may be the last one."""
    return any(isinstance(layer, _OUTPUT_LAYERS) for layer in model.modules())


def of_each_sample(values: torch.Tensor, count: int) -> torch.Tensor | None:
    """Returns (B, H) of what went into a layer, the mean over steps or places; None where it is not of samples.

    Args:
        values: (B, H), (B, T, H), or (B, C, ...) with the places of an image last.
        count: B.
    """
    if len(values) != count:
        return None
    if values.dim() == 3:
        return values.mean(dim=1)
    return values.flatten(2).mean(dim=2) if values.dim() > 3 else values.reshape(count, -1)


def of_each_step(values: torch.Tensor, count: int, steps: int) -> torch.Tensor | None:
    """Returns (B, T, H) of what went into a layer; None where it is not of steps.

    Args:
        values: (B, T, H) or (B * T, H).
        count, steps: B and T.
    """
    if values.dim() == 2 and len(values) == count * steps:
        return values.reshape(count, steps, -1)
    is_of_steps = values.dim() == 3 and values.shape[:2] == (count, steps)
    return values if is_of_steps else None


def is_same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tells whether two tensors are the same numbers in memory, or parts of them."""
    return bool(one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr())
