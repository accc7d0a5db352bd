"""The layers of a model as a tree: what comes out of each, its parameters, its FLOPs, and what it keeps in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode

from dltrain.data import InputSpec, Tensors
from dltrain.models import FittedModel, RuleModel, device_of

SAMPLES = 2  # of which a pass is made: one alone would do for shapes, but not for batch normalisation


@dataclass(frozen=True)
class Cost:
    """What a layer costs.

    Attributes:
        parameters: those shared with a layer before are counted there.
        trained: how many of them have a gradient.
        flops: of one sample, forward, in evaluation: 2 x the multiply-adds of matrix products, convolutions and
            attention. Everything else (activations, normalisation, pooling) is small beside these and not counted.
        kept: bytes that a sample keeps for the backward pass, in fp32; what several layers keep counts once.
    """

    parameters: int = 0
    trained: int = 0
    flops: int = 0
    kept: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.trained + other.trained,
            self.flops + other.flops,
            self.kept + other.kept,
        )


@dataclass(frozen=True)
class Layer:
    """A layer, those inside it, and what it does besides them.

    Attributes:
        name: dotted, as in the names of parameters; that of the model itself is empty.
        kind: its class.
        output: shape without the batch, of the first tensor that it gives; None where it was never called.
        called: whether it, or a layer inside it, was.
        own: without the layers inside.
        inner: in the order in which a sample passes them, then those that it does not pass.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    called: bool
    own: Cost
    inner: tuple[Layer, ...]


def total(layer: Layer) -> Cost:
    """Returns the cost of a layer with those inside it."""
    return sum((total(inner) for inner in layer.inner), layer.own)


def layers(model: nn.Module, inputs: InputSpec | dict[str, InputSpec], *, costs: bool = True) -> Layer:
    """Sends samples through a model, one pass as in evaluation and one as in training, and leaves it as it was.

    A model without gradients keeps nothing. One that is fitted is not called, since it may not be fitted yet.

    Args:
        inputs: of one sample.
        costs: whether FLOPs and what is kept are counted; for the first time that takes a second, for PyTorch's counter
            imports its compiler.
    """
    passes = _Passes(model, costs)
    batch = example(inputs, SAMPLES, device_of(model))
    if not isinstance(model, FittedModel):
        with watched(model, passes.enter, passes.leave), as_it_was(model):
            with torch.inference_mode(), passes.counter or contextlib.nullcontext():
                model.eval()(batch)
            if costs and not isinstance(model, RuleModel):
                passes.counter = None
                with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(passes.keep, lambda kept: kept):
                    model.train()(batch)
    return passes.tree("", model, set())


def example(inputs: InputSpec | dict[str, InputSpec], batch_size: int, device: torch.device) -> Tensors:
    """Returns samples (B, *shape): values of 0, or tokens of 1, which are no padding."""
    if isinstance(inputs, dict):
        return {name: _example(spec, batch_size, device) for name, spec in inputs.items()}
    return _example(inputs, batch_size, device)


def _example(spec: InputSpec, batch_size: int, device: torch.device) -> torch.Tensor:
    value = 0 if spec.vocabulary_size is None else min(1, spec.vocabulary_size - 1)
    return torch.full((batch_size, *spec.shape), value, dtype=getattr(torch, spec.dtype), device=device)


@contextlib.contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Puts back the mode, the buffers and the random numbers that a pass in training changes."""
    was_training = model.training
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = [torch.cuda.current_device()] if device_of(model).type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        model.train(was_training)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])


@contextlib.contextmanager
def watched(
    model: nn.Module, enter: Callable[..., Any], leave: Callable[..., Any], *, with_kwargs: bool = False
) -> Iterator[None]:
    """Calls ``enter`` before each layer of a model computes, and ``leave`` after it, as hooks of PyTorch.

    Args:
        with_kwargs: whether ``enter`` is given the named inputs too.
    """
    hooks = []
    for module in model.modules():
        hooks.append(module.register_forward_pre_hook(enter, with_kwargs=with_kwargs))
        hooks.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Passes:
    """What is noted while samples pass the layers.

    Attributes:
        counter: of FLOPs; None where they are not counted.
    """

    def __init__(self, model: nn.Module, costs: bool) -> None:
        self.model = model
        self.counter: Any = FlopCounterMode(display=False) if costs else None
        self.outputs: dict[nn.Module, tuple[int, ...] | None] = {}  # in the order of the calls
        self.flops: dict[nn.Module, int] = {}
        self.kept: dict[nn.Module, int] = {}
        self._open: list[tuple[nn.Module, int]] = []  # layers that are computing, and the count when they began
        self._inner: list[int] = []  # FLOPs of the layers inside each of them
        # Storages are held, so that no other takes their place in memory and is thought to be the same.
        tensors = [*model.parameters(), *model.buffers()]
        self._seen = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in tensors}

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Notes a tensor that autograd saves for the backward pass."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen[storage._cdata] = storage
            layer = self._open[-1][0] if self._open else self.model
            self.kept[layer] = self.kept.get(layer, 0) + storage.nbytes()
        return tensor

    def enter(self, module: nn.Module, _: Any) -> None:
        self.outputs.setdefault(module, None)
        self._open.append((module, self._count()))
        self._inner.append(0)

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self.outputs[module] is None:
            self.outputs[module] = _shape(output)
        _, before = self._open.pop()
        inside, here = self._inner.pop(), self._count() - before
        if self._inner:
            self._inner[-1] += here
        if self.counter is not None:
            own = recurrent_flops(module, inputs[0]) if isinstance(module, nn.RNNBase) else here - inside
            self.flops[module] = self.flops.get(module, 0) + own

    def _count(self) -> int:
        return 0 if self.counter is None else int(self.counter.get_total_flops())

    def _first_call(self, module: nn.Module) -> int:
        """Returns the place, among all calls, of the first call of a layer or of one inside it."""
        places = {called: place for place, called in enumerate(self.outputs)}
        return min((places.get(inner, len(places)) for inner in module.modules()), default=len(places))

    def tree(self, name: str, module: nn.Module, counted: set[int]) -> Layer:
        """
        Args:
            counted: the ids of parameters that are counted already.
        """
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in counted]
        counted.update(id(parameter) for parameter in own)
        cost = Cost(
            parameters=sum(parameter.numel() for parameter in own),
            trained=sum(parameter.numel() for parameter in own if parameter.requires_grad),
            flops=self.flops.get(module, 0) // SAMPLES,
            kept=self.kept.get(module, 0) // SAMPLES,
        )
        children = sorted(module.named_children(), key=lambda child: self._first_call(child[1]))
        inner = tuple(self.tree(f"{name}.{own}" if name else own, child, counted) for own, child in children)
        called = module in self.outputs or any(layer.called for layer in inner)
        return Layer(name, type(module).__name__, self.outputs.get(module), called, cost, inner)


def _shape(output: Any) -> tuple[int, ...] | None:
    """Returns the shape, without the batch, of the first tensor of what a layer gives."""
    if isinstance(output, PackedSequence):
        return (int(output.batch_sizes.shape[0]), *output.data.shape[1:])
    if isinstance(output, torch.Tensor):
        return tuple(output.shape[1:])
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((shape for shape in map(_shape, parts) if shape is not None), None)


def recurrent_flops(layer: nn.RNNBase, inputs: torch.Tensor | PackedSequence) -> int:
    """Returns the FLOPs of a batch's recurrent steps; the fused kernels have no rule of PyTorch's own.

    A step multiplies, for each gate, layer and direction, its input and its last state with a matrix.
    """
    steps = inputs.data.shape[0] if isinstance(inputs, PackedSequence) else inputs.shape[0] * inputs.shape[1]
    weights = (value for name, value in layer.named_parameters(recurse=False) if name.startswith("weight"))
    return 2 * steps * sum(weight.numel() for weight in weights)
