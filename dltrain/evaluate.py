"""Evaluation of a split, the same for the trainer and for the verbs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from dltrain import seed
from dltrain.data import Split, Tensors
from dltrain.losses import Loss
from dltrain.metrics import Metrics
from dltrain.steps import as_float


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    split: Split,
    loss: Loss,
    metrics: Metrics,
    autocast: AbstractContextManager[Any] | None = None,
    observe: Callable[[Tensors, Tensors], None] | None = None,
) -> dict[str, float]:
    """Returns the model's figures on a split, as plain numbers by metric name.

    The model computes in evaluation mode (no dropout, stored statistics) and is put back as it was, each layer by
    itself: frozen ones may be in evaluation mode in training too.

    Args:
        observe: gets the outputs and the targets of each batch besides.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    metrics.reset()
    for batch in split.batches(epoch=0):
        outputs = outputs_of(model, batch.inputs, autocast)
        metrics.update(loss(outputs, batch.targets), outputs, batch.targets)
        if observe is not None:
            observe(outputs, batch.targets)
    for module, was_training in modes:
        module.training = was_training
    return metrics.compute()


def outputs_of(model: nn.Module, inputs: Tensors, autocast: AbstractContextManager[Any] | None) -> Tensors:
    """Returns what a model says of a batch, as it is evaluated."""
    outputs: Tensors
    if autocast is None:
        outputs = model(inputs)
    else:
        with autocast:
            outputs = as_float(model(inputs))
    return outputs


@contextlib.contextmanager
def apart(model: nn.Module) -> Iterator[None]:
    """Lets a model compute in evaluation mode between the steps of a training, which goes on as if nothing had been:
    modes, buffers and the generators of random numbers are put back as they were.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    generators = seed.generator_states()
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, was_training in modes:
            module.training = was_training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        seed.restore_generators(generators)
