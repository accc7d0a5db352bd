"""The data sets that need no download."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

from dltrain import registry
from dltrain.data import Data
from dltrain.data.bundled import scikit_learn_file
from dltrain.data.splitting import split_indices
from dltrain.errors import MachineError

LOADERS = {"iris": load_iris, "digits": load_digits}
NOTE = "there is no validation split: what is evaluated is the training data itself"


def load(settings_of, name: str, **changes) -> Data:
    return registry.build("data", settings_of("data", name, **changes))


def unsplit(settings_of, name: str, scaling: str) -> Data:
    return load(settings_of, name, scaling=scaling, validation_fraction=0, test_fraction=0)


@pytest.mark.parametrize("name", LOADERS)
def test_the_values_are_those_of_scikit_learns_own_loader(settings_of, name):
    data, original = unsplit(settings_of, name, "none"), LOADERS[name]()
    assert data.train.inputs.dtype == torch.float32 and data.train.targets.dtype == torch.int64
    assert np.array_equal(data.train.inputs.flatten(1).numpy(), original.data.astype(np.float32))
    assert np.array_equal(data.train.targets.numpy(), original.target)
    assert list(data.task.class_names) == [str(target) for target in original.target_names]
    assert data.task.kind == "multiclass"
    assert data.task.output_size == len(original.target_names)


@pytest.mark.parametrize(("name", "shape"), [("iris", (4,)), ("digits", (1, 8, 8))])
def test_a_sample_has_the_shape_that_the_task_says(settings_of, name, shape):
    data = load(settings_of, name)
    assert data.task.input.shape == shape
    for samples in data.splits.values():
        assert tuple(samples.inputs.shape[1:]) == shape
        assert len(samples.inputs) == len(samples.targets)


def test_an_image_of_digits_stands_upright(settings_of):
    data = unsplit(settings_of, "digits", "none")
    assert np.array_equal(data.train.inputs[:, 0].numpy(), load_digits().images.astype(np.float32))


@pytest.mark.parametrize(("name", "sizes"), [("iris", (90, 30, 30)), ("digits", (1258, 180, 359))])
def test_the_splits_of_the_yaml_files_have_these_sizes_and_all_classes(settings_of, name, sizes):
    data = load(settings_of, name)
    assert tuple(len(samples) for samples in data.splits.values()) == sizes
    assert data.notes == () and not data.evaluates_training_data
    for samples in data.splits.values():
        assert set(samples.targets.tolist()) == set(range(data.task.output_size))


@pytest.mark.parametrize("name", LOADERS)
def test_standard_scaling_is_learned_from_the_training_samples_alone(settings_of, name):
    data, original = load(settings_of, name, scaling="standard"), LOADERS[name]()
    settings = settings_of("data", name)
    train, validation, _ = split_indices(len(original.target), settings, original.target.astype(np.int64))
    mean, deviation = original.data[train].mean(axis=0), original.data[train].std(axis=0)
    deviation[deviation == 0] = 1  # a pixel that is never set becomes 0
    for samples, indices in ((data.train, train), (data.validation, validation)):
        expected = ((original.data[indices] - mean) / deviation).astype(np.float32)
        np.testing.assert_array_equal(samples.inputs.flatten(1).numpy(), expected)
    assert data.preprocessing == {"shift": mean.tolist(), "scale": deviation.tolist()}


@pytest.mark.parametrize("name", LOADERS)
def test_minmax_scaling_maps_the_training_samples_to_0_to_1(settings_of, name):
    inputs = load(settings_of, name, scaling="minmax").train.inputs.flatten(1)
    low, high = inputs.amin(dim=0), inputs.amax(dim=0)
    varies = high > low
    assert torch.equal(low, torch.zeros_like(low))
    assert torch.equal(high[varies], torch.ones_like(high[varies]))


def test_iris_may_be_one_species_or_not_by_some_of_its_measures(settings_of):
    changes = {"measures": ["petal_length", "petal_width"], "species": "setosa", "scaling": "none"}
    data = load(settings_of, "iris", validation_fraction=0, test_fraction=0, **changes)
    original = load_iris()
    assert data.task.kind == "binary" and data.task.class_names == ("not setosa", "setosa")
    assert data.task.input.shape == (2,) and data.task.output_size == 1
    np.testing.assert_array_equal(data.train.inputs.numpy(), original.data[:, 2:].astype(np.float32))
    np.testing.assert_array_equal(data.train.targets.numpy(), (original.target == 0).astype(np.float32)[:, None])


def test_without_a_validation_share_the_training_samples_are_evaluated_and_it_is_said(settings_of):
    data = load(settings_of, "iris", validation_fraction=0)
    assert data.evaluates_training_data and data.notes == (NOTE,)
    assert data.test is not None and set(data.splits) == {"train", "validation", "test"}


def test_without_a_test_share_there_is_no_test(settings_of):
    data = load(settings_of, "iris", test_fraction=0)
    assert data.test is None and set(data.splits) == {"train", "validation"}


@pytest.mark.parametrize(
    ("operator", "truth"),
    [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])],
)
def test_a_gate_is_its_truth_table(settings_of, operator, truth):
    data = load(settings_of, "gate", operator=operator)
    assert data.train.inputs.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert data.train.targets.tolist() == [[value] for value in truth]
    assert data.task.kind == "binary" and data.task.output_size == 1
    assert data.evaluates_training_data and data.notes == (NOTE,)


def test_a_file_that_scikit_learn_has_not_is_named():
    with pytest.raises(MachineError, match=r"^the installed scikit-learn has no .*nothing\.csv: "):
        scikit_learn_file("nothing.csv")
