"""Interpolations of a config: resolved where it is composed, but for those of the environment, which stay as they are.

So a run's ``config.yaml`` holds ``${oc.env:NAME}`` and not the value, and whoever goes on with the run reads the value
that the variable has by then.
"""

from __future__ import annotations

import os
import re
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dltrain.errors import ConfigError
from dltrain.redaction import MARK, holds_environment, note

_MISSING = object()
_read: list[tuple[str, str]] = []  # how, and the value, of each variable read since the list was emptied


def _environment(name: str, default: Any = _MISSING) -> Any:
    """Stands for OmegaConf's ``oc.env``, and notes what is read."""
    value = os.environ.get(name, default)
    if value is _MISSING:
        raise KeyError(
            f"the environment variable '{name}' is not set. Set it, or give a default: ${{{MARK}{name},DEFAULT}}"
        )
    _read.append((f"{MARK}{name}", "" if value is None else str(value)))
    if name in os.environ:
        note(name, str(value))
    return value if value is None else str(value)


OmegaConf.register_new_resolver("oc.env", _environment, replace=True)


def why(error: OmegaConfBaseException) -> str | None:
    """Returns which variable of the environment is missing, where that is why an interpolation failed."""
    found = re.search(r"the environment variable '.*DEFAULT\}", str(error), re.DOTALL)
    return found[0] if found else None


def plain(config: DictConfig) -> dict[Any, Any]:
    """Returns a config as plain values, interpolations resolved but for those that read the environment.

    Raises:
        OmegaConfBaseException: one leads nowhere, or a variable is not set.
    """
    OmegaConf.to_container(config, resolve=True)  # so that every mistake is found
    value = _plain(config)
    assert isinstance(value, dict)
    return value


def _plain(config: Any) -> Any:
    if isinstance(config, DictConfig):
        return None if config._is_none() else {name: _of_node(config, name) for name in config}
    if isinstance(config, ListConfig):
        return None if config._is_none() else [_of_node(config, place) for place in range(len(config))]
    return config


def _of_node(parent: Any, key: Any) -> Any:
    node = parent._get_node(key)
    _read.clear()
    value = parent[key]
    if not node._is_interpolation() or not _read:
        return _plain(value)
    raw = str(node._value())
    if MARK in raw and "hydra:" not in raw:
        return raw
    if not isinstance(value, str):
        return raw  # it leads to a setting that is read from the environment
    for how, secret in _read:
        value = value.replace(secret, f"${{{how}}}") if secret else value
    return value


def resolved(container: dict[str, Any]) -> dict[str, Any]:
    """Returns a config with what it reads from the environment.

    Raises:
        ConfigError: with every variable that is not set.
    """
    config, problems = OmegaConf.create(container), list[str]()
    values = _with_environment(config, container, "", problems)
    if problems:
        raise ConfigError(*problems)
    assert isinstance(values, dict)
    return values


def _with_environment(config: Any, value: Any, key: str, problems: list[str]) -> Any:
    if not holds_environment(value):
        return value
    if isinstance(value, dict):
        return {name: _below(config, name, item, f"{key}.{name}", problems) for name, item in value.items()}
    return [_below(config, place, item, f"{key}[{place}]", problems) for place, item in enumerate(value)]


def _below(config: Any, name: Any, value: Any, key: str, problems: list[str]) -> Any:
    if not isinstance(value, str):
        return _with_environment(config._get_node(name), value, key, problems)
    if not holds_environment(value):
        return value
    try:
        return config[name]
    except OmegaConfBaseException as error:
        problems.append(f"{key.lstrip('.')}: {why(error) or str(error).splitlines()[0]}")
        return value
