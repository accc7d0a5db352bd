"""R1: a run that is killed at random instants ends with the same bits as one that never was."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from families import FAMILIES, OTHERS, overrides_of
from killing import EVERY_STEP, assert_same, duration, stray_files, train, train_with_kills, what_counts

pytestmark = pytest.mark.faults

KILLS = 3
SAME_BITS = "runs killed three times each end with the same bits"


def check(folder: Path, overrides: list[str], runs: int, seed: str, tally) -> None:
    """Trains once uninterrupted, then so many times through three kills each, and compares.

    The instants follow the time that a run takes, which changes with the load of the machine.
    """
    line = tally("R1", SAME_BITS)
    seconds = duration(folder / "whole", overrides)
    whole = what_counts(folder / "whole")
    generator, hits = random.Random(seed), 0
    for number in range(runs):
        killed = folder / f"killed-{number}"
        instants = [generator.uniform(0.02, 0.4) * seconds for _ in range(KILLS)]
        line.tried += 1
        hit = train_with_kills(killed, overrides, instants)
        assert_same(whole, what_counts(killed))
        assert stray_files(killed) == []
        line.survived += 1
        hits += hit
        if hit < KILLS:  # the machine was busier when the whole run was timed
            seconds *= 0.8
    assert hits >= 0.6 * KILLS * runs, f"only {hits} of {KILLS * runs} kills hit a process that was at work"
    print(f"{hits} of {KILLS * runs} kills hit")


@pytest.mark.parametrize("family", FAMILIES)
def test_kills_at_random_instants_change_nothing(family: str, tmp_path: Path, files: Path, tally, full_size) -> None:
    check(tmp_path, [*EVERY_STEP, *overrides_of(family, files)], 50 if full_size else 10, family, tally)


@pytest.mark.parametrize("family", OTHERS)
def test_neither_do_they_in_others(family: str, tmp_path: Path, files: Path, tally, full_size) -> None:
    check(tmp_path, [*EVERY_STEP, *overrides_of(family, files)], 10 if full_size else 1, family, tally)


def test_a_run_that_is_extended_and_killed_goes_on_to_its_new_end(
    tmp_path: Path, files: Path, tally, full_size
) -> None:
    """Its checkpoints are several: of the newest and of the best."""
    line = tally("R1", "runs that are extended, and killed three times then, end with the same bits")
    several = ["callbacks.checkpoint.keep_last=3", "callbacks.checkpoint.keep_best=3"]
    overrides = [*EVERY_STEP, *overrides_of("bidirectional_gru", files), *several]
    seconds = duration(tmp_path / "whole", [*overrides, "trainer.max_epochs=25"])
    whole = what_counts(tmp_path / "whole")
    generator, longer = random.Random(0), ["trainer.max_epochs=25"]
    for number in range(50 if full_size else 5):
        folder = tmp_path / f"extended-{number}"
        line.tried += 1
        assert train(folder, overrides) == 0
        code, hits = None, 0
        # The first kill may come before the run knows of its new end: then it is finished, and told once more.
        for _ in range(KILLS):
            code = train(folder, overrides, resume_with=longer, kill_after=generator.uniform(0, 0.25) * seconds)
            hits += code == -signal.SIGKILL
        assert hits
        assert train(folder, overrides, resume_with=longer) == 0
        assert_same(whole, what_counts(folder))
        assert stray_files(folder) == []
        line.survived += 1
