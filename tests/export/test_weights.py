from __future__ import annotations

import json
import re

import pytest
import torch
from models.conftest import TASKS, learned
from safetensors import safe_open
from training import settings_of

from dltrain.errors import CheckpointError, ConfigError
from dltrain.export import weights

KIND = "binary of numbers and categories"


@pytest.fixture
def folder(tmp_path):
    weights.save(learned("mlp", KIND), settings_of("model", "mlp", hidden=[32, 16]), TASKS[KIND], tmp_path)
    return tmp_path


def test_a_model_is_built_again_from_the_folder_and_no_chance_is_used_up(folder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = weights.load(folder)
    assert torch.equal(torch.rand(3), expected)
    assert not model.training
    for name, value in learned("mlp", KIND).state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_the_json_says_what_the_weights_are(folder):
    built_from = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert built_from["format"] == "dltrain model"
    assert built_from["settings"]["name"] == "mlp" and built_from["settings"]["hidden"] == [32, 16]
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(built_from["weights"])
        for name, described in built_from["weights"].items():
            assert file.get_slice(name).get_shape() == described["shape"] and described["dtype"] == "float32"


def test_weights_that_a_package_has_are_not_fetched_again(tmp_path):
    settings = settings_of("model", "timm", pretrained=True)
    weights.save(torch.nn.Linear(4, 3), settings, TASKS["multiclass of features"], tmp_path)
    assert json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))["settings"]["pretrained"] is False


def test_a_fitted_model_has_room_for_what_it_was_fitted_to(tmp_path):
    task = TASKS["multiclass of features"]
    model = learned("knn", "multiclass of features")
    weights.save(model, settings_of("model", "knn", k=1), task, tmp_path)
    inputs = torch.randn(4, 4)
    assert torch.equal(weights.load(tmp_path)(inputs), model(inputs))


def test_damage_is_told(folder):
    path = folder / "model.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**whole, "task": {}}))
    with pytest.raises(CheckpointError, match=re.escape(f"{path} is damaged: 'input'")):
        weights.load(folder)
    path.write_text("{")
    with pytest.raises(CheckpointError, match=re.escape(f"{path} cannot be read: ")):
        weights.load(folder)
    path.write_text(json.dumps({**whole, "settings": {**whole["settings"], "hiden": 3}}))
    with pytest.raises(ConfigError, match=re.escape("no setting 'model.hiden'")):
        weights.load(folder)
    path.write_text(json.dumps({**whole, "settings": {**whole["settings"], "name": "mpl"}}))
    with pytest.raises(ConfigError, match=re.escape("no model named 'mpl'. Did you mean 'mlp'?")):
        weights.load(folder)
    path.write_text(json.dumps(whole))
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=re.escape(f"{folder / 'model.safetensors'} cannot be read: ")):
        weights.load(folder)
