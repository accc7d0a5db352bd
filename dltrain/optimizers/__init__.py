"""Optimizers by name: how one is built, over which groups of parameters, and how it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from dltrain import registry
from dltrain.config import GroupSettings
from dltrain.optimizers.adaptive import AdagradSettings, AdamSettings, RMSpropSettings
from dltrain.optimizers.counters import Counters
from dltrain.optimizers.descent import LBFGSSettings, SGDSettings
from dltrain.optimizers.groups import parameter_groups
from dltrain.optimizers.settings import Groups, OptimizerSettings
from dltrain.optimizers.stepping import keep_compiler_out, needs_closure, plain_step

__all__ = [
    "AdagradSettings",
    "AdamSettings",
    "Counters",
    "Groups",
    "LBFGSSettings",
    "OptimizerSettings",
    "RMSpropSettings",
    "SGDSettings",
    "build",
    "learning_rates",
    "needs_closure",
    "plain_step",
]


def build(
    settings: Any,
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    groups: Mapping[str, GroupSettings] | None = None,
    *,
    later: frozenset[str] = frozenset(),
) -> Optimizer:
    """Builds the optimizer that the settings name over the parameters that are trained.

    Each of its groups has "initial_lr", its rate before any schedule, and the "pattern" that it belongs to.

    Args:
        named_parameters: of the model, in its order; those that a group freezes get requires_grad=False here.
        groups: settings by pattern of parameter names; the last that fits a name holds.
        later: names of parameters that need no gradient now and will be trained later.

    Raises:
        ConfigError: the groups do not fit the model or the optimizer, or nothing is left to train.
    """
    keep_compiler_out()
    parameters = parameter_groups(settings, named_parameters, groups or {}, later)
    optimizer: Optimizer = registry.build("optimizer", settings, parameters=parameters)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Returns the present rate as "lr", and as "lr/<pattern>" that of each group with another base rate."""
    first = optimizer.param_groups[0]
    rates = {"lr": first["lr"]}
    for group in optimizer.param_groups:
        if group.get("pattern") and group["initial_lr"] != first["initial_lr"]:
            rates[f"lr/{group['pattern']}"] = group["lr"]
    return rates
