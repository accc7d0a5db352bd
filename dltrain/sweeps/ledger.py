"""The ledger of a sweep's trials: Optuna's journal, a file that is only ever added to.

Optuna's own tools and its dashboard open it. A trial that stands there as running while no process holds the sweep was
interrupted: its values are in the ledger and its state in its folder, so that it can go on.
"""

from __future__ import annotations

import fcntl
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import BasePruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from dltrain.sweeps import samplers
from dltrain.sweeps.space import Space

_STUDY = "sweep"
_REASON, _STARTS, _RETRY_OF, _VALUES, _PARTS, _DEATHS = "reason", "starts", "retry_of", "values", "parts", "deaths"
_PRUNED_AT = "pruned_at"

Status = Literal["done", "pruned", "failed", "running", "waiting"]
_STATUS: dict[TrialState, Status] = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Trial:
    """A trial as the ledger has it.

    Attributes:
        values: what was swept, by key, as text that stands after ``key=``.
        objective: the best value of the sweep's metric, of several runs their mean; None unless it is done.
        reason: why it failed or was pruned.
        starts: at which step its newest checkpoint was each time that it was started.
        deaths: how its process ended while it was trained, a line each.
        parts: the best value of each of its runs by name, where it has several.
    """

    number: int
    values: dict[str, str]
    status: Status
    objective: float | None
    reason: str | None
    starts: tuple[int, ...] = ()
    deaths: tuple[str, ...] = ()
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def spread(self) -> float | None:
        """The standard deviation of the parts (with n - 1); None where there are fewer than two."""
        return statistics.stdev(self.parts.values()) if len(self.parts) > 1 and self.status == "done" else None


class _Lock(JournalFileOpenLock):
    """A lock that ends with the process. Optuna's own are files, which stay behind a killed one for half a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Ledger:
    """The trials of a sweep. Several processes may hold one over the same file."""

    def __init__(self, path: Path, *, higher_is_better: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        lock = _Lock(path.with_name(f"{path.name}.lock"))
        with _held(lock):
            _drop_torn_line(path)
        self._study = optuna.create_study(
            study_name=_STUDY,
            storage=JournalStorage(JournalFileBackend(str(path), lock_obj=lock)),
            load_if_exists=True,
            direction="maximize" if higher_is_better else "minimize",
        )

    @property
    def study(self) -> optuna.Study:
        """Optuna's own view of the trials; of a trial that was tried again, each attempt."""
        return self._study

    @property
    def higher_is_better(self) -> bool:
        return self._study.direction == optuna.study.StudyDirection.MAXIMIZE

    def plan(self, points: Sequence[dict[str, str]]) -> None:
        """Enters the points that it does not have yet; the number of a trial is its point's place."""
        choices: dict[str, list[str]] = {}
        for point in points:
            for key, value in point.items():
                choices.setdefault(key, []).append(value)
        for point in points[len(self._attempts()) :]:
            self._study.enqueue_trial(point)
        self._start_waiting(
            {key: CategoricalDistribution(list(dict.fromkeys(texts))) for key, texts in choices.items()}
        )

    def propose(self, space: Space, sampler: str, seed: int) -> int:
        """Adds a trial whose values the sampler chooses; returns its number."""
        number = len(self._attempts())
        self._study.sampler = samplers.build(sampler, seed, number)
        self._note_values(self._study.ask(), space)
        return number

    def complete(self, space: Space, sampler: str, seed: int) -> None:
        """Gives values to a trial that was proposed by a process which was killed before it had noted them."""
        for number, attempts in self._attempts().items():
            if attempts[-1].state == TrialState.RUNNING and _VALUES not in attempts[-1].user_attrs:
                self._study.sampler = samplers.build(sampler, seed, number)
                self._note_values(optuna.trial.Trial(self._study, attempts[-1]._trial_id), space)

    def _note_values(self, trial: optuna.trial.Trial, space: Space) -> None:
        trial.set_user_attr(_VALUES, space.suggest(trial))

    def trials(self) -> list[Trial]:
        """Returns all trials by number."""
        return [_trial(number, attempts) for number, attempts in sorted(self._attempts().items())]

    def trial(self, number: int) -> Trial:
        return _trial(number, self._attempts()[number])

    def start(self, number: int, step: int) -> None:
        """Notes a start of a trial.

        Args:
            step: where its newest checkpoint was; 0 without one.
        """
        self._append(number, _STARTS, step)

    def die(self, number: int, how: str) -> None:
        """Notes that the process of a trial ended while it was trained."""
        self._append(number, _DEATHS, how)

    def report(self, number: int, evaluation: int, value: float, pruner: BasePruner | None) -> bool:
        """Notes the metric at an evaluation; returns whether the trial should be pruned.

        Args:
            evaluation: counted from 1. One that was noted before a kill is not noted, and not decided on, again.
        """
        frozen = self._attempts()[number][-1]
        if evaluation in frozen.intermediate_values:
            pruned_at = frozen.user_attrs.get(_PRUNED_AT)
            return pruned_at is not None and bool(evaluation >= pruned_at)
        self._study._storage.set_trial_intermediate_value(frozen._trial_id, evaluation, value)
        if pruner is None or not pruner.prune(self._study, self._attempts()[number][-1]):
            return False
        self._set(number, _PRUNED_AT, evaluation)
        return True

    def finish(self, number: int, objective: float, parts: dict[str, float] | None = None) -> None:
        if parts:
            self._set(number, _PARTS, parts)
        self._study.tell(self._attempts()[number][-1].number, objective)

    def prune(self, number: int, reason: str) -> None:
        self._set(number, _REASON, reason)
        self._study.tell(self._attempts()[number][-1].number, state=TrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        self._set(number, _REASON, reason)
        self._study.tell(self._attempts()[number][-1].number, state=TrialState.FAIL)

    def retry(self, number: int) -> None:
        """Lets a failed trial run again under its number; Optuna counts the attempt as a trial of its own."""
        first = self._attempts()[number][0]
        noted = {_VALUES: first.user_attrs[_VALUES]} if _VALUES in first.user_attrs else {}
        self._study.enqueue_trial(first.params, user_attrs={_RETRY_OF: number, **noted})
        self._start_waiting(first.distributions)

    def _start_waiting(self, distributions: dict[str, BaseDistribution]) -> None:
        for _ in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.ask(distributions)

    def _attempts(self) -> dict[int, list[FrozenTrial]]:
        """Returns the attempts at each trial, the newest last. Of a sweep without retries each has one."""
        attempts: dict[int, list[FrozenTrial]] = {}
        for frozen in self._study.get_trials(deepcopy=False):
            number = frozen.user_attrs.get(_RETRY_OF)
            attempts.setdefault(len(attempts) if number is None else number, []).append(frozen)
        return attempts

    def _append(self, number: int, key: str, value: Any) -> None:
        self._set(number, key, [*_listed(self._attempts()[number][-1], key), value])

    def _set(self, number: int, key: str, value: Any) -> None:
        self._study._storage.set_trial_user_attr(self._attempts()[number][-1]._trial_id, key, value)


def _listed(frozen: FrozenTrial, key: str) -> list[Any]:
    noted = frozen.user_attrs.get(key, [])
    return [0] * noted if isinstance(noted, int) else list(noted)  # an older ledger has the number of starts


def _values(frozen: FrozenTrial) -> dict[str, str]:
    fixed = frozen.params or frozen.system_attrs.get("fixed_params", {})
    values: dict[str, str] = frozen.user_attrs.get(_VALUES, fixed)
    return values


def _trial(number: int, attempts: list[FrozenTrial]) -> Trial:
    newest = attempts[-1]
    starts = tuple(_listed(newest, _STARTS))
    status = _STATUS.get(newest.state, "failed")
    return Trial(
        number=number,
        values=_values(newest),
        status="waiting" if status == "running" and not starts else status,  # to Optuna it runs from when it is planned
        objective=newest.value if newest.state == TrialState.COMPLETE else None,
        reason=newest.user_attrs.get(_REASON),
        starts=starts,
        deaths=tuple(_listed(newest, _DEATHS)),
        parts=newest.user_attrs.get(_PARTS, {}),
    )


@contextmanager
def _held(lock: _Lock) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _drop_torn_line(path: Path) -> None:
    """Removes what a full disk left of a line: the next one would be glued to it."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
