"""Hydra's own entry, for what only it does: multiruns (``-m``) and printing the config (``--cfg``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dltrain import compose, config, config_files
from dltrain.errors import ConfigError, Interrupted


@dataclass(frozen=True)
class Job:
    """One run of a multirun.

    Attributes:
        overrides: its own values, besides those of the YAML files.
        folder: where its run is to lie.
    """

    overrides: list[str]
    folder: Path
    _config: DictConfig

    def container(self) -> dict[str, Any]:
        """Returns the job's config as plain values.

        Raises:
            ConfigError: a value is missing, or an interpolation leads nowhere.
        """
        container = compose.container_of(self._config)
        if container.get("run_dir") is None:
            container["run_dir"] = str(self.folder)
        return container


class _Stop(BaseException):
    """Takes an interruption through Hydra, for which any ``Exception`` is the failure of one job alone."""

    def __init__(self, interruption: Interrupted) -> None:
        super().__init__()
        self.interruption = interruption


def run(flags: list[str], overrides: list[str], folders: list[Path], task: Callable[[Job], None]) -> None:
    """Checks each value of the comma lists, then lets Hydra run the jobs, or print the config.

    Args:
        flags: ``--multirun``, or ``--cfg`` and what to print.
        folders: the user's YAML folders besides those of ``DLTRAIN_CONFIG_PATH``.
        task: called with each job.

    Raises:
        ConfigError: the overrides cannot be used.
        Interrupted: a job raised it; none comes after it.
    """

    def with_job(job_config: DictConfig) -> None:
        settings = HydraConfig.get()
        folder = Path(settings.sweep.dir) / settings.sweep.subdir
        try:
            task(Job(list(settings.overrides.task), folder, job_config))
        except Interrupted as error:
            raise _Stop(error) from error

    configs, before = str(config_files.config_dir()), sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with compose.searching(folders):
        check_each(overrides)
        sys.argv = ["dltrain", *flags, *map(compose.quote, overrides)]
        try:
            hydra.main(config_path=configs, config_name=config_files.ENTRY, version_base="1.3")(with_job)()
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(str(error).splitlines()[0]) from error
        except _Stop as stop:
            raise stop.interruption from None
        finally:
            sys.argv = before


def check_each(overrides: list[str]) -> None:
    """Composes once with each value of each comma list, so that a mistake shows before the first job.

    Raises:
        ConfigError: with the mistakes of the first value that has any.
    """
    quoted = [compose.quote(override) for override in overrides if not override.startswith("hydra")]
    compose.check_syntax(quoted)
    parsed = compose.parse(quoted)
    first = [_values(override)[0] for override in parsed]
    user_dirs = tuple(config_files.user_dirs())
    config.load(compose.compose(first).container, user_dirs)
    for place, override in enumerate(parsed):
        for value in _values(override)[1:]:
            config.load(compose.compose([*first[:place], value, *first[place + 1 :]]).container, user_dirs)


def _values(override: Override) -> list[str]:
    """Returns a sweep over several values as one override for each of them."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]
