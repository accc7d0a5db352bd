"""What MLflow has of a run, read back with its own client; and that nothing of it disturbs a training."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from training import configure, register_callback, resume, rows_of, train

from dltrain import assembly, config_files
from dltrain.callbacks import mlflow as ours
from dltrain.callbacks import tracker
from dltrain.callbacks.base import Callback
from dltrain.errors import ConfigError, DivergedError, Interrupted

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
AT_ONCE = "callbacks.mlflow.flush_seconds=0.000001"


@pytest.fixture(scope="module")
def client(mlflow_store):
    with tracker.undisturbed(ours.MLflow.environment, "mlflow"):
        from mlflow.tracking import MlflowClient

        yield MlflowClient(mlflow_store)


def name_in(folder: Path) -> str:
    return json.loads((folder / "mlflow.json").read_text(encoding="utf-8"))["run"]


def curves(client: Any, folder: Path) -> dict[str, list[tuple[int, float]]]:
    name = name_in(folder)
    logged = [metric for metric in client.get_run(name).data.metrics if not metric.startswith("test/")]
    return {metric: [(m.step, m.value) for m in client.get_metric_history(name, metric)] for metric in logged}


def log_of(folder: Path, level: str) -> list[str]:
    lines = (folder / "train.log").read_text(encoding="utf-8").splitlines()
    return [line.partition(f" {level} ")[2] for line in lines if f" {level} " in line]


def expected(folder: Path) -> dict[str, list[tuple[int, float]]]:
    rows = rows_of(folder)
    names = [name for name in rows[0] if name not in ("step", "partial")]
    return {name: [(row["step"], float(row[name])) for row in rows] for name in names}


def test_the_run_there_is_the_run(client, tmp_path):
    train(
        tmp_path / "한글", *RAGGED, "trainer.max_steps=8", "trainer.evaluate_every_steps=2", "scheduler=cosine",
        "optimizer.groups={layer.*: {lr: 0.1}}", callbacks=("mlflow",),
    )  # fmt: skip
    folder = tmp_path / "한글"
    run = client.get_run(name_in(folder))
    assert run.info.run_name == "한글" and run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "dltrain"
    assert curves(client, folder) == expected(folder)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert {name: value for name, value in run.data.metrics.items() if name.startswith("test/")} == result["test"]
    container = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert run.data.params["optimizer.lr"] == str(container["optimizer"]["lr"])
    assert run.data.params["optimizer.groups.layer._.lr"] == "0.1"
    assert run.data.params["data.name"] == "iris" and run.data.params["run_dir"] == str(folder)
    assert len(run.data.params) == len(config_files.flatten(container))
    assert run.data.tags["dltrain.folder"] == str(folder)
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    commit = None if environment["git"] is None else environment["git"]["commit"]
    assert run.data.tags.get("mlflow.source.git.commit") == commit
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["config.yaml", "result.json"]
    kept = json.loads(Path(client.download_artifacts(run.info.run_id, "result.json", str(tmp_path))).read_text())
    assert kept == {name: value for name, value in result.items() if name not in ("seconds", "test_weights")}


def test_a_run_that_goes_on_goes_on_there(client, tmp_path):
    train(tmp_path, *RAGGED, "trainer.max_epochs=2", callbacks=("mlflow", "checkpoint"))
    name = name_in(tmp_path)
    assert resume(tmp_path, "trainer.max_epochs=4") is not None
    assert name_in(tmp_path) == name
    assert curves(client, tmp_path) == expected(tmp_path)
    run = client.get_run(name)
    assert run.info.status == "FINISHED"
    assert run.data.params["trainer.max_epochs"] == "2"
    assert run.data.tags["changed.trainer.max_epochs"] == "2 -> 4"


def test_what_a_killed_process_had_not_told_is_made_up_for(client, tmp_path):
    train(tmp_path, *RAGGED, "trainer.max_epochs=3", callbacks=("checkpoint",))
    values = configure(tmp_path, callbacks=("mlflow",))[1]["callbacks"]["mlflow"]
    resume(tmp_path, "trainer.max_epochs=4", f"callbacks.mlflow={json.dumps(values)}")  # of these rows it knows nothing
    assert curves(client, tmp_path) == expected(tmp_path)


@pytest.mark.parametrize("status", ["KILLED", "FAILED"])
def test_it_knows_how_a_run_ended(status, client, monkeypatch, tmp_path):
    class Asks(Callback):
        def on_epoch_end(self, trainer) -> None:
            if status == "FAILED":
                raise DivergedError("it diverged")
            trainer.request_stop("stopped by SIGTERM", signal.SIGTERM)

    register_callback(monkeypatch, Asks, "asks")
    with pytest.raises(DivergedError if status == "FAILED" else Interrupted):
        train(tmp_path, *RAGGED, callbacks=("mlflow", "asks"))
    run = client.get_run(name_in(tmp_path))
    assert run.info.status == status
    assert curves(client, tmp_path) == expected(tmp_path)


@pytest.mark.slow
def test_a_store_that_goes_is_said_once_and_ends_nothing(monkeypatch, tmp_path):
    store = tmp_path / "store"
    store.mkdir()

    class Removes(Callback):
        def on_epoch_end(self, trainer) -> None:
            if trainer.state.epoch == 1:
                (store / "mlflow.db").write_bytes(b"no database any more" * 1000)

    register_callback(monkeypatch, Removes, "removes")
    outcome = train(
        tmp_path / "run", *RAGGED, "trainer.max_epochs=5", AT_ONCE,
        f"callbacks.mlflow.tracking_uri=sqlite:///{store}/mlflow.db", callbacks=("mlflow", "removes"),
    )  # fmt: skip
    assert outcome.result["status"] == "done" and outcome.trainer.state.epoch == 5
    assert log_of(tmp_path / "run", "WARNING") == [
        "MLflow gets no more figures: (sqlite3.DatabaseError) file is not a database. The training goes on without"
    ]


def test_a_server_that_comes_back_gets_all_figures_in_the_end(client, monkeypatch, tmp_path, capsys):
    send, calls = ours.MLflow.send, []

    def failing_once(self, points):
        calls.append(len(points))
        if len(calls) == 2:
            raise ConnectionError("the server is gone\nand more of it")
        send(self, points)

    monkeypatch.setattr(ours.MLflow, "send", failing_once)
    train(tmp_path, *RAGGED, "trainer.max_epochs=5", AT_ONCE, callbacks=("mlflow",))
    assert calls == [1, 1, 4]
    assert curves(client, tmp_path) == expected(tmp_path)
    assert log_of(tmp_path, "WARNING") == [
        "MLflow gets no more figures: the server is gone. The training goes on without"
    ]
    assert capsys.readouterr().err.endswith("\nMLflow could be reached in the end, and has all figures\n")


def test_a_server_that_is_not_there_is_said_before_the_first_step(tmp_path):
    outcome = train(
        tmp_path, *RAGGED, "trainer.max_epochs=1", "callbacks.mlflow.tracking_uri=http://127.0.0.1:9",
        callbacks=("mlflow",),
    )  # fmt: skip
    assert outcome.result["status"] == "done"
    (warning,) = log_of(tmp_path, "WARNING")
    assert warning.startswith("MLflow gets no more figures: ") and "127.0.0.1" in warning and len(warning) < 350
    assert warning.endswith("... The training goes on without")


def test_what_cannot_work_is_said_before_the_training(monkeypatch, tmp_path):
    for uri in ("file:./mlruns", "mlruns", "/tmp/mlruns"):
        loaded = configure(tmp_path, f"callbacks.mlflow.tracking_uri={uri}", callbacks=("mlflow",))[0]
        with pytest.raises(ConfigError) as caught:
            assembly.build(loaded)
        assert str(caught.value) == (
            f"callbacks.mlflow.tracking_uri = '{uri}': MLflow writes no folders of files any more, unless the "
            "environment has MLFLOW_ALLOW_FILE_STORE=true. Name a database (sqlite:///mlflow.db) or a server (http://...)"
        )
    find = importlib.util.find_spec
    there = {"mlflow": None, "wandb": None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there.get(name, name) and find(name))
    with pytest.raises(ConfigError) as caught:
        assembly.build(configure(tmp_path, callbacks=("mlflow", "wandb"))[0])
    assert caught.value.problems == [
        'callbacks.mlflow: MLflow is not installed. Install it with: pip install "dltrain[trackers]"',
        'callbacks.wandb: Weights & Biases is not installed. Install it with: pip install "dltrain[trackers]"',
    ]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("val/loss", "val/loss"),
        ("val/f1 한글", "val/f1 한글"),
        ("model.unfreeze_after.layers.*", "model.unfreeze_after.layers._"),
        ("../../a", "__/__/a"),
        ("a//b/./c/", "a/_/b/_/c/_"),
        ("a" * 300, "a" * 250),
    ],
)
def test_a_name_is_one_that_mlflow_takes(key, name, client):
    from mlflow.utils.validation import _validate_metric_name

    assert ours._name(key) == name
    _validate_metric_name(ours._name(key))


def test_by_itself_it_writes_beside_the_runs(dltrain, work, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    answer = dltrain(
        "data=iris", "model.hidden=[4]", "trainer.max_epochs=1", "~callbacks.tensorboard", "report=false",
        "callbacks=[default,mlflow]",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "alembic" not in answer.err and "INFO" not in answer.err and "mlflow." not in answer.err.replace(".db", "")
    assert sorted(path.name for path in (work / "runs").iterdir())[-2:] == ["mlflow-artifacts", "mlflow.db"]
    assert sorted(path.name for path in work.iterdir()) == ["runs"]
    assert dltrain("evaluate", "last", "--no-pictures", "--resamples", "0").code == 0


def test_what_a_package_does_of_the_process_is_undone():
    random.seed(3)
    np.random.seed(3)
    first = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    exits = sys.exit, sys.excepthook
    with pytest.raises(KeyError), tracker.undisturbed({"OF_A_TEST": "1", "PATH": "2"}, "json"):
        assert os.environ["OF_A_TEST"] == "1" and os.environ["PATH"] != "2"
        random.random()
        np.random.rand()
        sys.exit = sys.excepthook = print
        raise KeyError
    assert "OF_A_TEST" not in os.environ
    assert (random.random(), np.random.rand()) == first
    assert (sys.exit, sys.excepthook) == exits


def test_a_link_is_not_written_through(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("{}")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "mlflow.json").symlink_to(secret)
    train(folder, *RAGGED, "trainer.max_epochs=1", callbacks=("mlflow",))
    assert secret.read_text() == "{}"
    (warning,) = log_of(folder, "WARNING")
    assert warning.startswith(f"MLflow gets no more figures: {folder / 'mlflow.json'} is a link to {secret}, and ")
