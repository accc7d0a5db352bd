"""The small experiments reach their figures; those that take a data set compose."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from training import configure

from dltrain import config, config_files
from dltrain.compose import compose

EXPERIMENTS = config_files.options("experiment", [])

# Those of seconds are trained, with the least and the greatest accuracy that they are about.
ACCURACIES = {
    "gate_and": (1.0, 1.0),
    "gate_or": (1.0, 1.0),
    "gate_xor_perceptron": (0.0, 0.75),
    "gate_xor_mlp": (1.0, 1.0),
    "gate_or_mse": (1.0, 1.0),
    "iris_perceptron": (1.0, 1.0),
    "knn_iris": (0.95, 1.0),
}


OTHERS = [name for name in EXPERIMENTS if name not in (*ACCURACIES, "line_noise")]


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_experiment_is_composed_without_mistakes(name):
    config.load(compose([f"experiment={name}"]).container)


def choices_and_values(name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Returns which option of each group an experiment takes, and what it sets, with those that it is made of."""
    values = yaml.safe_load(EXPERIMENTS[name].read_text(encoding="utf-8"))
    choices: dict[str, str] = {}
    for entry in values.pop("defaults"):
        if isinstance(entry, dict):
            ((key, option),) = entry.items()
            assert key.startswith("override /"), key
            choices[key.removeprefix("override /")] = option
        elif entry != "_self_":
            below, set_there = choices_and_values(entry)
            choices, values = {**below, **choices}, merged(set_there, values)
    return choices, values


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = merged(below[key], above[key])
    return both


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_experiment_is_a_config_without_mistakes(name, tmp_path):
    """Put together without Hydra, which takes most of the time."""
    choices, values = choices_and_values(name)
    callbacks = {*choices.pop("callbacks", []), *values.get("callbacks", {})} - {"default"}
    overrides = [f"{group}={option}" for group, option in choices.items()]
    _, container = configure(tmp_path, *overrides, callbacks=(*callbacks,))
    config.load(merged(container, values))


def test_every_experiment_says_what_it_is():
    for name, path in EXPERIMENTS.items():
        first, second = path.read_text(encoding="utf-8").splitlines()[:2]
        assert first == "# @package _global_" and second.startswith("# "), name


@pytest.mark.parametrize("name", ACCURACIES)
def test_accuracies_are_those_that_the_experiments_are_about(dltrain, work, name):
    assert dltrain(f"experiment={name}", "run_dir=run", "callbacks=none").code == 0
    last = json.loads((work / "run" / "result.json").read_text())["last"]
    least, most = ACCURACIES[name]
    assert least <= last["val/accuracy"] <= most


def test_the_noisy_line_is_found(dltrain):
    dltrain("experiment=line_noise", "run_dir=run", "callbacks=checkpoint")
    line = json.loads(dltrain("evaluate", "run", "--json", "--resamples", "0", "--no-pictures").out)["coefficients"][
        "output"
    ]
    assert line == {"feature 1": pytest.approx(0.10, abs=0.01), "(intercept)": pytest.approx(0.30, abs=0.01)}


def test_the_baselines_of_boston_take_the_networks_recipe():
    for name in ("linear_regression", "lasso", "ridge"):
        composed = compose(["experiment=boston_mlp", f"model={name}", "~model.hidden"])
        assert config.load(composed.container).data.test_fraction == 0.2015
