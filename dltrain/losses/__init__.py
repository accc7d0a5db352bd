"""Losses by name, and which task each one fits. A loss maps outputs and targets of a batch to their mean.

``contract`` says what a loss is and holds the table of what fits what; ``regression``, ``classification``, ``margin``
and ``ctc`` are families of losses, ``auto`` chooses among them, and ``penalties`` is what is added for large weights.
"""

from dltrain.losses.auto import auto
from dltrain.losses.classification import (
    BinaryCrossEntropySettings,
    CrossEntropySettings,
    FocalSettings,
    LogLossSettings,
    binary_cross_entropy,
    cross_entropy,
    focal,
    kl_divergence,
    log_loss,
    nll,
)
from dltrain.losses.contract import (
    FITS,
    HeadsLoss,
    Loss,
    LossSettings,
    MeanLoss,
    by_head,
    count_targets,
    default_name,
)
from dltrain.losses.ctc import CTCLoss, CTCSettings, ctc
from dltrain.losses.margin import HingeSettings, hinge, perceptron
from dltrain.losses.regression import (
    HuberSettings,
    MAPESettings,
    SmoothL1Settings,
    cosine_distance,
    huber,
    mae,
    mape,
    mean_pairwise_squared_error,
    mse,
    msle,
    poisson,
    smooth_l1,
)

__all__ = [
    "FITS",
    "BinaryCrossEntropySettings",
    "CTCLoss",
    "CTCSettings",
    "CrossEntropySettings",
    "FocalSettings",
    "HeadsLoss",
    "HingeSettings",
    "HuberSettings",
    "LogLossSettings",
    "Loss",
    "LossSettings",
    "MAPESettings",
    "MeanLoss",
    "SmoothL1Settings",
    "auto",
    "binary_cross_entropy",
    "by_head",
    "cosine_distance",
    "count_targets",
    "cross_entropy",
    "ctc",
    "default_name",
    "focal",
    "hinge",
    "huber",
    "kl_divergence",
    "log_loss",
    "mae",
    "mape",
    "mean_pairwise_squared_error",
    "mse",
    "msle",
    "nll",
    "perceptron",
    "poisson",
    "smooth_l1",
]
