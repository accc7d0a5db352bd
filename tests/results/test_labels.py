"""Runs are called by what tells them apart."""

from __future__ import annotations

import pytest
from runfolders import config_of

from dltrain.config_files import flatten
from dltrain.results.labels import labels


def called(*configs, names=("one", "two", "three", "four")):
    return labels([flatten(config) for config in configs], names[: len(configs)])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"optimizer__lr": 0.1}, {"optimizer__lr": 0.01}], ["lr=0.1", "lr=0.01"]),
        ([{"model": "mlp"}, {"model": "lstm", "data": "korean_text"}], ["mlp", "lstm"]),
        (
            [{"seed": 0, "optimizer__lr": 0.1}, {"seed": 1, "optimizer__lr": 0.1}, {"seed": 0, "optimizer__lr": 1.0}],
            ["lr=0.1 seed=0", "lr=0.1 seed=1", "lr=1.0 seed=0"],
        ),
        ([{"seed": 0, "data__split_seed": 0}, {"seed": 1, "data__split_seed": 1}], ["split_seed=0", "split_seed=1"]),
        ([{"run_dir": "a"}, {"run_dir": "b"}], ["one", "two"]),
        ([{}, {}, {"seed": 3}], ["seed=0 one", "seed=0 two", "seed=3"]),
        ([{"model__hidden": [6]}, {"model__hidden": [6, 6]}], ["hidden=[6]", "hidden=[6,6]"]),
        ([{"optimizer__name": "adam"}, {"optimizer__name": "sgd"}], ["adam", "sgd"]),
        ([{"imports": ["m"], "seed": 0}, {"seed": 1}], ["seed=0", "seed=1"]),
        ([{}], ["one"]),
    ],
)
def test_labels(changes, expected):
    assert called(*(config_of(**change) for change in changes)) == expected


def test_a_setting_that_some_lack_is_left_out_of_their_label():
    first, second, third = config_of(), config_of(), config_of(seed=1)
    del second["callbacks"]["early_stopping"]
    assert called(first, second, third) == [
        "seed=0 early_stopping=early_stopping",
        "seed=0",
        "seed=1 early_stopping=early_stopping",
    ]
