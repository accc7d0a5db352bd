"""Coefficients in the data's own units."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from training import configure, train

from dltrain import assembly
from dltrain.coefficients import INTERCEPT, coefficients_of


@pytest.mark.parametrize("scaling", ["none", "standard", "minmax"])
def test_least_squares_of_eight_points_in_their_own_units(scaling, tmp_path):
    outcome = train(tmp_path / "run", "data=line_8", f"data.scaling={scaling}", "model=linear_regression")
    coefficients = coefficients_of(outcome.parts.model, outcome.parts.data, outcome.parts.loss)
    expected = {"output": {"feature 1": 0.8749312626, INTERCEPT: -26.7907861680}}
    assert coefficients == {"output": pytest.approx(expected["output"], rel=1e-5)}


@pytest.mark.parametrize("model", ["linear", "ridge"])
def test_a_table_has_the_names_of_its_columns_and_gives_the_models_own_answers(model, tmp_path):
    path = tmp_path / "houses.csv"
    generator = np.random.default_rng(0)
    rows = zip(generator.normal(70, 20, 60), generator.integers(0, 3, 60), generator.normal(500, 90, 60), strict=True)
    lines = [f"{area:.6f},{['서울', '부산', '대구'][city]},{price:.6f}" for area, city, price in rows]
    path.write_text("area,city,price\n" + "\n".join(lines), encoding="utf-8")
    config, _ = configure(tmp_path / "run", "data=csv", f"data.path={path}", "data.target=price", f"model={model}")
    parts = assembly.build(config)
    with torch.no_grad():
        for parameter in parts.model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    found = coefficients_of(parts.model, parts.data, parts.loss)
    assert found is not None
    values, features = found["output"], parts.data.preprocessing["table"]
    assert set(values) == {"area", *(f"city={city}" for city in ("서울", "부산", "대구")), INTERCEPT}
    batch = parts.data.train.head(5)
    outputs = parts.model(batch.inputs) * parts.data.task.target_scale[0] + parts.data.task.target_shift[0]
    area = next(item for item in features["features"] if item["name"] == "area")
    names = [name for name in values if name != INTERCEPT]
    for row, output in zip(batch.inputs.double(), outputs, strict=True):
        raw = {name: float(value) for name, value in zip(names, row, strict=True)}
        raw["area"] = raw["area"] * area["scale"] + area["shift"]
        answer = values[INTERCEPT] + sum(values[name] * value for name, value in raw.items())
        assert answer == pytest.approx(float(output.detach()), rel=1e-4)


@pytest.mark.parametrize("words", [("model=mlp",), ("data=digits",), ("model=knn",)])
def test_other_models_and_samples_of_many_numbers_have_none(words, tmp_path):
    config, _ = configure(tmp_path / "run", *words)
    parts = assembly.build(config)
    assert coefficients_of(parts.model, parts.data, parts.loss) is None


def test_evaluate_tells_the_line_that_was_learned(dltrain):
    assert dltrain("experiment=line_8", "run_dir=run", "callbacks=checkpoint", "report=false").code == 0
    shown = dltrain("evaluate", "run", "--json")
    line = json.loads(shown.out)["coefficients"]["output"]
    assert line["feature 1"] == pytest.approx(0.8749312626, abs=1e-4)
    assert line[INTERCEPT] == pytest.approx(-26.7907861680, abs=1e-4)
    assert "what each output adds for one more of a feature, in the data's own units" in dltrain("evaluate", "run").out


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
def test_logarithms_of_rates_keep_their_unit_whatever_the_targets_are_scaled_by(scaling, tmp_path):
    words = ("data=line_8", f"data.scaling={scaling}", "model=linear", "loss=poisson", "optimizer=lbfgs")
    parts = train(tmp_path / "run", *words, "trainer.batch_size=8", "trainer.max_epochs=20").parts
    found = coefficients_of(parts.model, parts.data, parts.loss)
    expected = poisson_regression([32, 64, 96, 118, 126, 144, 152.5, 158], [18, 24, 61.5, 49, 52, 105, 130.3, 125])
    assert found == {"output": pytest.approx(dict(zip(("feature 1", INTERCEPT), expected, strict=True)), rel=1e-3)}


def poisson_regression(xs, ys):
    """Returns slope and intercept of log rate by Newton's method."""
    rows, ys = np.stack([np.array(xs, float), np.ones(len(xs))], axis=1), np.array(ys, float)
    weights = np.array([0.0, np.log(ys.mean())])
    for _ in range(50):
        rates = np.exp(rows @ weights)
        weights += np.linalg.solve(rows.T @ (rates[:, None] * rows), rows.T @ (ys - rates))
    return weights


def test_evaluate_tells_of_logarithms(dltrain):
    words = ("data=line_8", "data.scaling=standard", "model=linear", "loss=poisson", "run_dir=run")
    assert dltrain(*words, "trainer.max_epochs=1", "callbacks=checkpoint", "report=false").code == 0
    expected = "what the logarithm of each prediction adds for one more of a feature, in the data's own units"
    assert expected in dltrain("evaluate", "run").out
