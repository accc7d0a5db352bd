"""Hydra's own entry, for what only it does: multiruns (``-m``) and printing the config (``--cfg``).

A multirun is a sweep in a folder of its own: ``start`` makes it, ``drive`` trains what it has left to do.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dltrain import compose, config_files, hydra_config
from dltrain.errors import ConfigError
from dltrain.overrides import quote_each
from dltrain.sweeps import parsing, planning
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.leaderboard import has_left

_FOLDER = "hydra.sweep.dir="


def show(what: str, overrides: list[str], folders: list[Path]) -> None:
    """Lets Hydra print a composed config.

    Args:
        what: "job", "hydra" or "all".

    Raises:
        ConfigError: the overrides cannot be used.
    """
    with hydra_config.searching(folders):
        compose.compose([text for text in overrides if not text.startswith("hydra")])
        _hydra_main(["--cfg", what], overrides, config_files.config_dir(), lambda _: None)


def start(overrides: list[str], folders: list[Path]) -> SweepFolder:
    """Checks what is to be searched, and makes the folder of the sweep.

    Args:
        folders: the user's YAML folders besides those of ``DLTRAIN_CONFIG_PATH``.

    Raises:
        ConfigError: the overrides cannot be used, or the folder that they name holds a sweep.
        DataError: the data of the first trial cannot be used.
        MachineError: the folder cannot be made, or the device of the first trial cannot be used.
    """
    given = [text for text in overrides if not text.startswith(_FOLDER)]
    other = next((text for text in given if re.match(r"\+*hydra/sweeper(@.*)?=(?!dltrain$)", text)), None)
    if other is not None:
        raise ConfigError(f"{other}: the sweeper is dltrain's own. How it searches is chosen by sweep, as sweep=random")
    refined = planning.refined_sweep(given)
    if refined is not None:  # which was searched with YAML files of the user's, and modules that may lie beside them
        folders = [*folders, *refined.frozen_folders()]
    with hydra_config.searching(folders):
        modules = [str(user) for user in config_files.user_dirs()]
        plan = planning.plan(given, modules if refined is None else [*modules, *refined.read_plan().module_folders])
        sweep = SweepFolder.create(_given_folder(overrides), plan.sampler)
        sweep.freeze_configs(config_files.config_dir(), config_files.user_dirs())
        sweep.write_plan(plan)
    return sweep


def drive(sweep: SweepFolder) -> None:
    """Trains what a sweep has left to do, from the copies of the YAML files that it keeps.

    Raises:
        ConfigError: its YAML files or its plan, which may be a stranger's, would run something; or the trials could
            not be trained here.
        DataError: the data are not here any more.
        Interrupted: a signal came; the trials under way have saved their states.
        MachineError: another process drives the sweep, or it holds links.
    """
    plan = sweep.read_plan()
    with sweep.locked(), _only_user_folders(sweep.frozen_folders()):
        first = [f"{key}={value}" for key, value in next(parsing.space_of(plan.space).variants()).items()]
        root = sweep.frozen(0).absolute()
        compose.compose([*plan.overrides, *first], root=root)  # which refuses what would run code
        if sweep.journal.exists() and has_left(sweep):  # a new one has just been looked at
            planning.check(plan, sweep)
        given = [*plan.overrides, f"{_FOLDER}{sweep.path}"]
        task = functools.partial(_train, str(sweep.path.absolute()))
        _hydra_main(["--multirun"], given, root, task)


def _train(sweep: str, _: DictConfig) -> Any:
    """Trains one trial where a launcher of Hydra's wants it to be trained."""
    from dltrain.sweeps import workers

    return workers.train(sweep, int(Path(HydraConfig.get().sweep.subdir).name))


def _hydra_main(flags: list[str], overrides: list[str], configs: Path, task: Callable[[DictConfig], Any]) -> None:
    before = sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["dltrain", *flags, *map(quote_each, overrides)]
    try:
        hydra.main(config_path=str(configs), config_name=config_files.ENTRY, version_base="1.3")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error).splitlines()[0]) from error
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
