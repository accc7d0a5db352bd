"""What stands in the TensorBoard files, read as TensorBoard reads them."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import killing
import pytest
import torch
from killing import assert_same, what_counts
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from training import build_trainer, register_callback, resume, rows_of, train

from dltrain.callbacks.base import Callback
from dltrain.errors import Interrupted

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
NO_GRAPH = "callbacks.tensorboard.graph=false"


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    return events.Reload()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = read(folder)
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def expected_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    rows = rows_of(folder)
    names = [name for name in rows[0] if "/" in name or name == "lr"]
    return {
        name: [(row["step"], torch.tensor(row[name], dtype=torch.float32).item()) for row in rows] for name in names
    }


def test_the_curves_are_the_rows(tmp_path):
    train(
        tmp_path, *RAGGED, NO_GRAPH, "trainer.max_steps=8", "trainer.evaluate_every_steps=2", "scheduler=cosine",
        callbacks=("tensorboard",),
    )  # fmt: skip
    assert scalars(tmp_path) == expected_scalars(tmp_path)
    assert [step for step, _ in scalars(tmp_path)["lr"]] == [2, 3, 4, 6, 8]


def test_config_graph_and_histograms_are_there(tmp_path):
    train(
        tmp_path, *RAGGED, "model=mlp", "model.hidden=[16, 8]", "trainer.max_epochs=4",
        "callbacks.tensorboard.histograms_every_epochs=2",
        callbacks=("tensorboard",),
    )  # fmt: skip
    events = read(tmp_path)
    names = [f"layers.{layer}.{kind}" for layer in (1, 3, 5) for kind in ("weight", "bias")]
    assert set(events.Tags()["histograms"]) == {f"{k}/{n}" for k in ("weights", "gradients") for n in names}
    assert [e.step for e in events.Histograms("gradients/layers.1.weight")] == [6, 12]
    assert events.Histograms("weights/layers.1.weight")[0].histogram_value.num == 4 * 16
    (text,) = events.Tensors("config/text_summary")
    assert "    optimizer:\n" in text.tensor_proto.string_val[0].decode()
    operations = {node.op for node in events.Graph().node}
    assert events.Tags()["graph"] and any("linear" in operation for operation in operations)


@pytest.mark.parametrize("data", ["gate", "korean_text"])
def test_every_kind_of_model_has_a_graph(data, tmp_path, caplog):
    models = ["rnn", "lstm", "gru"] if data == "korean_text" else ["linear", "mlp", "gru"]
    for model in models:
        train(tmp_path / model, f"data={data}", f"model={model}", "trainer.max_epochs=1", callbacks=("tensorboard",))
        assert read(tmp_path / model).Tags()["graph"]
        assert "could not be traced" not in (tmp_path / model / "train.log").read_text(encoding="utf-8")


def test_models_of_several_inputs_or_outputs_have_a_graph(tmp_path):
    rows = "".join(f"{i / 7:.3f},{i % 7},{i % 3},{i * 2}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,c,price\n{rows}", encoding="utf-8")
    (tmp_path / "p.csv").write_text("Q,A\n" + "가 나,다\n나 가,라 다\n" * 20, encoding="utf-8")
    table = ("data=csv", f"data.path={tmp_path}/t.csv", "data.target=[c, price]")
    pairs = ("data=pairs_csv", f"data.path={tmp_path}/p.csv", "data.source=Q", "data.target=A", "data.min_count=1")
    runs = {
        "several": (*table, "data.inputs={wide: [a], deep: [a, b]}", "model=wide_deep"),
        "pairs": (*pairs, "model=seq2seq"),
    }
    for name, words in runs.items():
        train(tmp_path / name, *words, "trainer.max_epochs=1", callbacks=("tensorboard",))
        graph = read(tmp_path / name).Graph()
        inputs = [node for node in graph.node if node.op == "IO Node" and node.name.startswith("input")]
        assert len(inputs) == 2 and any("linear" in node.op for node in graph.node)
        assert "graph" not in (tmp_path / name / "train.log").read_text(encoding="utf-8")


def sessions(folder: Path) -> dict[str, HParamsPluginData]:
    """Returns what the HParams tab knows of a run."""
    contents = read(folder).PluginTagToContent("hparams")
    return {tag: HParamsPluginData.FromString(content) for tag, content in contents.items()}


def test_a_run_that_is_no_trial_can_be_compared_with_others(tmp_path):
    train(
        tmp_path, *RAGGED, NO_GRAPH, "model=mlp", "model.hidden=[4, 3]", "optimizer.lr=0.25", "trainer.max_epochs=1",
        "data.scaling=minmax", callbacks=("tensorboard",),
    )  # fmt: skip
    found = sessions(tmp_path)
    assert set(found) == {f"_hparams_/session_{part}_info" for part in ("start", "end")}
    values = found["_hparams_/session_start_info"].session_start_info.hparams
    shown = {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}
    assert shown.items() >= {
        "seed": 0, "model.name": "mlp", "model.hidden": "[4, 3]", "optimizer.lr": 0.25, "trainer.batch_size": 32,
        "data.scaling": "minmax", "trainer.auto_batch_size": "false",
    }.items()  # fmt: skip
    assert "trainer.max_steps" not in shown  # which is not set
    assert not any(name.startswith(("callbacks", "run_dir", "device", "sweep")) for name in shown)
    assert found["_hparams_/session_end_info"].session_end_info.status == Status.Value("STATUS_SUCCESS")


def test_a_run_that_is_stopped_has_not_ended(tmp_path, monkeypatch):
    class Stops(Callback):
        def on_step_end(self, trainer) -> None:
            if trainer.state.step == 4:
                trainer.request_stop("stopped", 15)

    register_callback(monkeypatch, Stops, "stops")
    with pytest.raises(Interrupted):
        train(tmp_path, *RAGGED, NO_GRAPH, "trainer.max_steps=7", callbacks=("tensorboard", "checkpoint", "stops"))
    assert list(sessions(tmp_path)) == ["_hparams_/session_start_info"]
    resume(tmp_path)
    assert len(sessions(tmp_path)) == 2


def test_a_model_that_cannot_be_traced_is_trained_all_the_same(tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, "trainer.max_epochs=1", callbacks=("tensorboard",))

    def hostile(module, inputs):
        if torch.jit.is_tracing():
            raise ValueError("not while tracing")

    trainer.model.register_forward_pre_hook(hostile)
    trainer.fit()
    assert trainer.state.step == 3 and not read(tmp_path).Tags()["graph"] and scalars(tmp_path)


@pytest.mark.parametrize("model", ["model=mlp", "model=gru"])
def test_graph_and_histograms_do_not_change_the_training(model, tmp_path):
    norm = ("model.norm=batch",) if model == "model=mlp" else ()
    common = (*RAGGED, model, *norm, "model.dropout=0.5", "trainer.max_epochs=3", "trainer.clip_norm=1",
              "trainer.accumulate=2", "optimizer=adam")  # fmt: skip
    with_all = train(
        tmp_path / "a", *common, "callbacks.tensorboard.histograms_every_epochs=1", callbacks=("tensorboard",)
    )
    without = train(tmp_path / "b", *common)
    assert_same(with_all.trainer.model.state_dict(), without.trainer.model.state_dict())
    assert all(parameter.grad is None for parameter in with_all.trainer.model.parameters())


@pytest.mark.parametrize("model", ["perceptron", "som", "knn", "logistic_regression"])
def test_a_model_without_gradients_has_histograms_of_its_weights(model, tmp_path):
    train(
        tmp_path, "data=iris", f"model={model}", "trainer.max_epochs=1", NO_GRAPH,
        "callbacks.tensorboard.histograms_every_epochs=1", callbacks=("tensorboard",),
    )  # fmt: skip
    shown = read(tmp_path).Tags()["histograms"]
    assert shown and all(name.startswith("weights/") for name in shown)


KILLS_ITSELF = """
import os, signal
from pathlib import Path
from dataclasses import dataclass
from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting

@dataclass(frozen=True)
class Settings:
    name: str = setting("Name.")

@registry.register("callbacks", "kills_itself", Settings)
class KillsItself(Callback):
    def on_checkpoint(self, trainer):
        if trainer.state.step == 7 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_and_resumed_run_has_each_step_once(tmp_path):
    """It dies at step 7, with figures of steps 5 to 7 on disk that its newest checkpoint does not know."""
    (tmp_path / "kills_itself.py").write_text(KILLS_ITSELF)
    overrides = [
        *RAGGED, "model=linear", "optimizer=sgd", "device=cpu", "device.threads=1", NO_GRAPH,
        "trainer.max_steps=10", "trainer.evaluate_every_steps=1",
        "callbacks.checkpoint.every_epochs=null", "callbacks.checkpoint.every_steps=4",
        "callbacks.checkpoint.min_seconds=0", "callbacks.tensorboard.flush_seconds=0.000001",
        "imports=[kills_itself]", "+callbacks.kills_itself.name=kills_itself",
    ]  # fmt: skip
    run = tmp_path / "run"
    assert killing.train(run, overrides) == -signal.SIGKILL
    assert max(step for step, _ in scalars(run)["lr"]) >= 6  # otherwise nothing is put to the test
    assert killing.train(run, overrides) == 0
    assert scalars(run) == expected_scalars(run)
    assert [step for step, _ in scalars(run)["lr"]] == list(range(1, 11))


@pytest.mark.parametrize("every", [1, 3])
def test_an_extended_run_has_each_step_once(every, tmp_path):
    """The row that was due only because the first part ended goes, from the curves as from the rows."""
    common = (*RAGGED, NO_GRAPH, f"trainer.evaluate_every_epochs={every}")
    train(tmp_path / "whole", *common, "trainer.max_steps=11", callbacks=("tensorboard", "checkpoint"))
    for first in (4, 6):
        run = tmp_path / f"run-{first}"
        train(run, *common, f"trainer.max_steps={first}", callbacks=("tensorboard", "checkpoint"))
        for limit in (first, 11):
            resume(run, f"trainer.max_steps={limit}")
            assert scalars(run) == expected_scalars(run)
        assert scalars(tmp_path / "whole") == scalars(run)
        assert_same(what_counts(tmp_path / "whole"), what_counts(run))


def test_figures_can_be_read_while_it_trains(monkeypatch, tmp_path):
    seen = []

    class Reads(Callback):
        def on_epoch_end(self, trainer) -> None:
            seen.append([step for step, _ in scalars(tmp_path)["val/loss"]])

    register_callback(monkeypatch, Reads, "reads")
    train(
        tmp_path, *RAGGED, NO_GRAPH, "callbacks.tensorboard.flush_seconds=0.000001", "trainer.max_epochs=3",
        callbacks=("tensorboard", "reads"),
    )  # fmt: skip
    assert seen == list(itertools.accumulate([[3], [6], [9]]))


def test_a_log_folder_that_cannot_be_written_does_not_end_the_training(tmp_path, caplog):
    trainer = build_trainer(
        tmp_path, *RAGGED, "trainer.max_epochs=2", "callbacks.tensorboard.histograms_every_epochs=1",
        callbacks=("tensorboard",),
    )  # fmt: skip
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    trainer.fit()
    assert trainer.state.epoch == 2
    (warning,) = caplog.messages
    assert warning.startswith("TensorBoard gets no more figures: ")
