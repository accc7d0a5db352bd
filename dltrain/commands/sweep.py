"""What the verbs share that work on a sweep: driving it, and its leaderboard in the terminal."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dltrain.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from dltrain.multirun import Job
    from dltrain.sweeps.folder import SweepFolder, SweepPlan
    from dltrain.sweeps.leaderboard import Place

FAILED_TRIALS = 8


def drive(sweep: SweepFolder) -> int:
    """Trains what a sweep has left to do, and prints its leaderboard.

    Raises:
        Interrupted: a signal ended it; it can go on.
    """
    from dltrain import multirun
    from dltrain.sweeps import leaderboard

    plan = sweep.read_plan()
    folders = [Path(folder) for folder in plan.module_folders]
    try:
        multirun.drive(sweep, lambda job: _train(sweep, job, folders))
    except Interrupted as error:
        done = sum(place.trial.status in ("done", "failed") for place in leaderboard.ranked(sweep))
        stopped = str(error).partition(". Go on with:")[0]
        raise Interrupted(
            f"{stopped}. {plan.trials - done} of {plan.trials} trials are left. Go on with: "
            f"dltrain resume {sweep.path}",
            error.exit_code - 128,
        ) from error
    places = leaderboard.ranked(sweep)
    leaderboard.write(sweep, places)
    print_leaderboard(sweep, places)
    failed = [place.trial for place in places if place.trial.status == "failed"]
    if failed:
        print(f"error: {len(failed)} of the trials failed; error.txt in the folder of each says more:", file=sys.stderr)
        for trial in failed:
            values = " ".join(f"{key}={value}" for key, value in trial.values.items())
            print(f"  {trial.number}: {values}: {(trial.reason or '').partition('. ')[0]}", file=sys.stderr)
    return FAILED_TRIALS if failed else 0


def resume(sweep: SweepFolder, overrides: list[str], retry_failed: bool) -> int:
    """Goes on with a sweep where it was started: relative paths of its overrides begin there.

    Args:
        overrides: ``sweep.trials=N`` for more trials; nothing else can change.

    Raises:
        ConfigError: anything else was given, or fewer trials than there are.
    """
    from dltrain.sweeps.folder import SweepFolder
    from dltrain.sweeps.ledger import Ledger

    plan = sweep.read_plan()
    trials = _more_trials(overrides, plan)
    if trials is not None:
        with sweep.locked():
            sweep.write_plan(replace(plan, trials=trials))
    start = Path(plan.working_directory)
    if start.is_dir() and start != Path.cwd():
        path = sweep.path.absolute()
        os.chdir(start)
        sweep = SweepFolder(path.relative_to(start) if path.is_relative_to(start) else path)
    if retry_failed:
        with sweep.locked():
            ledger = Ledger(sweep.journal)
            for trial in ledger.trials():
                if trial.status == "failed":
                    ledger.retry(trial.number)
    return drive(sweep)


def _more_trials(overrides: list[str], plan: SweepPlan) -> int | None:
    for override in overrides:
        key, _, text = override.partition("=")
        if key != "sweep.trials" or plan.sampler == "grid":
            can = "nothing" if plan.sampler == "grid" else "sweep.trials alone"
            raise ConfigError(f"'{override}': of this sweep {can} can be changed. Start another with -m")
        if not text.isdecimal() or int(text) < plan.trials:
            raise ConfigError(f"'{override}': the sweep is to have {plan.trials} trials already. Give more than that")
        return int(text)
    return None


def _train(sweep: SweepFolder, job: Job, module_folders: list[Path]) -> None:
    from dltrain.commands.outcome import print_outcome
    from dltrain.sweeps import trial

    outcome = trial.train(sweep, job, module_folders)
    if outcome is None:
        return
    print_outcome(outcome, next_steps_too=False)
    if outcome.trainer.interrupted_by is not None:  # it came when this run was done already
        raise Interrupted("stopped between two runs of the multirun", outcome.trainer.interrupted_by)


def print_leaderboard(sweep: SweepFolder, places: list[Place]) -> None:
    """Prints the trials side by side, the best first."""
    from rich.console import Console
    from rich.table import Table

    from dltrain.console import number

    if len(places) < 2:
        return
    keys = list(dict.fromkeys(key for place in places for key in place.trial.values))
    logged = dict.fromkeys(name for place in places for name in place.result.get("last", {}) if name.startswith("val/"))
    named = [name.partition("/")[2] for name in logged][:2][-1:]  # the first metric besides the loss
    figures = [(group, f"{split}/{name}") for name in named for group, split in (("last", "val"), ("test", "test"))]
    table = Table()
    titles = [_short(key, keys) for key in keys]
    for title in ("trial", *titles, f"best {sweep.read_plan().metric}", "in epoch", *(name for _, name in figures)):
        table.add_column(title, justify="left" if title in titles else "right", overflow="fold")
    for place in places:
        trial, result = place.trial, place.result
        ended = trial.objective is not None
        values = [result.get(group, {}).get(name) if ended else None for group, name in figures]
        table.add_row(
            str(trial.number),
            *(trial.values.get(key, "") for key in keys),
            number(trial.objective) if trial.objective is not None else trial.status,
            str(result.get("best", {}).get("epoch", "")) if ended else "",
            *("" if value is None else number(value) for value in values),
        )
    console = Console(highlight=False)
    console.print()
    console.print(table)
    console.print(f"trials in {sweep.path}; the best one is {sweep.best}", markup=False, soft_wrap=True)


def _short(key: str, keys: list[str]) -> str:
    """Returns the last part of a key, where it says enough."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key
