"""One trial of a sweep: trained, or gone on with, in its own folder, and told to the ledger.

A trial is one run, or with ``sweep.seeds`` and ``data.folds`` several, which have folders of their own in its folder.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dltrain import compose, config, console, run
from dltrain.assembly import Shared
from dltrain.callbacks.base import RunContext
from dltrain.config import Config
from dltrain.errors import ConfigError, DltrainError, Interrupted, MachineError, TimeUp
from dltrain.history import History
from dltrain.redaction import redacted
from dltrain.run_folder import RunFolder, sweep_temporary_files, write_file, write_json
from dltrain.sweeps import pruning
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger, Trial

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

# A trial that was started so often without getting any further is given up: on a resume nobody can tell whether the
# trial was the reason that its process was gone.
_STARTS_IN_PLACE = 3

# The process that had a trial before, whose driver was killed, ends within a second.
_WAIT_FOR_LOCK = 10.0


@dataclass(frozen=True)
class Ended:
    """That nothing more is to be done for a trial now; the ledger says what became of it.

    Attributes:
        stopped_by: the signal that stopped its process; the trial goes on when the sweep does.
    """

    number: int
    stopped_by: int | None = None


@dataclass(frozen=True)
class Part:
    """One run of a trial.

    Attributes:
        name: of its folder in the trial's; empty where it is the only one.
        values: what it has of its own, by key.
    """

    name: str
    values: dict[str, str]


def objective(loaded: Config) -> str:
    """Returns the metric whose best value is a trial's objective: what the checkpoint callback watches."""
    if loaded.sweep.metric is not None:
        return loaded.sweep.metric
    watching = (settings for settings in loaded.callbacks.values() if settings.name == "checkpoint")
    return next((str(settings.monitor) for settings in watching), "val/loss")


class Workshop:
    """What a process needs to train the trials of a sweep, made once for all of them."""

    def __init__(self, sweep: SweepFolder) -> None:
        self.sweep, self.plan = sweep, sweep.read_plan()
        self._root = sweep.frozen(0).absolute()
        self._module_folders = sweep.trusted(self.plan.module_folders)
        self._shared = Shared()
        self._ledger = Ledger(sweep.journal)

    def train(self, number: int) -> Ended:
        """Trains a trial, from its newest checkpoints where it has some, and writes its end into the ledger.

        What it fails of stands in the ledger and in ``error.txt`` in its folder, and is no error of the sweep.
        """
        trial = self._ledger.trial(number)
        with console.quiet():
            try:
                self._start(trial)
                return self._train_parts(trial)
            except Interrupted as stop:
                return Ended(number, stop.exit_code - 128)
            except DltrainError as error:
                give_up(self.sweep, self._ledger, number, str(error), str(error))
            except (Exception, SystemExit) as error:  # a mistake in dltrain or in a module of the user's
                reason = redacted(f"{type(error).__name__}: {error}")
                give_up(self.sweep, self._ledger, number, reason, redacted(traceback.format_exc()))
        return Ended(number)

    def _start(self, trial: Trial) -> None:
        """
        Raises:
            MachineError: its process ended too often while it was trained.
        """
        step = self._reached(trial.number)
        if trial.starts.count(step) >= _STARTS_IN_PLACE:
            raise MachineError(
                f"it was started {len(trial.starts)} times and its process was always killed or crashed, the last "
                f"{_STARTS_IN_PLACE} times at step {step}. Is memory too small for it?"
            )
        self._ledger.start(trial.number, step)

    def _reached(self, number: int) -> int:
        """Returns how many steps of a trial its newest checkpoints hold."""
        saved = [folder.checkpoints.glob("step-*.json") for folder in self.sweep.runs_of(number)]
        return sum(max((int(path.stem.removeprefix("step-")) for path in paths), default=0) for paths in saved)

    def _train_parts(self, trial: Trial) -> Ended:
        container = self._composed(trial.values)
        parts = self._parts(container)
        values: dict[str, float] = {}
        stopped_by = None
        for place, part in enumerate(parts):
            folder = self.sweep.run(trial.number, part.name)
            if part.values:
                container = self._composed({**trial.values, **part.values})
            stopped_by = self._train_run(trial, part, container, folder, decides=place == 0)
            pruned = folder.read_result().get("pruned")
            if pruned is not None:
                self._ledger.prune(trial.number, str(pruned))
                return Ended(trial.number, stopped_by)
            values[part.name] = best_value(folder, self.plan.metric, self._ledger.higher_is_better)
            if stopped_by is not None and part is not parts[-1]:
                return Ended(trial.number, stopped_by)
        self._ledger.finish(trial.number, statistics.fmean(values.values()), values if len(values) > 1 else None)
        return Ended(trial.number, stopped_by)

    def _composed(self, values: dict[str, str]) -> dict[str, Any]:
        return compose.with_values(self.plan.overrides, values, self._root)

    def _parts(self, container: dict[str, Any]) -> list[Part]:
        seeds = [container["seed"] + place for place in range(self.plan.seeds)]
        folds = (container["data"].get("folds") or 0) if self.plan.each_fold else 0
        parts = []
        for seed in seeds:
            for fold in range(folds) if folds else [None]:
                names = [f"seed-{seed}"] if self.plan.seeds > 1 else []
                values = {"seed": str(seed)} if self.plan.seeds > 1 else {}
                if fold is not None:
                    names.append(f"fold-{fold}")
                    values["data.fold"] = str(fold)
                parts.append(Part("-".join(names), values))
        return parts

    def _train_run(
        self, trial: Trial, part: Part, container: dict[str, Any], folder: RunFolder, *, decides: bool
    ) -> int | None:
        """Trains one run to its end.

        Args:
            container: its config as plain values.
            decides: whether the trial may be pruned while it is trained.

        Returns:
            The signal that came when it had come to its end already, if one did.
        """
        container["run_dir"] = str(folder.path)
        loaded = config.load(container, self._module_folders, distrusted=self.sweep.path)
        if loaded.transfer.init_from == "last":
            raise ConfigError("model.init_from = 'last': in a sweep that is the run before. Give the run's name")
        overrides = [*self.plan.overrides, *(f"{key}={text}" for key, text in {**trial.values, **part.values}.items())]
        self._shared.observers = (lambda context: self._observer(context, trial, decides),)
        if folder.read_result().get("status") == "done":  # it was killed between its end and the ledger's
            return None
        _wait_for_lock(folder)
        try:
            if folder.config.exists():
                outcome = run.resume(folder, loaded, container, [], self._shared)
            else:
                outcome = run.train(loaded, container, overrides, self._shared)
        except TimeUp as stop:  # trainer.max_time is that of each run: it counts with what it has reached
            console.log.info("%s", stop)
            return None
        return None if outcome is None else outcome.trainer.interrupted_by

    def _observer(self, context: RunContext, trial: Trial, decides: bool) -> pruning.TrialObserver:
        def report(evaluation: int, value: float, pruner: BasePruner | None) -> bool:
            return self._ledger.report(trial.number, evaluation, value, pruner)

        def pruner(evaluations: int) -> BasePruner:
            assert self.plan.pruner is not None
            return pruning.build(self.plan.pruner, evaluations, self.plan.prune_after)

        reports = report if self.plan.pruner is not None and decides else None
        better = max if self._ledger.higher_is_better else min
        return pruning.TrialObserver(context, self.plan.metric, trial.values, better, reports, pruner)


def give_up(sweep: SweepFolder, ledger: Ledger, number: int, reason: str, details: str) -> None:
    """Records that a trial has failed, in the ledger and in its folder.

    Args:
        details: for ``error.txt`` and the trial's log.
    """
    folder = sweep.trial(number)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_file(folder.error, f"{details.rstrip()}\n")
    for killed in sweep.runs_of(number):  # of which nobody has told what became of it
        if killed.read_result().get("status") == "running":
            write_json(killed.result, {"status": "failed", "error": reason})
            sweep_temporary_files(killed.path)
            sweep_temporary_files(killed.checkpoints)
    with contextlib.suppress(OSError), folder.log.open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} ERROR {details.rstrip()}\n")
    ledger.fail(number, reason)


def best_value(folder: RunFolder, metric: str, higher_is_better: bool) -> float:
    """Returns the best value of a metric over a run.

    Raises:
        ConfigError: the run never logged it, or only as NaN.
    """
    values = [row[metric] for row in History(folder.metrics).rows() if metric in row]
    finite = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if not finite:
        raise ConfigError(f"{folder.path} has no value of {metric}, so it cannot be ranked")
    return max(finite) if higher_is_better else min(finite)


def _wait_for_lock(folder: RunFolder) -> None:
    """Waits while another process holds a run, which ends soon where its driver has been killed."""
    until = time.monotonic() + _WAIT_FOR_LOCK
    while folder.lock_file.exists() and time.monotonic() < until:
        try:
            with folder.locked():
                return
        except MachineError:
            time.sleep(0.1)
