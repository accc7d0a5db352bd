"""``auto``: the loss that fits the task, as its YAML file has it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from dltrain import registry
from dltrain.data import Task
from dltrain.losses.contract import Loss, LossSettings, MeanLoss, default_name, of_heads, require_no_shares

_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "mse": F.mse_loss,
}


@registry.register("loss", "auto", LossSettings)
def auto(settings: LossSettings, *, task: Task) -> Loss:
    """Cross-entropy for classes, binary cross-entropy for yes or no, the squared error for values."""
    if task.heads:
        return of_heads(settings, task)
    require_no_shares(settings)
    return MeanLoss(_FUNCTIONS[default_name(task)], task.per_step)
