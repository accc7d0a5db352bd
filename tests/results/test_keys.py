"""Which settings tell runs apart."""

from __future__ import annotations

from dltrain.results import keys


def test_of_a_callback_that_some_runs_lack_its_name_alone_is_told():
    with_one = {"model.name": "mlp", "callbacks.swa.name": "swa", "callbacks.swa.start_epoch": 3, "optimizer.lr": 0.1}
    without = {"model.name": "mlp", "optimizer.lr": 0.2}
    assert keys.differing_in([with_one, without]) == ["callbacks.swa.name", "optimizer.lr"]
    assert keys.differing_in([with_one, {**with_one, "callbacks.swa.start_epoch": 4}]) == ["callbacks.swa.start_epoch"]
