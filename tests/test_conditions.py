"""What may be another when a state is taken up again: conditions, callbacks and the learning rate."""

from __future__ import annotations

import pytest
import torch
from training import build_trainer, settings_of

from dltrain import config_files, resume_rules, schedulers
from dltrain.conditions import differences


def loaded(folder, state, *overrides: str, callbacks=()):
    """Returns a trainer that has taken up a state, and the notes on that."""
    trainer = build_trainer(folder, *overrides, callbacks=callbacks)
    return trainer, trainer.load_state_dict(state)


def trained(folder, *overrides: str, callbacks=()):
    trainer = build_trainer(folder, "trainer.max_epochs=2", *overrides, callbacks=callbacks)
    trainer.fit()
    return trainer.state_dict()


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in trainer.model.parameters()])


# --- conditions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "note"),
    [
        ("torch", "1.0", "PyTorch was 1.0 before, now it is "),
        ("cpu", "AVX", "the CPU's instructions was AVX before, now it is "),
        ("dltrain", "0.0.1", "dltrain was 0.0.1 before, now it is "),
        ("threads", 7, "the run used 7 CPU threads before, now 1: "),
    ],
)
def test_each_condition_that_is_another_is_noted(name, value, note, tmp_path):
    state = trained(tmp_path / "a")
    state["made_with"][name] = value
    (found,) = loaded(tmp_path / "b", state)[1]
    assert found.startswith(note) and "the last bits of the results may differ" in found


def test_a_condition_that_an_old_checkpoint_lacks_is_not_noted():
    now = {"device": "cpu", "precision": "fp32", "threads": 1, "gpu": None, "cpu": "x", "torch": "2", "dltrain": "1",
           "length": None, "rates": [0.1]}  # fmt: skip
    assert differences({"device": "cpu", "precision": "fp32", "threads": 1, "length": None}, now) == []


# --- callbacks --------------------------------------------------------------------------------------------


def test_a_callback_of_another_key_keeps_its_state(tmp_path):
    state = trained(tmp_path / "a", callbacks=("early_stopping",))
    renamed = {"name": "early_stopping", "monitor": "val/loss", "patience": 5, "min_change": 0, "restore_best": False}
    trainer, notes = loaded(tmp_path / "b", state, f"callbacks.stop={renamed}")
    assert notes == ["callbacks.stop was callbacks.early_stopping before, and keeps its state"]
    assert trainer.callbacks["stop"].best == state["callbacks"]["early_stopping"]["best"]


def test_a_callback_that_comes_or_goes_is_noted(tmp_path):
    state = trained(tmp_path / "a", callbacks=("early_stopping", "progress"))
    notes = loaded(tmp_path / "b", state, callbacks=("ema",))[1]
    assert notes == [
        "callbacks.ema is new in this run: it starts with what comes from here on",
        "callbacks.early_stopping is gone, and what it had gathered is dropped",
    ]
    state["callback_names"] = {}  # as checkpoints of older versions
    assert loaded(tmp_path / "c", state, callbacks=("early_stopping",))[1] == []


# --- the learning rate ------------------------------------------------------------------------------------

# Their weights are a function of the rate, so that a run cannot go on with another one.
REFUSED = ("ftrl", "adagrad_dual_averaging")
# madgrad lets the weights follow, step by step, to where all gradients so far lead.
KINDS = [name for name in config_files.options("optimizer", []) if name not in (*REFUSED, "madgrad", "rprop")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_that_is_said_holds_whatever_the_optimizer_has_gathered(kind, tmp_path):
    words = [f"optimizer={kind}", "data=iris", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=2"]
    state = trained(tmp_path / "a", *words[:-1])
    tiny = loaded(tmp_path / "b", state, *words[:-1], "trainer.max_epochs=3", "optimizer.lr=1.0e-12")[0]
    before = weights(tiny)
    tiny.fit()
    moved = (weights(tiny) - before).abs().max()
    same = loaded(tmp_path / "c", state, *words[:-1], "trainer.max_epochs=3")[0]
    same.fit()
    assert moved < 1e-5 * (1 + before.abs().max())
    assert moved < 1e-3 * (weights(same) - before).abs().max()


def test_a_rate_that_is_said_is_where_the_steps_of_rprop_begin_again(tmp_path):
    state = trained(tmp_path / "a", "optimizer=rprop")
    sizes = [
        own["step_size"] for own in loaded(tmp_path / "b", state, "optimizer=rprop")[0].step.optimizer.state.values()
    ]
    assert all(len(size.unique()) > 1 for size in sizes)
    trainer = loaded(tmp_path / "c", state, "optimizer=rprop", "optimizer.lr=0.25")[0]
    assert all((own["step_size"] == 0.25).all() for own in trainer.step.optimizer.state.values())


def test_a_rate_that_is_said_holds_for_groups_too(tmp_path):
    groups = "optimizer.groups={'layers.1.*': {lr: %s}}"
    words = ["data=iris", "model=mlp", "model.hidden=[8]", "optimizer=adam"]
    state = trained(tmp_path / "a", *words, groups % 0.01)
    trainer = loaded(tmp_path / "b", state, *words, groups % "1.0e-12", "trainer.max_epochs=3")[0]
    before = {name: tensor.clone() for name, tensor in trainer.model.named_parameters()}
    trainer.fit()
    moved = {
        name: float((tensor - before[name]).detach().abs().max()) for name, tensor in trainer.model.named_parameters()
    }
    assert moved["layers.1.weight"] < 1e-9 < 1e-4 < moved["layers.3.weight"]


def test_a_rate_that_is_said_is_not_undone_by_a_schedule_that_looks_at_figures(tmp_path):
    words = ["scheduler=plateau", "scheduler.patience=1", "scheduler.min_change=9", "scheduler.gamma=0.1"]
    state = trained(tmp_path / "a", *words, "trainer.max_epochs=5")
    assert state["schedule"]["factor"] < 0.2
    trainer, notes = loaded(tmp_path / "b", state, *words, "optimizer.lr=0.5", "trainer.max_epochs=6")
    assert "scheduler: what it had lowered the old learning rate by does not hold for the new one" in notes
    trainer.fit()
    assert trainer.row["lr"] == 0.5
    kept = loaded(tmp_path / "c", state, *words, "trainer.max_epochs=6")[0]
    kept.fit()
    assert kept.row["lr"] < 0.2 * 0.5


def test_a_rate_that_follows_a_curve_goes_on_there_and_the_log_says_where(tmp_path):
    words = ["scheduler=cosine", "scheduler.interval=epoch", "trainer.max_epochs=4"]
    state = trained(tmp_path / "a", *words[:2])
    state["made_with"]["length"] = [4, None]
    notes = loaded(tmp_path / "b", state, *words, "optimizer.lr=0.5")[1]
    factor = schedulers.build(settings_of("scheduler", "cosine", interval="epoch"), max_epochs=4, max_steps=None,
                              epoch_steps=3).factor  # fmt: skip
    assert notes == [
        f"scheduler: it takes {factor(2):.3g} of optimizer.lr at this place, which makes {factor(2) * 0.5:.4g}"
    ]


@pytest.mark.parametrize("kind", REFUSED)
def test_weights_that_are_a_function_of_the_rate_would_jump_and_are_refused(kind, tmp_path):
    state = trained(tmp_path / "a", f"optimizer={kind}")
    trainer = loaded(tmp_path / "b", state, f"optimizer={kind}", "optimizer.lr=1.0e-9", "trainer.max_epochs=3")[0]
    before = weights(trainer)
    trainer.fit()
    assert (weights(trainer) - before).abs().max() > 0.1 * before.abs().max()  # the reason
    changes = [resume_rules.Difference("optimizer.lr", 0.1, 0.2)]
    (problem,) = resume_rules.refusals(changes, tmp_path, {"optimizer": {"name": kind}})
    assert f"optimizer={kind} computes the weights from the rate: they would jump" in problem
