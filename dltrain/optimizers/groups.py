"""Groups of parameters by patterns of their names, each with a learning rate or a weight decay of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from dltrain import patterns
from dltrain.config import GroupSettings, field_names
from dltrain.errors import ConfigError
from dltrain.optimizers.settings import Groups

KEY = "optimizer.groups"


def parameter_groups(
    settings: Any,
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    groups: Mapping[str, GroupSettings],
    later: frozenset[str],
) -> Groups:
    """Sorts parameters into groups, and freezes those that a pattern freezes.

    Args:
        settings: of the optimizer.
        groups: settings by pattern; the last pattern that fits a name holds.
        later: names of parameters that are frozen now and will be trained later; they belong to their group already.

    Returns:
        A group for each pattern that trains something, and one with the pattern "" for what fits none, which comes
        first. Groups without parameters are left out.

    Raises:
        ConfigError: a pattern fits nothing, nothing is left to train, or the optimizer has no weight decay.
    """
    named = dict(named_parameters)
    by_pattern: dict[str, list[str]] = {"": [], **{pattern: [] for pattern in groups}}
    holding = patterns.last_fitting(KEY, groups, named)
    for name in named:
        by_pattern[holding.get(name, "")].append(name)
    _check_weight_decay(settings, groups)
    built = []
    for pattern, names in by_pattern.items():
        own = groups.get(pattern, GroupSettings())
        if own.frozen:
            for name in names:
                named[name].requires_grad_(False)
            continue
        trained = [name for name in names if named[name].requires_grad or name in later]
        if trained:
            group = {"params": [named[name] for name in trained], "param_names": trained, "pattern": pattern}
            built.append({**group, **_own_values(own)})
    if not built:
        raise ConfigError(_nothing_to_train(named, groups))
    return Groups(built, named)


def _own_values(own: GroupSettings) -> dict[str, float]:
    values = {"lr": own.lr, "weight_decay": own.weight_decay}
    return {name: value for name, value in values.items() if value is not None}


def _check_weight_decay(settings: Any, groups: Mapping[str, GroupSettings]) -> None:
    """
    Raises:
        ConfigError: a group has a weight decay that the optimizer cannot do.
    """
    if "weight_decay" in field_names(type(settings)):
        return
    problems = [
        f"{KEY}.{pattern}.weight_decay = {own.weight_decay:g}: optimizer.name = '{settings.name}' has no weight decay. "
        f"loss.l2 adds a penalty to the loss instead: 'loss.l2={{{pattern}: {own.weight_decay / 2:g}}}'"
        for pattern, own in groups.items()
        if own.weight_decay
    ]
    if problems:
        raise ConfigError(*problems)


def _nothing_to_train(named: dict[str, nn.Parameter], groups: Mapping[str, GroupSettings]) -> str:
    if not named:
        return "optimizer: the model has no parameter that a gradient could train"
    frozen = [pattern for pattern, own in groups.items() if own.frozen]
    by_groups = f"{KEY} freezes {', '.join(map(repr, frozen))}. " if frozen else ""
    return (
        f"optimizer: all {len(named)} parameters are frozen, so there is nothing to train. {by_groups}Leave some free"
    )
