"""From a config to its parts: what does not fit together is told before there is a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from training import configure

from dltrain import assembly, registry, run, trial
from dltrain.config import setting
from dltrain.data import Samples
from dltrain.errors import ConfigError


def test_all_parts_that_do_not_fit_are_named_at_once(tmp_path):
    loaded, _ = configure(
        tmp_path, "loss=mse", "data=korean_text", "model=mlp", "callbacks.checkpoint.monitor=val/f2",
        "callbacks.early_stopping.monitor=train/mae", callbacks=("checkpoint", "early_stopping"),
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        assembly.build(loaded)
    assert len(caught.value.problems) == 4
    text = str(caught.value)
    assert "model.name = 'mlp'" in text and "loss.name = 'mse'" in text
    assert "callbacks.checkpoint.monitor = 'val/f2'" in text
    assert "callbacks.early_stopping.monitor = 'train/mae'" in text


def test_building_makes_no_folder(tmp_path):
    assembly.build(configure(tmp_path / "run")[0])
    assert not (tmp_path / "run").exists()


@pytest.fixture
def narrow(tmp_path, monkeypatch):
    """Registers the model 'narrow', which fits 3 values a sample; ``width`` makes its outputs."""

    @dataclass(frozen=True)
    class NarrowSettings:
        name: str = setting("Name of the model.")
        values: int = setting("Values of a sample.", min=1)
        width: int = setting("Outputs.", min=1)

    @registry.register("model", "narrow", NarrowSettings)
    def build(settings, *, task):
        return torch.nn.Linear(settings.values, settings.width)

    def configured(**values):
        loaded, container = configure(tmp_path / "run")
        container["model"] = {"name": "narrow", **values}
        return replace(loaded, model=NarrowSettings("narrow", **values)), container

    return configured


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"values": 3, "width": 3},
            r"^model: it cannot compute this data, inputs of shape \(B, 4\), float32: the model itself \(Linear\) "
            r"takes \(B, 3\), and \(B, 4\) comes to it$",
        ),
        ({"values": 4, "width": 2}, r"^model: it gives outputs of shape \(2, 2\) where this task needs \(2, 3\)$"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_told_before_a_folder_is_made(values, text, narrow, tmp_path):
    with pytest.raises(ConfigError, match=text):
        run.train(*narrow(**values), [])
    assert not (tmp_path / "run").exists()


def test_the_samples_that_try_the_model_change_nothing(tmp_path):
    parts = assembly.build(configure(tmp_path, "model=mlp", "model.norm=batch", "model.dropout=0.5")[0])
    assert parts.model.training
    statistics = [value for name, value in parts.model.state_dict().items() if "num_batches" in name]
    assert statistics and all(int(value) == 0 for value in statistics)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    trial.trial_pass(parts.model, parts.data.validation.head(2), parts.data.task)
    assert torch.equal(before, torch.get_rng_state())


def test_batch_normalisation_of_a_single_sample_is_refused(monkeypatch, tmp_path):
    loaded, _ = configure(tmp_path, "model=mlp", "model.norm=batch")
    data = registry.build("data", loaded.data)
    single = replace(data, train=Samples(data.train.inputs[:1], data.train.targets[:1]))
    monkeypatch.setattr(registry, "build", _instead_of_data(single, registry.build))
    with pytest.raises(ConfigError, match="batch normalisation needs two samples in a batch, and there is one to tr"):
        assembly.build(loaded)


def _instead_of_data(data, build):
    return lambda kind, settings, **known: data if kind == "data" else build(kind, settings, **known)


@pytest.mark.parametrize(
    ("overrides", "callbacks", "problem"),
    [
        (["scheduler=plateau"], (), "scheduler.patience = "),
        (
            ["callbacks.early_stopping.patience=3"],
            ("early_stopping",),
            "callbacks.early_stopping.patience = 3: it counts ",
        ),
    ],
)
def test_what_counts_evaluations_needs_some(overrides, callbacks, problem, tmp_path):
    never = "trainer.evaluate_every_epochs=null"
    with pytest.raises(ConfigError) as caught:
        assembly.build(configure(tmp_path, *overrides, never, callbacks=callbacks)[0])
    assert problem in str(caught.value) and "Set trainer.evaluate_every_epochs=1, or " in str(caught.value)
    assembly.build(configure(tmp_path, *overrides, never, "trainer.evaluate_every_steps=2", callbacks=callbacks)[0])
    assembly.build(configure(tmp_path, never, callbacks=("early_stopping",))[0])  # which has no patience


@pytest.mark.parametrize(
    ("setting", "problem"),
    [("model.k=91", "model.k = 91: there are 90 training samples. Give at most that"),
     ("model.candidates=[3, 90]", "model.candidates = [3, 90]: a sample has 89 others. Give at most that")],
)  # fmt: skip
def test_a_fitted_model_is_checked_against_the_number_of_samples(setting, problem, tmp_path):
    words = ["model=knn", setting, "model.k=cv"] if "candidates" in setting else ["model=knn", setting]
    with pytest.raises(ConfigError) as caught:
        assembly.build(configure(tmp_path, *words)[0])
    assert str(caught.value) == problem
