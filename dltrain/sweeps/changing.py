"""What may change when a sweep goes on: how far it goes and by how many, never what it searches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

from dltrain import config
from dltrain.config import SweepSettings
from dltrain.errors import ConfigError, did_you_mean
from dltrain.sweeps import parsing
from dltrain.sweeps.folder import SweepPlan

_MAY_CHANGE = ("trials", "workers", "max_time", "stop_when", "max_failures", "report")


def changed(plan: SweepPlan, overrides: list[str]) -> SweepPlan:
    """Returns the plan with what a command line changes.

    Args:
        overrides: ``sweep.trials=N`` and other limits; what the sweep has already may be said again.

    Raises:
        ConfigError: with each that cannot change, and what it was.
    """
    swept, fixed = parsing.swept(overrides)
    problems, refused, changes = list[str](), list[str](), dict[str, Any]()
    for key, text in swept.items():
        was = plan.space.get(key)
        if was is None:
            refused.append(f"{key}={text}: the sweep does not search {key}")
        elif parsing.space_of({key: text}) != parsing.space_of({key: was}):
            refused.append(f"{key}: the sweep searches {_shown(was)}, and not {text}")
    for override in fixed:
        key, _, text = override.partition("=")
        name = key.removeprefix("sweep.")
        if key.startswith("sweep.") and name in _MAY_CHANGE:
            problems += _change(plan, name, text, changes)
        elif override not in plan.overrides:
            refused.append(_refusal(plan, key, override))
    if refused:
        instead = "Start another sweep with -m, or go on with this one as it is"
        refused[-1] += f"{'' if refused[-1].endswith('?') else '.'} {instead}"
    if problems or refused:
        raise ConfigError(*problems, *refused)
    return replace(plan, **changes)


def _change(plan: SweepPlan, name: str, text: str, changes: dict[str, Any]) -> list[str]:
    """Notes a change of a limit; returns its mistakes."""
    problems: list[str] = []
    if name == "trials" and plan.sampler == "grid":
        return [f"sweep.trials={text}: the sweep is a grid, which has {len(plan.points)} points"]
    settings: dict[str, Any] = {key: getattr(plan, key) for key in _MAY_CHANGE if key != "trials"}
    settings |= {"name": plan.sampler, "trials": plan.trials, "seed": 0, "space": {}, "metric": None}
    settings |= {"direction": None, "seeds": 1, "pruner": None, "prune_after": None, "refine": None}
    loaded = config.convert({**settings, name: yaml.safe_load(text)}, SweepSettings, "sweep", problems)
    if problems:
        return problems
    changes[name] = getattr(loaded, name)
    if name == "trials" and (changes[name] or 0) < plan.trials:
        return [f"sweep.trials={text}: the sweep is to have {plan.trials} trials already. Give more than that"]
    if name == "trials" and plan.points and (changes[name] or 0) > len(plan.points):
        return [f"sweep.trials={text}: there are no more than {len(plan.points)} points"]
    return []


def _refusal(plan: SweepPlan, key: str, override: str) -> str:
    before = [text.partition("=")[2] for text in plan.overrides if text.partition("=")[0] == key]
    if key in plan.space:
        return f"{override}: the sweep searches {key}: {_shown(plan.space[key])}"
    if before:
        return f"{override}: the trials of the sweep have {key}={before[-1]}"
    if key.startswith("sweep.") and key.removeprefix("sweep.") not in config.field_names(SweepSettings):
        return f"no setting '{key}'.{did_you_mean(key, (f'sweep.{name}' for name in _MAY_CHANGE))}"
    may = ", ".join(f"sweep.{name}" for name in _MAY_CHANGE)
    return f"{override}: of a sweep that goes on only these can change: {may}"


def _shown(given: Any) -> str:
    return given if isinstance(given, str) else yaml.safe_dump(given, default_flow_style=True).strip()
