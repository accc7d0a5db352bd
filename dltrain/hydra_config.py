"""Hydra's composing itself: YAML files and overrides to one config. What is told of mistakes is said in ``compose``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dltrain import config_files, hydra_checks, interpolation
from dltrain.errors import ConfigError
from dltrain.overrides import first_line


@dataclass(frozen=True)
class Composed:
    """A composed config as plain values, and which option of each group it was made of."""

    container: dict[str, Any]
    choices: dict[str, str]


@dataclass(frozen=True)
class Unresolved:
    """A composed config, its interpolations as they stand.

    Attributes:
        searches_elsewhere: its YAML files name more folders to search (``hydra.searchpath``).
    """

    config: DictConfig
    choices: dict[str, str]
    searches_elsewhere: bool


def unresolved(overrides: list[str], root: Path | None = None) -> Unresolved:
    """Composes a config from the YAML files; called within ``searching``.

    Args:
        overrides: as Hydra's grammar has them.
        root: instead of dltrain's own YAML folder.

    Raises:
        ConfigError: Hydra's own settings would run something.
        HydraException, OmegaConfBaseException, YAMLError, ...: whatever Hydra raises for mistakes.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"
    GlobalHydra.instance().clear()
    configs = str(root or config_files.config_dir())
    with hydra.initialize_config_dir(configs, version_base="1.3", job_name="dltrain"):
        config = hydra.compose(config_files.ENTRY, overrides, return_hydra_config=True)
    choices = {str(group): str(option) for group, option in config.hydra.runtime.choices.items()}
    settings = OmegaConf.to_container(config.hydra)
    assert isinstance(settings, dict)
    hydra_checks.check({str(key): value for key, value in settings.items()})
    OmegaConf.set_readonly(config, False)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return Unresolved(config, choices, bool(settings.get("searchpath")))


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
