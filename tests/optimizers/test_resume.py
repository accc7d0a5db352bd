"""A run that ends at any step and is resumed gives the bits of one that never ended, whatever the optimizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dltrain.checkpoint import CheckpointStore, pack

# Those with state of their own making, in the groups or shared by parts. A schedule and groups go along.
NAMES = ("muon", "lion", "ftrl", "adagrad_dual_averaging", "proximal_adagrad", "adan")
RUN = (
    "data=iris",
    "model.hidden=[8, 8]",
    "trainer.batch_size=32",
    "trainer.max_epochs=4",
    "scheduler=step",
    "scheduler.every=4",
    "callbacks={tensorboard: null, summary: null, progress: null, early_stopping: null}",
    "optimizer.groups={layers.1.*: {lr: 0.02}, layers.3.bias: {frozen: true}}",
)


def what_counts(run: Path) -> tuple[bytes, list[dict]]:
    """Returns the last state, and the rows without times."""
    store = CheckpointStore(run / "checkpoints")
    state = store.load(store.pointed("last"))
    state["made_with"] = None  # the length differs
    state["callbacks"] = None
    state["row"] = None
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return pack(state), [{name: row[name] for name in row if name != "epoch_seconds"} for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_gives_the_same_bits(dltrain, work, name):
    run = (*RUN, f"optimizer={name}")
    assert dltrain(*run, "run_dir=whole").code == 0
    assert dltrain(*run, "run_dir=cut", "trainer.max_steps=5").code == 0
    answer = dltrain("resume", "cut", "trainer.max_steps=null")
    assert answer.code == 0, answer.err
    (whole, rows), (resumed, resumed_rows) = what_counts(work / "whole"), what_counts(work / "cut")
    assert resumed == whole
    assert [row for row in resumed_rows if not row.get("partial")] == rows
    assert "lr/layers.1.*" in rows[0]
