"""The keys that runs have: settings, figures and facts, found by name, and those that tell runs apart."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from dltrain import config_files
from dltrain.errors import ConfigError, nearest
from dltrain.results.record import FACTS, Run

# What says where a run lies, or how a sweep searched, and not what was trained.
UNTOLD = ("run_dir", "resume", "report", "sweep.")

# Groups whose choice is a name: "model" means "model.name".
_NAMED = tuple(group for group in config_files.GROUPS if group not in ("callbacks", "trainer", "sweep", "experiment"))

# How many names a message gives.
_FEW = 12


class Keys:
    """All keys that some of the runs have."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        sections: dict[int, dict[str, Any]] = {}
        for run in runs:
            for section in run.sections:
                sections[id(section)] = section
        alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}  # sections with the same keys
        for section in sections.values():
            alike.setdefault(tuple(section), []).append(section)
        self._values: dict[str, dict[Any, Any]] = {}  # key -> each distinct value, by what can be looked up
        for keys, those in alike.items():
            for key, values in zip(keys, zip(*(section.values() for section in those), strict=True), strict=True):
                self._values.setdefault(key, {}).update(_distinct(values))
        self.settings = list(self._values)

    @functools.cached_property
    def figures(self) -> list[str]:
        """The figures that some run has, those of the test split last."""
        found: dict[str, None] = {}
        for run in self._runs:
            found.update(dict.fromkeys(run.last))
            if run.best:
                found[run.best["metric"]] = None
        for run in self._runs:
            found.update(dict.fromkeys(run.test))
        return [name for name in found if "/" in name]

    def find(self, typed: str) -> str:
        """Returns the key that somebody means: a group such as "model" stands for its name.

        Raises:
            ConfigError: no run has such a key.
        """
        if typed in FACTS or typed in self._values or typed in self.figures:
            return typed
        if typed in _NAMED:
            return f"{typed}.name"
        raise ConfigError(f"no run has '{typed}'.{self._meant(typed)}")

    def values(self, key: str) -> list[str]:
        """Returns the values that a setting has in some runs, as text."""
        return sorted(map(spelled, self._values.get(key, {}).values()))

    def differing(self) -> list[str]:
        """Returns the settings that not all runs which have them have alike, as the configs order them."""
        return [key for key, values in self._values.items() if len(values) > 1 and not is_untold(key)]

    def variety(self, key: str) -> int:
        """Returns how many values a setting has."""
        return len(self._values.get(key, ()))

    def _meant(self, typed: str) -> str:
        names = [*self.settings, *self.figures, *FACTS, *_NAMED]
        last = typed.rpartition(".")[2]
        same = [key for key in names if key.rpartition(".")[2] == last or key.rpartition("/")[2] == typed]
        if len(same) == 1:
            return f" Did you mean '{same[0]}'?"
        if same:
            return f" Which one do you mean: {', '.join(same[:_FEW])}?"
        close = nearest(typed, names)
        if close is not None:
            return f" Did you mean '{close}'?"
        return f" There is: {', '.join([*FACTS, *self.figures[:_FEW]])}, and the settings that --json shows."


def _distinct(values: Sequence[Any]) -> dict[Any, Any]:
    """Returns each distinct value by what can be looked up: 1, 1.0 and true are three."""
    try:
        return dict(zip(zip(map(type, values), values, strict=True), values, strict=True))
    except TypeError:  # among them are lists
        return dict(zip(map(repr, values), values, strict=True))


def is_untold(key: str) -> bool:
    return key.startswith(UNTOLD)


def spelled(value: Any) -> str:
    """Returns a value as it stands after ``key=`` on the command line: null, true, 0.001, [64,32]."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace('"', "")
    return str(value)


def differing_in(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the settings that some configs have and others lack or have otherwise, as they order them; of a callback
    that some have not, its name alone."""
    keys = dict.fromkeys(key for config in configs for key in config)
    told = (key for key in keys if not is_untold(key) and not _is_of_a_lacking_callback(key, configs))
    return [key for key in told if len({spelled(config[key]) if key in config else None for config in configs}) > 1]


def _is_of_a_lacking_callback(key: str, configs: Sequence[dict[str, Any]]) -> bool:
    group, _, rest = key.partition(".")
    name = f"{group}.{rest.partition('.')[0]}.name"
    return group == "callbacks" and key != name and any(name not in config for config in configs)
