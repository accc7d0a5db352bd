"""Splits: each sample in one of them, in equal shares of the classes, by seed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.errors import DataError


def settings(validation: float, test: float, seed: int = 0) -> SplitSettings:
    return SplitSettings(
        name="any", validation_fraction=validation, test_fraction=test, split_seed=seed, folds=None, fold=0
    )


@given(st.integers(20, 200), st.sampled_from([0, 0.1, 0.25]), st.sampled_from([0, 0.1, 0.3]), st.integers(0, 99))
def test_each_sample_is_in_one_split_and_the_shares_are_as_asked(num_samples, validation, test, seed):
    parts = split_indices(num_samples, settings(validation, test, seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(num_samples))
    assert [len(part) for part in parts[1:]] == [round(num_samples * validation), round(num_samples * test)]
    assert all((np.diff(part) > 0).all() for part in parts)


@given(st.lists(st.integers(0, 3), min_size=40, max_size=120), st.integers(0, 99))
def test_each_class_has_its_share_of_each_split(classes, seed):
    classes = np.array(classes)
    for part in split_indices(len(classes), settings(0.2, 0.2, seed), classes):
        for value in np.unique(classes):
            expected = (classes == value).mean() * len(part)
            # Dealing is by rank within the class: a part is off by less than a sample for each other class.
            assert abs((classes[part] == value).sum() - expected) < len(np.unique(classes))


def test_equal_classes_are_split_exactly():
    classes = np.repeat([0, 1, 2], 50)
    train, validation, test = split_indices(150, settings(0.2, 0.2), classes)
    assert np.bincount(classes[train]).tolist() == [30, 30, 30]
    assert np.bincount(classes[validation]).tolist() == [10, 10, 10]
    assert np.bincount(classes[test]).tolist() == [10, 10, 10]


def test_the_split_is_a_pure_function_of_its_seed():
    np.random.seed(1)
    first = split_indices(50, settings(0.2, 0.2, seed=7))
    np.random.seed(2)
    again = split_indices(50, settings(0.2, 0.2, seed=7))
    other = split_indices(50, settings(0.2, 0.2, seed=8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[2], other[2])


def test_without_shares_all_is_trained_on():
    train, validation, test = split_indices(5, settings(0, 0))
    assert train.tolist() == [0, 1, 2, 3, 4]
    assert len(validation) == len(test) == 0


@pytest.mark.parametrize(
    ("num_samples", "validation", "test", "text"),
    [
        (
            4,
            0,
            0.1,
            "data.test_fraction=0.1 of 4 samples is none at all. "
            "Give a larger share, or data.test_fraction=0 to do without",
        ),
        (
            4,
            0.1,
            0.5,
            "data.validation_fraction=0.1 of 4 samples is none at all. "
            "Give a larger share, or data.validation_fraction=0 to do without",
        ),
        (2, 0.4, 0.5, "2 samples are too few to keep any for training: give smaller shares"),
    ],
)
def test_an_empty_share_is_an_error(num_samples, validation, test, text):
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        split_indices(num_samples, settings(validation, test))


def test_shares_that_leave_nothing_are_refused_before_there_is_data():
    with pytest.raises(ValueError, match=r"^validation_fraction and test_fraction together must leave samples"):
        settings(0.5, 0.5)


def test_each_sample_is_in_the_test_of_one_fold_and_the_classes_are_spread():
    classes = np.array([0] * 70 + [1] * 33)
    tests = []
    for fold in range(5):
        settings = SplitSettings(
            name="any", validation_fraction=0.1, test_fraction=0.2, split_seed=0, folds=5, fold=fold
        )
        train, validation, test = split_indices(len(classes), settings, classes)
        assert sorted([*train, *validation, *test]) == list(range(103))
        assert len(validation) == 10 and 2 <= classes[validation].sum() <= 4
        assert 6 <= classes[test].sum() <= 7 and 20 <= len(test) <= 21
        tests.append(test)
    assert sorted(np.concatenate(tests)) == list(range(103))


def test_a_fold_beyond_the_last_is_refused():
    with pytest.raises(ValueError, match=r"^fold = 5: there are 5 folds, numbered from 0$"):
        SplitSettings(name="any", validation_fraction=0.1, test_fraction=0.2, split_seed=0, folds=5, fold=5)


def test_more_folds_than_samples_are_refused():
    settings = SplitSettings(name="any", validation_fraction=0.0, test_fraction=0.0, split_seed=0, folds=5, fold=0)
    with pytest.raises(DataError, match=r"^data\.folds=5: there are 4 samples\. Give fewer folds$"):
        split_indices(4, settings)
