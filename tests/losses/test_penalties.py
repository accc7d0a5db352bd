"""L1 and L2 penalties by pattern of parameter names, alone and in a training."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training import configure, rows_of, train

from dltrain import assembly
from dltrain.config import PenaltySettings
from dltrain.errors import ConfigError
from dltrain.losses import penalties


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def penalty_of(model, l1=None, l2=None):
    return penalties.build(model, PenaltySettings(l1 or {}, l2 or {}))


def test_without_a_strength_there_is_no_penalty(model):
    assert penalty_of(model) is None
    assert penalty_of(model, l1={"*": 0.0}) is None


def test_it_is_the_strength_times_the_sum_of_sizes_and_of_squares(model):
    penalty = penalty_of(model.float(), l1={"*.weight": 0.5}, l2={"0.*": 0.25, "*.bias": 2.0})
    first, last = model[0], model[2]
    expected = 0.5 * (first.weight.abs().sum() + last.weight.abs().sum())
    expected += 0.25 * first.weight.square().sum() + 2.25 * first.bias.square().sum()  # which two patterns fit
    expected += 2.0 * last.bias.square().sum()
    assert penalty is not None and penalty().shape == ()
    torch.testing.assert_close(penalty(), expected)


def test_the_gradient_is_the_slope_and_at_zero_there_is_none():
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    nn.init.zeros_(model.bias)
    penalty = penalty_of(model, l1={"*": 0.5}, l2={"*": 0.25})
    assert penalty is not None
    penalty().backward()
    torch.testing.assert_close(model.weight.grad, 0.5 * model.weight.sign() + 0.5 * model.weight)
    assert not model.bias.grad.any()


def test_it_is_of_the_weights_as_they_are_now(model):
    penalty = penalty_of(model.float(), l2={"2.bias": 1.0})
    nn.init.constant_(model[2].bias, 3.0)
    assert penalty is not None and penalty().item() == pytest.approx(18.0)


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_a_pattern_that_fits_no_parameter_is_refused(model, kind):
    with pytest.raises(ConfigError) as caught:
        penalty_of(model, **{kind: {"2.wieght": 1e-3}})
    assert str(caught.value) == f"loss.{kind}: no parameter fits '2.wieght'. Did you mean '2.weight'?"


# --- in a training ----------------------------------------------------------------------------------------


def test_the_penalty_counts_in_training_and_not_in_evaluation(tmp_path):
    outcome = train(tmp_path / "run", "loss.l2={'*': 0.5}", "trainer.max_epochs=2", "optimizer.lr=1.0e-9")
    row = rows_of(tmp_path / "run")[-1]
    squares = sum(float(parameter.detach().square().sum()) for parameter in outcome.parts.model.parameters())
    assert row["train/penalty"] == pytest.approx(0.5 * squares, rel=1e-5)
    assert row["train/loss"] == pytest.approx(row["train/main_loss"] + row["train/penalty"], rel=1e-6)
    assert "val/penalty" not in row and row["val/loss"] < row["train/main_loss"] + row["train/penalty"] / 2


def test_l1_leaves_the_features_that_count_and_a_strong_one_nothing(tmp_path):
    sizes = {}
    for strength in (0, 0.05, 10):
        folder = tmp_path / str(strength)
        penalised = "loss.l1={'*.weight': %s}" % strength  # noqa: UP031 - braces
        outcome = train(folder, penalised, "trainer.max_epochs=20", "optimizer.lr=0.005", "trainer.batch_size=120")
        sizes[strength] = float(outcome.parts.model.layer.weight.detach().abs().sum())
    assert sizes[10] < 0.5 < sizes[0.05] < sizes[0]


def test_a_pattern_is_refused_before_there_is_a_folder(tmp_path):
    config, _ = configure(tmp_path / "run", "loss.l1={'*.wight': 1.0e-3}")
    with pytest.raises(ConfigError, match=r"^loss\.l1: no parameter fits '\*\.wight'\. Did you mean"):
        assembly.build_step(assembly.build(config))
    assert not (tmp_path / "run").exists()


def test_the_command_line_gives_penalties_and_class_weights(dltrain):
    answer = dltrain(
        "data=iris", "model=linear", "trainer.max_epochs=1", "loss.l1={*.weight: 1e-4}", "loss=cross_entropy",
        "loss.class_weights={setosa: 2}", "callbacks=none", "report=false",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    shown = dltrain("explain", "loss.l1", "loss.l1={*.weight: 1e-4}").out
    assert "value    {'*.weight': 0.0001}" in shown and "set in   the command line: loss.l1=" in shown
