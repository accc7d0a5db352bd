"""Evaluation of a split, the same for the trainer and for the verbs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from dltrain.data import Split
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
) -> dict[str, float]:
    """Returns the model's figures on a split, as plain numbers by metric name.

    The model computes in evaluation mode (no dropout, stored statistics) and is put back as it was, each layer by
    itself: frozen ones may be in evaluation mode in training too.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    metrics.reset()
    for batch in split.batches(epoch=0):
        if autocast is None:
            outputs = model(batch.inputs)
        else:
            with autocast:
                outputs = as_float(model(batch.inputs))
        metrics.update(loss(outputs, batch.targets), outputs, batch.targets)
    for module, was_training in modes:
        module.training = was_training
    return metrics.compute()
