"""From a config to a run folder, and on from there: what a resumed run keeps, takes over and refuses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import killing
import pytest
import torch
import yaml
from killing import assert_same, what_counts
from training import (
    configure,
    register_callback,
    result_of,
    resume,
    rows_of,
    train,
    without_times,
)

from dltrain import checkpoint, console, device, guards, run, trained
from dltrain.callbacks.base import Callback
from dltrain.errors import CheckpointError, ConfigError, Interrupted, MachineError, OutOfMemoryError
from dltrain.fingerprint import fingerprint
from dltrain.run_folder import RunFolder
from dltrain.trainer import Trainer

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
SAVE_ALL = ("callbacks.checkpoint.every_steps=1", "callbacks.checkpoint.min_seconds=0")


def log_of(folder: Path) -> str:
    return (folder / "train.log").read_text(encoding="utf-8")


def weights(outcome: run.Outcome | None) -> torch.Tensor:
    assert outcome is not None
    return torch.cat([p.detach().flatten() for p in outcome.trainer.model.parameters()])


# --- building ---------------------------------------------------------------------------------------------


def test_one_seed_gives_one_result_and_another_seed_another(tmp_path):
    common = (*RAGGED, "model=mlp", "model.dropout=0.2", "trainer.max_epochs=2")
    one, same, other = (
        train(tmp_path / name, *common, f"seed={seed}") for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(weights(one), weights(same)) and not torch.equal(weights(one), weights(other))


def test_memory_that_runs_out_while_building_is_told(monkeypatch, tmp_path):
    def greedy(*arguments):
        torch.empty(2**50)

    for name in ("build", "build_step", "build_trainer"):
        with monkeypatch.context() as patch:
            patch.setattr(run, name, greedy)
            with pytest.raises(OutOfMemoryError) as caught:
                train(tmp_path / name, *RAGGED)
        assert caught.value.exit_code == 7


def test_threads_are_chosen_anew_for_each_run_of_a_process(monkeypatch):
    monkeypatch.setattr(device, "_ALL_THREADS", 2)
    before = torch.get_num_threads()
    try:
        chosen = [device.set_threads(None, size, 32) for size in (100, 10**6, 100, 10**6)]
        assert chosen == [1, 2, 1, 2]
        assert device.set_threads(1, 10**6, 32) == 1
    finally:
        torch.set_num_threads(before)


# --- the folder of a run ----------------------------------------------------------------------------------


def test_a_run_leaves_a_folder_that_tells_all_of_it(tmp_path):
    overrides = [*RAGGED, "trainer.max_epochs=2"]
    outcome = train(tmp_path / "run", *overrides, callbacks=("checkpoint", "tensorboard", "summary"))
    folder = outcome.folder
    assert {path.name for path in folder.path.iterdir()} == {
        "checkpoints", "config.yaml", "environment.json", "metrics.jsonl", "overrides.yaml", "result.json",
        "run.lock", "task.json", "tensorboard", "train.log",
    }  # fmt: skip
    assert yaml.safe_load(folder.overrides.read_text()) == overrides
    assert yaml.safe_load(folder.config.read_text(encoding="utf-8"))["trainer"]["max_epochs"] == 2
    result = result_of(folder.path)
    assert result == outcome.result
    assert result["status"] == "done" and result["stop_reason"] == "reached max_epochs=2"
    assert (result["epochs"], result["steps"], result["samples"]) == (2, 6, 180)
    assert result["last"] == rows_of(folder.path)[-1]
    assert result["best"]["metric"] == "val/loss" and result["test_weights"] == "checkpoint"
    assert result["test"].keys() == {f"test/{name}" for name in outcome.trainer.metrics.names}
    assert folder.read_task()["fingerprint"] == fingerprint(outcome.parts.data)


def test_notes_on_the_data_are_said_once_in_the_log(tmp_path):
    train(tmp_path / "run", "data=korean_text", "model=rnn", "trainer.max_epochs=1")
    assert log_of(tmp_path / "run").count("what is evaluated is the training data itself") == 1


def test_what_a_kill_left_before_a_folder_was_a_run_goes_and_nothing_else(tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".task.json.4711.tmp", ".config.yaml.4711.tmp", ".mine.tmp", ".mine.task.json.1.tmp"):
        (tmp_path / "run" / name).write_text("{")
    train(tmp_path / "run", "trainer.max_epochs=1")
    assert sorted(path.name for path in (tmp_path / "run").glob(".*")) == [".mine.task.json.1.tmp", ".mine.tmp"]


def test_a_run_folder_is_used_once(tmp_path):
    train(tmp_path / "run", "trainer.max_epochs=1")
    with pytest.raises(ConfigError, match=r"holds a run already. Go on with it: dltrain resume"):
        train(tmp_path / "run", "trainer.max_epochs=1")


def test_a_run_that_cannot_start_leaves_no_open_log(monkeypatch, tmp_path):
    class Misspelled(Callback):
        def on_batch_end(self, trainer) -> None: ...

    register_callback(monkeypatch, Misspelled, "misspelled")
    before = list(console.log.handlers)
    with pytest.raises(ConfigError, match=r"on_batch_end .* is no hook"):
        train(tmp_path / "run", callbacks=("misspelled",))
    assert [type(handler) for handler in console.log.handlers if handler not in before] in (
        [],
        [console.ConsoleHandler],
    )


# --- going on ---------------------------------------------------------------------------------------------


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    train(tmp_path / "run", "trainer.max_epochs=1", callbacks=("checkpoint",))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    assert resume(tmp_path / "run") is None
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    assert {name for name in before if before[name] != after[name]} <= {"run.lock"}


def test_an_extended_run_notes_what_changed(tmp_path):
    train(tmp_path / "run", *RAGGED, "trainer.max_epochs=1", callbacks=("checkpoint", "summary"))
    resume(tmp_path / "run", "trainer.max_epochs=2")
    folder = RunFolder(tmp_path / "run")
    assert yaml.safe_load(folder.overrides.read_text()) == [*RAGGED, "trainer.max_epochs=1", "trainer.max_epochs=2"]
    assert yaml.safe_load(folder.config.read_text(encoding="utf-8"))["trainer"]["max_epochs"] == 2
    assert [row["epoch"] for row in rows_of(folder.path)] == [1, 2]
    assert "resumed at epoch 1, step 3" in log_of(folder.path)


def test_the_time_of_a_run_that_goes_on_is_that_of_all_its_rows(tmp_path):
    train(tmp_path / "run", *RAGGED, "trainer.max_epochs=1", callbacks=("checkpoint",))
    rows = tmp_path / "run" / "metrics.jsonl"
    (row,) = rows_of(tmp_path / "run")
    rows.write_text(json.dumps({**row, "epoch_seconds": 1000.0}) + "\n")
    resume(tmp_path / "run", "trainer.max_epochs=2")
    assert 1000 < result_of(tmp_path / "run")["seconds"] < 1100


def test_the_report_of_an_earlier_end_is_none_of_a_run_that_goes_on(monkeypatch, tmp_path):
    train(tmp_path / "run", *RAGGED, "trainer.max_epochs=1", "report=true", callbacks=("checkpoint",))
    page = tmp_path / "run" / "report.html"
    page.write_text("of one epoch")
    monkeypatch.setattr(Trainer, "fit", lambda self: (_ for _ in ()).throw(RuntimeError("stopped")))
    with pytest.raises(RuntimeError, match="stopped"):
        resume(tmp_path / "run", "trainer.max_epochs=2")
    assert not page.exists()


def test_a_learning_rate_that_is_changed_holds_from_then_on(tmp_path):
    common = (*RAGGED, "optimizer=sgd", "optimizer.momentum=0.9", "trainer.max_epochs=1")
    train(tmp_path / "changed", *common, callbacks=("checkpoint",))
    train(tmp_path / "same", *common, callbacks=("checkpoint",))
    changed = resume(tmp_path / "changed", "trainer.max_epochs=2", "optimizer.lr=0.5")
    same = resume(tmp_path / "same", "trainer.max_epochs=2")
    assert [row["lr"] for row in rows_of(tmp_path / "changed")] == [0.01, 0.5]
    assert not torch.equal(weights(changed), weights(same))


def test_another_number_of_threads_is_said_in_the_log(tmp_path):
    train(tmp_path / "run", "trainer.max_epochs=1", callbacks=("checkpoint",))
    try:
        resume(tmp_path / "run", "trainer.max_epochs=2", "device.threads=2")
    finally:
        torch.set_num_threads(1)
    assert "the run used 1 CPU threads before, now 2" in log_of(tmp_path / "run")


def test_changed_data_are_refused_and_nothing_is_touched(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("가는 말이 고와야 오는 말이 곱다\n", encoding="utf-8")
    train(
        tmp_path / "run", "data=korean_text", f"data.path={text}", "model=rnn", "trainer.max_epochs=2",
        callbacks=("checkpoint",),
    )  # fmt: skip
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    text.write_text("가는 말이 고와야 오는 말이 좋다\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"the data of .* are not those that it was trained on") as caught:
        resume(tmp_path / "run", "trainer.max_epochs=3")
    assert caught.value.exit_code == 4
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert after == before


def test_trained_weights_of_changed_data_are_refused(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("가는 말이 고와야 오는 말이 곱다\n", encoding="utf-8")
    outcome = train(
        tmp_path / "run", "data=korean_text", f"data.path={text}", "model=rnn", "trainer.max_epochs=1",
        callbacks=("checkpoint",),
    )  # fmt: skip
    text.write_text("가는 말이 고와야 오는 말이 좋다\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"the data of .* are not those that it was trained on"):
        trained.load_trained(outcome.folder, outcome.parts.config, "last")


def test_steps_back_in_the_path_of_the_data_are_not_kept_unless_they_lead_past_a_link(monkeypatch, tmp_path):
    for name in ("here", "far/away"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("text.txt", "far/text.txt"):
        (tmp_path / name).write_text("가는 말이 고와야 오는 말이 곱다\n", encoding="utf-8")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path / "here")
    for path, kept in (("../text.txt", "text.txt"), ("link/../text.txt", "here/link/../text.txt")):
        run = tmp_path / "runs" / kept.replace("/", "-")
        train(run, "data=korean_text", "model=rnn", "trainer.max_epochs=1", f"data.path={path}")
        assert yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]["path"] == str(tmp_path / kept)


def test_a_run_finds_its_data_from_another_folder(monkeypatch, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "text.txt").write_text("가는 말이 고와야 오는 말이 곱다\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    common = ("data=korean_text", "model=rnn", "trainer.max_epochs=1")
    for name, path in (("relative", "text.txt"), ("home", "~/text.txt")):
        train(tmp_path / name, *common, f"data.path={path}", callbacks=("checkpoint",))
        saved = yaml.safe_load((tmp_path / name / "config.yaml").read_text(encoding="utf-8"))
        assert saved["data"]["path"] == str(tmp_path / "text.txt")
        monkeypatch.chdir(tmp_path / "a")
        assert resume(tmp_path / name, "trainer.max_epochs=2").trainer.state.epoch == 2
        monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("limit", "reached"), [("trainer.max_epochs=2", 3), ("trainer.max_steps=8", 9)])
def test_a_limit_below_what_is_reached_is_refused_and_nothing_is_touched(limit, reached, tmp_path):
    train(tmp_path / "run", *RAGGED, "trainer.max_epochs=3", callbacks=("checkpoint",))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=rf"the run is at {reached} already. Give more than that$"):
        resume(tmp_path / "run", limit)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before


def edit_config(folder: Path, group: str, **changes) -> None:
    path = folder / "config.yaml"
    container = yaml.safe_load(path.read_text(encoding="utf-8"))
    container[group].update(changes)
    path.write_text(yaml.safe_dump(container, allow_unicode=True), encoding="utf-8")


def test_a_config_that_was_edited_to_another_model_is_refused_with_shapes(tmp_path):
    train(tmp_path / "run", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", callbacks=("checkpoint",))
    edit_config(tmp_path / "run", "model", hidden=[16])
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    expected = r"layers\.1\.weight has shape \(8, 4\), the model has \(16, 4\)"
    with pytest.raises(CheckpointError, match=expected) as caught:
        resume(tmp_path / "run", "trainer.max_epochs=2")
    assert caught.value.exit_code == 4
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_damaged_checkpoint_falls_back_and_the_run_ends_with_the_same_bits(tmp_path):
    common = (*RAGGED, *SAVE_ALL, "callbacks.checkpoint.keep_last=3", "model=mlp", "model.dropout=0.3")
    train(tmp_path / "whole", *common, "trainer.max_epochs=3", callbacks=("checkpoint",))
    train(tmp_path / "run", *common, "trainer.max_epochs=2", callbacks=("checkpoint",))
    path = tmp_path / "run" / "checkpoints" / "step-00000006.safetensors"
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    resume(tmp_path / "run", "trainer.max_epochs=3")
    assert_same(what_counts(tmp_path / "whole"), what_counts(tmp_path / "run"))
    assert "step-00000006.safetensors is damaged" in log_of(tmp_path / "run")
    assert "Falling back to the one before" in log_of(tmp_path / "run")


def test_without_a_checkpoint_a_run_starts_again_and_says_so(tmp_path):
    first = train(tmp_path / "run", *RAGGED, "trainer.max_epochs=2", callbacks=("tensorboard",))
    rows = rows_of(tmp_path / "run")
    again = resume(tmp_path / "run", "trainer.max_epochs=3")
    assert "no checkpoint was saved before the run ended: it starts from the beginning" in log_of(tmp_path / "run")
    assert without_times(rows_of(tmp_path / "run")[:2]) == without_times(rows)
    assert again.trainer.state.epoch == 3 and not torch.equal(weights(first), weights(again))
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def test_temporary_files_of_a_killed_process_are_swept(tmp_path):
    train(tmp_path / "run", "trainer.max_epochs=1", callbacks=("checkpoint",))
    strays = [tmp_path / "run" / ".result.json.9.tmp", tmp_path / "run" / "checkpoints" / ".last.json.9.tmp"]
    for stray in strays:
        stray.write_text("{")
    resume(tmp_path / "run", "trainer.max_epochs=2")
    assert not any(stray.exists() for stray in strays)


def test_a_second_process_is_refused_while_the_first_trains(tmp_path):
    train(tmp_path / "run", "trainer.max_epochs=1", callbacks=("checkpoint",))
    folder = RunFolder(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    with folder.locked():
        assert killing.train(folder.path, []) == MachineError.exit_code
        with pytest.raises(MachineError, match=rf"is being trained by another process \(number {os.getpid()}\)"):
            resume(folder.path, "trainer.max_epochs=2")
        assert killing.is_running(folder.path)
    assert not killing.is_running(folder.path)
    after = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    assert after == before  # the lock holds the number of this process, which trained it
    assert killing.train(folder.path, []) == 0


# --- ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_leaves_and_the_run_goes_on_to_the_same_bits(number, monkeypatch, tmp_path):
    class Signals(Callback):
        def on_step_end(self, trainer) -> None:
            if trainer.state.step == 4 and not (tmp_path / "sent").exists():
                (tmp_path / "sent").touch()
                os.kill(os.getpid(), number)

    register_callback(monkeypatch, Signals, "signals")
    common = (*RAGGED, "model=mlp", "model.dropout=0.3", "trainer.max_epochs=3")
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(Interrupted, match=r"at step 4; its state is saved. Go on with: dltrain resume") as caught:
        train(tmp_path / "run", *common, callbacks=("checkpoint", "signals"))
    assert caught.value.exit_code == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == handlers
    assert result_of(tmp_path / "run")["status"] == "interrupted"
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [3]
    resume(tmp_path / "run")
    train(tmp_path / "whole", *common, callbacks=("checkpoint", "signals"))
    assert_same(what_counts(tmp_path / "whole"), what_counts(tmp_path / "run"))
    assert result_of(tmp_path / "run")["status"] == "done"


def test_memory_that_runs_out_names_a_smaller_batch(monkeypatch, tmp_path):
    class Greedy(Callback):
        def on_step_end(self, trainer) -> None:
            torch.empty(2**50)

    register_callback(monkeypatch, Greedy, "greedy")
    with pytest.raises(OutOfMemoryError, match=r"trainer\.batch_size=16 trainer\.accumulate=4") as caught:
        train(tmp_path / "run", *RAGGED, "trainer.accumulate=2", callbacks=("greedy",))
    assert caught.value.exit_code == 7 and result_of(tmp_path / "run")["status"] == "failed"


def test_a_batch_that_is_all_the_data_is_halved_as_such(monkeypatch, tmp_path):
    class Greedy(Callback):
        def on_step_end(self, trainer) -> None:
            torch.empty(2**50)

    register_callback(monkeypatch, Greedy, "greedy")
    with pytest.raises(OutOfMemoryError, match=r"batch_size=90: .* trainer\.batch_size=45 trainer\.accumulate=2$"):
        train(tmp_path / "run", "optimizer=gradient_descent", callbacks=("greedy",))


def test_other_errors_of_pytorch_stay_what_they_are(tmp_path):
    with (
        pytest.raises(RuntimeError, match="inconsistent tensor size"),
        guards.memory_errors(configure(tmp_path)[0]),
    ):
        torch.zeros(2) @ torch.zeros(3)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("filled", [0, 700])
def test_a_disk_that_fills_up_ends_the_run_and_room_lets_it_go_on(filled, small_disk, tmp_path, capsys):
    common = (*RAGGED, "model=mlp", "model.hidden=[64]")
    keep_all = (*SAVE_ALL, "callbacks.checkpoint.keep_last=999")
    (small_disk / "other").write_bytes(bytes(filled * 1024))
    run_folder = small_disk / "run"
    with pytest.raises(MachineError, match=r"the disk is full: needs \d+\.\d MB, 0\.\d MB are free"):
        train(run_folder, *common, *keep_all, "trainer.max_epochs=60", callbacks=("checkpoint",))
    assert "Traceback" not in capsys.readouterr().err
    (small_disk / "other").unlink()
    for path in sorted((run_folder / "checkpoints").glob("step-*"))[:-4]:
        path.unlink()
    resume(
        run_folder, "trainer.max_epochs=20", "callbacks.checkpoint.keep_last=1", "callbacks.checkpoint.every_steps=null"
    )
    train(tmp_path / "whole", *common, "trainer.max_epochs=20", callbacks=("checkpoint",))
    whole, resumed = what_counts(tmp_path / "whole"), what_counts(run_folder)
    assert_same(whole["state"]["model"], resumed["state"]["model"])
    assert_same(whole["rows"], resumed["rows"])


def test_a_full_disk_is_the_machines_mistake_wherever_it_is_met(small_disk, monkeypatch, capsys):
    """Here it is a row of figures that finds no room."""

    class Fills(Callback):
        def on_step_end(self, trainer) -> None:
            with (small_disk / "other").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(512))

    register_callback(monkeypatch, Fills, "fills")
    with pytest.raises(MachineError, match=r"metrics\.jsonl: the disk is full: needs 0\.1 MB, 0\.0 MB") as caught:
        train(small_disk / "run", "trainer.max_epochs=300", callbacks=("fills",))
    assert caught.value.exit_code == 5 and "Traceback" not in capsys.readouterr().err


# --- trained weights --------------------------------------------------------------------------------------


def test_the_best_and_the_last_weights_can_be_loaded(tmp_path):
    outcome = train(
        tmp_path / "run", *RAGGED, "trainer.max_epochs=6", *SAVE_ALL, "optimizer.lr=100", callbacks=("checkpoint",)
    )
    best = outcome.result["best"]
    assert best["step"] < 18  # such a large rate does not end at its best
    for name, step in (("best", best["step"]), ("last", 18), ("step-00000018", 18)):
        found, state = checkpoint.load_state(outcome.folder, name)
        assert found == (best["checkpoint"] if name == "best" else "step-00000018")
        assert state.get("step", state.get("progress", {}).get("step")) == step
    parts, found = trained.load_trained(outcome.folder, outcome.parts.config, "best")
    assert found == best["checkpoint"]
    with torch.no_grad():
        split = parts.split("validation")
        loss = parts.loss(parts.model(split.stored.inputs), split.stored.targets)
    assert float(loss) == pytest.approx(best["value"], rel=1e-5)
    with pytest.raises(CheckpointError, match=r"has no checkpoint 'step-1'. There is: best, last, best-step-"):
        checkpoint.load_state(outcome.folder, "step-1")


def test_without_best_weights_the_last_are_taken_and_the_log_says_so(tmp_path, caplog):
    outcome = train(
        tmp_path / "run", "trainer.max_epochs=1", "callbacks.checkpoint.keep_best=0", callbacks=("checkpoint",)
    )
    name, state = checkpoint.load_state(outcome.folder, "best")
    assert (name, state["progress"]["epoch"]) == ("step-00000003", 1)
    assert "keeps no best weights: taking the last" in caplog.text
    assert outcome.result["test_weights"] == "last" and "best" not in outcome.result


def test_a_run_without_checkpoints_says_so(tmp_path):
    outcome = train(tmp_path / "run", "trainer.max_epochs=1")
    with pytest.raises(CheckpointError, match=r"keeps no checkpoint: it was trained without callbacks\.checkpoint"):
        checkpoint.load_state(outcome.folder, "best")


# --- what a small run must not pay for --------------------------------------------------------------------

_WITHOUT_COMPILER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from training import train
callbacks = ("summary", "progress", "tensorboard", "checkpoint", "early_stopping")
for name in ("adam", "lbfgs", "muon", "lion"):  # one of each sort; tests/optimizers has them all
    limits = ("trainer.max_epochs=2", "callbacks.early_stopping.patience=5", "callbacks.checkpoint.min_seconds=0")
    settings = ("model=mlp", "model.hidden=[4]", f"optimizer={name}", "scheduler=cosine", *limits)
    train(Path(sys.argv[2]) / name, *settings, callbacks=callbacks)
    assert "torch._dynamo" not in sys.modules, name
print("done")
"""


@pytest.mark.slow
def test_no_optimizer_and_no_callback_starts_the_compiler(tmp_path):
    """Importing torch._dynamo takes longer than many a small training."""
    command = [sys.executable, "-c", _WITHOUT_COMPILER, str(Path(__file__).parent), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout == "done\n", result.stderr
