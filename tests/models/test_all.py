"""What holds of every registered model, on every kind of data that it accepts."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace

import pytest
import torch
from models.conftest import (
    NEEDS_PACKAGE,
    SMALL,
    TASKS,
    accepts,
    build,
    inputs_of,
    learnable,
    learned,
    output_shape,
    targets_of,
)
from torch import nn
from training import settings_of

from dltrain import config_files, initializers, registry
from dltrain.checkpoint import pack, unpack
from dltrain.data import IGNORED, Batch, Task, Tensors
from dltrain.errors import ConfigError
from dltrain.graph.flow import follow
from dltrain.layer_table import rows
from dltrain.layers import layers, total
from dltrain.losses import LossSettings, by_head
from dltrain.models import FittedModel, RuleModel, WithAuxiliary
from dltrain.steps import EagerStep
from dltrain.trial import misfits

MODELS = [
    name
    for name in config_files.options("model", [])
    if importlib.util.find_spec(NEEDS_PACKAGE.get(name, "dltrain")) is not None
]
PAIRS = [(name, task) for name in MODELS for task in TASKS if accepts(name, task)]
# A kind of data for each kind of task that a model takes.
EACH_TASK = list({(name, TASKS[kind].kind): (name, kind) for name, kind in PAIRS}.values())
FIRST = dict(reversed(PAIRS))  # a kind of data for each model, where one is enough
on_all_that_it_takes = pytest.mark.parametrize(("name", "kind"), PAIRS, ids=[" on ".join(pair) for pair in PAIRS])


def trained_by_gradients(model: nn.Module) -> bool:
    return not isinstance(model, (RuleModel, FittedModel))


def part(inputs: Tensors, rows: slice) -> Tensors:
    return {name: value[rows] for name, value in inputs.items()} if isinstance(inputs, dict) else inputs[rows]


def step_of(model: nn.Module, kind: str, rate: float = 0.003) -> EagerStep:
    loss = registry.build("loss", LossSettings("auto", None), task=TASKS[kind])
    return EagerStep(model, loss, torch.optim.Adam(model.parameters(), lr=rate))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_some_data_and_refuses_the_rest_by_its_name(name):
    assert name in FIRST
    for kind, task in TASKS.items():
        if (name, kind) not in PAIRS:
            with pytest.raises(ConfigError) as caught:
                build(name, kind)
            several = "model: this data gives several inputs"
            own = str(caught.value).startswith(f"model.name = '{name}': ")
            assert own or (isinstance(task.inputs, dict) and str(caught.value).startswith(several)), str(caught.value)


@pytest.mark.parametrize("name", SMALL)
def test_small_models_are_those_of_the_registry(name):
    registry.find("model", name)


@on_all_that_it_takes
def test_the_output_has_one_row_a_sample_and_the_tasks_size(name, kind):
    model = learned(name, kind)
    for batch_size in (1, 7):
        outputs = model.eval()(inputs_of(TASKS[kind], batch_size))
        assert outputs.shape == output_shape(TASKS[kind], batch_size)
        assert outputs.dtype == torch.float32 and outputs.isfinite().all()


@on_all_that_it_takes
def test_every_trained_parameter_has_a_gradient_and_nothing_else_has(name, kind):
    model, task = build(name, kind).train(), TASKS[kind]
    if not trained_by_gradients(model):
        assert not any(parameter.requires_grad for parameter in model.parameters())
        return
    step_of(model, kind).forward(Batch(inputs_of(task, 16), targets_of(task, 16))).loss.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.requires_grad, parameter_name
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, parameter_name


@on_all_that_it_takes
def test_outputs_for_training_alone_have_the_shape_of_the_others(name, kind):
    model, task = build(name, kind), TASKS[kind]
    if trained_by_gradients(model):
        given = model.train()(inputs_of(task, 4))
        if isinstance(given, WithAuxiliary):
            assert {output.shape for output in [given.outputs, *given.auxiliary.values()]} == {output_shape(task, 4)}


@pytest.mark.parametrize(("name", "kind"), EACH_TASK, ids=[" on ".join(pair) for pair in EACH_TASK])
def test_it_learns_a_batch_by_heart(name, kind):
    """Or, where it has a rule of its own, at least as well as a constant answer would be."""
    batch = learnable(TASKS[kind], 6)
    if not trained_by_gradients(build(name, kind)):
        assert learned_by_own_rule(build(name, kind), kind, batch)
        return
    assert any(learned_by_gradients(name, kind, batch, rate) for rate in (0.003, 0.03))


def learned_by_gradients(name: str, kind: str, batch: Batch, rate: float) -> bool:
    """Tells whether a model knows a batch after at most 100 updates by Adam."""
    model = build(name, kind).train()
    for layer in model.modules():  # without dropout, which is there to hinder this
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0
        if isinstance(layer, nn.RNNBase):
            layer.dropout = 0.0
    step = step_of(model, kind, rate)
    results = (step(batch) for _ in range(100))
    return any(knows(TASKS[kind], result.outputs, batch.targets) for result in results)


def knows(task: Task, outputs: Tensors, targets: Tensors) -> bool:
    """Tells whether all classes are right, or nine tenths of the variance of values are explained."""
    if task.heads:
        by_name = by_head(task, outputs)
        return all(knows(head, by_name[name], targets[name]) for name, head in task.heads.items())
    if task.kind == "regression":
        return bool((outputs - targets).square().mean() < 0.1 * targets.var(correction=0))
    if task.kind in ("binary", "multilabel"):
        return bool(((outputs > 0) == (targets > 0.5)).all())
    return bool((outputs.argmax(dim=-1) == targets)[targets != IGNORED].all())


def without_dropout(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0
        if isinstance(layer, nn.RNNBase):
            layer.dropout = 0.0


def learned_by_own_rule(model: nn.Module, kind: str, batch: Batch) -> bool:
    """Tells whether a model without gradients, having learned a batch, knows it as well as the best constant would."""
    task, targets = TASKS[kind], batch.targets
    if isinstance(model, FittedModel):
        model.fit(batch.inputs, targets, None)
    else:
        assert isinstance(model, RuleModel)
        for _ in range(300):
            model.learn(batch.inputs, targets, 0.1)
    outputs = model.eval()(batch.inputs)
    assert isinstance(targets, torch.Tensor)
    if task.kind == "regression":
        return bool((outputs - targets).square().mean() <= targets.var(dim=0, correction=0).mean() + 1e-6)
    if task.kind in ("binary", "multilabel"):
        right, constant = ((outputs > 0) == targets).float().mean(), targets.mean()
        return bool(right >= torch.maximum(constant, 1 - constant))
    right = (outputs.argmax(dim=1) == targets).float().mean()
    return bool(right >= targets.bincount().max() / len(targets))


@on_all_that_it_takes
def test_the_state_makes_another_model_the_same(name, kind, tmp_path):
    model, other = learned(name, kind, seed=0), build(name, kind, seed=1)
    inputs = inputs_of(TASKS[kind], 5)
    other.load_state_dict(unpack(pack({"model": model.state_dict()}), tmp_path)["model"])
    assert torch.equal(other.eval()(inputs), model.eval()(inputs))


@on_all_that_it_takes
def test_the_seed_decides_the_first_weights(name, kind):
    same, again, other = (build(name, kind, seed).state_dict() for seed in (3, 3, 4))
    assert same.keys() == again.keys()
    assert all(torch.equal(same[key], again[key]) for key in same)
    drawn = any(not torch.equal(same[key], other[key]) for key in same)
    assert drawn or not trained_by_gradients(build(name, kind))


@on_all_that_it_takes
def test_in_evaluation_a_sample_does_not_depend_on_those_beside_it(name, kind):
    model, inputs = learned(name, kind).eval(), inputs_of(TASKS[kind], 6)
    alone = torch.cat([model(part(inputs, slice(row, row + 1))) for row in range(6)])
    torch.testing.assert_close(model(inputs), alone, rtol=1e-4, atol=1e-5)


@on_all_that_it_takes
def test_its_layers_are_told_and_nothing_of_it_changes(name, kind):
    model, task = learned(name, kind).train(), TASKS[kind]
    before = copy.deepcopy(model.state_dict())
    whole = layers(model, task.inputs)
    assert total(whole).parameters == sum(parameter.numel() for parameter in model.parameters())
    assert isinstance(model, FittedModel) or whole.output == output_shape(task, 1)[1:]
    assert model.training and not any(layer._forward_hooks for layer in model.modules())
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@on_all_that_it_takes
def test_its_picture_leads_from_all_inputs_to_all_outputs(name, kind):
    model, task = build(name, kind), TASKS[kind]
    if isinstance(model, FittedModel):
        return
    graph = follow(model, inputs_of(task, 2), depth=99)
    for number, box in graph.boxes.items():
        assert graph.givers(number) or box.role == "input", box
        assert graph.takers(number) or box.role == "output", box


@on_all_that_it_takes
def test_without_values_it_has_the_same_layers(name, kind):
    """Or cannot be computed so, and is then looked at with values."""
    model, task = build(name, kind), TASKS[kind]
    with torch.device("meta"):
        empty = build(name, kind)
    try:
        told = layers(empty, task.inputs)
    except (RuntimeError, ValueError):  # what asks for the values of tensors
        return
    expected = layers(model, task.inputs)
    if not any(isinstance(layer, nn.LSTM) for layer in model.modules()):  # its workspace is there only where it runs
        assert total(told).kept == pytest.approx(total(expected).kept, rel=0.1)
    assert [replace(row.cost, kept=0) for row in rows(told, 99)] == [
        replace(row.cost, kept=0) for row in rows(expected, 99)
    ]


@on_all_that_it_takes
def test_an_input_that_does_not_fit_is_told_with_the_layer(name, kind):
    model = learned(name, kind).eval()
    for inputs in other_inputs(TASKS[kind]):
        problems = misfits(model, inputs)
        try:
            model(inputs)
        except Exception:
            (problem,) = problems
            assert "layer " in problem or problem.startswith("the model itself")
        else:
            assert problems == []


def other_inputs(task: Task) -> list[Tensors]:
    """Returns samples with a value or a channel more than the task has, and with tokens beyond its vocabulary."""
    inputs = inputs_of(task, 2)
    if isinstance(inputs, dict):
        first = next(iter(inputs))
        return [{**inputs, first: _other(inputs[first])}, {name: _other(value) for name, value in inputs.items()}]
    return [_other(inputs)]


def _other(inputs: torch.Tensor) -> torch.Tensor:
    if inputs.dtype == torch.int64:
        return inputs + 1000
    return torch.cat([inputs, inputs[:, :1]], dim=1) if inputs.dim() != 3 else torch.cat([inputs, inputs], dim=2)


@pytest.mark.parametrize("name", MODELS)
def test_every_scheme_of_first_weights(name):
    kind = FIRST[name]
    if not hasattr(settings_of("model", name), "init"):
        return
    for scheme in initializers.SCHEMES:
        model = build(name, kind, init=scheme).eval()
        outputs = model(inputs_of(TASKS[kind], 2))
        assert outputs.isfinite().all() or scheme == "constant", scheme
        if trained_by_gradients(model):
            assert outputs.eq(0).all() == (scheme == "zeros"), scheme
