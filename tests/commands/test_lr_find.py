"""``dltrain lr-find`` says which rate, keeps the curve, and gives the command line that trains with it."""

from __future__ import annotations

import csv
import json
import re
import shlex
import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from commandline import at_terminal, start, tree

from dltrain import compose

IRIS = ("data=iris", "model=mlp", "model.hidden=[8]", "device.threads=1")


def written(work: Path) -> Path:
    (folder,) = (work / "runs" / "lr-find").iterdir()
    return folder


def next_command(answer) -> list[str]:
    (line,) = [line for line in answer.out.splitlines() if line.startswith("train ")]
    return shlex.split(line)[1:]


def test_what_it_prints_and_keeps(dltrain, work):
    answer = dltrain("lr-find", *IRIS)
    assert answer.code == 0, answer.err
    assert re.match(
        r"Learning-rate sweep: mlp on iris, adam: \d+ steps in .+; the loss climbed to .+ at .+\n", answer.out
    )
    folder = written(work)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-iris-mlp-[a-z]{4}", folder.name)
    assert sorted(path.name for path in folder.iterdir()) == ["lr_sweep.csv", "lr_sweep.json", "lr_sweep.svg"]
    saved = json.loads((folder / "lr_sweep.json").read_text(encoding="utf-8"))
    assert saved["overrides"] == list(IRIS) and saved["sweep"]["steps"] == 300
    with (folder / "lr_sweep.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == saved["found"]["steps"] + 1
    ElementTree.parse(folder / "lr_sweep.svg")
    for rule in ("steepest", "valley", "tenth"):
        assert re.search(rf"^│ {rule} +│ +{saved['found'][rule]:g} │ +[\d.]+ │ ", answer.out, re.MULTILINE)
    assert next_command(answer) == ["dltrain", *IRIS, f"optimizer.lr={saved['found']['valley']:g}"]
    assert f"curve       runs/lr-find/{folder.name}/lr_sweep.csv and lr_sweep.svg\n" in answer.out


def test_it_is_not_taken_for_a_run(dltrain, work):
    assert dltrain("lr-find", *IRIS, "--steps", "20").code == 0
    assert "no runs" in dltrain("evaluate", "last").err


def test_the_command_that_it_gives_trains_at_that_rate(dltrain, work):
    words = next_command(dltrain("lr-find", *IRIS, "optimizer=sgd", "optimizer.lr=0.5", "--output", "found"))
    assert sum(word.startswith("optimizer.lr=") for word in words) == 1
    assert dltrain(*words[1:], "trainer.max_epochs=1", "run_dir=run", "callbacks=none").code == 0
    rate = float(words[-1].partition("=")[2])
    assert json.loads((work / "run" / "metrics.jsonl").read_text())["lr"] == rate
    found = json.loads((work / "found" / "lr_sweep.json").read_text())["found"]
    assert rate == found["valley"] != 0.5


def test_groups_go_along_in_their_ratio(dltrain, work):
    groups = "optimizer.groups={layers.1.*: {lr: 0.002, weight_decay: 0.1}, *.bias: {weight_decay: 0}}"
    words = next_command(dltrain("lr-find", *IRIS, "optimizer=adamw", "optimizer.lr=0.001", groups))
    container = compose.compose(words[1:]).container["optimizer"]
    assert container["groups"] == {
        "layers.1.*": {"lr": pytest.approx(2 * container["lr"]), "weight_decay": 0.1},
        "*.bias": {"weight_decay": 0},
    }
    assert container["lr"] != 0.001 and sum(word.startswith("optimizer.groups=") for word in words) == 1


def test_the_second_rate_of_muon_goes_along(dltrain, work):
    muon = ("model.hidden=[8, 8]", "optimizer=muon", "optimizer.lr=0.02", "optimizer.adamw_lr=0.01")
    answer = dltrain("lr-find", *IRIS, *muon)
    assert answer.code == 0, answer.err
    container = compose.compose(next_command(answer)[1:]).container["optimizer"]
    assert container["adamw_lr"] == pytest.approx(container["lr"] / 2, rel=1e-3)


def test_words_are_quoted_for_the_shell(dltrain, work):
    (work / "my data").mkdir()
    rows = "".join(f"{i},{i * i % 7}\n" for i in range(60))
    (work / "my data" / "표 1.csv").write_text("x,y\n" + rows, encoding="utf-8")
    table = ("data=csv", "data.path=my data/표 1.csv", "data.target=y", "model.hidden=[8]", "--steps", "60")
    answer = dltrain("lr-find", *table)
    assert answer.code == 0, answer.err
    if "train  " in answer.out:
        assert "'data.path=my data/표 1.csv'" in answer.out
        assert "data.path=my data/표 1.csv" in next_command(answer)


def test_flags_and_the_callback_of_the_config(dltrain, work):
    assert dltrain("lr-find", *IRIS, "--start", "1e-5", "--end", "1e-2", "--steps", "40", "--scale", "linear").code == 0
    sweep = json.loads((written(work) / "lr_sweep.json").read_text())["sweep"]
    assert (sweep["start"], sweep["end"], sweep["steps"], sweep["scale"]) == (1e-5, 1e-2, 40, "linear")
    own = ("callbacks=[default,lr_sweep]", "callbacks.lr_sweep.steps=50", "callbacks.lr_sweep.smoothing=0.9")
    assert dltrain("lr-find", *IRIS, *own, "--end", "1", "--output", "here").code == 0
    sweep = json.loads((work / "here" / "lr_sweep.json").read_text())["sweep"]
    assert (sweep["steps"], sweep["smoothing"], sweep["end"]) == (50, 0.9, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", "7"), "error: --steps = 7: must be a whole number at least 20"),
        (("--steps", "many"), "error: --steps = 'many': must be a whole number at least 20"),
        (("--start", "-1"), "error: --start = -1: must be a number above 0"),
        (("--start", "2", "--end", "1"), "error: lr_sweep: end = 1: must be above start = 2"),
        (("--scale", "log"), "error: --scale = 'log': must be one of exponential, linear"),
        (("optimizr.lr=1",), "error: no setting 'optimizr.lr'. Did you mean 'optimizer.lr'?"),
        (
            ("optimizer=lbfgs",),
            "error: there is no learning rate to find: optimizer.name = 'lbfgs': its lr is the first",
        ),
        (("model=knn",), "error: there is no learning rate to find: the model is fitted in one step"),
        (("model=perceptron", "data=gate"), "error: there is no learning rate to find: the model learns by its own"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(dltrain, work, words, message):
    base = () if any(word.startswith("model=") for word in words) else IRIS
    answer = dltrain("lr-find", *base, *words)
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(message)
    assert tree(work) == {}


def test_an_output_that_cannot_be_is_told_before_the_sweep(dltrain, work):
    (work / "file").write_text("mine")
    answer = dltrain("lr-find", *IRIS, "--output", "file")
    assert answer.code == 5 and "cannot be made" in answer.err and "is a file" in answer.err
    assert dltrain("lr-find", *IRIS, "--steps", "20", "--output", "twice").code == 0
    before = tree(work)
    answer = dltrain("lr-find", *IRIS, "--output", "twice")
    assert answer.code == 2
    assert answer.err == "error: --output twice: there is a sweep already. Name another folder\n"
    assert tree(work) == before


def test_a_curve_without_an_answer_says_why(dltrain, work):
    answer = dltrain("lr-find", *IRIS, "--end", "1e-5")
    assert answer.code == 0
    assert answer.out.count("the loss does not fall: ") == 3 and "train  " not in answer.out


def test_the_optimizer_has_a_note(dltrain, work):
    assert "note        adagrad adds up all squared gradients" in dltrain("lr-find", *IRIS, "optimizer=adagrad").out


def test_a_run_s_config_can_be_swept(dltrain, work):
    run = (*IRIS, "trainer.max_epochs=1", "callbacks=none", "run_dir=run", "model.hidden=[5]")
    assert dltrain(*run).code == 0
    answer = dltrain("lr-find", "--config", "run/config.yaml", "model.hidden=[7]")
    assert answer.code == 0, answer.err
    assert next_command(answer)[:4] == ["dltrain", "--config", "run/config.yaml", "model.hidden=[7]"]
    assert not (work / "run" / "lr_sweep.csv").exists()


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(work):
    process = start("lr-find", *IRIS, "trainer.batch_size=1", "--steps", "1000000", cwd=work)
    for line in process.stderr:
        if line.startswith("step "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == "" and err.endswith("stopped\n")
    assert tree(work) == {}


@pytest.mark.slow
def test_at_a_terminal_a_line_shows_how_far_it_is(work):
    screen = at_terminal("lr-find", *IRIS, "trainer.batch_size=1", "--steps", "3000", cwd=work)
    assert screen.code == 0
    assert re.search(r"\rstep \d+/3000  rate [\d.e-]+  loss [\d.e+]+ *\r", screen.text)
    shown = screen.text[screen.text.index("Learning-rate sweep") :]
    assert "rule" in shown and max(len(line) for line in shown.splitlines()[2:19]) <= 100


def test_yaml_of_the_callback_is_what_is_swept(dltrain, work):
    file = Path(compose.__file__).parent.parent / "configs" / "callbacks" / "lr_sweep.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert dltrain("lr-find", *IRIS).code == 0
    assert json.loads((written(work) / "lr_sweep.json").read_text())["sweep"] == values
