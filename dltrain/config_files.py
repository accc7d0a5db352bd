"""Finding the YAML files, and what can be told from them without Hydra or PyTorch."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dltrain import quick_yaml
from dltrain.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
ENTRY = "train"

# No config is as large as this, or as deep.
_MOST_VALUES, _DEEPEST = 100_000, 50

# The groups in the order of configs/train.yaml, as the data flows, and what each one is.
GROUPS = {
    "data": "data sets",
    "model": "networks",
    "loss": "losses",
    "optimizer": "optimizers",
    "scheduler": "learning-rate schedules",
    "callbacks": "what else happens while training",
    "device": "devices",
    "trainer": "lengths and batches of a training",
    "sweep": "how a multirun searches",
    "experiment": "whole experiments",
}


def config_dir() -> Path:
    """Returns dltrain's own YAML folder: inside the package in a wheel, beside it in a checkout."""
    inside = PACKAGE / "configs"
    return inside if (inside / f"{ENTRY}.yaml").is_file() else PACKAGE.parent / "configs"


def user_dirs(given: list[str] | None = None) -> list[Path]:
    """Returns the user's YAML folders: ``--config-dir``, then those of ``DLTRAIN_CONFIG_PATH``, first one first."""
    listed = os.environ.get("DLTRAIN_CONFIG_PATH", "").split(os.pathsep)
    return [Path(folder).expanduser().resolve() for folder in [*(given or []), *listed] if folder]


def given_dirs(given: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Returns the YAML folders that are given in Python: one, several or none.

    Raises:
        ConfigError: it is no folder and no list of folders.
    """
    folders = [given] if isinstance(given, (str, Path)) else given or []
    if not isinstance(folders, Iterable) or not all(isinstance(folder, (str, Path)) for folder in folders):
        raise ConfigError(f"config_dir = {given!r}: give a folder, or a list of folders")
    return [Path(folder).expanduser().resolve() for folder in folders]


def options(group: str, folders: list[Path] | None = None) -> dict[str, Path]:
    """Returns the YAML files of a group by option name; a user's file hides ours of the same name."""
    found: dict[str, Path] = {}
    for folder in [*(user_dirs() if folders is None else folders), config_dir()]:
        for path in sorted((folder / group).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def description(path: Path) -> str:
    """Returns the first comment line of a YAML file that is no Hydra directive."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                break
            if not line.startswith("# @package"):
                return line.lstrip("# ").strip()
    return ""


def values(path: Path) -> dict[str, Any]:
    """Returns the values of a YAML file under their full keys' first part, as Hydra's package line places them."""
    text = path.read_text(encoding="utf-8")
    content = quick_yaml.load(text) or {}
    content.pop("defaults", None)
    package = path.parent.name
    for line in text.splitlines():
        if line.startswith("# @package "):
            package = line.split()[2]
    if package == "_global_" or path.stem == ENTRY:
        return dict(content)
    for part in reversed(package.split(".")):
        content = {part: content}
    return dict(content)


@functools.cache
def entry_values() -> dict[str, Any]:
    """Returns the values that dltrain's own train.yaml sets itself."""
    return values(config_dir() / f"{ENTRY}.yaml")


def completed(container: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's config with what newer versions have added to it, as dltrain's own YAML files say.

    A setting that is new keeps what was there before as its first value, so that an old run stays what it was.
    """
    from_entry = {key: value for key, value in entry_values().items() if not isinstance(value, dict)}
    whole = {**from_entry, **container}
    for group, component in container.items():
        if isinstance(component, dict) and (group == "trainer" or isinstance(component.get("name"), str)):
            path = config_dir() / group / f"{component.get('name', 'default')}.yaml"
            whole[group] = {**entry_values().get(group, {}), **_inherited_values(path), **component}
    callbacks = container.get("callbacks")
    if isinstance(callbacks, dict):
        whole["callbacks"] = {key: _completed_callback(component) for key, component in callbacks.items()}
    return whole


def _inherited_values(path: Path) -> dict[str, Any]:
    """Returns the values of an option and of those beside it that its defaults list names; {} where it is not ours."""
    if not path.is_file():
        return {}
    merged: dict[str, Any] = {}
    content = quick_yaml.load(path.read_text(encoding="utf-8")) or {}
    for name in content.get("defaults", []):
        if isinstance(name, str) and name != "_self_":
            merged |= _inherited_values(path.parent / f"{name}.yaml")
    merged.update(values(path).get(path.parent.name, {}))
    return merged


def _completed_callback(component: Any) -> Any:
    name = component.get("name") if isinstance(component, dict) else None
    path = config_dir() / "callbacks" / f"{name}.yaml"
    if not isinstance(name, str) or not path.is_file():
        return component
    return {**values(path)["callbacks"].get(name, {}), **component}


def values_if_readable(path: Path) -> dict[str, Any]:
    """Returns the values of a YAML file, or none where it is broken, which is told when the file is chosen."""
    import yaml

    try:
        return values(path)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
        return {}


def too_large(value: Any) -> str | None:
    """Returns why values cannot be a config: names of YAML (``&a``, ``*a``) let a few lines stand for billions."""
    left, waiting = _MOST_VALUES, [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        left -= 1
        if left < 0:
            return f"it stands for more than {_MOST_VALUES:,} values, so it is no config"
        if depth > _DEEPEST:
            return f"it is nested more than {_DEEPEST} deep, so it is no config"
        if isinstance(item, dict):
            waiting += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, list):
            waiting += [(inner, depth + 1) for inner in item]
    return None


def flatten(value: Any, key: str = "") -> dict[str, Any]:
    """Returns a nested mapping as dotted keys and leaf values."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat.update(flatten(item, f"{key}.{name}" if key else str(name)))
    return flat
