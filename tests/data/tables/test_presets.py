"""The well-known tables under their own names."""

from __future__ import annotations

import numpy as np
import pytest
import realdata
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from dltrain import registry

WHOLE = {"validation_fraction": 0, "test_fraction": 0, "scaling": "none", "target_scaling": "none"}
FILES = {
    "boston_housing": "tabular/boston_housing.csv",
    "california_housing": "tabular/california_housing.csv",
    "california_housing_8": "tabular/california_housing.csv",
    "thoracic_surgery": "tabular/thoracic_surgery.csv",
}


@pytest.fixture
def load(settings_of):
    return lambda name, **changes: registry.build("data", settings_of("data", name, **changes))


@pytest.mark.parametrize(
    ("name", "original"),
    [("breast_cancer", load_breast_cancer()), ("wine", load_wine()), ("diabetes", load_diabetes(scaled=False))],
)
def test_the_values_are_those_of_scikit_learns_own_loader(load, name, original):
    data = load(name, **WHOLE)
    assert np.array_equal(data.train.inputs.numpy(), original.data.astype(np.float32))
    if name == "diabetes":
        assert np.array_equal(data.train.targets[:, 0].numpy(), original.target.astype(np.float32))
    else:
        names = np.array(data.task.class_names)[data.train.targets.flatten().long().numpy()]
        assert (names == original.target_names[original.target]).all()


@pytest.mark.parametrize(
    ("name", "shape", "size", "kind"),
    [
        ("boston_housing", (13,), 506, "regression"),
        ("california_housing", (13,), 20640, "regression"),
        ("california_housing_8", (8,), 20640, "regression"),
        ("thoracic_surgery", (27,), 470, "binary"),
    ],
)
def test_a_preset_finds_its_file(load, name, shape, size, kind):
    path = realdata.need(FILES[name])
    data = load(name, root=str(path.parent), **WHOLE)
    assert (data.task.input.shape, len(data.train), data.task.kind) == (shape, size, kind)


def test_the_literatures_eight_features_are_those_of_the_first_district(load):
    path = realdata.need(FILES["california_housing_8"])
    data = load("california_housing_8", path=str(path), **WHOLE)
    expected = torch.tensor([8.3252, 41.0, 6.984127, 1.02381, 322.0, 2.555556, 37.88, -122.23])
    torch.testing.assert_close(data.train.inputs[0], expected)
    assert data.train.targets[0].item() == pytest.approx(4.526)


def test_a_fraud_table_is_learned_without_its_id(load, tmp_path):
    path = tmp_path / "customers.csv"
    rows = "".join(f"{5000 + i},{i % 41},{'MF'[i % 2]},{'NY'[i % 11 == 0]}\n" for i in range(200))
    path.write_text("CUST_ID,AGE,SEX,SIU_CUST_YN\n" + rows)
    data = load("insurance_fraud", path=str(path))
    assert data.task.class_names == ("N", "Y") and data.task.input.shape == (3,)
    assert data.notes[1].startswith("left out: CUST_ID (id)")
    assert data.train.weights is not None


@pytest.mark.slow
def test_california_raw_from_the_csv_alone_reaches_its_figure(dltrain, work):
    import json

    path = realdata.need("tabular/california_housing.csv")
    answer = dltrain("data=csv", f"data.path={path}", "data.target=median_house_value", "model=mlp")
    assert answer.code == 0
    (result,) = work.glob("runs/*/*/result.json")
    assert json.loads(result.read_text())["test"]["test/r2"] >= 0.75


@pytest.mark.slow
def test_thoracic_surgery_with_class_weights_reaches_its_figure(dltrain, work):
    import json

    path = realdata.need("tabular/thoracic_surgery.csv")
    for fold in range(5):
        words = ("data.class_weights=balanced", "data.folds=5", f"data.fold={fold}", "~callbacks.tensorboard")
        assert dltrain("data=csv", f"data.path={path}", "data.target=Risk1Yr", "model=mlp", *words).code == 0
    results = [json.loads(path.read_text()) for path in work.glob("runs/*/*/result.json")]
    assert len(results) == 5
    assert sum(result["test"]["test/auroc"] for result in results) / 5 > 0.6
