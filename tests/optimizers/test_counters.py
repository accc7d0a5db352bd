"""The part of an optimizer's state that stands in its groups."""

from __future__ import annotations

import pytest
from convex import Bowl, update

from dltrain import optimizers
from dltrain.config import GroupSettings


@pytest.fixture
def build(settings_of):
    def built(name: str, **changes):
        bowl = Bowl()
        groups = {"matrix": GroupSettings(lr=0.5)}
        return bowl, optimizers.build(settings_of("optimizer", name, **changes), bowl.named_parameters(), groups)

    return built


def test_only_what_the_optimizer_changes_is_state(build):
    bowl, optimizer = build("adan")
    counters = optimizers.Counters(optimizer)
    assert counters.state_dict() == [{}, {}]
    update(bowl, optimizer, 3)
    for group in optimizer.param_groups:
        group["lr"] /= 2  # by a schedule
    assert counters.state_dict() == [{"step": 3}, {"step": 3}]


def test_a_setting_that_changed_since_stays_changed(build):
    bowl, optimizer = build("adan")
    counters = optimizers.Counters(optimizer)
    update(bowl, optimizer, 3)
    _, resumed = build("adan", lr=0.25, betas=[0.5, 0.6, 0.7])
    optimizers.Counters(resumed).load_state_dict(counters.state_dict())
    assert [(group["step"], group["lr"], group["betas"]) for group in resumed.param_groups] == [
        (3, 0.25, (0.5, 0.6, 0.7)),
        (3, 0.5, (0.5, 0.6, 0.7)),
    ]


def test_checkpoints_without_counters_are_taken(build):
    _, optimizer = build("adam")
    optimizers.Counters(optimizer).load_state_dict([])
    assert "step" not in optimizer.param_groups[0]
