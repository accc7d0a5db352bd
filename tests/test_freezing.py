"""What is frozen, for a time or for good."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from killing import assert_same
from torch import nn
from training import build_trainer, resume, rows_of, train, without_times

from dltrain import freezing, registry
from dltrain.checkpoint import load_state
from dltrain.config import TransferSettings
from dltrain.errors import ConfigError
from dltrain.run_folder import RunFolder

# iris: 4 features, 3 classes, 3 batches an epoch. Parameters layers.1, layers.3 and layers.5; normed,
# layers.1, 4 and 7, with norms in layers.2 and 5.
SMALL = ("model=mlp", "model.hidden=[8,6]", "trainer.batch_size=30", "optimizer.lr=0.1")
NORMED = (*SMALL, "model.norm=batch")


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def trained_in(folder: Path, *overrides: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Trains; returns the first weights and the last."""
    trainer = build_trainer(folder, *overrides)
    before = copied(trainer.model)
    trainer.fit()
    return before, copied(trainer.model)


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lbfgs"])
def test_what_is_frozen_does_not_move(optimizer, tmp_path):
    frozen = "model.freeze=['layers.1.*','*.3.bias']"
    before, after = trained_in(tmp_path, *SMALL, frozen, f"optimizer={optimizer}", "trainer.max_epochs=2")
    assert changed(before, after) == {"layers.3.weight", "layers.5.weight", "layers.5.bias"}


def test_normalisation_that_is_wholly_frozen_keeps_its_statistics(tmp_path):
    parameters = ["layers.1.*", "layers.2.*", "layers.5.weight"]
    overrides = (*NORMED, f"model.freeze={parameters}", "trainer.evaluate_every_steps=2", "trainer.max_epochs=3")
    before, after = trained_in(tmp_path, *overrides)
    assert not any(name.startswith(("layers.1.", "layers.2.")) for name in changed(before, after))
    assert {"layers.5.bias", "layers.5.running_mean", "layers.5.running_var"} <= changed(before, after)


def test_normalisation_that_a_group_of_the_optimizer_freezes_keeps_its_statistics_too(tmp_path):
    groups = "optimizer.groups={'layers.2.*': {frozen: true}}"
    before, after = trained_in(tmp_path, *NORMED, groups, "trainer.max_epochs=2")
    assert not any(name.startswith("layers.2.") for name in changed(before, after))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_from_an_epoch_on_everything_is_trained(optimizer, tmp_path):
    overrides = (*NORMED, "model.freeze=['layers.1.*','layers.2.*']", "model.unfreeze_epoch=2")
    overrides = (*overrides, f"optimizer={optimizer}")
    before, after = trained_in(tmp_path / "a", *overrides, "trainer.max_epochs=2")
    assert not any(name.startswith(("layers.1.", "layers.2.")) for name in changed(before, after))
    before, after = trained_in(tmp_path / "b", *overrides, "trainer.max_epochs=3")
    assert changed(before, after) >= {"layers.1.weight", "layers.2.weight", "layers.2.running_mean"}


def test_unfreezing_goes_with_a_lower_rate_for_lower_layers(tmp_path):
    overrides = (*SMALL, "model.freeze=['layers.1.*']", "model.unfreeze_epoch=1", "optimizer=sgd", "optimizer.lr=0.1")
    groups = "optimizer.groups={'layers.1.*': {lr: 0.001}, 'layers.3.weight': {frozen: true}}"
    trainer = build_trainer(tmp_path, *overrides, groups, "trainer.max_epochs=1", "scheduler=linear")
    rates = {group["pattern"]: group["initial_lr"] for group in trainer.step.optimizer.param_groups}
    assert rates == {"": 0.1, "layers.1.*": 0.001}
    before = copied(trainer.model)
    trainer.fit()
    assert changed(before, copied(trainer.model)) == {"layers.3.bias", "layers.5.weight", "layers.5.bias"}
    assert trainer.freezing is not None
    trainer.freezing.apply(1)
    free = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert free == {"layers.1.weight", "layers.1.bias", "layers.3.bias", "layers.5.weight", "layers.5.bias"}
    before = copied(trainer.model)
    batch = next(trainer.train.batches(1))
    trainer.step(batch)
    moved = changed(before, copied(trainer.model))
    assert {"layers.1.weight", "layers.5.weight"} <= moved and "layers.3.weight" not in moved
    own = trainer.step.optimizer.param_groups
    assert own[1]["lr"] == pytest.approx(own[0]["lr"] / 100)


@pytest.mark.parametrize("stop", [4, 6, 8])
def test_a_run_goes_on_to_the_same_bits_across_the_unfreezing(stop, tmp_path):
    overrides = (*NORMED, "model.freeze=['layers.1.*','layers.2.*']", "model.unfreeze_epoch=2", "optimizer=adam")
    whole = train(tmp_path / "whole", *overrides, "trainer.max_steps=11", callbacks=("checkpoint",))
    train(tmp_path / "parts", *overrides, f"trainer.max_steps={stop}", callbacks=("checkpoint",))
    parts = resume(tmp_path / "parts", "trainer.max_steps=11")
    assert parts is not None
    for pointer in ("last", "best"):
        found = [load_state(outcome.folder, pointer)[1] for outcome in (whole, parts)]
        for state in found:
            state.get("row", {}).pop("epoch_seconds", None)
        assert_same(*found)
    assert without_times(rows_of(tmp_path / "whole")) == without_times(rows_of(tmp_path / "parts"))


def test_a_plain_training_has_nothing_to_freeze(tmp_path):
    assert build_trainer(tmp_path, *NORMED).freezing is None


def test_the_summary_counts_what_is_trained(tmp_path):
    overrides = (*SMALL, "model.freeze=['layers.1.*']", "model.unfreeze_epoch=1", "trainer.max_epochs=1")
    outcome = train(tmp_path / "run", *overrides, callbacks=("summary",))
    log = outcome.folder.log.read_text(encoding="utf-8")
    assert "mlp: 115 parameters, 75 of them trained, more after 1 epoch; optimizer sgd" in log


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ("model.freeze=['layer.1.*']",),
            "model.freeze: no parameter fits 'layer.1.*'. Did you mean 'layers.1.bias'?",
        ),
        (
            ("model.unfreeze_epoch=1",),
            "model.unfreeze_epoch = 1: nothing is frozen. Say what is: model.freeze=[PATTERN]",
        ),
        (
            ("model.freeze=['*']", "model.unfreeze_epoch=1"),
            "model.freeze: every parameter is frozen, so there is nothing to train before model.unfreeze_epoch. "
            "Leave some free, such as those of the last layer",
        ),
    ],
)
def test_mistakes_are_said_before_anything_is_written(overrides, problem, tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", *SMALL, *overrides)
    assert caught.value.problems == [problem] and not (tmp_path / "run").exists()


def test_unfreezing_from_the_first_epoch_on_freezes_nothing():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    freezing.freeze(model, TransferSettings(None, ["*"], 0, {}, {}))
    assert all(parameter.requires_grad for parameter in model.parameters())


# --- one layer after the other ----------------------------------------------------------------------------

# The last layer first; layers.7 from the start, 4 and 5 after one epoch, 1 and 2 after two; 7's bias no longer
# after three.
GRADUAL = (
    *NORMED,
    "model.activation=tanh",  # relu may die, and then there is no gradient to see
    "model.unfreeze_after={'layers.[45].*': 1, 'layers.[12].*': 2}",
    "model.freeze_after={'layers.7.bias': 3}",
)
FIRST, SECOND, LAST = ("layers.1.", "layers.2."), ("layers.4.", "layers.5."), ("layers.7.",)


def moved_in_epochs(folder: Path, *overrides: str, epochs: int) -> list[set[str]]:
    """Trains; returns what moved in each epoch."""
    trainer = build_trainer(folder, *overrides, f"trainer.max_epochs={epochs}")
    weights = [copied(trainer.model)]
    plain = trainer.history.append

    def appended(row) -> None:
        weights.append(copied(trainer.model))
        plain(row)

    trainer.history.append = appended
    trainer.fit()
    return [changed(before, after) for before, after in itertools.pairwise(weights)]


def whole(prefixes: tuple[str, ...], names: set[str]) -> bool:
    """Tells whether all of these layers moved, their statistics too; False where none of them did.

    A bias before batch normalisation has no gradient but for rounding.
    """
    moved = {name for name in names if name.startswith(prefixes)}
    if not moved:
        return False
    assert {name.rsplit(".", 1)[0] + "." for name in moved} == set(prefixes)
    assert all(f"{layer}running_mean" in moved for layer in prefixes if layer in ("layers.2.", "layers.5."))
    return True


# LBFGS lets none go (below), and dual averaging makes every weight of a deep network 0.
OPTIMIZERS = sorted({*registry.names("optimizer")} - {"lbfgs", "adagrad_dual_averaging"})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_layers_start_and_stop_one_after_the_other_with_every_optimizer(optimizer, tmp_path):
    overrides = (
        *GRADUAL,
        f"optimizer={optimizer}",
        "optimizer.lr=0.01",
        "trainer.batch_size=15",
        "trainer.accumulate=2",
    )
    epochs = moved_in_epochs(tmp_path, *overrides, epochs=5)
    assert [whole(FIRST, moved) for moved in epochs] == [False, False, True, True, True]
    assert [whole(SECOND, moved) for moved in epochs] == [False, True, True, True, True]
    assert ["layers.7.weight" in moved for moved in epochs] == [True] * 5
    assert ["layers.7.bias" in moved for moved in epochs] == [True, True, True, False, False]


def test_a_gradual_training_goes_on_to_the_same_bits_with_an_average(tmp_path):
    average = ("callbacks.ema.decay=0.5",)
    overrides = (*GRADUAL, *average, "optimizer=adamw", "trainer.accumulate=2", "trainer.evaluate_every_steps=3")
    callbacks = ("checkpoint", "ema")
    train(tmp_path / "whole", *overrides, "trainer.max_steps=11", callbacks=callbacks)
    for stop in (4, 6, 8, 9, 10):
        parts = tmp_path / f"stopped-{stop}"
        train(parts, *overrides, f"trainer.max_steps={stop}", callbacks=callbacks)
        resume(parts, "trainer.max_steps=11")
        states = [load_state(RunFolder(folder), "last")[1] for folder in (tmp_path / "whole", parts)]
        for state in states:
            state["row"].pop("epoch_seconds")
            state["callbacks"].pop("checkpoint")
            state["made_with"].pop("length", None)
        assert_same(*states)
        assert without_times(rows_of(tmp_path / "whole")) == without_times(rows_of(parts))


def test_lbfgs_starts_layers_later_and_lets_none_go(tmp_path):
    later = (*NORMED, "model.unfreeze_after={'layers.[12].*': 2}", "optimizer=lbfgs")
    epochs = moved_in_epochs(tmp_path / "later", *later, epochs=3)
    assert [whole(FIRST, moved) for moved in epochs] == [False, False, True]
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", *NORMED, "model.freeze_after={'layers.7.bias': 3}", "optimizer=lbfgs")
    assert caught.value.problems == [
        "model.freeze_after: optimizer=lbfgs goes on along directions of before, which move what is frozen. Take "
        "another optimizer"
    ]


def test_the_schedule_holds_before_unfreeze_epoch_and_the_last_pattern_before_others(tmp_path):
    overrides = (
        *SMALL, "model.freeze=['layers.[13].*']", "model.unfreeze_epoch=4",
        "model.unfreeze_after={'layers.*': 0, 'layers.3.*': 2}", "trainer.max_epochs=1",
    )  # fmt: skip
    outcome = train(tmp_path / "run", *overrides, callbacks=("summary",))
    assert outcome.trainer.freezing is not None
    for epoch, expected in {0: {"1", "5"}, 1: {"1", "5"}, 2: {"1", "3", "5"}}.items():
        outcome.trainer.freezing.apply(epoch)
        free = {name.split(".")[1] for name, own in outcome.trainer.model.named_parameters() if own.requires_grad}
        assert free == expected
    log = outcome.folder.log.read_text(encoding="utf-8")
    assert "mlp: 115 parameters, 61 of them trained, more after 2 epochs; optimizer sgd" in log


def test_the_summary_tells_when_more_and_when_fewer_are_trained(tmp_path):
    outcome = train(tmp_path / "run", *GRADUAL, "trainer.max_epochs=1", callbacks=("summary",))
    log = outcome.folder.log.read_text(encoding="utf-8")
    assert "143 parameters, 21 of them trained, more after 1 and 2 epochs, fewer after 3 epochs; optimizer" in log


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            "model.unfreeze_after={'layer.1.*': 2}",
            "model.unfreeze_after: no parameter fits 'layer.1.*'. Did you mean 'layers.1.bias'?",
        ),
        (
            "model.freeze_after={'layers.1.*': 2, 'layers.*': 3}",
            "model.freeze_after: what 'layers.1.*' fits belongs to patterns after it, as layers.1.weight to "
            "'layers.*'. The last that fits holds: put the narrower one last",
        ),
        (
            "model.unfreeze_after={'*': 2}",
            "model.unfreeze_after: every parameter is frozen, so there is nothing to train before that. Leave some "
            "free, such as those of the last layer",
        ),
        (
            "model.freeze_after={'layers.[13].*': 1, 'layers.5.*': 3}",
            "model.freeze_after: after 3 epochs every parameter is frozen, and nothing is left to train. Leave some "
            "free, or train no longer: trainer.max_epochs=3",
        ),
        (
            "model.unfreeze_after={'layers.1.weight': 2} model.freeze_after={'layers.1.*': 2}",
            "model.freeze_after.layers.1.* = 2: layers.1.weight is trained only after 2 epochs, so it would never be. "
            "model.freeze=[layers.1.weight] freezes it for good",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_told_before_anything_is_written(overrides, problem, tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", *SMALL, *overrides.replace("} ", "}\n").splitlines())
    assert caught.value.problems == [problem] and not (tmp_path / "run").exists()
