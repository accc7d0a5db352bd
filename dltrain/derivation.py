"""Configs that differ in few values, as the trials of a sweep do: composed once, and each derived from that.

Composing reads and merges dozens of YAML files, which takes as long as many a small network trains.
"""

from __future__ import annotations

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
        self._composed: dict[tuple[str, ...], DictConfig] = {}  # by the options of groups among the values

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
            self._composed[options] = compose.unresolved([*fixed, *options], self._config_dirs, self._root)
        config = copy.deepcopy(self._composed[options])
        groups, others = apart([text for text in texts if not _chooses(text)])
        for override in parse(list(map(quote, others))):
            if not isinstance(OmegaConf.select(config, override.key_or_group, default=_NOT_THERE), _NotThere):
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            else:
                raise KeyError(override.key_or_group)
        container = compose.container_of(config)
        for key, value in [*fixed_groups, *groups]:
            put(container, key.split("."), value)
        return container


class _NotThere:
    """Stands for no value, which None does not."""


_NOT_THERE = _NotThere()


def _chooses(override: str) -> bool:
    """Tells whether an override says more than the value of one setting, so that Hydra must compose with it."""
    key = override.partition("=")[0]
    return key in config_files.GROUPS or any(mark in key for mark in "/@+~:")
