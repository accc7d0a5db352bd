"""Runs what a sweep has left to do. Called by dltrain's sweeper plugin, in the process that drives the sweep."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

from dltrain import compose
from dltrain.metrics import is_higher_better
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger


class Launcher(Protocol):
    """What a Hydra launcher offers to a sweeper."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[object]: ...


def grid(overrides: list[str]) -> list[dict[str, str]]:
    """Returns every combination of the comma lists among the overrides, the last one fastest."""
    swept = {}
    for override in compose.parse(list(map(compose.quote_each, overrides))):
        if override.is_sweep_override():
            swept[override.get_key_element()] = compose.swept_values(override)
    return [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]


def launch(folder: SweepFolder, launcher: Launcher) -> None:
    """Trains each trial that has not ended, those that were interrupted too."""
    plan = folder.read_plan()
    quoted = list(map(compose.quote_each, plan.overrides))
    fixed = [
        text
        for text, override in zip(quoted, compose.parse(quoted), strict=True)
        if not override.is_sweep_override() and not text.startswith("hydra.sweep.dir=")
    ]
    ledger = Ledger(folder.journal, higher_is_better=is_higher_better(plan.metric))
    ledger.plan(plan.points)
    jobs = []
    for trial in ledger.trials():
        if trial.status == "running":
            own = [f"{key}={value}" for key, value in trial.values.items()]
            jobs.append([*fixed, *own, f"hydra.sweep.subdir=trials/{trial.number}"])
    if jobs:
        launcher.launch(jobs, initial_job_idx=0)
