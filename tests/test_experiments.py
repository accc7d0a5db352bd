"""The small experiments reach their figures; those that take a data set compose."""

from __future__ import annotations

import json

import pytest

from dltrain import config, config_files
from dltrain.compose import compose

EXPERIMENTS = config_files.options("experiment", [])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_a_config_without_mistakes(name):
    config.load(compose([f"experiment={name}"]).container)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_what_it_is(name):
    first, second = EXPERIMENTS[name].read_text(encoding="utf-8").splitlines()[:2]
    assert first == "# @package _global_" and second.startswith("# ")


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("gate_and", 1.0, 1.0),
        ("gate_or", 1.0, 1.0),
        ("gate_xor_perceptron", 0.0, 0.75),
        ("gate_xor_mlp", 1.0, 1.0),
        ("gate_or_mse", 1.0, 1.0),
        ("iris_perceptron", 1.0, 1.0),
        ("knn_iris", 0.95, 1.0),
    ],
)
def test_accuracies_are_those_that_the_experiments_are_about(dltrain, work, name, least, most):
    assert dltrain(f"experiment={name}", "run_dir=run", "callbacks=none").code == 0
    last = json.loads((work / "run" / "result.json").read_text())["last"]
    assert least <= last["val/accuracy"] <= most


def test_the_noisy_line_is_found(dltrain):
    dltrain("experiment=line_noise", "run_dir=run", "callbacks=checkpoint")
    line = json.loads(dltrain("evaluate", "run", "--json").out)["coefficients"]["output"]
    assert line == {"feature 1": pytest.approx(0.10, abs=0.01), "(intercept)": pytest.approx(0.30, abs=0.01)}


def test_the_baselines_of_boston_take_the_networks_recipe():
    for name in ("linear_regression", "lasso", "ridge"):
        composed = compose(["experiment=boston_mlp", f"model={name}", "~model.hidden"])
        assert config.load(composed.container).data.test_fraction == 0.2015
