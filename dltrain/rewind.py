"""Steps that are taken for a trial and taken back: afterwards all is as it was before, to the bit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dltrain import seed
from dltrain.steps import Step

_PLAIN = (bool, int, float, str, type(None))

_Restore = Callable[[], Any]


@contextlib.contextmanager
def rewound(step: Step) -> Iterator[None]:
    """Takes back at the end of the block what it did with a step, after an exception or Ctrl-C too.

    That is weights, buffers, gradients, what is frozen, training or evaluation mode, the optimizer's state and
    settings, the step's own counters, and every random number generator. What was there before stays the same object
    in the same memory, because others may hold it. Weights and state are held twice while the block runs.
    """
    tensors = [*step.model.parameters(), *step.parameters]
    held = {id(tensor): tensor for tensor in tensors}
    restores = [_parameter(parameter) for parameter in held.values()]
    restores += [_module(module) for module in step.model.modules()]
    restores += [_optimizer(optimizer) for optimizer in _with_parts(step.optimizer)]
    restores.append(_attributes(vars(step)))
    random = seed.generator_states()
    try:
        yield
    finally:
        for restore in restores:
            restore()
        seed.restore_generators(random)


def _kept(value: Any) -> _Restore:
    """Returns what gives a value back as it is now: tensors and containers themselves, with what they held."""
    if isinstance(value, torch.Tensor):
        return _tensor(value)
    if isinstance(value, dict):
        items = {key: _kept(item) for key, item in value.items()}
        return lambda: _refill(value, {key: restore() for key, restore in items.items()})
    if isinstance(value, list):
        entries = [_kept(item) for item in value]

        def restore_list() -> list[Any]:
            value[:] = [restore() for restore in entries]
            return value

        return restore_list
    return lambda: value


def _refill(target: dict[Any, Any], items: dict[Any, Any]) -> dict[Any, Any]:
    target.clear()
    target.update(items)
    return target


def _tensor(tensor: torch.Tensor) -> _Restore:
    content = tensor.detach().clone()

    def restore() -> torch.Tensor:
        with torch.no_grad():
            tensor.copy_(content)
        return tensor

    return restore


def _parameter(parameter: nn.Parameter) -> _Restore:
    value, gradient, trained = _tensor(parameter), _kept(parameter.grad), parameter.requires_grad

    def restore() -> None:
        value()
        parameter.grad = gradient()
        parameter.requires_grad_(trained)

    return restore


def _module(module: nn.Module) -> _Restore:
    """Keeps a layer's buffers and plain attributes, its mode among them; parameters are kept apart."""
    buffers, attributes = _kept(module._buffers), _attributes(vars(module))

    def restore() -> None:
        buffers()
        attributes()

    return restore


def _attributes(own: dict[str, Any]) -> _Restore:
    """Keeps the numbers, texts and tensors among an object's attributes; new ones go."""
    known = set(own)
    kept = {name: _kept(value) for name, value in own.items() if isinstance(value, (*_PLAIN, torch.Tensor))}

    def restore() -> None:
        for name in set(own) - known:
            del own[name]
        for name, value in kept.items():
            own[name] = value()

    return restore


def _with_parts(optimizer: Optimizer) -> list[Optimizer]:
    """Returns an optimizer, and those that it consists of."""
    parts = [part for part in getattr(optimizer, "parts", ()) if isinstance(part, Optimizer)]
    return [optimizer, *(own for part in parts for own in _with_parts(part))]


def _optimizer(optimizer: Optimizer) -> _Restore:
    """Keeps state, settings and plain attributes; the parameters of a group are kept apart."""
    state = _kept(optimizer.state)
    groups = [_group(group) for group in optimizer.param_groups]
    attributes = _attributes(vars(optimizer))

    def restore() -> None:
        state()
        for restore_group in groups:
            restore_group()
        attributes()

    return restore


def _group(group: dict[str, Any]) -> _Restore:
    settings = {name: _kept(value) for name, value in group.items() if name != "params"}

    def restore() -> None:
        _refill(group, {"params": group["params"], **{name: value() for name, value in settings.items()}})

    return restore
