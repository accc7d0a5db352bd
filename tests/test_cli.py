"""Exit codes and messages of the command line, and what a person sees at a terminal and in a pipe."""

from __future__ import annotations

import json
import operator
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from commandline import DLTRAIN, QUICK, Answer, at_terminal, environment, only_run, start, tree

from dltrain import cli, config_files
from dltrain.run_folder import RunFolder
from dltrain.trainer import Trainer

# The quickest multirun that there is.
SWEPT = (*QUICK, "-m", "report=false", "sweep.report=false")

CONFIG, DATA, CHECKPOINT, MACHINE, DIVERGED, FAILED_TRIALS = 2, 3, 4, 5, 6, 8


def refused(dltrain, work: Path, arguments, code: int, words) -> Answer:
    """Runs a command line that must be refused with these words, leaving the folder as it was."""
    before = tree(work)
    answer = dltrain(*arguments)
    assert answer.code == code, answer.err
    for word in words:
        assert word in answer.err
    assert answer.out == ""
    assert answer.err.startswith(("error: ", "usage: "))
    assert tree(work) == before
    return answer


# --- mistakes on the command line -------------------------------------------------------------------------

# Arguments -> words of the message. All end with exit code 2.
MISTAKES = {
    "evaluat last": ["no verb 'evaluat'. Did you mean 'evaluate'?"],
    "qqq": ["no verb 'qqq'. There is: board,"],
    "--nope": ["no flag '--nope'", "dltrain --help"],
    "--conf x.yaml": ["no flag '--conf'"],
    "--cfg jobs": ["--cfg", "'jobs'", "job"],
    "--cfg": ["--cfg", "expected one argument"],
    "-m --cfg job": ["--cfg", "leave out -m"],
    "--config-dir": ["--config-dir", "expected one argument"],
    "--config nope.yaml": ["--config nope.yaml cannot be read: No such file"],
    "model=lsmt": ["no model named 'lsmt'. Did you mean 'lstm'?"],
    "callbacks=[summary,chekpoint]": ["no callbacks named 'chekpoint'. Did you mean 'checkpoint'?"],
    "optimizr.lr=1": ["no setting 'optimizr.lr'. Did you mean 'optimizer.lr'?"],
    "callbacks.early_stopping.monitor=train/f2 callbacks.early_stopping.patience=3": ["early_stopping.monitor", "f2"],
    "~optimizer.lr": ["optimizer.lr: no value"],
    "trainer.max_epochs=null": ["trainer.max_epochs and trainer.max_steps are both null"],
    "optimizer.lr=???": ["optimizer.lr: no value. Set optimizer.lr=..."],
    "optimizer.lr=${nowhere.x}": ["optimizer.lr: ", "'nowhere.x' not found"],
    "optimizer.lr=${optimizer.lr}": ["optimizer.lr: ", "Recursive interpolation"],
    "model.hidden=[1,2": ["'model.hidden=[1,2' cannot be read", "bracket or a quote left open"],
    "optimizer.lr=0.1,0.2": ["several values: a multirun needs -m", "dltrain -m optimizer.lr=0.1,0.2"],
    "loss=msle": ["loss.name = 'msle': it does not fit this multiclass data", "cross_entropy"],
    "data=korean_text": ["model.name = 'mlp'", "model=lstm"],
    "-m model=mlp,lsmt": ["no model named 'lsmt'. Did you mean 'lstm'?"],
    "-m optimizer.lr=0.1,-1": ["optimizer.lr = -1: must be a number above 0"],
    "summary nope": ["'nope' is neither a verb nor key=value"],
    "check loss=msle": ["does not fit"],
    "list modle": ["no kind 'modle'. Did you mean 'model'?"],
    "explain optimizer.lrr": ["no setting 'optimizer.lrr'. Did you mean 'optimizer.lr'?"],
    "evaluate": ["required: RUN"],
    "completion csh": ["invalid choice: 'csh'"],
    "resume last": ["there are no runs in", "Train one first"],
    "evaluate last": ["there are no runs in"],
    "generate last 그의": ["there are no runs in"],
    "board": ["there are no runs in"],
    "board last": ["there are no runs in"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_refused_with_a_message(line, dltrain, work):
    refused(dltrain, work, line.split(), CONFIG, MISTAKES[line])


def test_all_mistakes_are_told_together(dltrain, work):
    line = "data=digit model=lsmt optimizr.lr=1 trainer.max_epochs=-1 optimizer.lr=abc +foo=1"
    words = [
        "6 mistakes in the config:",
        "no data named 'digit'",
        "no model named 'lsmt'",
        "no setting 'optimizr.lr'",
        "trainer.max_epochs = -1",
        "optimizer.lr = 'abc'",
        "no setting 'foo'",
    ]
    answer = refused(dltrain, work, line.split(), CONFIG, words)
    assert len(answer.err.splitlines()) == 7
    words = ["2 mistakes", "no setting 'optimizr.lr'", "no setting 'modle'"]
    refused(dltrain, work, ["-m", "optimizr.lr=1,2", "modle=3"], CONFIG, words)
    words = ["2 mistakes", "model.name = 'mlp'", "loss.name = 'mse'"]
    refused(dltrain, work, ["data=korean_text", "loss=mse"], CONFIG, words)


# Overrides that are given together -> the end of the line about each.
TOGETHER = {
    "values": {
        "trainer.max_epochs=1.5": "must be a whole number at least 1 or null.",
        "trainer.max_steps=abc": "must be a whole number at least 1 or null.",
        "trainer.batch_size=0": "must be a whole number at least 1.",
        "optimizer.lr=-1": "must be a number above 0.",
        "optimizer.eps=": "must be a number above 0.",
        "optimizer.amsgrad=maybe": "must be true or false.",
        "seed=-1": "must be a whole number at least 0 and at most 9223372036854775807.",
        "imports=abc": "must be a list, each text.",
        "model.activation=rleu": "Did you mean 'relu'?",
        "model.hidden=[3,x]": "must be a whole number at least 1.",
        "device.precision=fp61": "must be one of fp32, bf16.",
    },
    "names": {
        "modle=lstm": "no setting 'modle'. Did you mean 'model'?",
        "optimizer.lrr=1": "no setting 'optimizer.lrr'. Did you mean 'optimizer.lr'?",
        "optimizer.momentum=0.9": "optimizer=nesterov, optimizer=rmsprop and optimizer=sgd.",
        "model.votes=plain": "It belongs to model=knn.",
        "model.qqq=1": (
            "model has: init_from, freeze, unfreeze_epoch, unfreeze_after, freeze_after, name, hidden, activation, "
            "norm, dropout, bias, init."
        ),
        "foo/bar=3": "hydra/sweeper, loss, model, optimizer, scheduler, sweep, trainer.",
        "callbacks.chekpoint.monitor=x": "Did you mean 'callbacks.checkpoint.monitor'?",
        "callbacks.checkpoint.monitr=x": "Did you mean 'callbacks.checkpoint.monitor'?",
        "model._target_=os.mkdir": (
            "model has: init_from, freeze, unfreeze_epoch, unfreeze_after, freeze_after, name, hidden, activation, "
            "norm, dropout, bias, init."
        ),
    },
    "added": {
        "+trainer.max_epoch=5": "Did you mean 'trainer.max_epochs'?",
        "+foo=5": "The top level has: seed, run_dir, resume, report, imports, device, trainer, data, model, loss, "
        "optimizer, scheduler, callbacks, sweep.",
        "+model._target_=os.mkdir": "is refused. A config names registered components (name: ...), never code",
        "+callbacks.x._target_=os.mkdir": "summary, swa, tensorboard, wandb, worst_errors.",
    },
    "metrics": {
        "callbacks.checkpoint.monitor=val/acuracy": "Did you mean 'val/accuracy'?",
        "callbacks.early_stopping.monitor=val/f2": "Did you mean 'val/f1'?",
    },
}


@pytest.mark.parametrize("kind", TOGETHER)
def test_mistakes_of_a_kind_are_told_together(kind, dltrain, work):
    told = refused(dltrain, work, TOGETHER[kind], CONFIG, [f"{len(TOGETHER[kind])} mistakes in the config:"]).err
    for override, words in TOGETHER[kind].items():
        key = override.lstrip("+").partition("=")[0]
        lines = [line for line in told.splitlines() if key in line or f"{key.rpartition('.')[0]} = " in line]
        assert any(line.endswith(words) for line in lines), lines


def test_a_traceback_is_shown_on_demand(work, capsys, monkeypatch):
    monkeypatch.setenv("DLTRAIN_TRACEBACK", "1")
    assert cli.run(["model=lsmt"]) == CONFIG
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "error: no model named 'lsmt'" in shown


def test_an_unexpected_error_ends_with_1_and_a_traceback(work, capsys, monkeypatch):
    monkeypatch.setattr("dltrain.commands.list.run", operator.index)  # which takes no arguments of a command
    assert cli.run(["list"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "mistake in dltrain or in a module of yours" in shown


# --- mistakes in files ------------------------------------------------------------------------------------

# The text of model/mine.yaml -> words of the message.
YAML_MISTAKES = {
    "a tab": ("# x\nname: mlp\n\thidden: [3]\n", ["mine.yaml, line 3, column 1", "spaces, not tabs"]),
    "an open bracket": ("name: mlp\nhidden: [3\nnorm: null\n", ["mine.yaml, line 3, column 5", "expected ',' or ']'"]),
    "a key twice": ("name: mlp\nname: lstm\n", ["mine.yaml, line 2, column 1", "duplicate key"]),
    "an unknown name": ("name: nope\n", ["model.name = 'nope'", "There is: alexnet, convnet,"]),
    "a list": (
        "- a\n- b\n",
        ["model/mine.yaml: a list or a single value stands where settings (name: value) are needed"],
    ),
    "nothing": ("", ["model = {}: needs a name"]),
    "settings missing": ("name: linear\n", ["model.bias: no value", "model.init: no value"]),
    "a setting too many": (
        "name: linear\nbias: true\ninit: zeros\nbais: 1\n",
        ["no setting 'model.bais'. Did you mean"],
    ),
    "code": ("_target_: os.mkdir\npath: x\n", ["needs a name"]),
    "an unknown default": ("defaults: [nope]\nname: mlp\n", ["no config 'model/nope'", "model/mine.yaml"]),
    "CP949": ("# 모델\nname: mlp\n".encode("cp949"), ["mine.yaml, line 1", "UTF-8"]),
}


@pytest.mark.parametrize("kind", YAML_MISTAKES)
def test_a_mistake_in_a_yaml_file_is_told_with_its_place(kind, dltrain, work):
    content, words = YAML_MISTAKES[kind]
    path = work / "mine" / "model" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(dltrain, work, ["--config-dir", "mine", "model=mine"], CONFIG, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1\n", ["is no YAML", "line 2"]),
        (b"- 1\n", ["holds no settings"]),
        (b"seed: 0\n", ["9 mistakes", "model: no value"]),
        ("# 설정\n".encode("cp949"), ["UTF-8"]),
    ],
)
def test_a_mistake_in_the_file_of_config_is_told(content, words, dltrain, work):
    (work / "mine.yaml").write_bytes(content)
    refused(dltrain, work, ["--config", "mine.yaml"], CONFIG, words)


@pytest.mark.parametrize("flags", [[], ["-m"], ["--cfg", "job"]])
def test_a_config_folder_that_is_missing_is_told(flags, dltrain, work, monkeypatch):
    words = ["the config folder", "nope does not exist", "--config-dir or DLTRAIN_CONFIG_PATH"]
    refused(dltrain, work, ["--config-dir", "nope", *flags], CONFIG, words)
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", "nope")
    refused(dltrain, work, flags, CONFIG, words)


def test_imports_that_fail_are_told_with_their_place(dltrain, work):
    (work / "cli_needs_more.py").write_text("import not_installed_anywhere\n")
    (work / "cli_raises.py").write_text("\n1 / 0\n")
    (work / "cli_no_python.py").write_text("def f(:\n")
    words = [
        "module 'cli_needs_more' needs 'not_installed_anywhere', which is not installed",
        "module 'cli_raises' failed: ZeroDivisionError",
        "cli_raises.py:2)",
        "module 'cli_no_python' failed: invalid syntax",
        "cli_no_python.py:1)",
        "no module 'cli_missing' in",
    ]
    names = "cli_needs_more,cli_raises,cli_no_python,cli_missing"
    before = {path.name for path in work.iterdir()}
    answer = dltrain(f"imports=[{names}]", "optimizer.lr=-1")  # it may be a module that would know
    assert answer.code == CONFIG
    for word in words:
        assert word in answer.err
    assert "4 mistakes in the config:" in answer.err and "optimizer.lr" not in answer.err
    assert {path.name for path in work.iterdir()} - {"__pycache__"} == before


def test_a_model_whose_module_is_not_imported_is_told(dltrain, work):
    path = work / "mine" / "model" / "tiny_one.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("name: tiny_one\n")
    words = [
        "model.name = 'tiny_one': no model named 'tiny_one'.",
        f"{path} is there: import its module with 'imports=[MODULE]'.",
    ]
    refused(dltrain, work, ["--config-dir", "mine", "model=tiny_one"], CONFIG, words)


def test_data_that_cannot_be_read_is_told(dltrain, work):
    korean = ["data=korean_text", "model=lstm"]
    (work / "한글 (1).txt").write_text("그의 말이 법이다\n")
    words = ["data.path=한글 (2).txt: there is no such file in", "Did you mean '한글 (1).txt'?"]
    refused(dltrain, work, [*korean, "data.path=한글 (2).txt"], DATA, words)
    refused(dltrain, work, [*korean, f"data.path={work}"], DATA, ["this is a folder; give a text file"])
    (work / "empty.txt").touch()
    refused(dltrain, work, [*korean, "data.path=empty.txt"], DATA, ["data.path=empty.txt: the file is empty"])
    (work / "cp949.txt").write_bytes("그의 말이 법이다\n".encode("cp949"))
    words = ["data.path=cp949.txt: byte 0 (line 1) is not UTF-8", "data.encoding"]
    refused(dltrain, work, [*korean, "data.path=cp949.txt", "data.encoding=utf-8"], DATA, words)


def test_a_korean_name_with_spaces_and_parentheses_needs_no_quotes(dltrain, work):
    name = "말 모음 (최종, 2판).txt"
    (work / name).write_bytes("그의 말이 법이다\n가는 말이 곱다\n".encode("cp949"))
    quick = ["model=rnn", "trainer.max_epochs=1", "~callbacks.tensorboard", "report=false"]
    answer = dltrain("data=korean_text", f"data.path={name}", *quick)
    assert answer.code == 0, answer.err
    assert f"{name} is read as CP949" in answer.err
    saved = yaml.safe_load((only_run(work) / "config.yaml").read_text(encoding="utf-8"))
    assert saved["data"]["path"] == str(work / name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_gpu_that_is_not_there_is_told(dltrain, work):
    refused(dltrain, work, ["device=cuda"], MACHINE, ["device=cuda", "device=cpu"])


def test_a_folder_that_cannot_be_written_is_told(dltrain, work, monkeypatch):
    locked = work / "locked"
    locked.mkdir()
    if os.geteuid() == 0:  # root may write whatever the permissions say
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", locked], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("as root, this needs the right to mount")
    else:
        locked.chmod(0o500)
    try:
        monkeypatch.chdir(locked)
        words = ["no run folder can be made at", str(locked), "run_dir="]
        refused(dltrain, locked, QUICK, MACHINE, words)
        answer = dltrain("doctor")
        assert answer.code == MACHINE
        assert re.search(r"BAD folder .* cannot be written", answer.out)
    finally:
        monkeypatch.chdir(work)  # or it could not be unmounted
        if os.geteuid() == 0:
            subprocess.run(["umount", locked], check=True)
        else:
            locked.chmod(0o700)


# --- mistakes about runs ----------------------------------------------------------------------------------


def test_a_run_folder_in_use_is_told(dltrain, work):
    assert dltrain(*QUICK, "report=false", "run_dir=mine").code == 0
    words = ["run_dir=mine holds a run already", "dltrain resume mine"]
    refused(dltrain, work, [*QUICK, "run_dir=mine"], CONFIG, words)
    (work / "file").touch()
    refused(dltrain, work, [*QUICK, "run_dir=file"], MACHINE, ["file is a file"])
    with RunFolder(work / "mine").locked():
        words = ["mine is being trained by another process", str(os.getpid())]
        refused(dltrain, work, ["resume", "mine", "trainer.max_epochs=2"], MACHINE, words)


def test_a_loss_that_diverges_ends_with_6(dltrain, work):
    answer = dltrain("data=iris", "model=linear", "optimizer=sgd", "optimizer.lr=1e38", *QUICK[3:])
    assert answer.code == DIVERGED
    assert re.search(r"error: .*(NaN|infinite)", answer.err)
    assert "optimizer.lr" in answer.err
    result = json.loads((only_run(work) / "result.json").read_text())
    assert result["status"] == "failed"
    assert result["error"] in answer.err


# --- what is right ----------------------------------------------------------------------------------------


def test_help_names_every_verb_group_and_option(dltrain):
    for flag in ("--help", "-h", "help"):
        answer = dltrain(flag)
        assert answer.code == 0
    for verb in cli.VERBS:
        assert f"\n  {verb} " in answer.out
    for group in config_files.GROUPS:
        *_, line = re.findall(rf"^  {group} +(.*)$", answer.out, re.MULTILINE)  # 'data' is a verb too
        assert line.split(", ") == list(config_files.options(group))


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb, dltrain):
    answer = dltrain(verb, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"usage: dltrain {verb}")
    assert len(answer.out.splitlines()) > 4


def test_the_version(dltrain):
    assert re.fullmatch(r"dltrain \d+\.\d+\.\d+\S*\n", dltrain("--version").out)
    assert dltrain("-V").code == 0


def test_a_training_writes_into_runs_alone(dltrain, work):
    answer = dltrain(*QUICK[:-1])  # with TensorBoard
    assert answer.code == 0
    run = only_run(work).relative_to(work)
    assert [path.name for path in work.iterdir()] == ["runs"]
    assert f"run {run}\n" in answer.out
    for line in ("dltrain evaluate last", "dltrain board last", "dltrain resume last trainer.max_epochs=2"):
        assert line in answer.out
    expected = "checkpoints config.yaml environment.json metrics.jsonl overrides.yaml result.json tensorboard train.log"
    assert set(expected.split()) <= {path.name for path in run.iterdir()}
    log = (run / "train.log").read_text(encoding="utf-8")
    assert "3 classes" in log and "epoch 1/1" in log


def test_the_next_steps_name_a_run_that_is_elsewhere_and_only_what_works(dltrain, work):
    answer = dltrain(*QUICK, "callbacks=none", "run_dir=mine")
    assert answer.code == CONFIG  # no callbacks, so none that ~callbacks.tensorboard could drop
    answer = dltrain(*QUICK[:-1], "report=false", "callbacks=none", "run_dir=mine")
    assert answer.code == 0
    after = answer.out.partition("next:")[2]
    assert not any(verb in after for verb in ("evaluate", "board", "resume"))
    answer = dltrain(*QUICK[:-1], "report=false", "callbacks=[checkpoint]", "run_dir=third")
    assert "dltrain resume third trainer.max_epochs=2" in answer.out


def rows(run: Path):
    """Returns the figures of a run without its times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.endswith("seconds")} for row in lines]


def test_the_saved_config_gives_the_run_again(dltrain, work):
    first = ["data=iris", "model.hidden=[5]", "model.dropout=0.3", "optimizer=sgd", "seed=7", "trainer.max_epochs=3"]
    assert dltrain(*first, "~callbacks.tensorboard", "report=false", "run_dir=first").code == 0
    assert dltrain("--config", "first/config.yaml").code == 0
    again = only_run(work)
    assert rows(again) == rows(work / "first")
    assert dltrain("--config", "first/config.yaml", "seed=8", "run_dir=other").code == 0
    assert rows(work / "other") != rows(work / "first")
    assert len(rows(work / "other")) == 3


def test_cfg_prints_the_config_and_trains_nothing(dltrain, work):
    mine = work / "mine" / "model" / "tiny.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("name: linear\nbias: false\ninit: zeros\n")
    answer = dltrain("trainer.max_epochs=3", "--config-dir", "mine", "--cfg", "job", "model=tiny")
    assert answer.code == 0, answer.err
    printed = yaml.safe_load(answer.out)
    assert printed["trainer"]["max_epochs"] == 3
    assert {"name": "linear", "bias": False, "init": "zeros"}.items() <= printed["model"].items()
    assert [path.name for path in work.iterdir()] == ["mine"]


MODULE = """
from dataclasses import dataclass
from torch import nn
from dltrain import registry
from dltrain.config import setting

@dataclass(frozen=True)
class Settings:
    name: str = setting("Name of the model.")

@registry.register("model", "{name}", Settings)
def build(settings, *, task):
    if task.kind == "next_token":
        return nn.Sequential(nn.Embedding(task.output_size, 4), nn.Flatten(), nn.Linear(20, task.output_size))
    return nn.Linear(4, task.output_size)
"""


@pytest.mark.slow
def test_a_folder_of_modules_is_given_to_the_verbs_of_runs_too(work):
    """In processes of their own, which have not imported the module yet."""
    (work / "mine" / "model").mkdir(parents=True)
    (work / "mine" / "model" / "own.yaml").write_text("name: own\n")
    (work / "mine" / "cli_verbs_own.py").write_text(MODULE.format(name="own"))
    mine = ["--config-dir", "mine"]
    common = [*mine, "imports=[cli_verbs_own]", "model=own", "data=korean_text", "~callbacks.tensorboard"]
    lines = [
        ([*common, "trainer.max_epochs=1", "run_dir=run"], 0),
        (["resume", "run", "trainer.max_epochs=2"], CONFIG),
        (["resume", "run", "trainer.max_epochs=2", *mine, "optimizer.lr=0.1"], 0),
        (["evaluate", "run", *mine], 0),
        (["generate", *mine, "run", "그의", "-n", "1"], 0),
    ]
    for line, code in lines:
        with start(*line, cwd=work) as process:
            _, err = process.communicate(timeout=120)
        assert process.returncode == code, (line, err)
        assert ("--config-dir DIR looks in DIR too" in err) == (code == CONFIG)
    saved = yaml.safe_load((work / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert (saved["trainer"]["max_epochs"], saved["optimizer"]["lr"]) == (2, 0.1)


# --- multiruns --------------------------------------------------------------------------------------------


def test_a_multirun_trains_every_combination(dltrain, work):
    answer = dltrain(*SWEPT, "optimizer.lr=0.1,0.2", "optimizer=adam,sgd")
    assert answer.code == 0, answer.err
    assert [path.name for path in work.iterdir()] == ["runs"]
    trials = sorted(work.glob("runs/sweeps/*/trials/*"))
    assert [trial.name for trial in trials] == ["0", "1", "2", "3"]
    seen = set()
    for trial in trials:
        saved = yaml.safe_load((trial / "config.yaml").read_text())
        seen.add((saved["optimizer"]["name"], saved["optimizer"]["lr"]))
        assert json.loads((trial / "result.json").read_text())["status"] == "done"
        assert "epoch 1/1" in (trial / "train.log").read_text()
        assert not (trial / "tensorboard").exists()  # not even for the comparison, as it is left out
        assert f"optimizer={saved['optimizer']['name']}" in yaml.safe_load((trial / "overrides.yaml").read_text())
    assert seen == {("adam", 0.1), ("adam", 0.2), ("sgd", 0.1), ("sgd", 0.2)}
    assert "epoch 1/1" not in answer.err  # what each has to say stands in its log
    assert [line.partition(":")[0] for line in answer.err.splitlines()[1:]] == [f"trial {n}" for n in range(4)]
    assert dltrain("evaluate", "trials/2", "--no-pictures").code == 0


def test_a_signal_ends_the_multirun_in_a_job_and_after_one(dltrain, work, monkeypatch):
    train_epoch, evaluate = Trainer._train_epoch, Trainer._evaluate

    def signalled(self):
        os.kill(os.getpid(), signal.SIGTERM)
        train_epoch(self)

    def signalled_at_the_end(self, split):
        if split is self.test:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self, split)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", signalled)
        answer = dltrain(*SWEPT, "optimizer.lr=0.1,0.2")
    assert answer.code == 128 + signal.SIGTERM
    (sweep,) = work.glob("runs/sweeps/*")
    assert f"Go on with: dltrain resume {sweep.relative_to(work)}" in answer.err
    (result,) = sweep.glob("trials/*/result.json")
    assert json.loads(result.read_text())["status"] == "interrupted"

    monkeypatch.setattr(Trainer, "_evaluate", signalled_at_the_end)
    answer = dltrain("resume", sweep)
    assert answer.code == 128 + signal.SIGINT
    assert "stopped by SIGINT; what was under way is saved. 1 of 2 trials is left. Go on with: dltrain" in answer.err
    (result,) = sweep.glob("trials/*/result.json")
    assert json.loads(result.read_text())["status"] == "done"


FAILING = """
from dataclasses import dataclass
from torch import nn
from dltrain import registry
from dltrain.config import setting

@dataclass(frozen=True)
class MineSettings:
    name: str = setting("Name of the model.")
    width: int = setting("Width.", min=0)

@registry.register("model", "mine", MineSettings)
def mine(settings, *, task):
    return nn.Linear(4 // settings.width, task.output_size)
"""


def test_a_combination_that_fails_does_not_end_the_others(work, capsys):
    """One that does not fit the data, and one whose module of the user's has a mistake."""
    (work / "cli_my_models.py").write_text(FAILING)
    path = work / "mine" / "model" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# Mine\nname: mine\nwidth: 0\n")
    words = ["--config-dir", "mine", "imports=[cli_my_models]", "data=korean_text", "model=linear,mine,rnn"]
    assert cli.run([*words, "trainer.max_epochs=1", *SWEPT[3:]]) == FAILED_TRIALS
    shown = capsys.readouterr().err
    assert "error: 2 of the trials failed;" in shown
    assert "\n  0: model=linear: model.name = 'linear'" in shown
    assert "\n  1: model=mine: ZeroDivisionError: " in shown
    (details,) = work.glob("runs/sweeps/*/trials/1/error.txt")
    assert "Traceback" in details.read_text() and "cli_my_models.py" in details.read_text()
    done = sorted(path.parent.name for path in work.glob("runs/sweeps/*/trials/*/result.json"))
    assert done == ["2"]


# --- processes, pipes and terminals -----------------------------------------------------------------------


LONG = (
    "data=iris", "model.hidden=[4]", "trainer.max_epochs=1000000", "callbacks.progress.plain_seconds=0.2",
    "~callbacks.tensorboard", "report=false",
)  # fmt: skip


def check_interrupted(work: Path, answer: Answer) -> None:
    """Checks what a training leaves and says that Ctrl-C has ended, and that it goes on."""
    assert answer.code == 130
    assert answer.out == ""
    assert "Traceback" not in answer.err and "\x1b" not in answer.err
    run = only_run(work)
    assert answer.err.splitlines()[-1].endswith(f"Go on with: dltrain resume {run.relative_to(work)}")
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert 0 <= result["steps"] - rows(run)[-1]["step"] < 3  # an epoch is three steps
    assert cli.run(["resume", str(run), f"trainer.max_epochs={result['epochs'] + 1}"]) == 0
    assert rows(run)[-1]["step"] == 3 * (result["epochs"] + 1)


def test_a_signal_saves_and_says_how_to_go_on(dltrain, work, monkeypatch):
    train_epoch = Trainer._train_epoch
    epochs = []

    def signalled(self):
        epochs.append(self)
        if len(epochs) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        train_epoch(self)

    monkeypatch.setattr(Trainer, "_train_epoch", signalled)
    check_interrupted(work, dltrain(*LONG))


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(work):
    with start(*LONG, cwd=work) as process:
        assert process.stderr is not None
        shown = ""
        while " steps/s" not in shown:  # in mid-training
            line = process.stderr.readline()
            assert line, shown
            shown += line
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    check_interrupted(work, Answer(process.returncode, out, shown + err))


def test_a_reader_that_goes_away_is_no_mistake(work):
    command = f"{DLTRAIN[0]} -m dltrain list | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=work,
        env={**environment(), "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("data: ")
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(("redirection", "code"), [(">&-", 0), ("2>&-", 0), ("> /dev/full", MACHINE)])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_an_output_that_cannot_be_written_is_told_without_a_traceback(redirection, code, buffered, work):
    done = subprocess.run(
        ["bash", "-c", f"{DLTRAIN[0]} -m dltrain list {redirection}"],
        cwd=work,
        env={**environment(), "PYTHONUNBUFFERED": buffered},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    else:
        assert done.stderr == ""


ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.slow
def test_a_terminal_gets_a_live_line_that_never_mixes_with_the_log(work):
    words = ["data=iris", "model.hidden=[4]", "trainer.max_epochs=200", "callbacks.progress.terminal_seconds=0.1"]
    screen = at_terminal(*words, "~callbacks.tensorboard", "report=false", cwd=work, columns=80)
    assert screen.code == 0, screen.text
    # What stands between two erasures is a line by itself.
    lines = [ESCAPE.sub("", line).strip("\r") for line in re.split(r"\r?\x1b\[2K|\r?\n", screen.text)]
    live = [line for line in lines if line.startswith("epoch ") and "━" in line]
    assert len(live) >= 2
    for line in live:
        assert re.fullmatch(r"epoch \d+/200  [━╺╸]{24}  .*( left)?", line) and len(line) <= 80, line
    figures = [line for line in lines if "train/loss" in line]
    assert len(figures) >= 2
    for line in figures:
        assert re.fullmatch(r"epoch \d+/200  step \d+  train/loss \S+  .*  \d+ steps/s", line), line
    # Eight redraws a second, one more for each line of the log above it, and the last two.
    times = [when for when, text in screen.pieces if "━" in text]
    assert len(live) <= 10 * (times[-1] - times[0]) + len(figures) + 2
    assert figures[-1].startswith("epoch 200/200  step 600")
    after = screen.text.rpartition("200/200  step 600")[2]
    assert "┃" in after and "accuracy" in after and "next:" in after
    assert "\x1b[?25h" in screen.text  # the cursor is shown again


def test_without_a_terminal_there_are_plain_lines(dltrain):
    plain = ["trainer.max_epochs=3", "callbacks.progress.plain_seconds=0", "report=false"]
    answer = dltrain(*QUICK, *plain)
    lines = [line for line in answer.err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines][:3] == ["1/3", "2/3", "3/3"]
    assert "\r" not in answer.err


def test_a_name_that_no_file_can_have_is_told(dltrain, work):
    answer = dltrain("check", "data=gate", "model=mlp", f"model.init_from={'x' * 300}")
    assert (answer.code, answer.err) == (2, f"error: no file can have a name as long as this: {'x' * 60}\n")


def test_a_list_in_the_list_of_a_group_is_told(dltrain, work):
    answer = dltrain("check", "data=gate", "model=mlp", "scheduler=[[[cosine]]]")
    assert answer.code == 2 and answer.err.startswith("error: no scheduler named '[['cosine']]'.")


@pytest.mark.parametrize(
    ("said", "is_busy", "then"),
    [
        ({}, True, {"GOMP_SPINCOUNT": "1000"}),
        ({}, False, {}),
        ({"OMP_WAIT_POLICY": "active"}, True, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "5"}, True, {"GOMP_SPINCOUNT": "5"}),
    ],
)
def test_threads_wait_asleep_beside_others_unless_the_environment_says_how(said, is_busy, then, monkeypatch):
    monkeypatch.setattr(cli, "_others_compute", lambda: is_busy)
    ours = dict(said)
    cli.let_threads_sleep(ours)
    assert ours == then


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="only Linux tells")
def test_another_program_that_computes_is_noticed():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        until = time.monotonic() + 30
        while not cli._others_compute() and time.monotonic() < until:
            pass
        assert cli._others_compute() or cli._others_compute()
    finally:
        busy.kill()
        busy.wait()
