"""The sweep folder: every path and file name in it, and how a sweep is found by name.

This module imports nothing heavy, as ``run_folder`` does.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from dltrain import run_folder
from dltrain.errors import CheckpointError, ConfigError
from dltrain.run_folder import RunFolder, write_file


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep was started with, as ``multirun.yaml`` holds it.

    Attributes:
        overrides: the command line, without what is searched.
        space: what is searched, as text by key.
        sampler: "grid", or how the points are chosen.
        points: where they are known beforehand, the values of each trial by key, its number being the place; ``trials``
            may be fewer.
        trials: how many there are to be.
        seed: of the sampler.
        working_directory: where relative paths of the overrides start.
        module_folders: folders where modules of ``imports`` may lie.
        metric: whose best value is a trial's objective.
        higher_is_better: whether a larger objective is better; None in older plans, where the metric tells.
        seeds: how often each point is trained.
        each_fold: whether a point is trained once for each of ``data.folds``.
        seconds_each: how long a trial may take, roughly.
        workers, pruner, prune_after, max_time, stop_when, max_failures, report: as in the config.
    """

    overrides: list[str]
    space: dict[str, Any]
    sampler: str
    points: list[dict[str, str]]
    trials: int
    seed: int
    working_directory: str
    module_folders: list[str]
    metric: str
    higher_is_better: bool | None = None
    seeds: int = 1
    each_fold: bool = False
    seconds_each: float = math.inf
    workers: str | int = 1
    pruner: str | None = None
    prune_after: int | None = None
    max_time: str | float | None = None
    stop_when: float | None = None
    max_failures: int | None = None
    report: bool = True


class SweepFolder:
    """The files of one sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / "multirun.yaml"
        self.journal = path / "journal.log"
        self.configs = path / "configs"
        self.trials = path / "trials"
        self.outputs = path / "outputs"
        self.leaderboard = path / "leaderboard.csv"
        self.report = path / "report.html"
        self.best = path / "best"
        self.lock_file = path / "sweep.lock"

    @classmethod
    def create(cls, path: Path | None, sampler: str) -> SweepFolder:
        """Makes the folder of a new sweep: ``path``, or ``runs/sweeps/<date>_<time>-<sampler>-<4 letters>``.

        Raises:
            ConfigError: ``path`` holds a sweep already.
            MachineError: it cannot be made.
        """
        folder = cls(path or Path(run_folder.sweep_dir(sampler)))
        if folder.plan_file.exists():
            raise ConfigError(
                f"{folder.path} holds a sweep already. Go on with it: dltrain resume {folder.path}, or name another "
                "folder"
            )
        if folder.path.is_dir() and any(folder.path.iterdir()):
            raise ConfigError(f"{folder.path} is not empty. Name a new folder for the sweep")
        run_folder.check_letters(folder.path)
        run_folder.make_folder(folder.path)
        return folder

    def locked(self) -> AbstractContextManager[None]:
        """Holds the sweep, so that no second process drives it.

        Raises:
            MachineError: another process holds it, or a part of it is a link to somewhere else.
        """
        run_folder.refuse_links(path for path in vars(self).values() if path not in (self.path, self.best))
        run_folder.refuse_links([self.journal.with_name(f"{self.journal.name}.lock")])
        return run_folder.lock(self.lock_file, f"{self.path} is being run by another process")

    def trial(self, number: int) -> RunFolder:
        return RunFolder(self.trials / str(number))

    def run(self, number: int, part: str) -> RunFolder:
        """Returns the folder of a trial's run; ``part`` is its name where the trial has several, else empty."""
        return RunFolder(self.trials / str(number) / part)

    def runs_of(self, number: int) -> list[RunFolder]:
        """Returns the runs that a trial has so far."""
        folder = self.trials / str(number)
        found = [path.parent for path in (*folder.glob("config.yaml"), *folder.glob("*/config.yaml"))]
        # In the order in which they are trained: seed-10 after seed-9.
        return [RunFolder(path) for path in sorted(found, key=lambda path: [*map(int, re.findall(r"\d+", path.name))])]

    def write_plan(self, plan: SweepPlan) -> None:
        """Writes what makes a folder a sweep; last of all that stands in it before the first trial."""
        write_file(self.plan_file, yaml.safe_dump(asdict(plan), allow_unicode=True, sort_keys=False))

    def read_plan(self) -> SweepPlan:
        """
        Raises:
            CheckpointError: the file is damaged.
        """
        try:
            values: Any = yaml.safe_load(self.plan_file.read_text(encoding="utf-8"))
            return SweepPlan(**values)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
            what = str(error).partition("\n")[0]
            raise CheckpointError(f"{self.plan_file} is damaged: {what}. Start the sweep anew with -m") from error

    def freeze_configs(self, own: Path, users: list[Path]) -> None:
        """Copies the YAML files, so that an edit while the sweep runs changes none of its later trials."""
        for number, folder in enumerate([own, *users]):
            for path in sorted(folder.rglob("*.yaml")):
                if self.path.absolute() not in path.absolute().parents:
                    copy = self.frozen(number) / path.relative_to(folder)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)

    def frozen(self, number: int) -> Path:
        """Returns the copy of dltrain's own YAML folder (0), or of the user's first, second, ..."""
        return self.configs / ("dltrain" if number == 0 else f"user-{number}")

    def frozen_folders(self) -> list[Path]:
        """Returns the copies of the user's YAML folders, in their order."""
        numbers = range(1, len(list(self.configs.glob("user-*"))) + 1)
        return [self.frozen(number).absolute() for number in numbers]

    def trusted(self, module_folders: list[str]) -> tuple[Path, ...]:
        """Returns those of a plan's folders of modules that did not come with the sweep, which may be a stranger's."""
        own, folders = self.path.resolve(), map(Path, module_folders)
        return tuple(path for path in folders if own not in (path.resolve(), *path.resolve().parents))

    def point_best(self, run: Path | None) -> None:
        """Lets ``best`` be a link to a run of the sweep; None removes it."""
        temporary = self.path / f".best.{os.getpid()}.tmp"
        temporary.unlink(missing_ok=True)
        if run is None:
            self.best.unlink(missing_ok=True)
            return
        temporary.symlink_to(run.relative_to(self.path))
        temporary.replace(self.best)


def find_sweep(name: str) -> SweepFolder | None:
    """Returns the sweep that ``name`` means: a folder, or a unique part of a sweep's name; None where it means none.

    Raises:
        ConfigError: it fits several sweeps.
    """
    folder = SweepFolder(Path(name))
    if folder.plan_file.is_file():
        return folder
    if folder.path.exists() or name == "last":
        return None
    sweeps = sorted(path.parent for path in run_folder.SWEEPS.glob("*/multirun.yaml"))
    matching = [path for path in sweeps if name.rstrip("/") in str(path)]
    if len(matching) > 1 and not any(name in path.name for path in run_folder.SWEEPS.glob("*/trials/*")):
        listed = "\n".join(f"  {path}" for path in matching[-10:])
        raise ConfigError(f"'{name}' fits {len(matching)} sweeps; say more of the name:\n{listed}")
    return SweepFolder(matching[0]) if len(matching) == 1 else None
