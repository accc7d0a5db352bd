"""The sweep is real training: its updates, its groups, its end; and it leaves nothing behind."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from killing import assert_same
from torch import nn
from training import configure

from dltrain import assembly, config, freezing, registry, seed
from dltrain.losses.contract import Loss
from dltrain.lr_sweep import SweepSettings, note, rates, refusal, sweep

NAMES = [name for name in registry.names("optimizer") if refusal(None, name) is None]


def settings(**changes) -> SweepSettings:
    values = {"start": 1e-5, "end": 1.0, "steps": 21, "scale": "exponential", "smoothing": 0.0, "diverge_factor": 1e9}
    return SweepSettings(**{**values, **changes})


def build(folder, *overrides):
    loaded, _ = configure(folder, *overrides)
    parts = assembly.build(loaded)
    return parts, assembly.build_step(parts)


def run(parts, step, wanted=None, **more):
    trainer = parts.config.trainer
    return sweep(
        step,
        parts.split("train", shuffle=True),
        wanted or settings(),
        learning_rate=parts.config.optimizer.lr,
        accumulate=trainer.accumulate,
        freezing=freezing.build(parts.model, parts.config.transfer, step.parameters),
        **more,
    )


def state_of(step):
    model = step.model
    return {
        "model": model.state_dict(),
        "gradients": [parameter.grad for parameter in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "trained": [parameter.requires_grad for parameter in model.parameters()],
        "step": step.state_dict(),
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in step.optimizer.param_groups],
        "random": seed.generator_states(),
    }


def copy_of(step):
    state = state_of(step)
    return {**state, "model": {name: tensor.clone() for name, tensor in state["model"].items()}}


def test_rates_rise_by_a_factor():
    found = rates(settings(start=1e-4, end=1.0, steps=21))
    assert len(found) == 21 and found[0] == 1e-4 and found[-1] == 1.0
    assert all(later / earlier == pytest.approx(10**0.2) for earlier, later in itertools.pairwise(found))


def test_rates_rise_by_a_summand():
    found = rates(settings(start=1.0, end=5.0, steps=21, scale="linear"))
    assert found == pytest.approx([1 + 0.2 * number for number in range(21)])
    assert found[-1] == 5.0


def test_the_losses_are_those_of_a_training_with_these_rates(tmp_path):
    overrides = ("data=iris", "model=mlp", "model.hidden=[5]", "model.dropout=0.2", "trainer.batch_size=16")
    parts, step = build(tmp_path, *overrides)
    seed.seed_everything(7)
    curve = run(parts, step, settings(steps=40))
    parts, step = build(tmp_path, *overrides)
    seed.seed_everything(7)
    step.model.train()
    train, losses = parts.split("train", shuffle=True), []
    epochs = (batch for epoch in range(9) for batch in train.batches(epoch))
    assert train.num_batches < 40  # the sweep goes on in further epochs
    for rate, batch in zip(curve.rates, epochs, strict=False):
        step.optimizer.param_groups[0]["lr"] = rate
        losses.append(float(step(batch).loss))
    assert curve.losses == losses
    assert curve.ended == "the last rate, 1, was reached" and curve.diverged_at is None


def test_accumulated_batches_are_one_point(tmp_path):
    whole = run(*build(tmp_path, "optimizer=sgd", "trainer.batch_size=50", "trainer.max_epochs=1"))
    parts, step = build(tmp_path, "optimizer=sgd", "trainer.batch_size=10", "trainer.accumulate=5")
    parted = run(parts, step)
    assert parts.split("train").num_batches % 5  # the last update of an epoch has fewer batches
    assert len(parted.rates) == len(whole.rates) == 21
    assert parted.losses == pytest.approx(whole.losses, rel=1e-4)


def test_groups_keep_their_ratio(tmp_path):
    groups = "optimizer.groups={layers.1.*: {lr: 0.03}}"
    parts, step = build(tmp_path, "model=mlp", "model.hidden=[4]", groups, "optimizer.lr=0.01")
    seen = []
    run(parts, step, watch=lambda curve: seen.append([g["lr"] for g in step.optimizer.param_groups]) or False)
    assert len(seen) == 21
    assert len(seen[0]) == 2 and all(own == pytest.approx(3 * base) for base, own in seen)
    assert [base for base, _ in seen] == pytest.approx(rates(settings()))


def test_what_is_frozen_stays_frozen_and_so_do_its_statistics(tmp_path):
    parts, step = build(tmp_path, "data=digits", "model=convnet", "model.freeze=[features.*]")
    frozen = [p for p in parts.model.parameters() if not p.requires_grad]
    assert frozen
    weights, moved = [p.clone() for p in frozen], []

    def watch(curve):
        moved.append(all(torch.equal(p, w) for p, w in zip(frozen, weights, strict=True)))
        return len(curve.rates) == 3

    assert run(parts, step, watch=watch).ended == "stopped"
    assert moved == [True] * 3


def test_it_stops_where_the_loss_climbs(tmp_path):
    parts, step = build(tmp_path, "optimizer=sgd", "optimizer.momentum=0.9")
    curve = run(parts, step, settings(end=1e4, steps=200, smoothing=0.9, diverge_factor=4.0))
    assert len(curve.rates) < 200 and curve.diverged_at == curve.rates[-1]
    assert curve.ended.startswith("the loss climbed to ")
    first = curve.smoothed[20]
    assert curve.smoothed[-1] > max(4 * curve.lowest, first)
    assert all(value <= max(4 * min(curve.smoothed[: place + 1]), first) for place, value in
               enumerate(curve.smoothed[:-1]) if place >= 20)  # fmt: skip


def test_it_stops_where_the_loss_is_no_number(tmp_path):
    parts, step = build(tmp_path, "data=sine", "model=mlp", "model.hidden=[8]", "optimizer=sgd")
    curve = run(parts, step, settings(end=1e30, diverge_factor=1e300))
    assert curve.ended.startswith(("the loss became nan at", "the loss became inf at"))
    assert curve.diverged_at is not None and curve.diverged_at > curve.rates[-1]
    assert all(math.isfinite(value) for value in (*curve.losses, *curve.smoothed))


class Lowered(Loss):
    """A loss that is always the same, and below 0 where it is at its best."""

    def __init__(self, values):
        self.values = iter(values)

    def __call__(self, outputs, targets, weights=None):
        return outputs.sum() * 0 + next(self.values)


@pytest.mark.parametrize(
    ("values", "last"),
    [
        ([2.0, 2.0, 2.0, 1.0, 1.9, 2.1], 2.1),  # above twice the lowest, and above where it began
        ([2.0, 2.0, 2.0, 0.1, 1.9, 0.2, 2.1], 2.1),  # many times the lowest, but below where it began
        ([-1.0, -1.0, -1.0, -2.0, -1.5, -0.5, 0.1], 0.1),  # as far above the lowest as that is from 0
        ([5.0, 1.0, 1.0, 1.9, 2.1], 2.1),  # the first tenth tells nothing: it is of few batches
    ],
)
def test_when_it_has_climbed_too_far(tmp_path, values, last):
    parts, step = build(tmp_path, "trainer.batch_size=20")
    step.loss = Lowered([*values, *[99.0] * 30])
    curve = run(parts, step, settings(diverge_factor=2.0))
    assert curve.losses == pytest.approx(values) and curve.ended.startswith(f"the loss climbed to {last}")


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_as_it_was(tmp_path, name):
    parts, step = build(tmp_path, "model=mlp", "model.hidden=[6, 6]", "model.dropout=0.3", f"optimizer={name}")
    before = copy_of(step)
    curve = run(parts, step, settings(end=100.0, steps=30))
    assert len(curve.rates) > 5
    assert_same(before, state_of(step))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_everything_is_as_it_was_after_an_error(tmp_path, error):
    parts, step = build(tmp_path, "data=digits", "model=convnet", "optimizer=muon", "trainer.accumulate=2")
    step(next(parts.split("train", shuffle=True).batches(0)))  # not new: the optimizer has gathered something
    before = copy_of(step)
    before["step"] = {**before["step"], "optimizer": copied(before["step"]["optimizer"])}

    def fail(curve):
        if len(curve.rates) == 4:
            raise error
        return False

    with pytest.raises(error):
        run(parts, step, watch=fail)
    assert_same(before, state_of(step))


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    return {key: copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_a_stop_leaves_everything_as_it_was(tmp_path):
    parts, step = build(tmp_path, "model=mlp", "optimizer=adam")
    before = copy_of(step)
    assert len(run(parts, step, watch=lambda curve: len(curve.rates) == 7).rates) == 7
    assert_same(before, state_of(step))


@pytest.mark.parametrize("name", ["lbfgs", "rprop", "prodigy"])
def test_a_rate_that_means_something_else_is_refused(name):
    assert refusal(nn.Linear(1, 1), name).startswith(f"optimizer.name = '{name}': ")
    assert note(name) is None


@pytest.mark.parametrize("name", ["adadelta", "adagrad", "ftrl"])
def test_a_rate_to_be_read_with_care_has_a_note(name):
    assert note(name).startswith(f"{name} ")
    assert refusal(nn.Linear(1, 1), name) is None


def test_models_without_gradients_are_refused(tmp_path):
    parts, _ = build(tmp_path, "data=iris", "model=knn")
    assert refusal(parts.model, "adam") == "the model is fitted in one step, without a learning rate"
    parts, _ = build(tmp_path, "data=gate", "model=perceptron")
    assert refusal(parts.model, "adam") == "the model learns by its own rule, which does not follow the loss"


def test_settings_that_cannot_be(tmp_path):
    problems: list[str] = []
    kind = registry.find("callbacks", "lr_sweep").settings
    values = {
        "name": "lr_sweep", "start": 1.0, "end": 0.1, "steps": 5, "scale": "log", "smoothing": 1.0,
        "diverge_factor": 1.0, "use": "best",
    }  # fmt: skip
    config.convert(values, kind, "callbacks.lr_sweep", problems)
    keys = {problem.split(" ")[0].rstrip(":") for problem in problems}
    assert keys >= {f"callbacks.lr_sweep.{name}" for name in ("steps", "scale", "smoothing", "diverge_factor", "use")}
    problems.clear()
    config.convert({**values, "steps": 30, "scale": "linear", "smoothing": 0.5, "diverge_factor": 2.0, "use": None},
                   kind, "callbacks.lr_sweep", problems)  # fmt: skip
    assert problems == ["callbacks.lr_sweep: end = 0.1: must be above start = 1"]
