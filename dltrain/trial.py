"""Two samples are sent through a model before a run starts: what does not fit is told, with the layer."""

from __future__ import annotations

import itertools
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from dltrain.data import Batch, InputSpec, Task, Tensors
from dltrain.layers import watched
from dltrain.models import FittedModel, RuleModel

# What PyTorch and Python raise where a model and its inputs do not go together.
_MISTAKES = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError, AssertionError)


def trial_pass(model: nn.Module, batch: Batch, task: Task) -> list[str]:
    """Returns the mistake of a model that cannot compute a batch, or gives outputs of another shape.

    Args:
        batch: on the model's device.
    """
    if isinstance(model, FittedModel):
        return []  # it has learned no shape yet
    outputs, problems = _outputs(model, batch.inputs)
    if problems:
        return [f"model: it cannot compute this data, {described(task.inputs)}: {problems[0]}"]
    return problems or wrong_shape(outputs, batch, task)


def without_gradient(model: nn.Module, inputs: Tensors) -> list[str]:
    """Returns the mistake of a model whose outputs have no gradient, so that its parameters could not be trained.

    Args:
        inputs: some samples, on the model's device.
    """
    untrained = isinstance(model, (FittedModel, RuleModel))
    if untrained or not any(parameter.requires_grad for parameter in model.parameters()):
        return []
    was_training = model.training
    try:
        with torch.enable_grad(), torch.random.fork_rng([]):
            outputs = model.eval()(inputs)
    finally:
        model.train(was_training)
    tensors = outputs.values() if isinstance(outputs, dict) else [outputs]
    if any(tensor.requires_grad for tensor in tensors):
        return []
    return [
        "model: its outputs have no gradient, so that the loss could teach it nothing: its forward detaches them, or "
        "computes them under torch.no_grad() or with something else than PyTorch's operations"
    ]


def wrong_shape(outputs: Any, batch: Batch, task: Task) -> list[str]:
    """Returns the mistake of outputs that do not have a task's shape."""
    if isinstance(outputs, dict) and task.heads:
        needed = {name: (batch.size, head.output_size) for name, head in task.heads.items()}
        shapes, expected = str({name: tuple(output.shape) for name, output in outputs.items()}), str(needed)
    elif isinstance(outputs, torch.Tensor):
        each_step = task.per_step and isinstance(batch.targets, torch.Tensor)
        steps_of_one = tuple(batch.targets.shape[1:2]) if each_step else ()  # type: ignore[union-attr]
        shapes, expected = str(tuple(outputs.shape)), str((batch.size, *steps_of_one, task.output_size))
    else:
        return [f"model: its forward gives a {type(outputs).__name__} where this task needs a tensor"]
    return [] if shapes == expected else [f"model: it gives outputs of shape {shapes} where this task needs {expected}"]


def misfits(model: nn.Module, inputs: Tensors) -> list[str]:
    """Returns why a model cannot compute inputs (B, ...): at which layer, what came and what it takes."""
    return _outputs(model, inputs)[1]


def _outputs(model: nn.Module, inputs: Tensors) -> tuple[Any, list[str]]:
    """Returns what a model gives in evaluation, or None and its mistake."""
    was_training = model.training
    model.eval()
    calls = _Calls(model)
    try:
        with torch.inference_mode(), torch.random.fork_rng([]), watched(model, calls.enter, calls.leave):
            return model(inputs), []
    except _MISTAKES as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise
        return None, [_explained(error, *calls.innermost)]
    finally:
        model.train(was_training)


class _Calls:
    """Which layers are computing."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self._open: list[tuple[str, nn.Module, Any]] = [("", model, None)]

    @property
    def innermost(self) -> tuple[str, nn.Module, Any]:
        """Name, layer, and its input: of the layer that has begun and not ended."""
        return self._open[-1]

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._open.append((self.names[module], module, inputs[0] if inputs else None))

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._open.pop()


def _explained(error: BaseException, name: str, layer: nn.Module, came: Any) -> str:
    """Returns at which layer a pass failed, and why where that can be known."""
    kind = type(layer).__name__
    where = f"layer {name} ({kind})" if name else f"the model itself ({kind})"
    if isinstance(came, PackedSequence):
        came = came.data.unsqueeze(1)
    if isinstance(came, torch.Tensor):
        window = _too_small(layer, came)
        if window:
            return window.format(where=where)
        taken = _taken(layer, came)
        if taken:
            return f"{where} takes {taken[0]}, and {taken[1]} comes to it"
        where = f"{where}, to which {_shown(came)} comes"
    return f"{where}: {type(error).__name__}: {_first_line(error)}{_place(error)}"


_SPACE = ("", "T", "H, W", "D, H, W")


def _taken(layer: nn.Module, came: torch.Tensor) -> tuple[str, str] | None:
    """Returns what a layer takes and what came instead; None where that is not why it failed."""
    last: int | None = None
    if isinstance(layer, nn.Linear):
        last = layer.in_features
    elif isinstance(layer, nn.RNNBase):
        last = layer.input_size
    elif isinstance(layer, nn.modules.conv._ConvNd):
        dimensions = len(layer.kernel_size)
        if came.dim() != dimensions + 2 or came.shape[1] != layer.in_channels:
            return f"(B, {layer.in_channels}, {_SPACE[dimensions]})", _shown(came)
    elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
        if came.dim() > 1 and came.shape[1] != layer.num_features:
            space = _SPACE[came.dim() - 2] if came.dim() <= 5 else "..."
            return f"(B, {layer.num_features}{', ' if space else ''}{space})", _shown(came)
    elif isinstance(layer, nn.LayerNorm):
        shape = tuple(layer.normalized_shape)
        if tuple(came.shape[-len(shape) :]) != shape:
            before = "B" if came.dim() == len(shape) + 1 else "B, ..."
            return f"({before}, {', '.join(map(str, shape))})", _shown(came)
    elif isinstance(layer, nn.Embedding):
        return _tokens(layer, came)
    if last is not None and (came.dim() == 0 or came.shape[-1] != last):
        middle = "T, " if isinstance(layer, nn.RNNBase) else "..., " if came.dim() > 2 else ""
        return f"(B, {middle}{last})", _shown(came)
    weight = next(layer.parameters(recurse=False), None)
    if weight is not None and weight.dtype != came.dtype:
        return f"numbers of type {_type(weight)}", f"{_shown(came)} of {_type(came)}"
    return None


def _tokens(layer: nn.Embedding, came: torch.Tensor) -> tuple[str, str] | None:
    if came.is_floating_point():
        return "whole numbers, which stand for tokens", f"{_shown(came)} of {_type(came)}"
    low, high = (0, 0) if came.is_meta or not came.numel() else (int(came.min()), int(came.max()))
    if low < 0 or high >= layer.num_embeddings:
        return f"numbers from 0 to {layer.num_embeddings - 1}", str(low if low < 0 else high)
    return None


def _too_small(layer: nn.Module, came: torch.Tensor) -> str | None:
    """Returns the mistake of a window that does not fit into what comes to it."""
    window = getattr(layer, "kernel_size", None)
    dimensions = came.dim() - 2
    if window is None or dimensions not in (1, 2, 3):
        return None
    kernel, padding, dilation = (_each(getattr(layer, key, default), dimensions)
                                 for key, default in (("kernel_size", 1), ("padding", 0), ("dilation", 1)))  # fmt: skip
    if kernel is None or padding is None or dilation is None:
        return None
    sizes = came.shape[2:]
    reach = [step * (width - 1) + 1 for width, step in zip(kernel, dilation, strict=True)]
    if all(size + 2 * pad >= width for size, pad, width in zip(sizes, padding, reach, strict=True)):
        return None
    what, more = ("sequences are", "longer sequences") if dimensions == 1 else ("images are", "larger images")
    example = " (data=image_folder has data.size)" if dimensions == 2 else ""
    long = " long" if dimensions == 1 else ""
    return (
        f"the {what} {_by(sizes)}{long} when they come to {{where}}, whose window is {_by(reach)}. "
        f"Take {more}{example}, or a model with fewer poolings or strides"
    )


def _each(value: Any, count: int) -> tuple[int, ...] | None:
    """Returns one number for each dimension of space; None for what is no number, as padding='same'."""
    values = value if isinstance(value, tuple) else (value,) * count
    return values if len(values) == count and all(isinstance(item, int) for item in values) else None


def _by(sizes: Any) -> str:
    return "x".join(map(str, sizes))


def _shown(tensor: torch.Tensor) -> str:
    return f"({', '.join(['B', *map(str, tensor.shape[1:])])})"


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def _place(error: BaseException) -> str:
    """Returns the line of the model's own code at which an error came up."""
    inside = (str(Path(torch.__file__).parent), __file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(inside)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


# --- words ------------------------------------------------------------------------------------------------


def described(inputs: InputSpec | dict[str, InputSpec]) -> str:
    """Returns the shapes of inputs in words."""
    if isinstance(inputs, dict):
        return "; ".join(f"{name} of shape {_with_batch(spec)}" for name, spec in inputs.items())
    return f"inputs of shape {_with_batch(inputs)}"


def _with_batch(spec: InputSpec) -> str:
    return f"{('B', *spec.shape)}, {spec.dtype}".replace("'", "")


# --- a batch of one ---------------------------------------------------------------------------------------


def single_sample_batch(model: nn.Module, inputs: Tensors, num_samples: int, batch_size: int) -> list[str]:
    """Returns the mistake of a last batch of one sample, of which batch normalisation cannot take a variance.

    Args:
        inputs: some samples, on the model's device: where a sample still has several values in a channel when it is
            normalised, as images mostly have, one is enough.
    """
    if (num_samples - 1) % batch_size != 0 or not _takes_variance_of_samples(model, inputs):
        return []
    if num_samples == 1:
        return ["model: batch normalisation needs two samples in a batch, and there is one to train on"]
    fitting = next(size for size in itertools.count(batch_size + 1) if num_samples % size != 1)
    return [
        f"trainer.batch_size = {batch_size}: the last batch of {num_samples} samples has a single one, and batch "
        f"normalisation needs two. Take trainer.batch_size={fitting}"
    ]


def _takes_variance_of_samples(model: nn.Module, inputs: Tensors) -> bool:
    """Tells whether a layer of batch normalisation is given a single value of each channel of a sample."""
    alone: list[bool] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: alone.append(given[0][0, 0].numel() == 1))
        for layer in model.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    was_training = model.training
    try:
        if hooks:
            with torch.inference_mode(), torch.random.fork_rng([]):
                model.eval()(inputs)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return any(alone)
