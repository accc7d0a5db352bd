"""Groups of parameters by pattern: which parameter belongs where, and what is refused."""

from __future__ import annotations

import json
import re

import pytest
from convex import Bowl

from dltrain import optimizers
from dltrain.config import GroupSettings
from dltrain.errors import ConfigError


def build(settings_of, groups=None, name="adamw", later=frozenset(), bowl=None, **changes):
    settings = settings_of("optimizer", name, **changes)
    return optimizers.build(settings, (bowl or Bowl()).named_parameters(), groups, later=later)


def described(optimizer) -> list[tuple]:
    return [
        (group["pattern"], group["param_names"], group["lr"], group["weight_decay"]) for group in optimizer.param_groups
    ]


def test_without_groups_all_parameters_are_in_one(settings_of):
    assert described(build(settings_of)) == [("", ["vector", "matrix", "output"], 0.001, 0.01)]


def test_the_last_pattern_that_fits_holds_and_the_rest_comes_first(settings_of):
    groups = {"*t*": GroupSettings(lr=0.5), "vector": GroupSettings(weight_decay=0)}
    assert described(build(settings_of, groups)) == [
        ("*t*", ["matrix", "output"], 0.5, 0.01),
        ("vector", ["vector"], 0.001, 0),
    ]
    assert described(build(settings_of, {"m*": GroupSettings(lr=0.5)})) == [
        ("", ["vector", "output"], 0.001, 0.01),
        ("m*", ["matrix"], 0.5, 0.01),
    ]


def test_an_empty_group_keeps_its_parameters_out_of_those_before(settings_of):
    groups = {"*": GroupSettings(lr=0.5), "output": GroupSettings()}
    assert described(build(settings_of, groups)) == [
        ("*", ["vector", "matrix"], 0.5, 0.01),
        ("output", ["output"], 0.001, 0.01),
    ]


def test_what_needs_no_gradient_is_left_out_but_what_will_need_one_later(settings_of):
    bowl = Bowl()
    bowl.vector.requires_grad_(False)
    bowl.output.requires_grad_(False)
    assert described(build(settings_of, bowl=bowl))[0][1] == ["matrix"]
    assert described(build(settings_of, bowl=bowl, later=frozenset(["vector"])))[0][1] == ["vector", "matrix"]
    frozen = build(settings_of, {"v*": GroupSettings(frozen=True)}, bowl=bowl, later=frozenset(["vector"]))
    assert described(frozen)[0][1] == ["matrix"]


def test_each_group_remembers_its_rate_before_any_schedule(settings_of):
    optimizer = build(settings_of, {"m*": GroupSettings(lr=0.5)})
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.001, 0.5]
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] / 2
    assert optimizers.learning_rates(optimizer) == {"lr": 0.0005, "lr/m*": 0.25}


def test_groups_with_the_rate_of_the_rest_are_not_told_apart(settings_of):
    optimizer = build(settings_of, {"m*": GroupSettings(weight_decay=0)})
    assert optimizers.learning_rates(optimizer) == {"lr": 0.001}


@pytest.mark.parametrize(
    ("name", "groups", "message"),
    [
        ("adam", {"matrx": GroupSettings()}, "optimizer.groups: no parameter fits 'matrx'. Did you mean 'matrix'?"),
        (
            "adam",
            {"m*": GroupSettings(), "*": GroupSettings(lr=1)},
            "optimizer.groups: what 'm*' fits belongs to patterns after it, as matrix to '*'. The last that fits "
            "holds: put the narrower one last",
        ),
        (
            "adam",
            {"*": GroupSettings(frozen=True)},
            "optimizer: all 3 parameters are frozen, so there is nothing to train. optimizer.groups freezes '*'. "
            "Leave some free",
        ),
        (
            "rprop",
            {"m*": GroupSettings(weight_decay=0.1)},
            "optimizer.groups.m*.weight_decay = 0.1: optimizer.name = 'rprop' has no weight decay. loss.l2 adds a "
            "penalty to the loss instead: 'loss.l2={m*: 0.05}'",
        ),
        (
            "lbfgs",
            {"m*": GroupSettings(lr=0.1)},
            "optimizer.groups.m*: optimizer.name = 'lbfgs' moves all parameters by one line search, so its groups can "
            "be frozen but have no rate or weight decay of their own. optimizer=adam takes such groups",
        ),
        (
            "prodigy",
            {"m*": GroupSettings(lr=0.1)},
            "optimizer.groups.m*.lr = 0.1: optimizer.name = 'prodigy' finds one rate for all parameters. "
            "optimizer=adamw takes groups with rates of their own",
        ),
    ],
)
def test_groups_that_cannot_be(settings_of, name, groups, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build(settings_of, groups, name)


def test_no_decay_is_no_mistake_where_there_is_none(settings_of):
    optimizer = build(settings_of, {"m*": GroupSettings(weight_decay=0)}, "rprop")
    assert all("weight_decay" not in group or group["weight_decay"] == 0 for group in optimizer.param_groups)


def test_a_model_without_parameters_or_with_none_to_train(settings_of):
    settings = settings_of("optimizer", "adam")
    with pytest.raises(ConfigError, match=r"^optimizer: the model has no parameter that a gradient could train$"):
        optimizers.build(settings, [])
    bowl = Bowl().requires_grad_(False)
    with pytest.raises(
        ConfigError, match=r"^optimizer: all 3 parameters are frozen, so .* to train\. Leave some free$"
    ):
        optimizers.build(settings, bowl.named_parameters())


# --- on the command line ----------------------------------------------------------------------------------

IRIS = ("data=iris", "model.hidden=[8]", "callbacks=none", "trainer.max_epochs=4", "report=false")


def test_a_schedule_multiplies_the_rate_of_each_group(dltrain, work):
    groups = "optimizer.groups={layers.1.*: {lr: 0.1}, '*.bias': {weight_decay: 0}}"
    answer = dltrain(*IRIS, groups, "scheduler=step", "scheduler.interval=epoch", "scheduler.every=2", "run_dir=run")
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in (work / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = rows[0], rows[-1]
    assert (first["lr"], first["lr/layers.1.*"]) == (0.001, 0.1)
    assert last["lr"] / first["lr"] == pytest.approx(last["lr/layers.1.*"] / first["lr/layers.1.*"]) != 1


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (
            "momentum: 1",
            "no setting 'optimizer.groups.*.bias.momentum'. optimizer.groups.*.bias has: lr, weight_decay, frozen.",
        ),
        ("freeze: true", "no setting 'optimizer.groups.*.bias.freeze'. Did you mean 'optimizer.groups.*.bias.frozen'?"),
        ("lr: 0", "optimizer.groups.*.bias.lr = 0: must be a number above 0 or null."),
        (
            "frozen: true, lr: 1",
            "optimizer.groups.*.bias: frozen: true trains nothing, so that lr and weight_decay mean nothing beside it",
        ),
    ],
)
def test_a_mistake_within_a_group(dltrain, group, message):
    answer = dltrain("check", *IRIS, f"optimizer.groups={{'*.bias': {{{group}}}}}")
    assert (answer.code, answer.err) == (2, f"error: {message}\n")
