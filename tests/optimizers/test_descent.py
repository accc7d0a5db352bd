"""Gradient descent: of the whole data, and on the command line."""

from __future__ import annotations

import json

RUN = (
    *("data=iris", "model=linear", "callbacks=none", "trainer.max_epochs=3", "optimizer=gradient_descent"),
    "report=false",
)


def test_gradient_descent_takes_the_whole_data_as_one_batch(dltrain, work):
    assert dltrain(*RUN, "run_dir=whole").code == 0
    assert json.loads((work / "whole" / "result.json").read_text())["steps"] == 3
    assert dltrain(*RUN, "run_dir=given", "trainer.batch_size=30").code == 0  # what the user says holds
    assert json.loads((work / "given" / "result.json").read_text())["steps"] == 9


def test_the_same_updates_by_parts(dltrain, work):
    assert dltrain(*RUN, "run_dir=whole").code == 0
    assert dltrain(*RUN, "run_dir=parts", "trainer.batch_size=30", "trainer.accumulate=3").code == 0
    losses = [
        [json.loads(line)["val/loss"] for line in (work / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert len(losses[0]) == 3
    assert all(abs(one - other) < 1e-5 for one, other in zip(*losses, strict=True))
