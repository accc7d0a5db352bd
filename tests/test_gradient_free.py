"""Runs of models without gradients: the same command, split, metrics, checkpoints and report."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from shards import write_parquet
from training import configure, result_of, resume, rows_of, train, without_times

from dltrain import assembly, registry, run
from dltrain.config import setting
from dltrain.errors import ConfigError
from dltrain.models import RuleModel
from dltrain.run_folder import RunFolder
from dltrain.trained import load_trained

RULES = ("perceptron", "som")
FITTED = ("knn", "logistic_regression")


def log_of(folder) -> str:
    return (folder / "train.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RULES)
def test_a_rule_learns_at_the_scheduled_rate(name, tmp_path):
    outcome = train(tmp_path / "run", f"model={name}", "scheduler=cosine", "optimizer.lr=0.5", "trainer.max_epochs=5")
    rates = [row["lr"] for row in rows_of(tmp_path / "run")]
    assert rates == sorted(rates, reverse=True) and rates[-1] < rates[0] < 0.5
    assert outcome.result["steps"] == 15 and outcome.result["test"]["test/accuracy"] > 0.6
    assert (
        f"model={name} learns by its own rule: of the optimizer only optimizer.lr and the scheduler apply, and the "
        "loss is only shown"
    ) in log_of(tmp_path / "run")


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_is_resumed_gives_the_same_bits(name, tmp_path):
    words = (f"model={name}", "optimizer.lr=0.3")
    whole = train(tmp_path / "whole", *words, "trainer.max_epochs=4", callbacks=("checkpoint",))
    train(tmp_path / "parts", *words, "trainer.max_epochs=2", callbacks=("checkpoint",))
    parts = resume(tmp_path / "parts", "trainer.max_epochs=4")
    assert parts is not None
    for key, value in whole.trainer.model.state_dict().items():
        assert torch.equal(parts.trainer.model.state_dict()[key], value), key
    assert without_times(rows_of(tmp_path / "parts")) == without_times(rows_of(tmp_path / "whole"))


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_is_one_step_with_all_samples(name, tmp_path):
    outcome = train(
        tmp_path / "run", f"model={name}", "trainer.batch_size=7", callbacks=("checkpoint", "early_stopping")
    )
    assert outcome.result["status"] == "done"
    assert (outcome.result["epochs"], outcome.result["steps"], outcome.result["samples"]) == (1, 1, 90)
    assert outcome.result["best"]["epoch"] == 1
    assert outcome.result["test"]["test/accuracy"] > 0.85
    assert (
        f"model={name} is fitted to all training samples in one step: trainer.max_epochs, trainer.max_steps, "
        "trainer.batch_size, the optimizer and the scheduler do not apply"
    ) in log_of(tmp_path / "run")


@pytest.mark.parametrize("name", (*RULES, *FITTED))
def test_a_checkpoint_brings_back_what_was_learned(name, tmp_path):
    outcome = train(tmp_path / "run", f"model={name}", "trainer.max_epochs=1", callbacks=("checkpoint",))
    config, _ = configure(tmp_path / "run", f"model={name}")
    parts, _ = load_trained(RunFolder(tmp_path / "run"), config, "last")
    learned = outcome.parts.model.state_dict()
    first = assembly.build(config).model.state_dict()
    assert any(not torch.equal(first[key], value) for key, value in learned.items())
    for key, value in parts.model.state_dict().items():
        assert torch.equal(value, learned[key]), key


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_that_is_done_has_nothing_to_resume(name, tmp_path):
    train(tmp_path / "run", f"model={name}", callbacks=("checkpoint",))
    assert resume(tmp_path / "run") is None
    before = without_times(rows_of(tmp_path / "run"))
    again = resume(tmp_path / "run", "trainer.max_epochs=50")
    assert again is not None and again.result["steps"] == 1
    assert without_times(rows_of(tmp_path / "run")) == before
    assert result_of(tmp_path / "run")["test"] == again.result["test"]


@pytest.mark.parametrize(("name", "how"), [("som", "learns"), ("knn", "is fitted")])
@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("trainer.accumulate=2", "trainer.accumulate = 2"),
        ("trainer.clip_norm=1.0", "trainer.clip_norm = 1.0"),
        ("device.precision=bf16", "device.precision = bf16"),
        ("loss.l1={'*': 0.1}", "loss.l1"),
        ("optimizer.groups={'*': {lr: 0.1}}", "optimizer.groups"),
        ("model.freeze=['*']", "model.freeze"),
    ],
)
def test_what_needs_gradients_is_refused(name, how, override, key, tmp_path):
    config, _ = configure(tmp_path / "run", f"model={name}", override)
    with pytest.raises(ConfigError) as error:
        assembly.build(config)
    message = f"{key}: model={name} {how} without gradients, so this does not apply. Leave it out"
    assert message in error.value.problems


def test_a_stream_cannot_be_fitted_at_once(tmp_path):
    shards = write_parquet(tmp_path / "shards")
    words = ("data=parquet_shards", f"data.path={shards}", "data.target=y", "data.workers=0")
    config, _ = configure(tmp_path / "run", "model=ridge", *words)
    with pytest.raises(ConfigError) as error:
        assembly.build(config)
    assert str(error.value) == (
        "model.name = 'ridge': it is fitted to all training samples at once, and this data is streamed because it may "
        "be larger than memory. Choose data that is read as a whole, such as data=csv, or a model that learns batch by "
        "batch, such as model=linear"
    )


def test_samples_that_count_differently_are_told_to_a_rule(tmp_path):
    train(
        tmp_path / "run",
        "data=breast_cancer",
        "data.class_weights=balanced",
        "model=perceptron",
        "trainer.max_epochs=1",
    )
    note = "model=perceptron: its rule lets each sample count the same, so the samples' weights do not apply"
    assert note in log_of(tmp_path / "run")


def test_a_rule_model_may_keep_all_that_it_learns_in_buffers(tmp_path):
    @dataclass(frozen=True)
    class MajoritySettings:
        name: str = setting("Name of the model.")

    @registry.register("model", "majority", MajoritySettings)
    class Majority(RuleModel):
        def __init__(self, settings, *, task):
            super().__init__()
            self.register_buffer("counts", torch.zeros(task.output_size))

        def learn(self, inputs, targets, lr):
            self.counts += torch.bincount(targets, minlength=len(self.counts))

        def forward(self, inputs):
            return self.counts.expand(len(inputs), -1)

    config, container = configure(tmp_path / "run", "trainer.max_epochs=2", callbacks=("summary", "checkpoint"))
    container["model"] = {"name": "majority"}
    outcome = run.train(replace(config, model=MajoritySettings("majority")), container, [])
    assert outcome.result["status"] == "done"
    assert outcome.trainer.model.counts.sum() == 90  # the best weights are those of the first epoch


@pytest.mark.parametrize("name", ["ridge", "knn", "som"])
def test_values_are_not_taken_for_logarithms_of_rates(name, tmp_path):
    config, _ = configure(tmp_path / "run", "data=line_8", f"model={name}", "loss=poisson")
    with pytest.raises(ConfigError) as caught:
        assembly.build(config)
    assert str(caught.value) == (
        "loss.name = 'poisson': it takes a model's outputs for logarithms of the targets, and "
        f"model={name} gives the targets themselves. Choose loss=mse"
    )


def test_a_fit_says_so_instead_of_naming_a_limit(dltrain):
    answer = dltrain("data=iris", "model=knn", "run_dir=run", "report=false")
    assert answer.code == 0, answer.err
    assert "\nfitted to all 90 training samples in " in answer.out and "epochs" not in answer.out
    again = dltrain("resume", "run")
    assert again.code == 0 and "is finished (fitted to all 90 training samples); nothing is left to do." in again.out
    assert "Train longer" not in again.out
