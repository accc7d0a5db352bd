"""Decides what a sweep trains next, and when it is over. It runs in the process that drives the sweep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from dltrain.durations import seconds_of
from dltrain.errors import CheckpointError
from dltrain.metrics import is_higher_better
from dltrain.overrides import quote_each
from dltrain.run_folder import refuse_links
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger, Trial
from dltrain.sweeps.parsing import space_of
from dltrain.sweeps.trial import Ended

# Samplers that learn from the trials before, so that a point is chosen as late as can be.
_LEARNING = ("tpe", "cmaes")
_OVER = ("done", "pruned", "failed")


class Launcher(Protocol):
    """What a Hydra launcher offers to a sweeper."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[object]: ...


class Agenda:
    """What a sweep has left to do.

    Attributes:
        ledger: of its trials.
        over: why no trial is started any more, though some are left; None while there is no such reason.
        started: when this process began, by ``time.monotonic``.
        deaths_in_a_row: of processes, since a trial came to its end.
    """

    def __init__(self, folder: SweepFolder) -> None:
        """
        Raises:
            CheckpointError: the ledger is not that of the plan.
            MachineError: a trial's folder is a link.
        """
        self.folder, self.plan = folder, folder.read_plan()
        self.higher_is_better = self.plan.higher_is_better
        if self.higher_is_better is None:
            self.higher_is_better = is_higher_better(self.plan.metric)
        self.ledger = Ledger(folder.journal, higher_is_better=self.higher_is_better)
        self.over: str | None = None
        self.started = time.monotonic()
        self.deaths_in_a_row = 0
        self._space = space_of(self.plan.space)
        if self.plan.points:
            self.ledger.plan(self.plan.points[: self.plan.trials])
        else:
            self.ledger.complete(self._space, self.plan.sampler, self.plan.seed)
        trials = self.ledger.trials()
        for trial in trials:
            self._check(trial)
        # What was interrupted comes first: it has a state to go on from, and later points may depend on it.
        self._waiting = [
            trial.number
            for trial in sorted(trials, key=lambda trial: (trial.status == "waiting", trial.number))
            if trial.status in ("running", "waiting")
        ]

    def _check(self, trial: Trial) -> None:
        if not set(trial.values) <= set(self.plan.space):
            raise CheckpointError(
                f"{self.folder.journal}: trial {trial.number} has values of {', '.join(trial.values)}, and the sweep "
                f"searches {', '.join(self.plan.space)}. Start the sweep anew with -m"
            )
        refuse_links([self.folder.trial(trial.number).path, *self.folder.trial(trial.number).path.glob("*")])

    @property
    def total(self) -> int:
        """How many trials there are to be."""
        return self.plan.trials

    def left(self) -> int:
        """Returns how many of them have not ended."""
        return self.total - sum(trial.status in _OVER for trial in self.ledger.trials())

    def next(self) -> int | None:
        """Returns the trial to train next, one that is new where none is left over; None where there is none."""
        self.over = self.over or self._why_over()
        if self.over is not None:
            return None
        if self._waiting:
            return self._waiting.pop(0)
        if self.plan.points or len(self.ledger.trials()) >= self.plan.trials:
            return None
        return self.ledger.propose(self._space, self.plan.sampler, self.plan.seed)

    def again(self, number: int) -> None:
        """Puts a trial back whose process ended while it was trained."""
        self._waiting.insert(0, number)

    def _why_over(self) -> str | None:
        plan, trials = self.plan, self.ledger.trials()
        failed = sum(trial.status == "failed" for trial in trials)
        if plan.max_failures is not None and failed >= plan.max_failures:
            return f"{failed} trial{'s' if failed > 1 else ''} failed, and sweep.max_failures is {plan.max_failures}"
        if plan.max_time is not None and time.monotonic() - self.started >= seconds_of(plan.max_time):
            return f"sweep.max_time={plan.max_time} is used up"
        found = self.best(trials)
        if plan.stop_when is not None and found is not None and found.objective is not None:
            good = found.objective >= plan.stop_when if self.higher_is_better else found.objective <= plan.stop_when
            if good:
                return f"{plan.metric} is as good as sweep.stop_when={plan.stop_when:g} in trial {found.number}"
        return None

    def best(self, trials: list[Trial]) -> Trial | None:
        """Returns the best of the trials that are done, the first of equals."""
        sign = -1 if self.higher_is_better else 1
        done = [trial for trial in trials if trial.objective is not None]
        return min(done, key=lambda trial: sign * (trial.objective or 0.0), default=None)


def launch(agenda: Agenda, launcher: Launcher, workers: int) -> Ended | None:
    """Trains what is left through a launcher of Hydra's, which takes whole batches.

    Returns:
        A trial that a signal stopped, if one did.
    """
    plan = agenda.plan
    fixed = list(map(quote_each, plan.overrides))
    while True:
        jobs: list[list[str]] = []
        while (plan.sampler not in _LEARNING or len(jobs) < workers) and (number := agenda.next()) is not None:
            own = [f"{key}={value}" for key, value in agenda.ledger.trial(number).values.items()]
            jobs.append([*fixed, *own, f"hydra.sweep.subdir=trials/{number}"])
        if not jobs:
            return None
        returned = launcher.launch(jobs, initial_job_idx=0)
        for ended in (getattr(job, "return_value", None) for job in returned):
            if isinstance(ended, Ended) and ended.stopped_by is not None:
                return ended
