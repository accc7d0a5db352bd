"""A run that ends at any step and is resumed gives the bits of one that never ended, whatever the optimizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training import resume, train

from dltrain.checkpoint import CheckpointStore, pack

# Those with state of their own making, in the groups or shared by parts. A schedule and groups go along.
NAMES = ("muon", "lion", "ftrl", "adagrad_dual_averaging", "proximal_adagrad", "adan")
RUN = (
    "data=iris",
    "model=mlp",
    "model.hidden=[8, 8]",
    "trainer.batch_size=32",
    "trainer.max_epochs=4",
    "scheduler=step",
    "scheduler.every=4",
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
def test_a_resumed_run_gives_the_same_bits(tmp_path, name):
    run = (*RUN, f"optimizer={name}")
    train(tmp_path / "whole", *run, callbacks=("checkpoint",))
    train(tmp_path / "cut", *run, "trainer.max_steps=5", callbacks=("checkpoint",))
    assert resume(tmp_path / "cut", "trainer.max_steps=null") is not None
    (whole, rows), (resumed, resumed_rows) = what_counts(tmp_path / "whole"), what_counts(tmp_path / "cut")
    assert resumed == whole
    assert [row for row in resumed_rows if not row.get("partial")] == rows
    assert "lr/layers.1.*" in rows[0]
