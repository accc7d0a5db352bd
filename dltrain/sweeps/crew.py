"""Brings together what a sweep has left to do, who does it, and what a person sees of it."""

from __future__ import annotations

import signal

from dltrain.errors import Interrupted
from dltrain.sweeps import driver, workers
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.view import View


def train(folder: SweepFolder, device: str, launcher: driver.Launcher | None) -> None:
    """Trains what a sweep has left to do.

    Args:
        device: as in the config.
        launcher: of Hydra's, which does it instead of dltrain's workers.

    Raises:
        CheckpointError, MachineError: see ``Agenda``.
        Interrupted: a signal came; the trials under way have saved their states.
    """
    agenda = driver.Agenda(folder)
    number = workers.count(agenda.plan.workers, agenda.left(), device, agenda.plan.seconds_each)
    with View(agenda, number) as view:
        if launcher is not None:
            stopped = driver.launch(agenda, launcher, number)
            if stopped is not None and stopped.stopped_by is not None:
                raise Interrupted(f"stopped by {signal.Signals(stopped.stopped_by).name}", stopped.stopped_by)
        elif number == 1:
            workers.train_here(agenda, view.tell)
        else:
            workers.train_beside(agenda, number, device, view.tell)
