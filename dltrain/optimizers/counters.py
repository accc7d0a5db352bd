"""The part of an optimizer's state that stands in its groups."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

# What a group has that no update changes: its parameters, and what the config and the schedule set.
_OF_THE_CONFIG = ("params", "param_names", "pattern", "lr", "initial_lr", "weight_decay")


class Counters:
    """What an optimizer itself changes in its groups, such as a count of updates.

    PyTorch's own keep all their state by parameter. Others count updates in the group, among the settings; a resumed
    run needs the counts, but takes the settings from its config. So what differs from the first values is state.

    Args:
        optimizer: one that has done no update yet.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._first = self._values()

    def _values(self) -> list[dict[str, Any]]:
        groups = self.optimizer.param_groups
        return [{name: value for name, value in group.items() if name not in _OF_THE_CONFIG} for group in groups]

    def state_dict(self) -> list[dict[str, Any]]:
        """Returns the changed values of each group."""
        changed = []
        for now, first in zip(self._values(), self._first, strict=True):
            changed.append({name: value for name, value in now.items() if name not in first or value != first[name]})
        return changed

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Takes over what ``state_dict`` returned; [] stands for groups in which nothing had changed."""
        for group, changed in zip(self.optimizer.param_groups, state, strict=False):
            group.update(changed)
