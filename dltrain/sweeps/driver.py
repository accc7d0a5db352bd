"""Runs what a sweep has left to do. Called by dltrain's sweeper plugin, in the process that drives the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dltrain import compose
from dltrain.errors import CheckpointError
from dltrain.metrics import is_higher_better
from dltrain.run_folder import refuse_links
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger
from dltrain.sweeps.parsing import space_of


class Launcher(Protocol):
    """What a Hydra launcher offers to a sweeper."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[object]: ...


def launch(folder: SweepFolder, launcher: Launcher) -> None:
    """Trains each trial that has not ended, those that were interrupted first.

    Raises:
        CheckpointError: the ledger is not that of the plan.
        MachineError: a trial's folder is a link.
    """
    plan = folder.read_plan()
    fixed = list(map(compose.quote_each, plan.overrides))
    ledger = Ledger(folder.journal, higher_is_better=is_higher_better(plan.metric))

    def launch_what_is_left() -> None:
        jobs = []
        for trial in ledger.trials():
            if not set(trial.values) <= set(plan.space):
                raise CheckpointError(
                    f"{folder.journal}: trial {trial.number} has values of {', '.join(trial.values)}, and the sweep "
                    f"searches {', '.join(plan.space)}. Start the sweep anew with -m"
                )
            if trial.status == "running":
                refuse_links([folder.trial(trial.number).path])
                own = [f"{key}={value}" for key, value in trial.values.items()]
                jobs.append([*fixed, *own, f"hydra.sweep.subdir=trials/{trial.number}"])
        if jobs:
            launcher.launch(jobs, initial_job_idx=0)

    if plan.points:
        ledger.plan(plan.points)
        launch_what_is_left()
        return
    space = space_of(plan.space)
    ledger.complete(space, plan.sampler, plan.seed)
    launch_what_is_left()
    while (missing := plan.trials - len(ledger.trials())) > 0:
        for _ in range(1 if plan.sampler == "tpe" else missing):  # which learns from each
            ledger.propose(space, plan.sampler, plan.seed)
        launch_what_is_left()
