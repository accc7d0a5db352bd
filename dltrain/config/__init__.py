"""What may stand in a config: types, ranges and meanings. The values stand in the YAML files alone.

``load`` turns the plain container that Hydra composed into frozen dataclasses, and reports every mistake of it
in one error. No setting has a default here: a key that no YAML file sets is a mistake like any other.

``settings`` is how a field is declared, ``schema`` what every run has, ``conversion`` plain values to dataclasses, and
``keys`` what keys there are.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

from dltrain import config_files, redaction
from dltrain.config.conversion import convert, described, shown
from dltrain.config.keys import Setting, known_keys, suggestion
from dltrain.config.schema import (
    COMPONENTS,
    SHARED,
    Config,
    DeviceSettings,
    GroupSettings,
    ParameterGroupsSettings,
    PenaltySettings,
    SweepSettings,
    TrainerSettings,
    TransferSettings,
)
from dltrain.config.settings import Limits, field_names, setting
from dltrain.console import log
from dltrain.errors import ConfigError

__all__ = [
    "COMPONENTS",
    "SHARED",
    "Config",
    "DeviceSettings",
    "GroupSettings",
    "Limits",
    "ParameterGroupsSettings",
    "PenaltySettings",
    "Setting",
    "SweepSettings",
    "TrainerSettings",
    "TransferSettings",
    "convert",
    "described",
    "field_names",
    "import_modules",
    "known_keys",
    "load",
    "setting",
    "shown",
    "suggestion",
]


def load(container: dict[str, Any], search_paths: tuple[Path, ...] = (), *, distrusted: Path | None = None) -> Config:
    """Checks a plain config and returns it as dataclasses.

    Args:
        container: what the YAML files and the command line say together; what is to be read from the environment is
            read here.
        search_paths: folders, besides the working directory, where the modules of ``imports`` may lie.
        distrusted: the folder in which the config was found; no module of it is run, unless it is a search path.

    Raises:
        ConfigError: with every mistake that was found, a line each.
    """
    if redaction.holds_environment(container):
        from dltrain import interpolation

        container = interpolation.resolved(container)
    problems: list[str] = []
    import_modules(container.get("imports"), search_paths, problems, distrusted)
    if problems:  # what these modules register would be missed next, and that is no mistake of its own
        raise ConfigError(*problems)
    config = convert(container, Config, "", problems)
    problems = [_with_module_hint(problem, search_paths) for problem in _with_suggestions(problems, container)]
    if not problems:
        _check_together(config, problems)
    if problems:
        raise ConfigError(*problems)
    return typing.cast(Config, config)


def _check_together(config: Config, problems: list[str]) -> None:
    """Checks what concerns several settings at once."""
    if config.resume and config.run_dir is None:
        problems.append("resume = true: needs run_dir, the folder of the run to go on with. Set run_dir=...")
    if config.trainer.max_epochs is None and config.trainer.max_steps is None:
        problems.append("trainer.max_epochs and trainer.max_steps are both null: give one, or training never ends")
    keepers = [key for key, callback in config.callbacks.items() if callback.name == "checkpoint"]
    if len(keepers) > 1:
        problems.append(f"callbacks.{keepers[1]}: a run has one checkpoint callback, and callbacks.{keepers[0]} is one")


# When the file of each module of the user's was written that was imported here, and its size.
_stamps: dict[str, tuple[int, int] | None] = {}


def _import_as_it_is(name: str) -> None:
    """Imports a module, anew if its file has changed since: in a notebook it is edited between two trainings."""
    module = sys.modules.get(name)
    if module is not None and name in _stamps and _stamps[name] != _stamp(module):
        log.info("imports: %s has changed, and is read anew", name)
        importlib.reload(module)
    else:
        module = importlib.import_module(name)
    _stamps[name] = _stamp(module)


def _stamp(module: ModuleType) -> tuple[int, int] | None:
    try:
        known = Path(str(module.__file__)).stat()
    except (AttributeError, OSError):
        return None
    return known.st_mtime_ns, known.st_size


def import_modules(
    names: Any, search_paths: tuple[Path, ...], problems: list[str], distrusted: Path | None = None
) -> None:
    """Imports the user's own modules from the working directory, the search paths or the environment."""
    if not isinstance(names, list) or not names:
        return  # the type check reports what is no list
    for path in (Path.cwd(), *search_paths):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    for name in names:
        if distrusted is not None and distrusted.resolve() not in [path.resolve() for path in search_paths]:
            place = _place_within(str(name), distrusted)
            if place is not None:
                problems.append(
                    f"imports: module '{name}' is {place}, which came with the config, so it is not run. If you trust "
                    f"it: --config-dir {distrusted}"
                )
                continue
        try:
            _import_as_it_is(str(name))
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):
                problems.append(f"imports: module '{name}' needs '{error.name}', which is not installed")
            else:
                folders = ", ".join(dict.fromkeys(str(path) for path in (Path.cwd(), *search_paths)))
                remedy = "--config-dir DIR looks in DIR too, as config_dir=DIR does in Python"
                if str(name).endswith(".py"):
                    remedy = f"A module is named without folder and .py: imports=[{Path(str(name)).stem}]; {remedy}"
                problems.append(f"imports: no module '{name}' in {folders} or in the installed packages. {remedy}")
        except SyntaxError as error:
            problems.append(f"imports: module '{name}' failed: {error.msg} ({error.filename}:{error.lineno})")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            problems.append(
                f"imports: module '{name}' failed: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
            )


def _place_within(name: str, folder: Path) -> Path | None:
    """Returns the file or folder of a module where it lies in a folder, else None; runs nothing of it."""
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return None
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    paths = [Path(place).resolve() for place in places if place is not None]
    return next((path for path in paths if folder.resolve() in path.parents), None)


def _with_suggestions(problems: list[str], container: dict[str, Any]) -> list[str]:
    """Adds the nearest known key to each unknown one; keys are known only once all components are."""
    if not problems:
        return []
    known = [key for key, _ in known_keys(container)]
    completed = []
    for problem in problems:
        if problem.startswith("no setting '"):
            problem += suggestion(problem.split("'")[1], known)
        completed.append(problem)
    return completed


def _with_module_hint(problem: str, folders: tuple[Path, ...]) -> str:
    """Adds to an unregistered name that a YAML file of the user's has, that its module must be imported."""
    match = re.match(r"(\w+)\.name = '([^']+)': no ", problem)
    file = config_files.options(match[1], list(folders)).get(match[2]) if match else None
    return problem if file is None else f"{problem} {file} is there: import its module with 'imports=[MODULE]'."
