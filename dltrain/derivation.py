"""Configs that differ in few values, as the trials of a sweep do: composed once, and each derived from that.

Composing reads and merges dozens of YAML files, which takes as long as many a small network trains.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dltrain import compose, config_files
from dltrain.errors import ConfigError
from dltrain.overrides import apart, parse, put, quote


class Template:
    """Composes configs of the same overrides and other values of some keys."""

    def __init__(self, overrides: list[str], config_dirs: list[Path], root: Path | None = None) -> None:
        """
        Args:
            config_dirs, root: as of ``compose.compose``.
        """
        self._overrides, self._config_dirs, self._root = overrides, config_dirs, root
        self._composed: dict[tuple[str, ...], _Composed] = {}  # by the options of groups among the values

    def with_values(self, values: dict[str, str]) -> dict[str, Any]:
        """Returns the plain values that ``compose.compose`` would return.

        Args:
            values: text that stands after ``key=``.

        Raises:
            ConfigError: as ``compose.compose``.
        """
        texts = [f"{key}={value}" for key, value in values.items()]
        try:
            return self._derived(texts)
        except (HydraException, OmegaConfBaseException, YAMLError, ConfigError, KeyError, ValueError, OSError):
            # What cannot be derived is composed, which also finds what to say of a mistake.
            return compose.compose([*self._overrides, *texts], self._config_dirs, self._root).container

    def _derived(self, texts: list[str]) -> dict[str, Any]:
        fixed_groups, fixed = apart(self._overrides)
        options = tuple(text for text in texts if _chooses(text))
        if options not in self._composed:
            self._composed[options] = _Composed(compose.unresolved([*fixed, *options], self._config_dirs, self._root))
        groups, others = apart([text for text in texts if not _chooses(text)])
        overrides = parse(list(map(quote, others)))
        if any(override.is_sweep_override() for override in overrides):
            raise ValueError("several values")
        values = {override.key_or_group: override.value() for override in overrides}
        container = self._composed[options].with_values(values)
        for key, value in [*fixed_groups, *groups]:
            put(container, key.split("."), value)
        return container


class _Composed:
    """A composed config."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        raw = OmegaConf.to_container(config, resolve=False)
        self._plain = None if _interpolates(raw) else compose.container_of(config)

    def with_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """
        Raises:
            KeyError: it has no such key.
        """
        is_plain = not any(isinstance(value, dict) or _interpolates(value) for value in values.values())
        if self._plain is not None and is_plain:
            with contextlib.suppress(KeyError):  # as of a place in a list
                container = copy.deepcopy(self._plain)
                for key, value in values.items():
                    _replace(container, key.split("."), value)
                return container
        config = copy.deepcopy(self._config)
        for key, value in values.items():
            if isinstance(OmegaConf.select(config, key, default=_NOT_THERE), _NotThere):
                raise KeyError(key)
            OmegaConf.update(config, key, value, merge=True)
        return compose.container_of(config)


def _interpolates(value: Any) -> bool:
    """Tells whether a value, or one below it, is read from somewhere else or missing."""
    if isinstance(value, dict):
        return any(map(_interpolates, value.values()))
    if isinstance(value, list):
        return any(map(_interpolates, value))
    return isinstance(value, str) and ("${" in value or value == "???")


def _replace(container: dict[str, Any], path: list[str], value: Any) -> None:
    """Puts a value in the place of another one.

    Raises:
        KeyError: there is none, or a group stands there.
    """
    for name in path[:-1]:
        container = container[name]
        if not isinstance(container, dict):
            raise KeyError(name)
    if isinstance(container[path[-1]], dict):
        raise KeyError(path[-1])
    container[path[-1]] = value


class _NotThere:
    """Stands for no value, which None does not."""


_NOT_THERE = _NotThere()


def _chooses(override: str) -> bool:
    """Tells whether an override says more than the value of one setting, so that Hydra must compose with it."""
    key = override.partition("=")[0]
    return key in config_files.GROUPS or any(mark in key for mark in "/@+~:")
