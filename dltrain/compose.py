"""YAML files and overrides to one plain config, through Hydra. The only module that imports it.

It stands apart from ``cli.py`` so that the verbs which need no config start without Hydra.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dltrain import config, config_files, hydra_checks, interpolation
from dltrain.config import suggestion
from dltrain.errors import ConfigError, did_you_mean
from dltrain.overrides import apart, check_syntax, first_line, parse, put, quote

# What Hydra, OmegaConf and PyYAML raise for YAML files and overrides that cannot be used.
_UNUSABLE = (
    *(HydraException, OmegaConfBaseException, YAMLError, ConfigError, ValueError, OSError, RecursionError),
    TypeError,  # of a list in the list of a group's options: scheduler=[[cosine]]
)


@dataclass(frozen=True)
class Composed:
    """A composed config as plain values, and which option of each group it was made of."""

    container: dict[str, Any]
    choices: dict[str, str]


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
    with _hydra(folders, root):
        try:
            composed = _plain(_compose(quoted))
            for key, value in groups:
                put(composed.container, key.split("."), value)
            for override in parse(quoted):  # Hydra tells of one option chosen, and nothing of a list of them
                if override.key_or_group in config_files.GROUPS and isinstance(override.value(), list):
                    composed.choices[override.key_or_group] = str(override.value())
            return composed
        except _UNUSABLE as error:
            problems = _diagnose(quoted, folders)
            raise ConfigError(*(problems or [_explained(error)])) from error


def _compose(overrides: list[str]) -> DictConfig:
    return hydra.compose(config_files.ENTRY, overrides, return_hydra_config=True)


@contextlib.contextmanager
def _hydra(folders: list[Path], root: Path | None = None) -> Iterator[None]:
    """Starts Hydra over the config folders, and leaves no global state behind."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    GlobalHydra.instance().clear()
    configs = str(root or config_files.config_dir())
    with searching(folders), hydra.initialize_config_dir(configs, version_base="1.3", job_name="dltrain"):
        yield


@contextlib.contextmanager
def searching(folders: list[Path]) -> Iterator[None]:
    """Puts folders before those of ``DLTRAIN_CONFIG_PATH``, where the search-path plugin finds them.

    Raises:
        ConfigError: one of them all does not exist.
    """
    for folder in [*folders, *config_files.user_dirs()]:
        if not folder.is_dir():
            raise ConfigError(f"the config folder {folder} does not exist (--config-dir or DLTRAIN_CONFIG_PATH)")
    hydra_checks.check_files([*folders, *config_files.user_dirs()])
    before = os.environ.get("DLTRAIN_CONFIG_PATH")
    if folders:
        paths = [str(folder) for folder in folders] + ([before] if before else [])
        os.environ["DLTRAIN_CONFIG_PATH"] = os.pathsep.join(paths)
    try:
        yield
    finally:
        if folders:
            if before is None:
                os.environ.pop("DLTRAIN_CONFIG_PATH", None)
            else:
                os.environ["DLTRAIN_CONFIG_PATH"] = before


def _plain(config: DictConfig) -> Composed:
    choices = {str(group): str(option) for group, option in config.hydra.runtime.choices.items()}
    return Composed(container_of(_without_hydra(config)), choices)


def _without_hydra(config: DictConfig) -> DictConfig:
    settings = OmegaConf.to_container(config.hydra)
    assert isinstance(settings, dict)
    hydra_checks.check({str(key): value for key, value in settings.items()})
    OmegaConf.set_readonly(config, False)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return config


def unresolved(overrides: list[str], config_dirs: list[Path], root: Path | None) -> DictConfig:
    """Returns what ``compose`` makes plain values of, its interpolations as they stand; for overrides that it takes."""
    with _hydra(config_dirs, root):
        return _without_hydra(_compose([quote(override) for override in overrides]))


def container_of(config: DictConfig) -> dict[str, Any]:
    """Returns a config as plain values, interpolations resolved but for those of the environment.

    Raises:
        ConfigError: a value is missing (``???``), or an interpolation leads nowhere.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError(*(f"{key}: no value. Set {key}=..., or give it in the YAML file" for key in missing))
        container = interpolation.plain(config)
    except RecursionError as error:
        raise ConfigError("the config has an interpolation that leads back to itself") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {interpolation.why(error) or first_line(error)}") from error
    return {str(key): value for key, value in container.items()}


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


def _diagnose(overrides: list[str], folders: list[Path]) -> list[str]:
    """Looks at each override by itself, and returns a line for each mistake; Hydra reports the first only."""
    problems: list[str] = []
    groups: list[str] = []
    values: list[Override] = []
    for text, override in zip(overrides, parse(overrides), strict=True):
        name = override.key_or_group
        if override.is_sweep_override():
            problems.append(f"'{text}' has several values: a multirun needs -m, as in 'dltrain -m {text}'")
        elif name in config_files.GROUPS or "/" in name or "@" in name:
            mistake = _group_mistake(name, override, folders)
            if mistake:
                problems.append(mistake)
            else:
                groups.append(text)
        elif override.is_add():
            values.append(override)  # a new key is what the schema judges
        else:
            values.append(override)
    try:
        known = list(config_files.flatten(_plain(_compose(groups)).container))
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
        problems += _mistakes_of(_plain(_compose(usable)).container)
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


def _group_mistake(group: str, override: Override, folders: list[Path]) -> str | None:
    if group not in config_files.GROUPS:
        known_groups = [*config_files.GROUPS, "hydra/launcher", "hydra/sweeper"]
        plain = group.partition("@")[0].partition(":")[0]
        hydras_own = plain.startswith("hydra/") or plain in config_files.GROUPS
        return None if hydras_own else f"no group '{group}'.{did_you_mean(plain, known_groups)}"
    if override.is_delete():
        return None
    names = override.value()
    known = config_files.options(group, [*folders, *config_files.user_dirs()])
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
