"""Hydra's own entry, for what only it does: multiruns (``-m``) and printing the config (``--cfg``).

A multirun is a sweep in a folder of its own: ``start`` makes it, ``drive`` trains what it has left to do.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
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
from dltrain.sweeps.driver import grid
from dltrain.sweeps.folder import SweepFolder, SweepPlan
from dltrain.sweeps.trial import objective

_FOLDER = "hydra.sweep.dir="


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


def show(what: str, overrides: list[str], folders: list[Path]) -> None:
    """Lets Hydra print a composed config.

    Args:
        what: "job", "hydra" or "all".

    Raises:
        ConfigError: the overrides cannot be used.
    """
    with compose.searching(folders):
        check_each(overrides)
        _hydra_main(["--cfg", what], overrides, config_files.config_dir(), lambda _: None)


def start(overrides: list[str], folders: list[Path]) -> SweepFolder:
    """Checks each value of the comma lists, and makes the folder of their sweep.

    Args:
        folders: the user's YAML folders besides those of ``DLTRAIN_CONFIG_PATH``.

    Raises:
        ConfigError: the overrides cannot be used, or the folder that they name holds a sweep.
        MachineError: the folder cannot be made.
    """
    with compose.searching(folders):
        metric = check_each(overrides)
        users = config_files.user_dirs()
        points = grid(overrides)
        sweep = SweepFolder.create(_given_folder(overrides))
        sweep.freeze_configs(config_files.config_dir(), users)
        sweep.write_plan(SweepPlan(overrides, points, str(Path.cwd()), [str(user) for user in users], metric))
    return sweep


def drive(sweep: SweepFolder, task: Callable[[Job], None]) -> None:
    """Trains what a sweep has left to do, from the copies of the YAML files that it keeps.

    Args:
        task: called with each job; in other processes too, where the launcher starts some.

    Raises:
        Interrupted: a job raised it; none comes after it.
        MachineError: another process drives the sweep.
    """
    plan = sweep.read_plan()
    overrides = [text for text in plan.overrides if not text.startswith(_FOLDER)]
    with sweep.locked(), _only_user_folders(sweep.frozen_folders()):
        _hydra_main(["--multirun"], [*overrides, f"{_FOLDER}{sweep.path}"], sweep.frozen(0).absolute(), task)


def _hydra_main(flags: list[str], overrides: list[str], configs: Path, task: Callable[[Job], None]) -> None:
    def with_job(job_config: DictConfig) -> None:
        settings = HydraConfig.get()
        folder = Path(settings.sweep.dir) / settings.sweep.subdir
        try:
            task(Job(list(settings.overrides.task), folder, job_config))
        except Interrupted as error:
            raise _Stop(error) from error

    before = sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["dltrain", *flags, *map(compose.quote_each, overrides)]
    try:
        hydra.main(config_path=str(configs), config_name=config_files.ENTRY, version_base="1.3")(with_job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    except _Stop as stop:
        raise stop.interruption from None
    finally:
        sys.argv = before


def _given_folder(overrides: list[str]) -> Path | None:
    given = [text.removeprefix(_FOLDER) for text in overrides if text.startswith(_FOLDER)]
    return Path(given[-1]) if given else None


@contextlib.contextmanager
def _only_user_folders(folders: list[Path]) -> Iterator[None]:
    before = os.environ.get("DLTRAIN_CONFIG_PATH")
    os.environ["DLTRAIN_CONFIG_PATH"] = os.pathsep.join(map(str, folders))
    try:
        yield
    finally:
        if before is None:
            del os.environ["DLTRAIN_CONFIG_PATH"]
        else:
            os.environ["DLTRAIN_CONFIG_PATH"] = before


def check_each(overrides: list[str]) -> str:
    """Composes once with each value of each comma list, so that a mistake shows before the first job.

    Returns:
        The metric whose best value ranks the trials.

    Raises:
        ConfigError: with the mistakes of the first value that has any; or the values name several metrics.
    """
    quoted = [compose.quote_each(override) for override in overrides if not override.startswith("hydra")]
    compose.check_syntax(quoted)
    parsed = compose.parse(quoted)
    first = [_values(override)[0] for override in parsed]
    user_dirs = tuple(config_files.user_dirs())
    variants = [first] + [
        [*first[:place], value, *first[place + 1 :]]
        for place, override in enumerate(parsed)
        for value in _values(override)[1:]
    ]
    metrics = [objective(config.load(compose.compose(variant).container, user_dirs)) for variant in variants]
    if len(set(metrics)) > 1:
        names = ", ".join(dict.fromkeys(metrics))
        raise ConfigError(f"the trials would be ranked by different metrics: {names}. Set sweep.metric to one of them")
    return metrics[0]


def _values(override: Override) -> list[str]:
    """Returns a sweep over several values as one override for each of them."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    return [f"{override.get_key_element()}={value}" for value in compose.swept_values(override)]
