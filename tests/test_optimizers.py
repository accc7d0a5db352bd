"""Optimizers: that they descend, that their state survives a checkpoint, and their first updates by hand."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from dltrain import optimizers, registry
from dltrain.checkpoint import pack, unpack
from dltrain.config import field_names

# Each optimizer as its YAML file has it, and with every part of its state in use.
VARIANTS = [
    *((name, {}) for name in registry.names("optimizer")),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.01}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {"amsgrad": True, "weight_decay": 0.01}),
    ("adamw", {"amsgrad": True}),
    ("rmsprop", {"momentum": 0.9, "centered": True}),
    ("adagrad", {"lr_decay": 0.1}),
    ("lbfgs", {"max_iterations": 2}),
    ("lbfgs", {"line_search": None, "lr": 0.1, "history_size": 3}),
]
IDS = [f"{name}-{'-'.join(changes) or 'yaml'}" for name, changes in VARIANTS]


class Bowl(nn.Module):
    """A convex quadratic of a vector and a matrix, with curvatures from 0.5 to 3, least at ``best``."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.vector = nn.Parameter(torch.randn(5, generator=generator))
        self.matrix = nn.Parameter(torch.randn(3, 4, generator=generator))
        self.best = [torch.randn(parameter.shape, generator=generator) for parameter in self.parameters()]
        self.curvature = [torch.linspace(0.5, 3, b.numel()).reshape(b.shape) for b in self.best]

    def forward(self) -> torch.Tensor:
        parts = zip(self.curvature, self.parameters(), self.best, strict=True)
        return sum((c * (p - b).square()).sum() / 2 for c, p, b in parts)


def update(bowl: Bowl, optimizer: Optimizer, times: int) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = bowl()
        loss.backward()
        return loss

    for _ in range(times):
        if optimizers.needs_closure(optimizer):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=IDS)
def test_it_goes_down_a_bowl(settings_of, name, changes):
    bowl = Bowl()
    optimizer = optimizers.build(settings_of("optimizer", name, **changes), bowl.parameters())
    values = [bowl().item()]
    for _ in range(5):
        update(bowl, optimizer, 20)
        values.append(bowl().item())
    # Not each of the hundred updates, for a momentum overshoots; and a converged one may stay where it is.
    assert all(later < first or later < 1e-6 for first, later in itertools.pairwise(values))
    assert values[-1] < values[0]


@pytest.mark.parametrize(
    ("name", "lr"), [("sgd", 0.3), ("adam", 0.05), ("adamw", 0.05), ("rmsprop", 0.01), ("lbfgs", 1)]
)
def test_it_finds_the_bottom_with_a_rate_that_suits(settings_of, name, lr):
    bowl = Bowl()
    changes = {} if name == "lbfgs" else {"weight_decay": 0}
    optimizer = optimizers.build(settings_of("optimizer", name, lr=lr, **changes), bowl.parameters())
    update(bowl, optimizer, 3 if name == "lbfgs" else 400)
    assert bowl().item() < 1e-2


@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=IDS)
def test_its_state_survives_a_checkpoint_bit_for_bit(settings_of, tmp_path, name, changes):
    settings = settings_of("optimizer", name, **changes)
    bowl = Bowl()
    optimizer = optimizers.build(settings, bowl.parameters())
    update(bowl, optimizer, 4)
    content = pack({"model": bowl.state_dict(), "optimizer": optimizer.state_dict()})
    update(bowl, optimizer, 4)

    state = unpack(content, tmp_path)
    resumed = Bowl()
    resumed.load_state_dict(state["model"])
    other = optimizers.build(settings, resumed.parameters())
    other.load_state_dict(state["optimizer"])
    update(resumed, other, 4)
    assert equal(weights(resumed), weights(bowl))
    # And what would be saved next is the same file.
    assert pack({"o": other.state_dict()}) == pack({"o": optimizer.state_dict()})


@pytest.mark.parametrize(
    ("name", "changes"),
    [(name, changes) for name, changes in VARIANTS if changes or name not in ("sgd", "lbfgs")],
)
def test_the_state_matters(settings_of, name, changes):
    # The control of the test above: without the state the updates differ. Left out are plain SGD, which has
    # none, and LBFGS with so many iterations that its first update is at the bottom.
    settings = settings_of("optimizer", name, **changes)
    bowl = Bowl()
    optimizer = optimizers.build(settings, bowl.parameters())
    update(bowl, optimizer, 1)
    forgetful = copy.deepcopy(bowl)
    update(bowl, optimizer, 1)
    update(forgetful, optimizers.build(settings, forgetful.parameters()), 1)
    assert not equal(weights(forgetful), weights(bowl))


@pytest.mark.parametrize(("name", "changes"), VARIANTS, ids=IDS)
def test_the_plain_step_is_the_step(settings_of, name, changes):
    wrapped, plain = Bowl(), Bowl()
    settings = settings_of("optimizer", name, **changes)
    update(wrapped, optimizers.build(settings, wrapped.parameters()), 5)
    optimizer = optimizers.build(settings, plain.parameters())
    step = optimizers.plain_step(optimizer)

    def closure() -> torch.Tensor:
        for parameter in plain.parameters():
            parameter.grad = None
        loss = plain()
        loss.backward()
        return loss

    for _ in range(5):
        if optimizers.needs_closure(optimizer):
            step(closure)
        else:
            closure()
            step()
        assert torch.is_grad_enabled()
    assert equal(weights(plain), weights(wrapped))


def test_gradients_are_computed_again_after_an_update_that_failed():
    parameter = nn.Parameter(torch.ones(2))
    step = optimizers.plain_step(torch.optim.LBFGS([parameter]))

    def closure() -> torch.Tensor:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        step(closure)
    assert torch.is_grad_enabled()


def test_only_lbfgs_evaluates_the_loss_by_itself(settings_of):
    for name in registry.names("optimizer"):
        optimizer = optimizers.build(settings_of("optimizer", name), Bowl().parameters())
        assert optimizers.needs_closure(optimizer) == (name == "lbfgs")


def test_frozen_parameters_are_left_out(settings_of):
    bowl = Bowl()
    bowl.matrix.requires_grad_(False)
    optimizer = optimizers.build(settings_of("optimizer", "adam"), bowl.parameters())
    assert [p for group in optimizer.param_groups for p in group["params"]] == [bowl.vector]


# --- by hand ----------------------------------------------------------------------------------------------


def first_updates(settings_of, name: str, gradients: list[float], **changes) -> list[float]:
    """Returns the value of a single parameter, at first 1, after each update with these gradients."""
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = optimizers.build(settings_of("optimizer", name, **changes), [parameter])
    values = []
    for gradient in gradients:
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        values.append(parameter.item())
    return values


@pytest.mark.parametrize(
    ("name", "changes", "values"),
    [
        ("sgd", {"lr": 0.1}, [1 - 0.1 * 2, 0.8 - 0.1 * 1]),
        ("sgd", {"lr": 0.1, "weight_decay": 0.5}, [1 - 0.1 * 2.5, 0.75 - 0.1 * (1 + 0.5 * 0.75)]),
        # The velocity is 2, then 0.5 x 2 + 1.
        ("sgd", {"lr": 0.1, "momentum": 0.5}, [0.8, 0.8 - 0.1 * 2]),
        ("sgd", {"lr": 0.1, "momentum": 0.5, "nesterov": True}, [1 - 0.1 * 3, 0.7 - 0.1 * (1 + 0.5 * 2)]),
        # With its bias corrected, the first update of Adam is lr x the gradient's sign.
        ("adam", {"lr": 0.1}, [0.9]),
        # The weight decay stands apart from the gradient.
        ("adamw", {"lr": 0.1, "weight_decay": 0.5}, [1 - 0.1 * 0.5 * 1 - 0.1]),
        ("rmsprop", {"lr": 0.1, "alpha": 0.75}, [1 - 0.1 * 2 / (0.25 * 4) ** 0.5]),
        ("adagrad", {"lr": 0.1, "initial_accumulator": 0}, [0.9, 0.9 - 0.1 / 5**0.5]),
    ],
)
def test_the_first_updates_are_those_of_the_equations(settings_of, name, changes, values):
    gradients = [2.0, 1.0][: len(values)]
    assert first_updates(settings_of, name, gradients, **changes) == pytest.approx(values, abs=1e-8)


CHANGES = {
    "amsgrad": True,
    "betas": [0.5, 0.6],
    "centered": True,
    "line_search": None,
    "history_size": 7,
    "max_iterations": 7,
}


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (name, setting)
        for name in registry.names("optimizer")
        for setting in field_names(registry.find("optimizer", name).settings)
        if setting not in ("name", "nesterov")
    ],
)
def test_every_setting_reaches_the_optimizer(settings_of, name, setting):
    as_given, changed = (
        optimizers.build(settings_of("optimizer", name, **changes), Bowl().parameters()).defaults
        for changes in ({}, {setting: CHANGES.get(setting, 0.123)})
    )
    assert as_given != changed


def test_building_and_stepping_imports_no_compiler():
    # It takes more than a second, and nothing here is compiled.
    program = """
import sys
import torch
from dltrain import optimizers
from dltrain.optimizers import SGDSettings
weight = torch.nn.Parameter(torch.ones(3))
settings = SGDSettings(name="sgd", lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=False)
optimizer = optimizers.build(settings, [weight])
weight.sum().backward()
optimizers.plain_step(optimizer)()
optimizer.load_state_dict(optimizer.state_dict())
optimizer.zero_grad()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path.cwd())
    assert done.stdout.strip() == "False", done.stderr
