"""Learning rates as TensorBoard shows them, update by update."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import build_trainer, train

SHORT = ("trainer.batch_size=32", "trainer.max_steps=8")  # 3 updates an epoch
NAME = "learning_rate_monitor"


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("scheduler", ["cosine", "exponential", "constant"])
def test_each_group_has_the_rate_that_its_updates_were_made_with(scheduler, every, tmp_path):
    overrides = (
        *SHORT, "model=mlp", "model.hidden=[4]", f"scheduler={scheduler}", "optimizer=sgd", "optimizer.lr=0.1",
        "optimizer.groups={'layers.1.*': {lr: 0.02}, 'layers.3.bias': {weight_decay: 0}}",
        f"callbacks.{NAME}.every_steps={every}", f"callbacks.{NAME}.momentum=false",
    )  # fmt: skip
    trainer = build_trainer(tmp_path, *overrides, callbacks=(NAME,))
    used = []
    update = trainer.step._update

    def observed(*arguments):
        used.append([group["lr"] for group in trainer.step.optimizer.param_groups])
        return update(*arguments)

    trainer.step._update = observed
    trainer.fit()
    steps = range(every, 9, every)
    assert curves(tmp_path) == {
        tag: [(step, pytest.approx(used[step - 1][group])) for step in steps]
        for group, tag in enumerate(
            ["learning_rate", "learning_rate/layers.1.*", "learning_rate/layers.3.bias"],
        )
    }
    assert len({rates[0] for rates in used}) == (1 if scheduler == "constant" else {"cosine": 8}.get(scheduler, 3))


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("momentum", {"momentum": [(2, 0.5)]}),
        ("adam", {"beta1": [(2, 0.8)], "beta2": [(2, 0.99)]}),
        ("adagrad", {}),
    ],
)
def test_momentum_is_written_once_where_it_stays(optimizer, expected, tmp_path):
    settings = {"momentum": ("optimizer.momentum=0.5",), "adam": ("optimizer.betas=[0.8,0.99]",)}.get(optimizer, ())
    train(tmp_path, *SHORT, f"optimizer={optimizer}", *settings, f"callbacks.{NAME}.every_steps=2", callbacks=(NAME,))
    found = curves(tmp_path)
    assert [step for step, _ in found.pop("learning_rate")] == [2, 4, 6, 8]
    assert found == {tag: [(step, pytest.approx(value)) for step, value in seen] for tag, seen in expected.items()}


def test_what_changes_is_written_when_it_does(tmp_path):
    trainer = build_trainer(tmp_path, *SHORT, "optimizer=prodigy", f"callbacks.{NAME}.every_steps=1", callbacks=(NAME,))
    trainer.fit()
    grown = [value for _, value in curves(tmp_path)["d"]]
    assert len(grown) > 1 and grown == sorted(grown)  # the factor that prodigy finds for its rate


@pytest.mark.parametrize("model", ["perceptron", "som", "knn", "logistic_regression"])
def test_models_without_gradients_have_one_too(model, tmp_path):
    train(tmp_path, f"model={model}", *SHORT, f"callbacks.{NAME}.every_steps=1", callbacks=(NAME,))
    assert set(curves(tmp_path)) == {"learning_rate"}
