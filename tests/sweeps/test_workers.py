"""Trials in processes of their own: the same results as in one, and what ends a process ends no other trial."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest
from commandline import start

from dltrain.sweeps import workers
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.ledger import Ledger

ENDING = """
import os, signal, sys
from dataclasses import dataclass
from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting

@dataclass(frozen=True)
class EndSettings:
    name: str = setting("Name.")
    how: str = setting("How.")

@registry.register("callbacks", "end", EndSettings)
class End(Callback):
    def on_epoch_end(self, trainer):
        if trainer.state.epoch == 1 and self.settings.how == "raise":
            raise KeyError("mine")
        if trainer.state.epoch == 1 and self.settings.how == "exit":
            sys.exit(3)
        if trainer.state.epoch == 1 and self.settings.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if trainer.state.epoch == 1 and self.settings.how == "break":
            next(trainer.model.parameters()).data.fill_(float("nan"))
"""
QUICK = ["data=iris", "model.hidden=[4]", "~callbacks.tensorboard", "sweep.report=false", "hydra.sweep.dir=sweep"]


@pytest.fixture
def ending(work):
    """Returns the words that let a trial end as callbacks.end.how says."""
    (work / "workers_end.py").write_text(textwrap.dedent(ENDING))
    path = work / "mine" / "callbacks" / "end.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package callbacks.end\nname: end\nhow: never\n")
    return ["--config-dir", "mine", "imports=[workers_end]", "callbacks=[default,end]"]


def trials(work):
    return Ledger(SweepFolder(work / "sweep").journal).trials()


@pytest.mark.slow
def test_what_ends_a_process_ends_no_other_trial(ending, dltrain, work):
    hows = "callbacks.end.how=raise,kill,never,exit,break,no"
    answer = dltrain(*ending, *QUICK, "trainer.max_epochs=2", "-m", hows, "sweep.workers=2")
    assert answer.code == 8, answer.err
    raised, killed, never, left, broken, no = trials(work)
    assert (raised.status, raised.reason) == ("failed", "KeyError: 'mine'")
    assert (left.status, left.reason) == ("failed", "SystemExit: 3")
    assert broken.status == "failed" and (broken.reason or "").startswith("the loss became NaN")
    assert killed.reason == "given up after 2 tries: its process ended with SIGKILL(-9)"
    assert "warning: trial 1: its process ended with SIGKILL(-9); it is tried again" in answer.err
    assert never.status == no.status == "done" and never.objective == no.objective
    assert "Traceback" in (work / "sweep" / "trials" / "0" / "error.txt").read_text()
    assert sorted(path.name for path in (work / "sweep" / "outputs").iterdir()) == ["worker-0.txt", "worker-1.txt"]


@pytest.mark.slow
def test_two_workers_give_what_one_gives(dltrain, work):
    words = ["optimizer.lr=tag(log,interval(1e-3,1e-1))", "sweep.trials=5", "trainer.max_epochs=2", "device.threads=1"]
    found = []
    for number in (1, 2):
        folder = f"hydra.sweep.dir=with-{number}"
        answer = dltrain(*QUICK[:-1], *words, "-m", f"sweep.workers={number}", folder)
        assert answer.code == 0, answer.err
        assert (", 2 at once" in answer.err) == (number == 2)
        ledger = Ledger(SweepFolder(work / f"with-{number}").journal)
        found.append([(trial.values, trial.objective) for trial in ledger.trials()])
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_saves_what_is_under_way(number, work, dltrain):
    words = ["optimizer.lr=0.1,0.01,0.001", "trainer.max_epochs=100000", "sweep.workers=2"]
    process = start(*QUICK, *words, "-m", cwd=work)
    rows = [work / "sweep" / "trials" / name / "metrics.jsonl" for name in "01"]
    until = time.monotonic() + 60
    while not all(path.exists() for path in rows) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    assert f"stopped by {number.name}; what was under way is saved. 3 of 3 trials are left." in told
    for path in rows:
        assert (path.parent / "checkpoints" / "last.json").exists()
    assert [trial.status for trial in trials(work)] == ["running", "running", "waiting"]


@pytest.mark.slow
def test_workers_that_cannot_live_end_the_sweep(work):
    (work / "site").mkdir()
    (work / "site" / "sitecustomize.py").write_text(
        "import os, sys\nif 'loky' in ' '.join(sys.orig_argv): os._exit(9)\n"
    )
    words = ["optimizer.lr=range(0.1,0.9,0.1)", "trainer.max_epochs=1", "sweep.workers=2"]
    process = start(*QUICK, *words, "-m", cwd=work, PYTHONPATH=str(work / "site"))
    _, told = process.communicate(timeout=120)
    assert process.returncode == 5, told
    assert "8 processes in a row ended before they had trained a trial. The last one: its process ended with" in told
    assert "sweep.workers=1 trains in this process; then go on with: dltrain resume sweep" in told


@pytest.mark.slow
def test_closed_streams_are_no_obstacle(work):
    words = " ".join([*QUICK, "optimizer.lr=0.1,0.2", "trainer.max_epochs=1", "sweep.workers=2", "-m"])
    command = f"exec {sys.executable} -m dltrain {words} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], cwd=work, timeout=120).returncode == 0
    assert [trial.status for trial in trials(work)] == ["done", "done"]


@pytest.mark.parametrize(
    ("given", "trials", "seconds", "gpus", "expected"),
    [
        (3, 9, 0.0, 0, 3),
        (3, 2, 0.0, 0, 2),
        ("auto", 60, 0.1, 0, 1),  # over sooner than a worker has started
        ("auto", 60, 9.0, 0, 4),
        ("auto", 2, 60.0, 0, 2),
        ("auto", 60, 9.0, 2, 2),
        ("auto", 1, 900.0, 2, 1),
    ],
)
def test_how_many_there_are(given, trials, seconds, gpus, expected, monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 4)
    monkeypatch.setattr(workers, "_free_memory", lambda: 64 * 2**30)
    monkeypatch.setattr(workers, "_gpus", lambda: [str(gpu) for gpu in range(gpus)])
    assert workers.count(given, trials, "auto", seconds) == expected
    if gpus:
        assert workers.count(given, trials, "cpu", seconds) == min(trials, 4)


def test_each_has_its_share_of_the_machine(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 8)
    assert workers._share(1, 3, []) == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    assert workers._share(1, 3, ["4", "7"]) == {"CUDA_VISIBLE_DEVICES": "7"}
    monkeypatch.setattr(workers, "_free_memory", lambda: 3 * 2**30)
    assert workers.count("auto", 60, "cpu", 60.0) == 3
