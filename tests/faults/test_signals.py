"""R6: what a signal or a closed terminal asks to stop saves its state at any instant, and goes on to the same bits."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from commandline import DLTRAIN, environment, start
from families import overrides_of
from killing import assert_same, duration, stray_files, train, what_counts
from training import result_of, rows_of

pytestmark = pytest.mark.faults

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
FAMILIES = ("mlp", "wide_and_deep", "cnn_with_batch_norm", "lstm", "text_classes")
SAVED = "SIGTERM, SIGINT, SIGUSR1 and SIGHUP: state saved, then the same bits"

# Nothing is saved but at a stop and at the end, so that what is gone on with is what the signal has saved.
AT_STOP = [
    "~callbacks.progress",
    "~callbacks.summary",
    "callbacks.tensorboard.graph=false",
    "callbacks.checkpoint.every_epochs=null",
    "callbacks.checkpoint.keep_last=1",
    "device=cpu",
    "device.threads=1",
]


def hear_hangup() -> None:
    """Undoes what nohup or a session without a terminal may have done to the tests themselves."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def stopped(folder: Path, overrides: list[str], number: int, generator: random.Random, seconds: float) -> int:
    """Trains until a signal comes at a random instant; returns the exit code. One that comes too late is sent anew.

    Too late is one that the process gets when the run is done: it has nothing to save.
    """
    for share in (0.9, 0.6, 0.4, 0.2, 0.1):
        shutil.rmtree(folder, ignore_errors=True)
        instant = generator.uniform(0.0, share) * seconds
        code = train(folder, overrides, kill_after=instant, number=number, prepare=hear_hangup)
        if result_of(folder)["status"] != "done":
            return code
    return 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_signal_at_any_instant_saves_and_the_run_goes_on_to_the_same_bits(
    family: str, tmp_path: Path, files: Path, tally, full_size
) -> None:
    line = tally("R6", SAVED)
    overrides = [*overrides_of(family, files), *AT_STOP]
    seconds = duration(tmp_path / "whole", overrides)
    whole = what_counts(tmp_path / "whole")
    generator = random.Random(family)
    for attempt in range(100 if full_size else 10):
        folder, number = tmp_path / str(attempt), SIGNALS[attempt % len(SIGNALS)]
        line.tried += 1
        assert stopped(folder, overrides, number, generator, seconds) == 128 + number
        result = result_of(folder)
        assert (result["status"], result["stop_reason"]) == ("interrupted", f"stopped by {signal.Signals(number).name}")
        assert train(folder, overrides) == 0
        assert_same(whole, what_counts(folder))
        assert stray_files(folder) == []
        line.survived += 1


# --- terminals that are closed ----------------------------------------------------------------------------

LONG = ("data=digits", "model=mlp", "trainer.max_epochs=100000", "callbacks.progress.terminal_seconds=0")
SHORT = (*LONG[:2], "trainer.max_epochs=25", LONG[3])


def at_terminal_that_closes(folder: Path, overrides: tuple[str, ...], *, controlling: bool, nohup: bool) -> int:
    """Trains at a pseudo-terminal that is closed when the first row is written; returns the exit code."""

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
        if controlling:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*DLTRAIN, *overrides, f"run_dir={folder}"],
        cwd=folder.parent,
        env=environment(TERM="xterm-256color"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=prepare,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        while process.poll() is None and not (folder / "metrics.jsonl").exists():
            try:
                os.read(ours, 65536)
            except BlockingIOError:
                time.sleep(0.01)
        os.close(ours)
        return process.wait(60)
    finally:
        process.kill()


def test_a_terminal_that_closes_lets_the_run_save_and_stop(tmp_path: Path, tally) -> None:
    line = tally("R6", "terminals and pipes that are closed")
    line.tried += 1
    assert at_terminal_that_closes(tmp_path / "run", LONG, controlling=True, nohup=False) == 128 + signal.SIGHUP
    result = result_of(tmp_path / "run")
    assert (result["status"], result["stop_reason"]) == ("interrupted", "stopped by SIGHUP")
    assert (tmp_path / "run" / "checkpoints" / f"step-{result['steps']:08d}.json").exists()
    line.survived += 1


@pytest.mark.parametrize(("controlling", "nohup"), [(True, True), (False, False)])
def test_under_nohup_or_in_another_session_it_trains_on(controlling: bool, nohup: bool, tmp_path: Path, tally) -> None:
    line = tally("R6", "terminals and pipes that are closed")
    line.tried += 1
    assert at_terminal_that_closes(tmp_path / "run", SHORT, controlling=controlling, nohup=nohup) == 0
    assert result_of(tmp_path / "run")["status"] == "done" and len(rows_of(tmp_path / "run")) == 25
    line.survived += 1


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_a_reader_that_is_gone_lets_it_train_on(unbuffered: str, tmp_path: Path, tally) -> None:
    """As with ``dltrain ... 2>&1 | head -1``."""
    line = tally("R6", "terminals and pipes that are closed")
    line.tried += 1
    process = subprocess.Popen(
        [*DLTRAIN, *SHORT, "callbacks.progress.plain_seconds=0", "run_dir=run"],
        cwd=tmp_path,
        env=environment(PYTHONUNBUFFERED=unbuffered),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert result_of(tmp_path / "run")["status"] == "done" and len(rows_of(tmp_path / "run")) == 25
    line.survived += 1


# --- one that is slow to stop -----------------------------------------------------------------------------

SLEEPER = """
import time
from dataclasses import dataclass
from pathlib import Path

from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting


@dataclass(frozen=True)
class Settings:
    name: str = setting("Name.")


@registry.register("callbacks", "sleeper", Settings)
class Sleeper(Callback):
    def on_step_end(self, trainer):
        Path("asleep").touch()
        time.sleep(60)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_signal_ends_it_at_once(number: int, tmp_path: Path, tally) -> None:
    line = tally("R6", "a second signal ends the process at once")
    (tmp_path / "sleeper.py").write_text(SLEEPER, encoding="utf-8")
    overrides = (*LONG[:2], "imports=[sleeper]", "+callbacks.sleeper.name=sleeper", "run_dir=run")
    line.tried += 1
    process = start(*overrides, cwd=tmp_path)
    while process.poll() is None and not (tmp_path / "asleep").exists():
        time.sleep(0.01)
    process.send_signal(number)
    time.sleep(0.5)
    assert process.poll() is None  # it waits for the step to end
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    assert "Traceback" not in process.communicate()[1]
    line.survived += 1
