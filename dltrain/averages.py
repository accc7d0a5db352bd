"""Averages of a model's weights over the training: what they consist of, and how they take the model's place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dltrain.data import Batch
from dltrain.errors import CheckpointError

Weights = dict[str, torch.Tensor]

# Where the state of a callback that averages holds the average, so that a checkpoint can be evaluated with it.
KEY = "averaged_weights"


def tensors_of(model: nn.Module) -> Weights:
    """Returns what is averaged: parameters, and buffers of floating numbers such as the statistics of normalisation.

    They are the model's own, detached, by the names of its ``state_dict``; tied weights stand under each of theirs.
    """
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


@contextlib.contextmanager
def swapped(model: nn.Module, weights: Weights) -> Iterator[None]:
    """Lets the model hold other weights, and ``weights`` the model's, until the block ends.

    One tensor is copied at a time. Addresses stay: recurrent layers lie in one piece for cuDNN, and tied weights tied.
    """
    _swap(model, weights)
    try:
        yield
    finally:
        _swap(model, weights)


@torch.no_grad()
def _swap(model: nn.Module, weights: Weights) -> None:
    own, done = model.state_dict(), set()
    for name, other in weights.items():
        place = (own[name].data_ptr(), own[name].shape)
        if place not in done:  # else it is tied to another, and two swaps are none
            done.add(place)
            held = own[name].clone()
            own[name].copy_(other)
            other.copy_(held)


def weights_in(state: dict[str, Any]) -> Weights:
    """Returns the weights of a checkpoint to evaluate: its model's, or their average where there is one."""
    averages = [own[KEY] for own in state.get("callbacks", {}).values() if own.get(KEY) is not None]
    return {**state["model"], **averages[0]} if averages else state["model"]


def mean_of(several: Iterable[Weights]) -> Weights:
    """Returns the mean of each floating tensor, oldest weights first; what counts or indexes is the newest's.

    Sums are of double precision, and one set of weights is held at a time besides them.

    Raises:
        CheckpointError: they are not of one model.
    """
    sums: Weights = {}
    newest: Weights = {}
    count = 0
    for weights in several:
        if newest and _shapes(weights) != _shapes(newest):
            raise CheckpointError("the checkpoints are of models of different shapes, so they have no average")
        newest, count = weights, count + 1
        for name, tensor in weights.items():
            if tensor.is_floating_point():
                sums[name] = sums[name] + tensor if name in sums else tensor.double()
    return {name: (sums[name] / count).to(tensor.dtype) if name in sums else tensor for name, tensor in newest.items()}


def _shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}


def renew_statistics(
    model: nn.Module, batches: Iterator[Batch], autocast: AbstractContextManager[Any] | None = None
) -> None:
    """Computes the statistics of batch normalisation anew, as means over the batches of a pass over the data.

    Dropout is off, and layers that do not train are left as they are.
    """
    layers = _renewable(model)
    modes = {module: module.training for module in model.modules()}
    momenta = [layer.momentum for layer in layers]
    counts = [layer.num_batches_tracked.clone() for layer in layers if layer.num_batches_tracked is not None]
    model.eval()
    for layer in layers:
        layer.train()
    with torch.inference_mode(), autocast or contextlib.nullcontext():
        for number, batch in enumerate(batches):
            for layer in layers:
                layer.momentum = 1 / (number + 1)  # the first batch replaces what stood there
            model(batch.inputs)
    for layer, momentum, count in zip(layers, momenta, counts, strict=True):
        layer.momentum, layer.num_batches_tracked = momentum, count
    for module, mode in modes.items():
        module.training = mode


def has_statistics(model: nn.Module) -> bool:
    """Tells whether ``renew_statistics`` would change anything."""
    return bool(_renewable(model))


def _renewable(model: nn.Module) -> list[_BatchNorm]:
    return [
        layer
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.training
    ]
