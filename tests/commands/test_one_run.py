"""How RUN names a run, and what the verbs say of runs that are damaged."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from commandline import start

from dltrain import run_folder
from dltrain.commands import one_run

CONFIG, CHECKPOINT, MACHINE = 2, 4, 5


def test_a_run_is_found_by_folder_part_of_its_name_and_last(runs):
    iris, korean = runs
    assert one_run.find("last").path == korean
    assert one_run.find(str(iris)).path == iris
    assert one_run.find(f"{iris}/").path == iris
    assert one_run.find(str(iris.absolute())).path == iris.absolute()
    assert one_run.find("iris").path == iris
    assert one_run.find(korean.name[-4:]).path == korean
    os.utime(iris / "run.lock")
    assert one_run.find("last").path == iris


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mlp", ["'mlp' fits 2 runs; say more of the name:", "-iris-mlp-", "-again"]),
        ("resnet", ["no run is named 'resnet'."]),
        ("iris-rnn", ["no run is named 'iris-rnn'."]),
        ("runs", ["runs is no run folder: it has no config.yaml"]),
    ],
)
@pytest.mark.parametrize("verb", ["evaluate", "resume", "board"])
def test_a_name_that_fits_no_run_or_several_is_told(verb, name, words, runs, dltrain):
    shutil.copytree(runs[0], f"{runs[0]}-again")
    answer = dltrain(verb, name)
    assert answer.code == CONFIG
    for word in words:
        assert word in answer.err


def test_a_damaged_checkpoint_is_told(runs, dltrain):
    for path in (runs[1] / "checkpoints").glob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    for words in (["evaluate", "last"], ["generate", "last", "그의"], ["resume", "last", "trainer.max_epochs=70"]):
        answer = dltrain(*words)
        assert answer.code == CHECKPOINT, words
        assert "is damaged" in answer.err and ".safetensors" in answer.err
    assert answer.out == ""


def test_what_is_no_run_is_told(runs, dltrain):
    assert dltrain("evaluate", "").err == (
        "error: the name of the run is empty. Give a folder, a part of a run's name, or last\n"
    )
    sweep = run_folder.SWEEPS / "mine"
    sweep.mkdir(parents=True)
    (sweep / "multirun.yaml").write_text("{}")
    assert dltrain("export", sweep, "--format", "torch").err == (
        f"error: {sweep} is a sweep. Name one of its runs: {sweep}/best\n"
    )


def test_a_run_that_failed_at_once_is_no_run_to_go_on_with(runs, dltrain):
    shutil.rmtree(runs[1] / "checkpoints")
    (runs[1] / "result.json").write_text('{"status": "failed", "error": "the loss became NaN"}')
    answer = dltrain("evaluate", "last")
    assert answer.code == CHECKPOINT
    assert answer.err == f"error: {runs[1]} has no checkpoint, for its training failed before: the loss became NaN\n"


def test_a_missing_checkpoint_is_told(runs, dltrain):
    answer = dltrain("evaluate", "last", "--checkpoint", "step-1")
    assert answer.code == CHECKPOINT
    assert "has no checkpoint 'step-1'. There is: best, last, best-step-" in answer.err
    shutil.rmtree(runs[1] / "checkpoints")
    answer = dltrain("evaluate", "last")
    assert answer.code == CHECKPOINT
    assert f"{runs[1]} keeps no checkpoint" in answer.err
    (runs[1] / "result.json").unlink()
    answer = dltrain("evaluate", "last")
    assert answer.code == CHECKPOINT
    assert f"has no checkpoint yet. Go on with it: dltrain resume {runs[1]}" in answer.err


def test_a_damaged_pointer_is_told(runs, dltrain):
    (runs[1] / "checkpoints" / "best.json").write_text("{")
    answer = dltrain("evaluate", "last")
    assert answer.code == CHECKPOINT
    assert "best.json is damaged. Name a checkpoint: --checkpoint with one of" in answer.err
    assert dltrain("evaluate", "last", "--checkpoint", "last").code == 0


def test_a_run_right_below_runs_is_found(runs):
    mine = runs[0].parent.parent / "mine"
    shutil.copytree(runs[0], mine)
    os.utime(mine / "run.lock")
    assert one_run.find("mine").path == mine == one_run.find("last").path
    assert one_run.find("mine/").path == mine
    assert [run.path for run in run_folder.all_runs()] == [*runs, mine]


@pytest.mark.parametrize("content", ["model: [\n", "- 1\n", ""])
def test_a_damaged_config_is_told(content, runs, dltrain):
    (runs[1] / "config.yaml").write_text(content)
    answer = dltrain("evaluate", str(runs[1]))
    assert answer.code == CHECKPOINT
    assert str(runs[1] / "config.yaml") in answer.err


def test_a_damaged_task_is_told(runs, dltrain):
    (runs[1] / "task.json").write_text("{")
    answer = dltrain("generate", "last", "그의")
    assert answer.code == CHECKPOINT
    assert "task.json cannot be read" in answer.err


def test_trials_of_a_sweep_are_runs_too(runs, work):
    trial = work / "runs" / "sweeps" / "2026-01-01_00-00-00-grid-abcd" / "trials" / "0"
    shutil.copytree(runs[0], trial)
    os.utime(trial / "run.lock")
    assert one_run.find("last").path.name == "0"
    assert one_run.find("grid-abcd").path.name == "0"
    assert len(run_folder.all_runs()) == 3


def _printed(work, *arguments, **changes):
    process = start(*arguments, cwd=work, **changes)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.mark.skipif(sys.platform != "linux", reason="folders have names of any bytes on Linux alone")
@pytest.mark.slow
def test_a_run_in_a_folder_whose_name_is_no_utf_8(runs, work):
    """As archives of a Korean Windows leave it: what only reads the run works, what writes there asks for a name."""
    name = "가".encode("cp949").decode("utf-8", "surrogateescape")
    strange = runs[0].with_name(f"strange-{name}")
    runs[0].rename(strange)
    code, out, _ = _printed(work, "evaluate", "strange", PYTHONIOENCODING="utf-8:strict")
    assert code == 0 and "strange-\\udcb0\\udca1/evaluation.json" in out
    assert (strange / "evaluation" / "confusion_matrix.png").exists()
    assert _printed(work, "report", "strange", "-o", "page.html")[0] == 0
    assert _printed(work, "runs", "--json", PYTHONIOENCODING="utf-8:strict")[0] == 0
    code, out, _ = _printed(work, "predict", "strange", "--split", "test", PYTHONIOENCODING="utf-8:strict")
    assert code == 0 and len(out.splitlines()) == 31
    code, out, _ = _printed(work, "rerun", "strange", PYTHONIOENCODING="utf-8:strict")
    assert code == 0 and "the figures agree to the last bit" in out
    for words in (("resume", "strange", "trainer.max_epochs=9"), ("export", "strange", "-f", "safetensors")):
        code, _, err = _printed(work, *words)
        assert code == MACHINE and "the name is no UTF-8, which libraries that write there need: rename it" in err


def test_letters_that_standard_output_lacks_end_nothing(runs, work):
    code, out, _ = _printed(work, "generate", "last", "그의", "-n", "2", PYTHONIOENCODING="ascii:strict")
    assert code == 0 and out.encode().decode("unicode_escape") == "그의 말이 법이다\n"
