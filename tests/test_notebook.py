"""Trainings from Python: of them the run folder stays, and nothing else of the process is another than before."""

from __future__ import annotations

import io
import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from commandline import environment
from hydra.core.global_hydra import GlobalHydra

import dltrain
from dltrain import console, signals
from dltrain.errors import ConfigError, DataError, DivergedError, DltrainError, Interrupted, MachineError, TimeUp
from dltrain.run_folder import RunFolder
from dltrain.trainer import Trainer

QUICK = ["data=iris", "model.hidden=[4]", "trainer.max_epochs=2", "~callbacks.tensorboard", "report=false"]


def what_is_global() -> dict[str, object]:
    random_numbers = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    numbers = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    log = logging.getLogger("dltrain")
    return {
        "random": random_numbers,
        "threads": torch.get_num_threads(),
        "signals": {number: signal.getsignal(number) for number in numbers},
        "log": (log.level, log.propagate, list(log.handlers), list(logging.root.handlers)),
        "warnings": warnings.showwarning,
        "environment": dict(os.environ),
        "streams": (sys.stdout, sys.stderr, sys.exit, sys.excepthook, list(sys.argv)),
        "hydra": GlobalHydra.instance().hydra,
        "folder": Path.cwd(),
        "path": list(sys.path),
        "running": sorted(thread.name for thread in threading.enumerate()),
    }


def test_a_run_is_trained_and_returned(work, capsys):
    run = dltrain.train(QUICK)
    assert run.path.is_absolute() and run.path.parent.parent == work / "runs"
    assert list(run.history["epoch"]) == [1, 2] and run.result["status"] == "done"
    assert (run.path / "overrides.yaml").read_text(encoding="utf-8").startswith("- data=iris\n")
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("data    iris: ") and "\nepoch 2/2  step 6  train/loss" in err


def test_twice_with_the_same_seed_is_twice_the_same(work):
    first, second = dltrain.train(QUICK), dltrain.train(QUICK)
    assert first.path != second.path
    assert first.history.drop(columns="epoch_seconds").equals(second.history.drop(columns="epoch_seconds"))


@pytest.mark.parametrize("fails", [False, True])
def test_all_that_is_global_is_as_it_was(fails, work, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a_notebook"])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(work))])
    torch.set_num_threads(2)
    before = what_is_global()
    if fails:
        with pytest.raises(DivergedError):
            dltrain.train([*QUICK, "device.threads=1", "optimizer=sgd", "optimizer.lr=1e30"])
    else:
        dltrain.train([*QUICK, "device.threads=1"])
    after = what_is_global()
    torch.set_num_threads(1)
    for name, value in before.items():
        assert after[name] == value, name


def test_hydra_of_ones_own_goes_on(work):
    (work / "conf").mkdir()
    (work / "conf" / "own.yaml").write_text("a: 3\n")
    with hydra.initialize_config_dir(str(work / "conf"), version_base=None):
        dltrain.train(QUICK, progress=False)
        dltrain.sweep([*QUICK, "optimizer.lr=0.1,0.01"], progress=False)
        assert hydra.compose("own") == {"a": 3}
    assert not GlobalHydra.instance().is_initialized()
    dltrain.train(QUICK, progress=False)
    assert not GlobalHydra.instance().is_initialized()


def test_in_a_thread_and_from_another_folder(work, monkeypatch):
    runs: list[object] = []
    thread = threading.Thread(target=lambda: runs.append(dltrain.train(QUICK, progress=False)))
    thread.start()
    thread.join()
    (work / "other").mkdir()
    monkeypatch.chdir(work / "other")
    runs.append(dltrain.train(QUICK, progress=False))
    assert [run.path.parents[2] for run in runs] == [work, work / "other"]


def test_two_threads_take_turns(work):
    runs: list[object] = []
    threads = [threading.Thread(target=lambda: runs.append(dltrain.train(QUICK, progress=False))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [run.history.drop(columns="epoch_seconds") for run in runs]
    assert rows[0].equals(rows[1])


@pytest.mark.parametrize(
    ("overrides", "kind", "text"),
    [
        (["optimizr.lr=1"], ConfigError, "no setting 'optimizr.lr'. Did you mean 'optimizer.lr'?"),
        (["model=mpl", "seed=-1"], ConfigError, "2 mistakes in the config:\n  1. no model named 'mpl'"),
        (["optimizer.lr=0.1,0.2"], ConfigError, "'optimizer.lr=0.1,0.2' has several values: a multirun needs -m"),
        (["data=csv", "data.path=none.csv", "data.target=a"], DataError, "none.csv"),
        ("data=iris seed=3", ConfigError, "overrides is a list of texts: ['data=iris', 'seed=3']"),
        (None, ConfigError, "overrides = None: give a list of texts such as ['optimizer.lr=0.1']"),
        ([3], ConfigError, "overrides: 3 is a int. Give texts such as 'optimizer.lr=0.1'"),
        (
            ["-m", "seed=1,2"],
            ConfigError,
            "-m: a flag of the command line. dltrain.train trains one run, and dltrain.sweep([",
        ),
        (
            ["--config", "a"],
            ConfigError,
            "--config: a flag of the command line. Here stand settings alone",
        ),
    ],
)
def test_mistakes_are_errors_with_the_text_of_the_command_line(overrides, kind, text, work):
    with pytest.raises(kind) as caught:
        dltrain.train(overrides)
    assert text in str(caught.value)
    frames = [frame.path.name for frame in caught.traceback]
    assert frames == ["test_notebook.py", "__init__.py", "notebook.py", "notebook.py"]
    assert not (work / "runs").exists()


def test_the_frames_are_there_for_whoever_wants_them(work, monkeypatch):
    monkeypatch.setenv("DLTRAIN_TRACEBACK", "1")
    with pytest.raises(ConfigError) as caught:
        dltrain.train(["optimizr.lr=1"])
    assert "compose.py" in [frame.path.name for frame in caught.traceback]


def test_modules_and_files_of_ones_own(work):
    (work / "mine" / "model").mkdir(parents=True)
    (work / "mine" / "model" / "narrow.yaml").write_text("# @package model\ndefaults: [mlp]\nhidden: [3]\n")
    (work / "mine" / "of_mine_in_notebook.py").write_text("import pathlib\npathlib.Path('imported').touch()\n")
    run = dltrain.train(
        ["model=narrow", "imports=[of_mine_in_notebook]", *QUICK[2:]], config_dir=work / "mine", progress=False
    )
    assert run.config["model"]["hidden"] == [3] and (work / "imported").exists()
    assert "DLTRAIN_CONFIG_PATH" not in os.environ


def test_it_goes_on_where_resume_says_so(work):
    first = dltrain.train([*QUICK, "run_dir=run", "resume=true"], progress=False)
    assert len(first.history) == 2
    longer = dltrain.train([*QUICK, "run_dir=run", "resume=true", "trainer.max_epochs=3"], progress=False)
    assert longer.path == first.path and len(longer.history) == 3
    assert len(dltrain.train([*QUICK, "run_dir=run", "resume=true", "trainer.max_epochs=3"]).history) == 3
    with pytest.raises(ConfigError, match=r"model\.hidden: \[4\] -> \[5\]\. A run that goes on cannot change it"):
        dltrain.train([*QUICK, "run_dir=run", "resume=true", "model.hidden=[5]"])
    with pytest.raises(ConfigError, match="run_dir=run holds a run already"):
        dltrain.train([*QUICK, "run_dir=run"])


def test_without_progress_warnings_are_shown_all_the_same(work, capsys, monkeypatch):
    fit = Trainer.fit

    def warning(trainer):
        warnings.warn("of a package", stacklevel=1)
        console.log.warning("of dltrain")
        fit(trainer)

    monkeypatch.setattr(Trainer, "fit", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run = dltrain.train(QUICK, progress=False)
    err = capsys.readouterr().err
    assert "warning: of dltrain\n" in err and "warning: UserWarning: of a package (" in err and "epoch 2" not in err
    assert "epoch 2/2" in (run.path / "train.log").read_text(encoding="utf-8")


def test_in_a_notebook_lines_go_to_the_cell_and_warnings_to_standard_error(capsys, monkeypatch):
    class OutStream(io.StringIO):
        __module__ = "ipykernel.iostream"

    cell = OutStream()
    assert not console.is_notebook()
    monkeypatch.setattr(sys, "stdout", cell)
    with console.lent(logging.INFO):
        console.log.info("epoch 1")
        console.log.warning("careful")
        with console.quiet():
            console.log.info("nobody hears this")
    assert (cell.getvalue(), capsys.readouterr().err) == ("epoch 1\n", "warning: careful\n")


# --- stopping ---------------------------------------------------------------------------------------------


def interrupting(monkeypatch, *numbers: int) -> None:
    """Lets the third step of a training be hit by signals."""
    train_epoch = Trainer._train_epoch

    def interrupted(trainer):
        if trainer.state.epoch == 1:
            for number in numbers:
                signal.raise_signal(number)
        train_epoch(trainer)

    monkeypatch.setattr(Trainer, "_train_epoch", interrupted)


def test_the_stop_button_saves_and_stops(work, monkeypatch):
    interrupting(monkeypatch, signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        dltrain.train([*QUICK, "trainer.max_epochs=9", "run_dir=run"], progress=False)
    assert str(caught.value).startswith(
        "stopped by SIGINT at step 4; its state is saved. Go on with: dltrain resume run"
    )
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    monkeypatch.chdir(work)
    run = dltrain.train([*QUICK, "trainer.max_epochs=3", "run_dir=run", "resume=true"], progress=False)
    assert len(run.history) == 3


def test_the_second_press_stops_at_once_and_leaves_the_kernel_alive(work, monkeypatch):
    interrupting(monkeypatch, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        dltrain.train([*QUICK, "run_dir=run"], progress=False)
    assert RunFolder(work / "run").read_result()["status"] == "failed"
    assert not signals._is_guest


def test_a_training_that_has_used_up_its_time(work):
    with pytest.raises(TimeUp, match=r"stopped after trainer\.max_time=1e-06 at step 1; its state is saved"):
        dltrain.train([*QUICK, "trainer.max_time=1e-6"], progress=False)


def test_a_signal_that_is_for_the_process_reaches_it_once_the_state_is_saved(work):
    script = f"""
        import dltrain
        dltrain.train({[*QUICK, "trainer.max_epochs=100000", "run_dir=run"]!r}, progress=False)
        print("not reached")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=work, env=environment(), stdout=subprocess.PIPE, text=True
    )
    metrics = work / "run" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.02)
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM and out == ""
    result = json.loads((work / "run" / "result.json").read_text())
    assert (result["status"], result["stop_reason"]) == ("interrupted", "stopped by SIGTERM")


# --- sweeps -----------------------------------------------------------------------------------------------


def test_a_sweep_and_its_leaderboard(work):
    before = what_is_global()
    sweep = dltrain.sweep([*QUICK, "optimizer.lr=0.1,0.001", "sweep.report=false"], progress=False)
    assert what_is_global() == before
    assert sweep.path.is_absolute() and sweep.path.parent == work / "runs" / "sweeps"
    board = sweep.leaderboard
    assert list(board["optimizer.lr"]) == [0.1, 0.001] and list(board["status"]) == ["done", "done"]
    assert sweep.best.path == sweep.path / "trials" / "0"
    assert sweep.best.history["val/loss"].min() == pytest.approx(board["val/loss"][0])
    assert repr(sweep) == f"Sweep('{sweep.path}')"


def test_a_sweep_of_which_all_trials_fail(work):
    sweep = dltrain.sweep([*QUICK, "optimizer=sgd", "optimizer.lr=1e30,1e31", "sweep.report=false"], progress=False)
    assert set(sweep.leaderboard["status"]) == {"failed"}
    with pytest.raises(ConfigError, match="has no best run: no trial has come to its end"):
        _ = sweep.best


def test_mistakes_of_a_sweep(work):
    with pytest.raises(DltrainError, match=r"no setting 'optimizr\.lr'"):
        dltrain.sweep([*QUICK, "optimizr.lr=0.1,0.2"])
    assert not (work / "runs").exists()


def test_the_package_alone_imports_nothing_heavy():
    code = "import dltrain, sys; print([name for name in ('torch', 'hydra', 'numpy', 'yaml') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize("given", [5, [5], {"a": None}.values()])
def test_folders_that_are_none_are_told(work, given):
    with pytest.raises(ConfigError, match=r"config_dir = .*: give a folder, or a list of folders"):
        dltrain.train(QUICK, config_dir=given)
    (work / "runs" / "a").mkdir(parents=True)
    (work / "runs" / "a" / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(ConfigError, match=r"config_dir = .*: give a folder, or a list of folders"):
        dltrain.load("runs/a", config_dir=given)


def test_a_working_directory_that_is_gone_is_told(work, monkeypatch):
    (work / "gone").mkdir()
    monkeypatch.chdir(work / "gone")
    (work / "gone").rmdir()
    with pytest.raises(MachineError, match=r"the working directory is gone\. Change to another one: os\.chdir"):
        dltrain.train(QUICK)


def test_a_module_of_ones_own_is_found_when_its_run_is_loaded(work):
    (work / "mine").mkdir()
    (work / "mine" / "homework.py").write_text("")
    run = dltrain.train([*QUICK, "imports=[homework]"], config_dir="mine", progress=False)
    code = f"import dltrain; print(dltrain.load({str(run.path)!r}, config_dir='mine').history.shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.startswith("(2, ")


def test_logging_is_given_back_by_the_last_of_two_blocks_that_overlap(capsys):
    """As of a prediction in one thread that begins during a training in another and outlives it."""
    before = (console.log.level, console.log.propagate, list(console.log.handlers))
    training, predicting = console.lent(logging.INFO), console.lent(logging.INFO)
    training.__enter__()
    predicting.__enter__()
    console.log.info("once")
    training.__exit__(None, None, None)
    console.log.info("still shown")
    predicting.__exit__(None, None, None)
    assert (console.log.level, console.log.propagate, console.log.handlers) == before
    shown = capsys.readouterr()
    assert (shown.out + shown.err).splitlines() == ["once", "still shown"]


def test_a_module_that_is_edited_between_two_trainings_is_read_anew(work):
    text = """
from dataclasses import dataclass
from dltrain import registry
from dltrain.callbacks.base import Callback
from dltrain.config import setting

@dataclass(frozen=True)
class Settings:
    name: str = setting("Name of the callback.")

@registry.register("callbacks", "noted_here", Settings)
class Noted(Callback):
    @classmethod
    def figure_names(cls, settings):
        return ["val/noted"]

    def figures(self, row):
        return {"val/noted": NUMBER}
"""
    words = [*QUICK, "imports=[edited_here]", "+callbacks.noted_here.name=noted_here"]
    for number in ("1.0", "22.0"):
        (work / "edited_here.py").write_text(text.replace("NUMBER", number))
        assert dltrain.train(words, progress=False).history["val/noted"].tolist() == [float(number)] * 2
    (work / "edited_here.py").write_text("a mistake")
    with pytest.raises(ConfigError, match=r"imports: module 'edited_here' failed: invalid syntax"):
        dltrain.train(words, progress=False)


def test_without_streams_as_in_a_service_it_trains_too(work, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert len(dltrain.train(QUICK).history) == 2
