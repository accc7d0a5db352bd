"""What older schemas lack comes at reading, and nothing that is there is changed."""

from __future__ import annotations

import copy

import torch
from killing import assert_same

from dltrain.migrations import SCHEMA, migrated

OF_SCHEMA_1 = {
    "progress": {"epoch": 1, "batch": 1, "step": 4, "samples": 90},
    "model": {"weight": torch.ones(2)},
    "metrics": {
        "sums": {},
        "num_batches": 1,
        "kept": [{"loss": torch.ones(()), "outputs": torch.ones(3, 2), "targets": torch.ones(3)}],
        "heads": {"price": {"sums": {}, "num_batches": 0, "kept": [{"count": 7, "targets": torch.ones(2, 9)}]}},
    },
    "made_with": {"threads": 1},
    "callbacks": {"checkpoint": {"monitor": "val/loss", "best": [], "saved": ["step-00000004"]}, "ema": {"updates": 3}},
}


def test_the_first_schema_gets_what_came_later():
    before = copy.deepcopy(OF_SCHEMA_1)
    state = migrated(OF_SCHEMA_1, 1)
    assert_same(before, OF_SCHEMA_1)
    assert state["schedule"] == {} and state["optimizer_counters"] == [] and state["callback_names"] == {}
    assert state["made_with"] == {"rates": None, "data": None, "threads": 1}
    assert state["callbacks"]["checkpoint"]["kept"] == [] and state["callbacks"]["ema"] == {"updates": 3}
    (kept,) = state["metrics"]["kept"]
    assert kept["count"] == 3 and kept["terms"] == {}
    (kept,) = state["metrics"]["heads"]["price"]["kept"]
    assert kept["count"] == 7 and kept["terms"] == {}


def test_what_an_old_state_has_already_is_kept():
    own = {"schedule": {"factor": 0.5}, "optimizer_counters": [{"k": 3}], "callback_names": {"ema": "ema"}}
    state = migrated({**OF_SCHEMA_1, **own}, 1)
    assert {name: state[name] for name in own} == own


def test_weights_that_were_best_stay_as_they_are():
    best = {"model": {"weight": torch.ones(2)}, "epoch": 1, "step": 4, "value": 0.5}
    assert migrated(best, 1) is best


def test_the_present_schema_stays_as_it_is():
    assert migrated(OF_SCHEMA_1, SCHEMA) is OF_SCHEMA_1
