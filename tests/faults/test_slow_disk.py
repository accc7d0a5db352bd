"""R1, on a slow disk: the training is ahead of what is written when the kill comes, and nothing is torn."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from killing import assert_same, duration, stray_files, train, train_with_kills, what_counts

pytestmark = pytest.mark.faults

# Each fsync takes a while, as on a disk that others use too; imported by the run itself, in the process that is killed.
SLOW_DISK = """
import os, time
fsync = os.fsync
def slowly(descriptor):
    time.sleep(0.004)
    fsync(descriptor)
os.fsync = slowly
"""
OVERRIDES = [
    "imports=[slow_disk]",
    "model=mlp",
    "model.hidden=[16]",
    "model.norm=batch",
    "model.dropout=0.2",
    "data=digits",
    "optimizer=adam",
    "scheduler=cosine",
    "trainer.batch_size=128",
    "trainer.max_epochs=5",
    "callbacks.checkpoint.every_steps=3",
    "callbacks.checkpoint.min_seconds=0",
    "callbacks.checkpoint.keep_last=2",
    "callbacks.checkpoint.keep_best=2",
    "callbacks.checkpoint.keep_every_epochs=2",
    "~callbacks.progress",
    "~callbacks.summary",
    "~callbacks.tensorboard",
    "device=cpu",
    "device.threads=1",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A folder with a run that nothing interrupted, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow_disk.py").write_text(SLOW_DISK)
    return folder, duration(folder / "whole", OVERRIDES)


def test_kills_while_a_save_is_being_written_change_nothing(whole: tuple[Path, float], tally, full_size) -> None:
    line = tally("R1", "runs killed three times each while a slow disk still writes end with the same bits")
    folder, seconds = whole
    generator, hits, trials = random.Random(0), 0, 40 if full_size else 5
    for trial in range(trials):
        line.tried += 1
        killed = folder / f"killed-{trial}"
        hits += train_with_kills(killed, OVERRIDES, [generator.uniform(0.05, 0.5) * seconds for _ in range(3)])
        assert_same(what_counts(folder / "whole"), what_counts(killed))
        assert stray_files(killed) == []
        line.survived += 1
    assert hits >= trials, f"only {hits} of {3 * trials} kills hit a process that was at work"


def test_a_signal_while_a_save_is_being_written_is_saved_to_its_own_step(whole: tuple[Path, float], tally) -> None:
    """The process says that it is saved only when that is on the disk."""
    line = tally("R6", "signals while a slow disk still writes")
    folder, seconds = whole
    for trial, share in enumerate((0.2, 0.45, 0.7)):
        line.tried += 1
        stopped = folder / f"stopped-{trial}"
        code = train(stopped, OVERRIDES, kill_after=share * seconds, number=signal.SIGTERM)
        assert code in (0, 128 + signal.SIGTERM)
        log = (stopped / "train.log").read_text(encoding="utf-8")
        state = what_counts(stopped)["state"]
        assert code == 0 or state["progress"]["step"] == steps_of(stopped), log
        assert train(stopped, OVERRIDES) == 0
        assert_same(what_counts(folder / "whole"), what_counts(stopped))
        line.survived += 1


def steps_of(folder: Path) -> int:
    from dltrain.run_folder import RunFolder

    return int(RunFolder(folder).read_result()["steps"])
