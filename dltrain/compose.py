"""YAML files and overrides to one plain config, through Hydra, and what is told of mistakes in them.

It stands apart from ``cli.py`` so that the verbs which need no config start without Hydra.
"""

from __future__ import annotations

import contextlib
import copy
import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dltrain import config, config_files
from dltrain.config import suggestion
from dltrain.derivation import derive
from dltrain.errors import ConfigError, did_you_mean
from dltrain.hydra_config import Composed, container_of, searching, unresolved
from dltrain.overrides import apart, check_syntax, first_line, parse, put, quote

# What Hydra, OmegaConf and PyYAML raise for YAML files and overrides that cannot be used.
_RUN_FOLDER = "hydra.run.dir="

_UNUSABLE = (
    *(HydraException, OmegaConfBaseException, YAMLError, ConfigError, ValueError, OSError, RecursionError),
    TypeError,  # of a list in the list of a group's options: scheduler=[[cosine]]
)


def compose(overrides: list[str], config_dirs: list[Path] | None = None, root: Path | None = None) -> Composed:
    """Composes a config from the YAML files and ``key=value`` overrides.

    Args:
        config_dirs: the user's YAML folders besides those of ``DLTRAIN_CONFIG_PATH``.
        root: instead of dltrain's own YAML folder, the copy that a sweep keeps of it.

    Raises:
        ConfigError: with every mistake of the overrides, or of the YAML files.
    """
    folders = list(config_dirs or [])
    groups, overrides = apart(overrides)
    quoted = [quote(override) for override in overrides]
    check_syntax(quoted)
    for text in overrides:
        if text.startswith(_RUN_FOLDER):
            raise ConfigError(
                f"{text}: Hydra makes no folder here. Name that of the run: run_dir={text[len(_RUN_FOLDER) :]}"
            )
    with searching(folders):
        try:
            composed = _composed(quoted, root)
        except _UNUSABLE as error:
            problems = _diagnose(quoted, root)
            raise ConfigError(*(problems or [_explained(error)])) from error
    for key, value in groups:
        put(composed.container, key.split("."), value)
    for override in parse(quoted):  # Hydra tells of one option chosen, and nothing of a list of them
        if override.key_or_group in config_files.GROUPS and isinstance(override.value(), list):
            composed.choices[override.key_or_group] = str(override.value())
    return composed


def _composed(overrides: list[str], root: Path | None) -> Composed:
    with contextlib.suppress(*_UNUSABLE, KeyError):  # a mistake, or something of which Hydra has to judge
        return derive(overrides, root)
    found = unresolved(overrides, root)
    return Composed(container_of(found.config), found.choices)


def with_values(overrides: list[str], values: dict[str, str], root: Path | None = None) -> dict[str, Any]:
    """Returns the config of overrides and of one point of what is searched.

    Args:
        values: text that stands after ``key=``.
        root: as of ``compose``.

    Raises:
        ConfigError: as ``compose``.
    """
    return compose([*overrides, *(f"{key}={value}" for key, value in values.items())], root=root).container


def override_values(container: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Returns a saved config with overrides applied, groups first as Hydra does.

    Of callbacks, ``callbacks=[default,ema]`` leaves those that were there as they were, and ``~callbacks.NAME`` removes
    one.

    Raises:
        ConfigError: with every override that cannot be used.
    """
    groups, others = apart(overrides)
    quoted = [quote(override) for override in others]
    check_syntax(quoted)
    changed, problems = copy.deepcopy(container), []
    parsed = parse(quoted)
    for override in parsed:
        if override.key_or_group in _CHOSEN_ANEW and not override.is_delete():
            try:
                changed.update(_chosen_anew(override, changed))
            except ConfigError as error:
                problems += error.problems
    config = OmegaConf.create(changed)
    known = list(config_files.flatten(changed))
    for override in parsed:
        key, text = override.key_or_group, override.input_line
        if override.is_delete() and key in (f"callbacks.{name}" for name in config.get("callbacks") or {}):
            del config.callbacks[key.removeprefix("callbacks.")]
        elif override.is_delete() and key.startswith("callbacks."):
            name = key.removeprefix("callbacks.")
            problems.append(
                f"'{text}': no callback '{name}'.{did_you_mean(name, map(str, config.get('callbacks') or {}))}"
            )
        elif override.is_delete() or override.is_sweep_override() or override.is_add():
            problems.append(f"'{text}': here only key=value can be used")
        elif key in config_files.GROUPS:
            if key not in _CHOSEN_ANEW:
                problems.append(f"'{text}': cannot be chosen for a config that is composed already")
        elif key not in known and not any(name.startswith(f"{key}.") for name in known):
            problems.append(f"no setting '{key}'.{suggestion(key, known)}")
        else:
            value = override.value()
            OmegaConf.update(config, key, value, merge=isinstance(value, dict), force_add=True)
    if problems:
        raise ConfigError(*problems)
    changed = container_of(config)
    for key, value in groups:
        put(changed, key.split("."), value)
    return changed


# The groups of which a saved config can take another option; the others say several things at once.
_CHOSEN_ANEW = ("data", "model", "loss", "optimizer", "scheduler", "callbacks", "device", "trainer")


def _chosen_anew(override: Override, container: dict[str, Any]) -> dict[str, Any]:
    """Returns the group of an override as its YAML file has it; callbacks that are there already stay as they are."""
    group = override.key_or_group
    chosen = compose([override.input_line or ""]).container.get(group) or {}
    if group == "callbacks":
        there = container.get(group) or {}
        chosen = {name: there.get(name) or settings for name, settings in chosen.items()}
    return {group: chosen}


# --- mistakes ---------------------------------------------------------------------------------------------


def _diagnose(overrides: list[str], root: Path | None) -> list[str]:
    """Looks at each override by itself, and returns a line for each mistake; Hydra reports the first only."""
    problems: list[str] = []
    groups: list[str] = []
    values: list[Override] = []
    for text, override in zip(overrides, parse(overrides), strict=True):
        name = override.key_or_group
        if override.is_sweep_override():
            problems.append(f"'{text}' has several values: a multirun needs -m, as in 'dltrain -m {text}'")
        elif name in config_files.GROUPS or "/" in name or "@" in name:
            mistake = _group_mistake(name, override)
            if mistake:
                problems.append(mistake)
            else:
                groups.append(text)
        elif override.is_add():
            values.append(override)  # a new key is what the schema judges
        else:
            values.append(override)
    try:
        known = list(config_files.flatten(_composed(groups, root).container))
    except _UNUSABLE as error:
        return problems or [_explained(error)]
    usable = list(groups)
    for override in values:
        key = override.key_or_group
        exists = key in known or any(name.startswith(f"{key}.") for name in known)
        if override.is_add() or key.startswith("hydra.") or exists:
            usable.append(override.input_line or "")
        else:
            options = _options_with(key)
            listed = " and ".join(filter(None, (", ".join(options[:-1]), *options[-1:])))
            hint = f" It belongs to {listed}." if options else None
            problems.append(f"no setting '{key}'.{hint or suggestion(key, [*known, *config_files.GROUPS])}")
    with contextlib.suppress(*_UNUSABLE):
        problems += _mistakes_of(_composed(usable, root).container)
    return problems


def _options_with(key: str) -> list[str]:
    """Returns the options of the key's group that have it, as ``optimizer=sgd`` has ``optimizer.momentum``."""
    group, found = key.partition(".")[0], []
    for name, path in config_files.options(group).items():
        if key in config_files.flatten(config_files.values_if_readable(path)):
            found.append(f"{group}={name}")
    return found


def _mistakes_of(container: dict[str, Any]) -> list[str]:
    """Returns what the types and ranges have against a config."""
    try:
        config.load(container, tuple(config_files.user_dirs()))
    except ConfigError as error:
        return error.problems
    return []


def _group_mistake(group: str, override: Override) -> str | None:
    if group not in config_files.GROUPS:
        known_groups = [*config_files.GROUPS, "hydra/launcher", "hydra/sweeper"]
        plain = group.partition("@")[0].partition(":")[0]
        hydras_own = plain.startswith("hydra/") or plain in config_files.GROUPS
        return None if hydras_own else f"no group '{group}'.{did_you_mean(plain, known_groups)}"
    if override.is_delete():
        return None
    names = override.value()
    known = config_files.options(group)
    for name in names if isinstance(names, list) else [names]:
        if name is not None and str(name) not in known:
            return f"no {group} named '{name}'.{did_you_mean(str(name), known)}"
    if override.is_add():
        instead = f"{group}=[default,{names}]" if group == "callbacks" else f"{group}={names}"
        return f"'{override.input_line}': a group is chosen, not added to. Write '{instead}'"
    return None


def _explained(error: BaseException) -> str:
    """Returns what is wrong in a YAML file, with the place where the parser knows it."""
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, YAMLError):
        mark = getattr(error, "problem_mark", None)
        if mark is None:
            return f"a YAML file cannot be read: {first_line(error)}"
        problem = getattr(error, "problem", None) or "cannot be read"
        hint = " (YAML is indented with spaces, not tabs)" if "\\t" in str(problem) else ""
        return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {problem}{hint}"
    if isinstance(error, UnicodeDecodeError):
        return _not_utf8() or first_line(error)
    not_merged = re.match(r"In '([^']+)': ConfigTypeError raised while composing config:", str(error))
    if not_merged is not None:
        return f"{not_merged[1]}.yaml: a list or a single value stands where settings (name: value) are needed"
    missing = getattr(error, "missing_cfg_file", None)
    if missing is not None:
        known = [str(name) for name in getattr(error, "options", None) or []]
        place = re.match(r"In '([^']+)': ", str(error))
        where = f", which the defaults list of {place[1]}.yaml names" if place else ""
        return f"no config '{missing}'{where}.{did_you_mean(str(missing).rpartition('/')[2], known)}"
    return first_line(error)


def _not_utf8() -> str | None:
    """Returns which of the user's YAML files is not UTF-8; the error itself does not tell."""
    for folder in config_files.user_dirs():
        for path in sorted(folder.rglob("*.yaml")):
            try:
                path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                line = path.read_bytes()[: error.start].count(b"\n") + 1
                return f"{path}, line {line}: is not UTF-8. Save the file as UTF-8"
    return None
