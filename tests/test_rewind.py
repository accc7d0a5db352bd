"""Trial steps leave nothing behind, with any optimizer, however they end."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from killing import assert_same
from torch import nn

from dltrain import optimizers, registry, seed, steps
from dltrain.data import Batch
from dltrain.losses.contract import Loss
from dltrain.rewind import rewound

NAMES = registry.names("optimizer")


class SquaredError(Loss):
    def __call__(self, outputs, targets, weights=None):
        return (outputs - targets).square().mean()


class Model(nn.Module):
    """Has what may change in a step: dropout, statistics, buffers saved and not saved, a plain counter."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.Linear(8, 1)
        )
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("last", torch.zeros(3), persistent=False)
        self.calls = 0

    def forward(self, inputs):
        self.seen += len(inputs)
        self.last = inputs[-1].clone()  # another tensor at each call
        self.calls += 1
        return self.layers(inputs)


def batch() -> Batch:
    return Batch(torch.randn(16, 3), torch.randn(16, 1))


def build(settings_of, name: str) -> steps.Step:
    seed.seed_everything(1)
    model = Model()
    named = dict(model.named_parameters())
    optimizer = optimizers.build(settings_of("optimizer", name), named.items())
    step = steps.build(model, SquaredError(), optimizer, clip_norm=None, accumulate=1, autocast=None)
    model.train()
    return step


def everything(step: steps.Step) -> dict:
    """Returns copies of all that a step can change."""
    model, optimizer = step.model, step.optimizer
    places = {parameter: place for place, parameter in enumerate(step.parameters)}
    state = {
        "parameters": {name: parameter.detach() for name, parameter in model.named_parameters()},
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
        "trained": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "buffers": dict(model.named_buffers()),
        "modes": {name: module.training for name, module in model.named_modules()},
        "calls": model.calls,
        "state": {str(places.get(key, key)): value for key, value in optimizer.state.items()},
        "groups": [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups],
        "step": step.state_dict(),
        "own": {key: value for key, value in vars(step).items() if isinstance(value, (int, torch.Tensor))},
        "random": seed.generator_states(),
    }
    return copied(state)


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, (list, tuple)) else value


def disturb(step: steps.Step) -> None:
    """Changes all that there is to change."""
    for group in step.optimizer.param_groups:
        group["lr"] = 3.0
        group["of its own"] = 1
    for _ in range(3):
        step(batch())
    step.model.layers[0].weight.requires_grad_(False)
    step.model.layers[1].eval()
    step.forward(batch()).loss.backward()  # leaves gradients
    step.made_by_trial = torch.ones(2)
    random.random()
    np.random.rand()


@pytest.mark.parametrize("trained", [0, 3], ids=["new", "trained"])
@pytest.mark.parametrize("name", NAMES)
def test_all_is_as_it_was(settings_of, name, trained):
    step = build(settings_of, name)
    for _ in range(trained):
        step(batch())
    before = everything(step)
    memory = [parameter.data_ptr() for parameter in step.model.parameters()]
    last = step.model.last
    with rewound(step):
        disturb(step)
        assert everything(step)["calls"] > before["calls"]
    assert_same(before, everything(step))
    assert memory == [parameter.data_ptr() for parameter in step.model.parameters()]
    assert step.model.last is last
    assert not hasattr(step, "made_by_trial")


@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on_as_if_nothing_had_been(settings_of, name):
    """What the copies above cannot see, such as an attribute of the optimizer, would show in later steps."""
    ends = []
    for disturbed in (False, True):
        step = build(settings_of, name)
        step(batch())
        if disturbed:
            with rewound(step):
                disturb(step)
        for _ in range(4):
            step(batch())
        ends.append(everything(step))
    assert_same(*ends)


def test_a_control_without_it_differs(settings_of):
    step = build(settings_of, "adam")
    before = everything(step)
    disturb(step)
    with pytest.raises(AssertionError):
        assert_same(before, everything(step))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, StopIteration])
def test_an_error_in_the_middle_of_an_accumulation_is_taken_back_too(settings_of, error):
    step = build(settings_of, "muon")
    step(batch())
    before = everything(step)
    with pytest.raises(error), rewound(step):
        step(batch(), 0.5, False)
        raise error
    assert_same(before, everything(step))


def test_weights_that_became_nan_are_whole_again(settings_of):
    step = build(settings_of, "sgd")
    before = everything(step)
    with rewound(step):
        for parameter in step.model.parameters():
            parameter.data.fill_(float("nan"))
        step(batch())
    assert_same(before, everything(step))
