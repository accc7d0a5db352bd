"""The curves of precision and recall that TensorBoard shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from killing import assert_same
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.pr_curve import metadata
from tensorboard.util import tensor_util
from torch.utils.tensorboard.summary import compute_curve
from training import build_trainer, resume, train

from dltrain.errors import ConfigError

RAGGED = ("data=iris", "trainer.batch_size=32", "callbacks.tensorboard.graph=false")  # 3 batches an epoch
BOTH = ("pr_curves", "tensorboard")


def curves(folder) -> dict[str, dict[int, np.ndarray]]:
    """Returns what the tab shows, (6, T) by tag and step, read by the part of TensorBoard that serves it."""
    size = {metadata.PLUGIN_NAME: 0}  # keeps all
    events = EventAccumulator(str(folder / "tensorboard"), tensor_size_guidance=size).Reload()
    found: dict[str, dict[int, np.ndarray]] = {}
    for tag in events.PluginTagToContent(metadata.PLUGIN_NAME):
        content = events.SummaryMetadata(tag).plugin_data.content
        assert metadata.parse_plugin_metadata(content).num_thresholds == 127
        steps = [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        found[tag] = dict(steps)
        assert len(found[tag]) == len(steps)
    return found


def test_each_class_has_a_curve_of_the_validation_split(tmp_path):
    trainer = build_trainer(
        tmp_path, *RAGGED, "trainer.max_epochs=4", "callbacks.pr_curves.every_epochs=2", callbacks=BOTH
    )
    trainer.test = None
    trainer.fit()
    found = curves(tmp_path)
    assert list(found) == [f"pr_curves/{name}" for name in ("setosa", "versicolor", "virginica", "all classes")]
    assert all(list(steps) == [6, 12] for steps in found.values())
    with torch.no_grad():
        (batch,) = trainer.validation.batches(0)
        chances = trainer.model.eval()(batch.inputs).softmax(dim=1).numpy()
    for place, name in enumerate(("setosa", "versicolor", "virginica")):
        expected = compute_curve((batch.targets == place).numpy(), chances[:, place], num_thresholds=127)
        assert found[f"pr_curves/{name}"][12] == pytest.approx(expected, abs=1e-6)


def test_several_targets_have_theirs_by_name(tmp_path):
    rows = "".join(f"{i},{i % 7},{'네' if i % 3 else '아니요'},{'가나다'[i % 3]},{i * 2}\n" for i in range(60))
    (tmp_path / "표.csv").write_text(f"a,b,sold,kind,price\n{rows}", encoding="utf-8")
    train(
        tmp_path / "run", "data=csv", f"data.path={tmp_path}/표.csv", "data.target=[sold, kind, price]", "model=mlp",
        "trainer.max_epochs=1", "callbacks.pr_curves.classes=2", "callbacks.tensorboard.graph=false", callbacks=BOTH,
    )  # fmt: skip
    tags = list(curves(tmp_path / "run"))
    assert tags == ["pr_curves/sold/아니요", *(f"pr_curves/kind/{name}" for name in ("가", "나", "all classes"))]


def test_a_resumed_run_has_each_curve_once(tmp_path):
    callbacks = (*BOTH, "checkpoint")
    train(tmp_path / "parts", *RAGGED, "trainer.max_steps=5", callbacks=callbacks)
    assert list(curves(tmp_path / "parts")["pr_curves/setosa"]) == [3, 5]
    resume(tmp_path / "parts", "trainer.max_steps=12")
    train(tmp_path / "whole", *RAGGED, "trainer.max_steps=12", callbacks=callbacks)
    parts, whole = curves(tmp_path / "parts"), curves(tmp_path / "whole")
    assert list(parts["pr_curves/setosa"]) == [3, 6, 9, 12]
    assert_same(
        *({tag: {s: torch.tensor(c) for s, c in own.items()} for tag, own in e.items()} for e in (parts, whole))
    )


def test_it_needs_no_other_callback_for_tensorboard(tmp_path):
    train(tmp_path, "data=iris", "trainer.max_epochs=1", callbacks=("pr_curves",))
    assert len(curves(tmp_path)) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("data=diabetes",),
            "callbacks.pr_curves: it does not fit this regression data. It fits binary, multiclass, multilabel and "
            "sequence_labels data; callbacks=[default,worst_errors] shows where any model errs most",
        ),
        (("data=korean_text", "model=gru"), "callbacks.pr_curves: it does not fit this next_token data. It fits"),
    ],
)
def test_data_without_classes_are_refused_before_the_run(overrides, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, *overrides, callbacks=("pr_curves",))
    assert str(caught.value).startswith(message)
