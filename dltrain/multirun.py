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
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dltrain import compose, config, config_files
from dltrain.errors import ConfigError, Interrupted
from dltrain.sweeps import parsing
from dltrain.sweeps.folder import SweepFolder, SweepPlan
from dltrain.sweeps.space import Space
from dltrain.sweeps.trial import objective

_TRIALS = 20  # where neither the space nor sweep.trials says how many
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
        compose.compose([text for text in overrides if not text.startswith("hydra")])
        _hydra_main(["--cfg", what], overrides, config_files.config_dir(), lambda _: None)


def start(overrides: list[str], folders: list[Path]) -> SweepFolder:
    """Checks what is to be searched, and makes the folder of the sweep.

    Args:
        folders: the user's YAML folders besides those of ``DLTRAIN_CONFIG_PATH``.

    Raises:
        ConfigError: the overrides cannot be used, or the folder that they name holds a sweep.
        MachineError: the folder cannot be made.
    """
    with compose.searching(folders):
        given = [text for text in overrides if not text.startswith(_FOLDER)]
        plan = _plan(given, [str(user) for user in config_files.user_dirs()])
        sweep = SweepFolder.create(_given_folder(overrides), plan.sampler)
        sweep.freeze_configs(config_files.config_dir(), config_files.user_dirs())
        sweep.write_plan(plan)
    return sweep


def _plan(overrides: list[str], module_folders: list[str]) -> SweepPlan:
    """
    Raises:
        ConfigError: nothing can be searched so; or a value of the space makes a config that cannot be used.
    """
    swept, fixed = parsing.swept(overrides)
    first = next(parsing.space_of(swept).variants())
    overrides = [*(text for text in fixed if not text.startswith("hydra")), *_texts(first)]
    settings = compose.compose(overrides).container["sweep"]
    texts = {**settings["space"], **swept}
    space = parsing.space_of(texts)
    metric = _check_each(fixed, space)
    grid, sampler, trials = space.grid(), settings["name"], settings["trials"]
    if sampler == "auto":
        sampler = "grid" if grid is not None and trials is None else "random"
    if sampler != "grid":
        grid = []
    elif grid is None:
        key = next(dimension.key for dimension in space.dimensions if dimension.when or not dimension.values.listed())
        raise ConfigError(f"sweep=grid: {key}={texts[key]} has no end of values. Take sweep=random")
    elif trials is not None:
        raise ConfigError(f"sweep.trials = {trials}: a grid has {len(grid)} points. Take sweep=random for some of them")
    elif not grid:
        raise ConfigError("there is nothing to try: a list of values is empty")
    number = len(grid) if grid else trials or _TRIALS
    return SweepPlan(fixed, texts, sampler, grid, number, settings["seed"], str(Path.cwd()), module_folders, metric)


def drive(sweep: SweepFolder, task: Callable[[Job], None]) -> None:
    """Trains what a sweep has left to do, from the copies of the YAML files that it keeps.

    Args:
        task: called with each job; in other processes too, where the launcher starts some.

    Raises:
        ConfigError: its YAML files or its plan, which may be a stranger's, would run something.
        Interrupted: a job raised it; none comes after it.
        MachineError: another process drives the sweep, or it holds links.
    """
    plan = sweep.read_plan()
    with sweep.locked(), _only_user_folders(sweep.frozen_folders()):
        first = next(parsing.space_of(plan.space).variants())
        compose.compose(
            [*plan.overrides, *_texts(first)], root=sweep.frozen(0).absolute()
        )  # which refuses what would run code
        _hydra_main(["--multirun"], [*plan.overrides, f"{_FOLDER}{sweep.path}"], sweep.frozen(0).absolute(), task)


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


def _check_each(fixed: list[str], space: Space) -> str:
    """Composes once with each end and each value of the space, so that a mistake shows before the first trial.

    Returns:
        The metric whose best value ranks the trials.

    Raises:
        ConfigError: with the mistakes of the first point that has any; or the points name several metrics.
    """
    user_dirs, metrics = tuple(config_files.user_dirs()), []
    for point in space.variants():
        composed = compose.compose([*fixed, *_texts(point)])  # with Hydra's own, of which not all may be built
        metrics.append(objective(config.load(composed.container, user_dirs)))
    if len(set(metrics)) > 1:
        names = ", ".join(dict.fromkeys(metrics))
        raise ConfigError(f"the trials would be ranked by different metrics: {names}. Set sweep.metric to one of them")
    return metrics[0]


def _texts(point: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in point.items()]
