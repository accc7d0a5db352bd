"""One trial of a sweep: trained, or gone on with, in its own folder, and told to the ledger."""

from __future__ import annotations

import math
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import config, run
from dltrain.config import Config
from dltrain.console import log
from dltrain.errors import ConfigError, DltrainError, Interrupted, TimeUp
from dltrain.history import History
from dltrain.metrics import is_higher_better
from dltrain.redaction import redacted
from dltrain.run_folder import RunFolder, write_file
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger

if TYPE_CHECKING:
    from dltrain.multirun import Job
    from dltrain.run import Outcome


def objective(loaded: Config) -> str:
    """Returns the metric whose best value is a trial's objective: what the checkpoint callback watches."""
    if loaded.sweep.metric is not None:
        return loaded.sweep.metric
    watching = (settings for settings in loaded.callbacks.values() if settings.name == "checkpoint")
    return next((str(settings.monitor) for settings in watching), "val/loss")


def train(sweep: SweepFolder, job: Job, module_folders: list[Path]) -> Outcome | None:
    """Trains the job's trial, from its newest checkpoint where it has one, and writes its end into the ledger.

    Returns:
        None where it failed, of which the ledger and ``error.txt`` in its folder say why, or had ended already.

    Raises:
        Interrupted: a signal came; the trial goes on when the sweep does.
    """
    number, ledger = int(job.folder.name), Ledger(sweep.journal)
    ledger.start(number)
    folder = RunFolder(job.folder)
    try:
        outcome = _train(sweep, folder, job, module_folders)
        ledger.finish(number, best_value(folder, sweep.read_plan().metric))
        return outcome
    except Interrupted:
        raise
    except DltrainError as error:
        log.error("%s", error)
        _fail(ledger, number, folder, str(error), str(error))
    except (Exception, SystemExit) as error:  # a mistake in dltrain or in a module of the user's
        details = redacted(traceback.format_exc())
        print(details, end="", file=sys.stderr)
        _fail(ledger, number, folder, redacted(f"{type(error).__name__}: {error}"), details)
    return None


def _train(sweep: SweepFolder, folder: RunFolder, job: Job, module_folders: list[Path]) -> Outcome | None:
    container, own = job.container(), sweep.path.resolve()
    outside = [path for path in module_folders if own not in (path.resolve(), *path.resolve().parents)]
    loaded = config.load(container, tuple(outside), distrusted=sweep.path)
    if loaded.transfer.init_from == "last":
        raise ConfigError("model.init_from = 'last': in a multirun that is the run before. Give the run's name")
    try:
        if not folder.config.exists():
            return run.train(loaded, container, job.overrides)
        if folder.read_result().get("status") == "done":  # it was killed between its end and the ledger's
            return None
        return run.resume(folder, loaded, container, [])
    except TimeUp as stop:  # trainer.max_time is that of each trial: it counts with what it has reached
        log.info("%s", stop)
        return None


def best_value(folder: RunFolder, metric: str) -> float:
    """Returns the best value of a metric over a run.

    Raises:
        ConfigError: the run never logged it, or only as NaN.
    """
    values = [row[metric] for row in History(folder.metrics).rows() if metric in row]
    finite = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if not finite:
        raise ConfigError(f"{folder.path} has no value of {metric}, so it cannot be ranked")
    return max(finite) if is_higher_better(metric) else min(finite)


def _fail(ledger: Ledger, number: int, folder: RunFolder, reason: str, details: Any) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    write_file(folder.error, f"{details}\n")
    ledger.fail(number, reason)
