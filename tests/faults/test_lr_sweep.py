"""R1: a run that sweeps its learning rate and trains with what it found is killed in the sweep and after it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from killing import EVERY_STEP, assert_same, duration, stray_files, train_with_kills, what_counts
from training import result_of

pytestmark = pytest.mark.faults

RUN = (
    "data=iris", "model=mlp", "model.hidden=[8]", "model.dropout=0.2", "model.norm=batch", "trainer.batch_size=16",
    "trainer.max_epochs=4", "scheduler=cosine", "optimizer=muon", "model.hidden=[8,8]",
    "callbacks=[default,lr_sweep]", "callbacks.lr_sweep.use=steepest",
)  # fmt: skip
FILES = ("lr_sweep.csv", "lr_sweep.svg")


def test_a_swept_run_that_is_killed_ends_with_the_same_bits(tmp_path: Path, tally, full_size) -> None:
    line = tally("R1", "runs that sweep the rate first, killed three times each, end with the same bits")
    overrides = [*RUN, *EVERY_STEP]
    seconds = duration(tmp_path / "whole", overrides)
    whole, generator, hits = what_counts(tmp_path / "whole"), random.Random(0), 0
    assert result_of(tmp_path / "whole")["lr_sweep"]["used"] != 0.02
    runs = 30 if full_size else 3
    for number in range(runs):
        killed = tmp_path / f"killed-{number}"
        line.tried += 1
        hits += train_with_kills(killed, overrides, [generator.uniform(0.02, 0.5) * seconds for _ in range(3)])
        assert_same(whole, what_counts(killed))
        assert stray_files(killed) == []
        assert result_of(killed)["lr_sweep"] == result_of(tmp_path / "whole")["lr_sweep"]
        for file in FILES:
            assert (killed / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
        line.survived += 1
    assert hits >= 1.5 * runs
