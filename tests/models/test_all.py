"""What holds of every registered model, on every kind of data that it accepts."""

from __future__ import annotations

import pytest
import torch
from models.conftest import output_shape, targets_of
from torch import nn

from dltrain import initializers, registry
from dltrain.checkpoint import pack, unpack
from dltrain.data import Tensors
from dltrain.errors import ConfigError
from dltrain.losses import LossSettings
from dltrain.seed import seed_everything

MODELS = registry.names("model")


def part(inputs: Tensors, rows: slice) -> Tensors:
    return {name: value[rows] for name, value in inputs.items()} if isinstance(inputs, dict) else inputs[rows]


@pytest.fixture
def build(settings_of, task):
    def model(name: str, seed: int = 0, **changes) -> nn.Module:
        seed_everything(seed)
        try:
            return registry.build("model", settings_of("model", name, **changes), task=task)
        except ConfigError as error:
            # A refusal says whose it is.
            assert str(error).startswith((f"model.name = '{name}': ", "model: this data gives several inputs"))
            pytest.skip(f"{name} does not take this data")

    return model


@pytest.mark.parametrize("name", MODELS)
def test_the_output_has_one_row_a_sample_and_the_tasks_size(build, task, samples, name):
    model = build(name)
    for batch_size in (1, 7):
        outputs = model.eval()(samples(task, batch_size))
        assert outputs.shape == output_shape(task, batch_size)
        assert outputs.dtype == torch.float32 and outputs.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_is_trained(build, task, samples, name):
    model = build(name).train()
    outputs = model(samples(task, 16))
    loss = registry.build("loss", LossSettings("auto", None), task=task)
    loss(outputs, targets_of(task, 16)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", MODELS)
def test_the_state_makes_another_model_the_same(build, task, samples, name, tmp_path):
    model, other = build(name, seed=0), build(name, seed=1)
    inputs = samples(task, 5)
    other.load_state_dict(unpack(pack({"model": model.state_dict()}), tmp_path)["model"])
    assert torch.equal(other.eval()(inputs), model.eval()(inputs))


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_decides_the_first_weights(build, name):
    same, again, other = (nn.utils.parameters_to_vector(build(name, seed).parameters()) for seed in (3, 3, 4))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


@pytest.mark.parametrize("name", MODELS)
def test_in_evaluation_a_sample_does_not_depend_on_those_beside_it(build, task, samples, name):
    model, inputs = build(name).eval(), samples(task, 6)
    alone = torch.cat([model(part(inputs, slice(row, row + 1))) for row in range(6)])
    torch.testing.assert_close(model(inputs), alone)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_some_kind_of_data_and_every_scheme_of_first_weights(settings_of, tasks, samples, name):
    accepted = 0
    for task in tasks.values():
        for scheme in initializers.SCHEMES:
            try:
                model = registry.build("model", settings_of("model", name, init=scheme), task=task)
            except ConfigError:
                continue
            outputs = model.eval()(samples(task, 2))
            assert outputs.isfinite().all()
            assert outputs.eq(0).all() == (scheme == "zeros")
            accepted += 1
    assert accepted
