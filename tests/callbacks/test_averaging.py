"""What an average is, that it is what is evaluated and kept, and that the training knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from killing import assert_same
from torch.optim.swa_utils import AveragedModel
from training import build_trainer, configure, register_callback, result_of, resume, rows_of, train, without_times

from dltrain import assembly, averages
from dltrain.callbacks.base import Callback
from dltrain.checkpoint import load_state
from dltrain.errors import ConfigError
from dltrain.evaluate import evaluate
from dltrain.metrics import Metrics
from dltrain.trained import load_trained

# 90 samples in 3 batches an epoch, with batch normalisation.
SMALL = ("model=mlp", "model.hidden=[8]", "model.norm=batch", "trainer.batch_size=30", "optimizer.lr=0.1")


class Recorder(Callback):
    """Keeps the weights before the first step and after each."""

    def __init__(self, settings, *, context) -> None:
        super().__init__(settings, context=context)
        self.weights: list[averages.Weights] = []

    def on_fit_start(self, trainer) -> None:
        self.on_step_end(trainer)

    def on_step_end(self, trainer) -> None:
        own = averages.tensors_of(trainer.model)
        self.weights.append({name: tensor.double().clone() for name, tensor in own.items()})


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """Trains with a recorder; returns the weights at each step, and the average at the end."""
    register_callback(monkeypatch, Recorder, "recorder")

    def run_one(name: str, *overrides: str):
        outcome = train(tmp_path / "run", *SMALL, *overrides, callbacks=(name, "recorder"))
        return outcome.trainer.callbacks["recorder"].weights, outcome.trainer.callbacks[name].average

    return run_one


def moved(average: averages.Weights, to: averages.Weights, share: float) -> averages.Weights:
    return {name: (1 - share) * tensor + share * to[name] for name, tensor in average.items()}


def assert_close(one: averages.Weights, other: averages.Weights) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.allclose(one[name].double(), other[name].double(), atol=1e-5), name


# --- what the average is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("warmup", "every"), [(True, 1), (False, 1), (True, 2)])
def test_ema_follows_its_equation(recorded, warmup, every):
    changes = (f"callbacks.ema.warmup={warmup}", f"callbacks.ema.every_steps={every}", "callbacks.ema.decay=0.6")
    weights, average = recorded("ema", *changes, "trainer.max_epochs=5")
    expected = weights[0]
    for update, after in enumerate(weights[every::every]):
        decay = min(0.6, (1 + update) / (10 + update)) if warmup else 0.6
        expected = moved(expected, after, 1 - decay)
    assert_close(average, expected)


def test_ema_begins_with_the_weights_of_its_first_epoch(recorded):
    changes = ("callbacks.ema.start_epoch=2", "callbacks.ema.warmup=false", "callbacks.ema.decay=0.9")
    weights, average = recorded("ema", *changes, "trainer.max_epochs=3")
    expected = weights[6]
    for after in weights[7:]:
        expected = moved(expected, after, 0.1)
    assert_close(average, expected)


def test_swa_is_the_mean_after_each_of_the_last_epochs(recorded):
    weights, average = recorded("swa", "callbacks.swa.renew_statistics=false", "trainer.max_epochs=12")
    ends = weights[30::3]  # three quarters of 12 are 9
    assert len(ends) == 3
    assert_close(average, {name: torch.stack([end[name] for end in ends]).mean(0) for name in average})


def test_swa_takes_steps_where_asked_for_as_pytorchs_average_does(recorded):
    changes = ("callbacks.swa.every_steps=2", "callbacks.swa.start_epoch=1", "callbacks.swa.renew_statistics=false")
    weights, average = recorded("swa", *changes, "trainer.max_epochs=4", "trainer.max_steps=11")
    theirs = None
    for taken in weights[4::2]:
        point = torch.nn.ParameterDict({name.replace(".", "_"): tensor for name, tensor in taken.items()})
        if theirs is None:
            theirs = AveragedModel(point)
        theirs.update_parameters(point)
    assert theirs is not None and int(theirs.n_averaged) == 4
    assert_close(average, {name: theirs.module[name.replace(".", "_")].detach() for name in average})


def test_three_quarters_are_counted_in_steps_where_these_end_the_training(tmp_path):
    trainer = build_trainer(tmp_path, *SMALL, "trainer.max_steps=12", "trainer.max_epochs=100", callbacks=("swa",))
    trainer.fit()
    assert trainer.callbacks["swa"].start_epoch == 3 and trainer.callbacks["swa"].updates == 1


def test_swa_computes_the_statistics_of_its_weights(tmp_path):
    trainer = train(tmp_path, *SMALL, "trainer.max_epochs=4", "callbacks.swa.start_epoch=1", callbacks=("swa",)).trainer
    model = trainer.model.train()  # of the averaged weights, which no best weights replaced
    given = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averages.renew_statistics(model, trainer.train.batches(4))
    assert_close(given, dict(model.state_dict()))
    assert trainer.final_weights == "swa"


# --- what is evaluated and kept ---------------------------------------------------------------------------


def figures(trainer, split: str = "validation") -> dict[str, float]:
    metrics = Metrics(trainer.task, trainer.step.loss, evaluating=True)
    return evaluate(trainer.model, getattr(trainer, split), trainer.step.loss, metrics)


@pytest.mark.parametrize("name", ["ema", "swa"])
def test_the_training_is_the_same_and_the_average_is_evaluated(name, tmp_path):
    overrides = (*SMALL, "model.dropout=0.3", "trainer.max_epochs=8")
    plain = train(tmp_path / "plain", *overrides).trainer
    trainer = build_trainer(tmp_path / name, *overrides, callbacks=(name,))
    trainer.fit()
    assert trainer.final_weights == name and trainer.callbacks[name].average is not None
    for row, other in zip(rows_of(tmp_path / name), rows_of(tmp_path / "plain"), strict=True):
        assert [row[key] for key in row if key.startswith("train/")] == [
            other[key] for key in other if key.startswith("train/")
        ]
    assert trainer.row["val/loss"] != plain.row["val/loss"]
    assert {f"val/{key}": value for key, value in figures(trainer).items()}.items() <= trainer.row.items()
    assert figures(trainer, "test") == trainer.test_figures


@pytest.mark.parametrize("name", ["ema", "swa"])
def test_the_checkpoints_hold_the_average_as_best_and_the_plain_weights_to_go_on(name, tmp_path):
    overrides = (*SMALL, "trainer.max_epochs=6", "callbacks.checkpoint.monitor=train/loss")  # the last is the best
    outcome = train(tmp_path / "run", *overrides, callbacks=(name, "checkpoint"))
    plain = train(tmp_path / "plain", *SMALL, "trainer.max_epochs=6")
    _, last = load_state(outcome.folder, "last")
    _, best = load_state(outcome.folder, "best")
    assert best["epoch"] == 6
    assert_same(last["model"], dict(plain.trainer.model.state_dict()))
    assert_same(averages.weights_in(last), best["model"])
    for checkpoint in ("last", "best"):
        parts, _ = load_trained(outcome.folder, outcome.parts.config, checkpoint)
        assert_same(best["model"], dict(parts.model.state_dict()))
    assert result_of(tmp_path / "run")["test_weights"] == "checkpoint"
    assert figures(outcome.trainer, "test") == outcome.trainer.test_figures


def test_early_stopping_restores_the_average(tmp_path):
    overrides = (*SMALL, "trainer.max_epochs=30", "callbacks.early_stopping.patience=2", "optimizer.lr=1")
    outcome = train(tmp_path / "run", *overrides, callbacks=("ema", "early_stopping"))
    best = min(row["val/loss"] for row in rows_of(tmp_path / "run"))
    assert outcome.result["epochs"] < 30 and outcome.trainer.final_weights == "early_stopping"
    assert figures(outcome.trainer)["loss"] == best


def test_a_training_that_ends_before_says_that_nothing_was_averaged(tmp_path, capsys):
    overrides = (*SMALL, "trainer.max_epochs=30", "callbacks.swa.start_epoch=20", "callbacks.early_stopping.patience=1")
    outcome = train(tmp_path / "run", *overrides, "optimizer.lr=5", callbacks=("swa", "early_stopping"))
    assert outcome.result["epochs"] < 20
    assert (
        "swa averaged nothing: the training ended before, and the plain weights were evaluated. It starts after "
        "epoch 20 (start_epoch)" in outcome.folder.log.read_text(encoding="utf-8")
    )


# --- a run that goes on -----------------------------------------------------------------------------------

AVERAGES = {
    "ema": ("callbacks.ema.decay=0.8", "callbacks.ema.every_steps=2"),
    "ema_later": ("callbacks.ema.start_epoch=2",),
    "swa": ("callbacks.swa.start_epoch=1",),
    "swa_steps": ("callbacks.swa.start_epoch=1", "callbacks.swa.every_steps=2"),
}


@pytest.mark.parametrize(("kind", "stop"), [("ema", 5), ("ema_later", 7), ("swa", 9), ("swa", 10), ("swa_steps", 7)])
def test_a_run_goes_on_to_the_same_bits(kind, stop, tmp_path):
    name = kind.partition("_")[0]
    overrides = (*SMALL, *AVERAGES[kind], "model.dropout=0.2", "trainer.evaluate_every_steps=4")
    whole = train(tmp_path / "whole", *overrides, "trainer.max_steps=16", callbacks=(name, "checkpoint"))
    train(tmp_path / "parts", *overrides, f"trainer.max_steps={stop}", callbacks=(name, "checkpoint"))
    parts = resume(tmp_path / "parts", "trainer.max_steps=16")
    assert parts is not None
    for pointer in ("last", "best"):
        found = [load_state(outcome.folder, pointer)[1] for outcome in (whole, parts)]
        for state in found:
            state.get("row", {}).pop("epoch_seconds", None)
        assert_same(*found)
    assert_same(whole.result["test"], parts.result["test"])
    assert without_times(rows_of(tmp_path / "whole")) == without_times(rows_of(tmp_path / "parts"))


def test_an_average_that_has_begun_goes_on_in_a_longer_training(tmp_path):
    train(tmp_path / "run", *SMALL, "trainer.max_epochs=4", callbacks=("swa", "checkpoint"))
    longer = resume(tmp_path / "run", "trainer.max_epochs=8")
    assert longer is not None and longer.trainer.callbacks["swa"].updates == 5


# --- the command line -------------------------------------------------------------------------------------


def test_one_word_adds_an_average_to_the_other_callbacks(dltrain):
    overrides = ("data=iris", "model.hidden=[4]", "trainer.max_epochs=1", "report=false", "callbacks=[default,ema]")
    assert dltrain(*overrides, "~callbacks.tensorboard").code == 0
    for checkpoint in ("best", "last"):
        quickly = ("--no-pictures", "--resamples", "0")
        assert dltrain("evaluate", "last", "--checkpoint", checkpoint, *quickly).code == 0
    assert dltrain(*overrides, "callbacks=[summary,ema]", "run_dir=alone").code == 0
    assert result_of(Path("alone"))["test_weights"] == "ema"
    assert "test, averaged weights" in dltrain(*overrides, "callbacks=[ema]").out
    answer = dltrain("explain", "callbacks.ema.decay", "callbacks=[default,ema]")
    assert answer.out.splitlines()[-1].endswith("configs/callbacks/ema.yaml")


def test_adding_to_a_group_tells_what_to_write_instead(dltrain):
    answer = dltrain("+callbacks=ema")
    message = "'+callbacks=ema': a group is chosen, not added to. Write 'callbacks=[default,ema]'"
    assert (answer.code, answer.err) == (2, f"error: {message}\n")


# --- mistakes ---------------------------------------------------------------------------------------------


def test_two_averages_are_one_too_many(tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", *SMALL, callbacks=("ema", "swa"))
    assert caught.value.problems == [
        "callbacks.swa: the weights have one average, and callbacks.ema is one. Leave one of them out"
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["ema", "swa"])
def test_an_average_that_would_start_after_the_end_is_refused(name, tmp_path):
    loaded, _ = configure(tmp_path, "trainer.max_epochs=8", f"callbacks.{name}.start_epoch=8", callbacks=(name,))
    with pytest.raises(ConfigError) as caught:
        assembly.build(loaded)
    assert caught.value.problems == [
        f"callbacks.{name}.start_epoch = 8: nothing would be averaged in trainer.max_epochs = 8. "
        f"Start sooner, as with callbacks.{name}.start_epoch=6"
    ]


def test_a_decay_is_a_share(tmp_path):
    with pytest.raises(ConfigError, match=r"callbacks\.ema\.decay = 1\.0: must be a number at least 0 and below 1"):
        configure(tmp_path, "callbacks.ema.decay=1.0", callbacks=("ema",))
