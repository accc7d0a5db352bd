"""What holds for every optimizer: it solves convex problems, its state survives a checkpoint, its groups act."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from convex import Bowl, LogisticRegression, equal, update, weights

from dltrain import optimizers, registry
from dltrain.checkpoint import pack, unpack
from dltrain.config import GroupSettings, field_names

NAMES = registry.names("optimizer")
# Each optimizer as its YAML file has it, and with every part of its state in use.
VARIANTS = [
    *((name, {}) for name in NAMES),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.01}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {"amsgrad": True, "weight_decay": 0.01}),
    ("adamw", {"amsgrad": True}),
    ("rmsprop", {"momentum": 0.9, "centered": True}),
    ("adagrad", {"lr_decay": 0.1}),
    ("asgd", {"average_from": 2}),
    ("muon", {"adamw_lr": 0.01, "scale": "original"}),
    ("muon", {"adamw_for": []}),
    ("ftrl", {"l2": 0.01, "beta": 1}),
    ("adagrad_dual_averaging", {"l2": 0.01}),
    ("ademamix", {"warmup_steps": 10, "weight_decay": 0.01}),
    ("madgrad", {"momentum": 0}),
    ("lbfgs", {"max_iterations": 2}),
    ("lbfgs", {"line_search": None, "lr": 0.1, "history_size": 3}),
]
IDS = [f"{name}-{'-'.join(changes) or 'yaml'}" for name, changes in VARIANTS]


def build(settings_of, name, problem, groups=None, **changes):
    return optimizers.build(settings_of("optimizer", name, **changes), problem.named_parameters(), groups)


def fields(name: str) -> list[str]:
    return field_names(registry.find("optimizer", name).settings)


def plain(name: str) -> dict:
    """Returns changes that leave nothing but the loss to make small."""
    return {setting: 0 for setting in ("l1", "l2", "weight_decay") if setting in fields(name)}


@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=IDS)
def test_it_goes_down_a_bowl(settings_of, name, changes):
    bowl = Bowl()
    optimizer = build(settings_of, name, bowl, **changes)
    values = [bowl().item()]
    for _ in range(5):
        update(bowl, optimizer, 10)
        values.append(bowl().item())
    # Not each of the fifty updates, for a momentum overshoots; and a converged one may stay where it is.
    assert all(later < first or later < 1e-6 for first, later in itertools.pairwise(values))
    assert values[-1] < values[0]


# Rates at which 300 updates are enough; 0.1 for the others.
RATES = {
    **dict.fromkeys(("adagrad", "adagrad_dual_averaging", "proximal_adagrad", "ftrl", "adan", "ademamix"), 0.3),
    **dict.fromkeys(("lion", "nadam", "rmsprop"), 0.03),
    **dict.fromkeys(("adadelta", "lbfgs", "prodigy"), 1),
    "lamb": 0.015,
}
# Lion and Muon move by the rate whatever the gradient's size, so that they end as far from the bottom as it is.
COARSE = ("lion", "muon")


@pytest.mark.parametrize("problem", [Bowl, LogisticRegression])
@pytest.mark.parametrize("name", NAMES)
def test_it_solves_convex_problems_in_300_updates(settings_of, problem, name):
    solved = problem()
    special = {"muon": {"adamw_for": []}, "adadelta": {"eps": 0.001}}.get(name, {})
    optimizer = build(settings_of, name, solved, **{"lr": RATES.get(name, 0.1), **plain(name), **special})
    before = solved().item()
    update(solved, optimizer, 10 if name == "lbfgs" else 300)
    assert before > 0.3
    assert abs(solved().item()) < (1e-2 if name in COARSE else 1e-3)


@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=IDS)
def test_its_state_survives_a_checkpoint_bit_for_bit(settings_of, tmp_path, name, changes):
    # As the trainer does it: the state from the checkpoint, the settings of the groups from the config.
    groups = (
        {"vector": GroupSettings(frozen=True)} if name in ("lbfgs", "prodigy") else {"vec*": GroupSettings(lr=0.02)}
    )

    def resumed(content: bytes | None):
        bowl = Bowl()
        optimizer = build(settings_of, name, bowl, groups, **changes)
        counters = optimizers.Counters(optimizer)
        if content is not None:
            saved = unpack(content, tmp_path)
            bowl.load_state_dict(saved["model"])
            optimizer.load_state_dict(
                {"state": saved["optimizer"], "param_groups": optimizer.state_dict()["param_groups"]}
            )
            counters.load_state_dict(saved["counters"])
        return bowl, optimizer, counters

    def saved(bowl, optimizer, counters) -> bytes:
        state = optimizer.state_dict()["state"]
        return pack({"model": bowl.state_dict(), "optimizer": state, "counters": counters.state_dict()})

    whole = resumed(None)
    update(*whole[:2], 4)
    content = saved(*whole)
    update(*whole[:2], 4)
    continued = resumed(content)
    update(*continued[:2], 4)
    assert equal(weights(continued[0]), weights(whole[0]))
    assert saved(*continued) == saved(*whole)


STATELESS = ("sgd", "gradient_descent", "proximal_gradient_descent", "lbfgs")


@pytest.mark.parametrize(
    ("name", "changes"), [(name, changes) for name, changes in VARIANTS if changes or name not in STATELESS]
)
def test_the_state_matters(settings_of, name, changes):
    # The control of the test above: without the state the updates differ. Left out are those that have none, and
    # LBFGS with so many iterations that its first update is at the bottom.
    changes = {"lr": 0.5} if name == "lion" else changes  # a smaller one does not change the sign of any gradient
    bowl = Bowl()
    optimizer = build(settings_of, name, bowl, **changes)
    update(bowl, optimizer, 3)
    forgetful = copy.deepcopy(bowl)
    update(bowl, optimizer, 1)
    update(forgetful, build(settings_of, name, forgetful, **changes), 1)
    assert not equal(weights(forgetful), weights(bowl))


@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=IDS)
def test_the_plain_step_is_the_step(settings_of, name, changes):
    plainly, wrapped = Bowl(), Bowl()
    update(plainly, build(settings_of, name, plainly, **changes), 5)
    optimizer = build(settings_of, name, wrapped, **changes)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = wrapped()
        loss.backward()
        return loss

    for _ in range(5):
        if optimizers.needs_closure(optimizer):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        assert torch.is_grad_enabled()
    assert equal(weights(plainly), weights(wrapped))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lbfgs"])
def test_a_closure_is_evaluated_once_with_gradients_and_its_loss_returned(settings_of, name):
    with_closure, without = Bowl(), Bowl()
    update(without, build(settings_of, name, without), 1)
    optimizer, losses = build(settings_of, name, with_closure), []

    def closure() -> torch.Tensor:
        losses.append(with_closure())
        losses[-1].backward()
        return losses[-1]

    assert optimizer.step(closure) is losses[0] and len(losses) == 1
    assert equal(weights(with_closure), weights(without))


@pytest.mark.parametrize("name", NAMES)
def test_only_lbfgs_evaluates_the_loss_by_itself(settings_of, name):
    assert optimizers.needs_closure(build(settings_of, name, Bowl())) == (name == "lbfgs")


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_gradient_stays_and_is_trained_once_it_has_one(settings_of, name):
    bowl = Bowl()
    first = bowl.vector.detach().clone()
    bowl.vector.requires_grad_(False)
    settings = settings_of("optimizer", name)
    optimizer = optimizers.build(settings, bowl.named_parameters(), later=frozenset(["vector"]))
    update(bowl, optimizer, 3)
    assert torch.equal(bowl.vector, first)
    bowl.vector.requires_grad_(True)
    update(bowl, optimizer, 2)
    assert not torch.equal(bowl.vector, first) and bowl.vector.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_group_stays(settings_of, name):
    bowl, first = Bowl(), Bowl()
    optimizer = build(settings_of, name, bowl, {"vec*": GroupSettings(frozen=True)})
    update(bowl, optimizer, 3)
    assert torch.equal(bowl.vector, first.vector) and not bowl.vector.requires_grad
    assert not torch.equal(bowl.matrix, first.matrix)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("lbfgs", "prodigy")])
def test_a_group_has_the_rate_that_it_is_given(settings_of, name):
    # As if the whole had that rate: parameters do not know of each other.
    mixed, slow, fast = Bowl(), Bowl(), Bowl()
    update(mixed, build(settings_of, name, mixed, {"matrix": GroupSettings(lr=0.002)}, lr=0.001), 3)
    update(slow, build(settings_of, name, slow, lr=0.001), 3)
    update(fast, build(settings_of, name, fast, lr=0.002), 3)
    assert equal(weights(mixed), [slow.vector, fast.matrix, slow.output])
    assert not torch.equal(slow.matrix, fast.matrix)


@pytest.mark.parametrize("name", [name for name in NAMES if "weight_decay" in fields(name)])
def test_a_group_has_the_weight_decay_that_it_is_given(settings_of, name):
    mixed, without, decayed = Bowl(), Bowl(), Bowl()
    update(mixed, build(settings_of, name, mixed, {"matrix": GroupSettings(weight_decay=0)}, weight_decay=0.1), 3)
    update(without, build(settings_of, name, without, weight_decay=0), 3)
    update(decayed, build(settings_of, name, decayed, weight_decay=0.1), 3)
    if name == "prodigy":  # the rate that it finds depends on all parameters, and so on their decay
        assert not torch.equal(mixed.matrix, decayed.matrix)
        return
    assert equal(weights(mixed), [decayed.vector, without.matrix, decayed.output])
    assert not torch.equal(without.matrix, decayed.matrix)


CHANGES = {
    "adamw_for": ["vector"],
    "amsgrad": True,
    "beta2_decay": -0.5,
    "betas": [0.5, 0.6],
    "bias_correction": True,
    "centered": True,
    "clip": 7,
    "factors": [0.4, 1.1],
    "history_size": 7,
    "iterations": 7,
    "limits": [0.001, 0.01],
    "line_search": None,
    "lr_power": -0.4,
    "max_iterations": 7,
    "min_scale": 0.5,
    "nesterov": False,
    "scale": "original",
    "warmup_steps": 7,
}


@pytest.mark.parametrize(
    ("name", "setting"),
    [(name, setting) for name in NAMES for setting in fields(name) if setting != "name"],
)
def test_every_setting_reaches_the_optimizer(settings_of, name, setting):
    if (name, setting) == ("sgd", "nesterov"):
        return  # needs a momentum, and is tested by its equation
    changed = CHANGES.get(setting, 0.123)
    if setting == "betas" and name in ("adan", "ademamix"):
        changed = [0.5, 0.6, 0.7]

    def groups(**changes):
        built = build(settings_of, name, Bowl(), **changes)
        return [{key: value for key, value in group.items() if key != "params"} for group in built.param_groups]

    assert groups() != groups(**{setting: changed})
