"""Weights by name, put into a model that must be the one that they were learned in."""

from __future__ import annotations

import torch
from torch import nn

from dltrain.errors import CheckpointError
from dltrain.models import FittedModel


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Loads weights into a model.

    Raises:
        CheckpointError: names or shapes differ; the message gives the first of them.
    """
    if isinstance(model, FittedModel):
        model.make_room(weights)
    own = model.state_dict()
    wrong = [f"{name} is missing in the checkpoint" for name in own if name not in weights]
    wrong += [f"{name} is not in the model" for name in weights if name not in own]
    wrong += [
        f"{name} has shape {tuple(weights[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise CheckpointError(f"the checkpoint is of another model: {'; '.join(wrong[:3])}{more}")
    model.load_state_dict(weights)
