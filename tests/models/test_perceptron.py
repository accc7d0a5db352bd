"""Rosenblatt's rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training import settings_of

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.models.perceptron import Perceptron

BINARY = Task("binary", InputSpec((2,)), 1)
THREE = Task("multiclass", InputSpec((2,)), 3)
INPUTS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
ANSWERS = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "xor": [0, 1, 1, 0]}


def build(task: Task = BINARY, **changes) -> Perceptron:
    return registry.build("model", settings_of("model", "perceptron", **changes), task=task)


def right(model: Perceptron, targets: torch.Tensor) -> int:
    return int(((model(INPUTS) > 0) == targets.bool()).sum())


@pytest.mark.parametrize(("gate", "possible"), [("and", 4), ("or", 4), ("xor", 3)])
def test_it_learns_what_a_line_parts_and_no_more(gate, possible):
    model, targets = build(), torch.tensor(ANSWERS[gate]).float()[:, None]
    reached = []
    for _ in range(20):
        model.learn(INPUTS, targets, lr=1.0)
        reached.append(right(model, targets))
    assert max(reached) <= possible
    if possible == 4:
        assert reached[-1] == 4


def test_a_mistake_moves_the_weights_by_the_rate_times_error_times_input():
    model = build()
    model.learn(torch.tensor([[2.0, -3.0]]), torch.tensor([[1.0]]), lr=0.5)  # 0 is a no, so this was a mistake
    assert model.layer.weight.tolist() == [[1.0, -1.5]] and model.layer.bias.tolist() == [0.5]
    model.learn(torch.tensor([[2.0, -3.0]]), torch.tensor([[1.0]]), lr=0.5)  # right now: nothing to learn
    assert model.layer.weight.tolist() == [[1.0, -1.5]] and model.layer.bias.tolist() == [0.5]


def test_of_several_classes_the_right_one_goes_up_and_the_wrong_winner_down():
    model = build(THREE)
    model.learn(torch.tensor([[1.0, 2.0]]), torch.tensor([2]), lr=1.0)  # the first of equals, class 0, had won
    assert model.layer.weight.tolist() == [[-1.0, -2.0], [0.0, 0.0], [1.0, 2.0]]
    assert model.layer.bias.tolist() == [-1.0, 0.0, 1.0]


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_it_ends_without_mistakes_where_planes_part_the_classes(seed, num_classes):
    generator = torch.Generator().manual_seed(seed)
    task = Task("multiclass", InputSpec((3,)), num_classes)
    planes = torch.randn(num_classes, 3, generator=generator)
    scores = (inputs := torch.randn(60, 3, generator=generator)) @ planes.T
    best = scores.topk(2, dim=1).values
    inputs = inputs[best[:, 0] - best[:, 1] > 0.3]  # a margin bounds the number of mistakes (Novikoff 1962)
    targets = (inputs @ planes.T).argmax(dim=1)
    model = build(task)
    for _ in range(300):
        model.learn(inputs, targets, lr=1.0)
        if torch.equal(model(inputs).argmax(dim=1), targets):
            return
    pytest.fail("still mistakes after 300 epochs")


def test_a_batch_is_learned_sample_by_sample_in_its_order():
    inputs, targets = torch.randn(10, 2), torch.randint(0, 2, (10, 1)).float()
    at_once, one_by_one = build(), build()
    at_once.learn(inputs, targets, lr=0.3)
    for row in range(10):
        one_by_one.learn(inputs[row : row + 1], targets[row : row + 1], lr=0.3)
    assert torch.equal(at_once.layer.weight, one_by_one.layer.weight)


def test_numbers_to_predict_are_refused():
    with pytest.raises(ConfigError, match=r"^model\.name = 'perceptron': it answers yes or no, and this data wants "):
        build(Task("regression", InputSpec((2,)), 1))
