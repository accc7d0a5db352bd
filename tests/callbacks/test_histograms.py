"""Histograms of weights and gradients, and gradient norms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from killing import assert_same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import build_trainer, train

SHORT = ("model=mlp", "model.hidden=[4]", "trainer.batch_size=30", "trainer.max_epochs=4")  # 3 updates an epoch
NAMES = [f"layers.{layer}.{kind}" for layer in (1, 3) for kind in ("weight", "bias")]


def shown(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0}).Reload()


def test_every_parameter_has_both_histograms_and_a_norm(tmp_path):
    train(tmp_path, *SHORT, "callbacks.histograms.every_epochs=2", callbacks=("histograms",))
    tags = shown(tmp_path).Tags()
    assert set(tags["histograms"]) == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in NAMES}
    assert set(tags["scalars"]) == {f"gradient_norm/{name}" for name in [*NAMES, "all"]}
    assert [event.step for event in shown(tmp_path).Histograms("weights/layers.1.bias")] == [6, 12]


def test_the_figures_are_those_of_the_weights_and_of_a_batch(tmp_path):
    trainer = build_trainer(tmp_path, *SHORT, callbacks=("histograms",))
    trainer.fit()
    batch = next(trainer.train.batches(4))  # of the epoch to come
    trainer.step.forward(batch).loss.backward()
    gradients = {name: parameter.grad for name, parameter in trainer.model.named_parameters()}
    events = shown(tmp_path)
    for name, gradient in gradients.items():
        assert events.Scalars(f"gradient_norm/{name}")[-1].value == pytest.approx(gradient.norm().item(), rel=1e-5)
        drawn = events.Histograms(f"gradients/{name}")[-1].histogram_value
        assert (drawn.num, drawn.max) == (gradient.numel(), pytest.approx(gradient.max().item()))
        weights = events.Histograms(f"weights/{name}")[-1].histogram_value
        own = dict(trainer.model.named_parameters())[name]
        assert (weights.min, weights.sum) == (
            pytest.approx(own.min().item()),
            pytest.approx(own.sum().item(), abs=1e-6),
        )
    total = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm().item()
    assert events.Scalars("gradient_norm/all")[-1].value == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("kept", ["weights", "gradients", "norms"])
def test_each_can_be_had_alone(kept, tmp_path):
    others = [f"callbacks.histograms.{other}=false" for other in ("weights", "gradients", "norms") if other != kept]
    train(tmp_path, *SHORT, *others, callbacks=("histograms",))
    tags = shown(tmp_path).Tags()
    kinds = {tag.partition("/")[0] for tag in (*tags["histograms"], *tags["scalars"])}
    assert kinds == {{"norms": "gradient_norm"}.get(kept, kept)}


def test_frozen_layers_have_no_gradients_and_keep_their_statistics(tmp_path):
    overrides = (*SHORT, "model.norm=batch", "model.freeze=['layers.[12].*']", "model.unfreeze_epoch=2")
    with_them = train(tmp_path / "a", *overrides, callbacks=("histograms",))
    without = train(tmp_path / "b", *overrides)
    assert_same(with_them.trainer.model.state_dict(), without.trainer.model.state_dict())
    events = shown(tmp_path / "a")
    assert [event.step for event in events.Histograms("gradients/layers.1.weight")] == [9, 12]
    assert [event.step for event in events.Histograms("gradients/layers.4.weight")] == [3, 6, 9, 12]


def test_with_those_of_the_tensorboard_callback_each_is_there_once(tmp_path):
    overrides = (*SHORT, "callbacks.tensorboard.histograms_every_epochs=1", "callbacks.tensorboard.graph=false")
    train(tmp_path, *overrides, callbacks=("tensorboard", "histograms"))
    assert [event.step for event in shown(tmp_path).Histograms("weights/layers.1.bias")] == [3, 6, 9, 12]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1  # one file, for TensorBoard follows one


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, caplog):
    callbacks = ("histograms", "tensorboard", "learning_rate_monitor", "device_stats")
    trainer = build_trainer(tmp_path, *SHORT, callbacks=callbacks)
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    trainer.fit()
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert trainer.state.epoch == 4 and warning.startswith("TensorBoard gets no more figures: ")
