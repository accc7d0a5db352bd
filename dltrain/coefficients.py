"""The coefficients of a linear model in the data's own units, whatever the data was scaled to for the training."""

from __future__ import annotations

import math

import torch
from torch import nn

from dltrain.data import Data, Task
from dltrain.losses import Loss
from dltrain.models.baselines import FittedLinear
from dltrain.models.linear import Linear
from dltrain.models.perceptron import Perceptron
from dltrain.preview_features import features_of

INTERCEPT = "(intercept)"

# A table of more features or outputs than these says nothing to a person.
_MAX_FEATURES = 60
_MAX_OUTPUTS = 10


# What evaluation.json says of coefficients that are those of the logarithm of a prediction.
LOGARITHM = "logarithm"


def of_logarithms(loss: Loss) -> dict[str, str]:
    """Returns what ``evaluation.json`` says of what the coefficients are of, where that is not an output itself."""
    return {} if loss.link is None else {"coefficients_of": LOGARITHM}


def coefficients_of(model: nn.Module, data: Data, loss: Loss) -> dict[str, dict[str, float]] | None:
    """Returns the coefficient of each feature, and the intercept, of each output; None of other models and data.

    With x = (raw - m) / s for an input and y = raw * scale + shift for an output of a regression, the output
    b + sum_i w_i x_i is scale * (b - sum_i w_i m_i / s_i) + shift + sum_i (scale * w_i / s_i) raw_i. Outputs for
    classes are logits (or scores), and keep their unit; so do those that the loss's link makes predictions of, as the
    logarithms of Poisson's rates, which are of the target's own unit.
    """
    found = _linear_map(model)
    if found is None or isinstance(data.task.inputs, dict) or data.task.heads:
        return None
    (weights, intercepts), spec = found, data.task.inputs
    count = math.prod(spec.shape)
    if count > _MAX_FEATURES or data.task.output_size > _MAX_OUTPUTS or spec.categories:
        return None
    features = features_of(data, "", count)
    shift = torch.tensor([feature.shift for feature in features], dtype=torch.float64)
    scale = torch.tensor([feature.scale for feature in features], dtype=torch.float64)
    own_weights = weights / scale  # (K, D)
    own_intercepts = intercepts - own_weights @ shift
    if data.task.target_scale and loss.link is None:
        target_scale = torch.tensor(data.task.target_scale, dtype=torch.float64)
        own_weights *= target_scale[:, None]
        own_intercepts = own_intercepts * target_scale + torch.tensor(data.task.target_shift, dtype=torch.float64)
    names = [feature.name for feature in features]
    return {
        output: {**dict(zip(names, row.tolist(), strict=True)), INTERCEPT: float(intercept)}
        for output, row, intercept in zip(_outputs(data.task), own_weights, own_intercepts, strict=True)
    }


def _linear_map(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Returns weights (K, D) and intercepts (K,) in float64 on the CPU."""
    if isinstance(model, FittedLinear):
        weights, intercepts = model.coefficients.detach(), model.intercepts.detach()
    elif isinstance(model, (Linear, Perceptron)):
        weights = model.layer.weight.detach()
        intercepts = model.layer.state_dict().get("bias", weights.new_zeros(len(weights)))
    else:
        return None
    return weights.double().cpu(), intercepts.double().cpu()


def _outputs(task: Task) -> list[str]:
    if task.kind == "multiclass" and task.class_names:
        return list(task.class_names)
    if task.kind == "binary" and task.class_names:
        return [task.class_names[1]]
    return ["output"] if task.output_size == 1 else [f"output {place + 1}" for place in range(task.output_size)]
