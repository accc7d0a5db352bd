"""The ledger: what it holds survives processes, and no trial is lost or entered twice."""

from __future__ import annotations

import os
import signal
import time

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from dltrain.sweeps.ledger import Ledger

POINTS = [{"optimizer.lr": value, "model": "mlp"} for value in ("0.1", "0.2", "가")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.log"


def test_trials_are_numbered_as_their_points_and_entered_once(path):
    for point in POINTS[:2]:  # as a process leaves it that was killed while it entered them
        Ledger(path)._study.enqueue_trial(point)
    for _ in range(2):
        Ledger(path).plan(POINTS)
    trials = Ledger(path).trials()
    assert [(trial.number, trial.values, trial.status) for trial in trials] == [
        (number, point, "waiting") for number, point in enumerate(POINTS)
    ]


def test_what_became_of_a_trial_is_there_for_the_next_process(path):
    ledger = Ledger(path, higher_is_better=True)
    ledger.plan(POINTS)
    ledger.start(0, 0)
    ledger.finish(0, 0.75)
    ledger.start(1, 0)
    ledger.die(1, "killed")
    ledger.start(1, 40)
    ledger.fail(1, "it broke")
    again = Ledger(path)
    assert again.higher_is_better
    assert [(t.status, t.objective, t.reason, t.starts, t.deaths) for t in again.trials()] == [
        ("done", 0.75, None, (0,), ()),
        ("failed", None, "it broke", (0, 40), ("killed",)),
        ("waiting", None, None, (), ()),
    ]


def test_a_failed_trial_is_tried_again_under_its_number(path):
    ledger = Ledger(path)
    ledger.plan(POINTS)
    ledger.start(0, 0)
    ledger.fail(0, "it broke")
    ledger.retry(0)
    assert [trial.status for trial in ledger.trials()] == ["waiting"] * 3
    ledger.start(0, 0)
    ledger.finish(0, 1.5)
    ledger.plan(POINTS)  # the attempt is no point of the grid
    assert [(t.number, t.values, t.objective, t.starts) for t in Ledger(path).trials()] == [
        (0, POINTS[0], 1.5, (0,)),
        (1, POINTS[1], None, ()),
        (2, POINTS[2], None, ()),
    ]


@pytest.mark.parametrize("torn", ["{", '{"op_code": 5, "worker_id": "x"', '{"op_code"'])
def test_a_line_that_was_cut_off_is_dropped(torn, path):
    Ledger(path).plan(POINTS)
    with path.open("a") as file:
        file.write(torn)
    ledger = Ledger(path)
    ledger.finish(0, 1.0)
    assert [trial.status for trial in Ledger(path).trials()] == ["done", "waiting", "waiting"]


def test_a_killed_process_leaves_no_lock_behind(path):
    """Optuna's own lock files hold the next process up for half a minute."""
    Ledger(path).plan(POINTS)
    child = os.fork()
    if child == 0:
        ledger = Ledger(path)
        ledger._study._storage._backend._lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    started = time.monotonic()
    Ledger(path).finish(0, 1.0)
    assert time.monotonic() - started < 5


def test_optuna_itself_opens_it(path):
    import optuna

    Ledger(path).plan(POINTS[:2])
    study = optuna.load_study(study_name="sweep", storage=JournalStorage(JournalFileBackend(str(path))))
    assert [trial.params for trial in study.trials] == POINTS[:2]
