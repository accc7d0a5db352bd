"""What is refused of Hydra's own settings and of YAML files, because it would run something or fill the memory.

Hydra builds its launcher, its sweeper, its callbacks and its log from whatever classes and functions they name. A YAML
file that somebody sends may name any, so only those of plugins are taken, which somebody installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dltrain import config_files, quick_yaml
from dltrain.errors import ConfigError

_PLUGIN = re.compile(r"(hydra\._internal\.core_plugins|hydra_plugins)\.[\w.]+")
# What the sweepers of Hydra's own plugins build inside, such as Optuna's samplers.
_INSIDE = re.compile(r"(optuna\.(samplers|pruners)|nevergrad|hydra_plugins)\.[\w.]+")
_QUIET = {"version", "root", "disable_existing_loggers", "loggers", "level"}


def check(settings: dict[str, Any]) -> None:
    """
    Args:
        settings: the part ``hydra`` of a composed config, as plain values.

    Raises:
        ConfigError: it names what must not run, a line for each.
    """
    problems = []
    for name in ("job_logging", "hydra_logging"):
        container = _container(settings.get(name))
        more = sorted(set(container) - _QUIET)
        if container.get("root") is not None or more:
            problems.append(f"hydra.{name}: dltrain writes its own log, so this is refused. Leave it out")
    if _container(settings.get("callbacks")):
        problems.append("hydra.callbacks: callbacks of Hydra are refused. Write one for dltrain, under callbacks")
    for name in ("launcher", "sweeper"):
        for place, target in _targets(_container(settings.get(name)), f"hydra.{name}"):
            allowed = _PLUGIN if place == f"hydra.{name}" else _INSIDE
            if not isinstance(target, str) or not allowed.fullmatch(target):
                problems.append(f"{place}._target_ = {target!r}: is refused, for it is of no plugin of Hydra's")
    if problems:
        raise ConfigError(*problems)


def _container(value: Any) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _targets(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yields each ``_target_`` with the place where it stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key == "_target_":
            yield place, item
        else:
            yield from _targets(item, f"{place}.{key}")


def check_files(folders: list[Path]) -> None:
    """
    Raises:
        ConfigError: a YAML file stands for far more than it holds.
    """
    groups = [folder / group for folder in folders for group in ("", *config_files.GROUPS)]
    for path in (path for group in groups for path in sorted(group.glob("*.yaml"))):
        text = path.read_bytes()
        if b"*" not in text and text.count(b"[") + text.count(b"{") < 50:
            continue
        try:
            problem = config_files.too_large(quick_yaml.load(text))
        except RecursionError:
            problem = "it is nested too deep to be a config"
        except yaml.YAMLError:  # told with its place when it is chosen
            continue
        if problem is not None:
            raise ConfigError(f"{path}: {problem}")
