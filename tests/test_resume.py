"""A run that is killed and resumed gives the same bits as one that never was."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from families import overrides_of
from killing import EVERY_STEP, assert_same, duration, train, train_with_kills, what_counts

# All families, killed many times each: tests/faults/test_kills.py.
QUICK = ("mlp", "text_classes")


@pytest.mark.parametrize("family", QUICK)
def test_a_killed_run_resumes_to_the_same_bits(family: str, tmp_path: Path, files: Path) -> None:
    overrides = [*EVERY_STEP, *overrides_of(family, files)]
    seconds = duration(tmp_path / "whole", overrides)
    whole = what_counts(tmp_path / "whole")
    generator = random.Random(family)
    for trial in range(3):
        killed = tmp_path / f"killed-{trial}"
        hit = train_with_kills(killed, overrides, [generator.uniform(0.05, 0.7) * seconds for _ in range(2)])
        assert_same(whole, what_counts(killed))
        if hit:
            return
        seconds *= 0.5  # the machine was busier when the whole run was timed
    pytest.fail("no kill hit a process that was at work")


@pytest.mark.slow
def test_a_finished_run_that_is_extended_and_killed_goes_on_to_its_new_end(tmp_path: Path, files: Path) -> None:
    overrides = [*EVERY_STEP, *overrides_of("bidirectional_gru", files)]
    longer = [*overrides, "trainer.max_epochs=40"]
    seconds = duration(tmp_path / "whole", longer)
    assert train(tmp_path / "extended", overrides) == 0
    code = train(tmp_path / "extended", overrides, resume_with=["trainer.max_epochs=40"], kill_after=0.3 * seconds)
    assert code == -signal.SIGKILL
    assert train(tmp_path / "extended", overrides) == 0
    whole, extended = what_counts(tmp_path / "whole"), what_counts(tmp_path / "extended")
    assert_same(whole, extended)
