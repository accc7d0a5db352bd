"""Training where a run is already: ``run_dir=... resume=true``."""

from __future__ import annotations

import json

import yaml
from commandline import tree

QUICK = ("data=iris", "model.hidden=[4]", "~callbacks.tensorboard", "report=false", "resume=true")
WORDS = (*QUICK, "run_dir=run")


def result(work):
    return json.loads((work / "run" / "result.json").read_text())


def test_the_same_command_again_goes_on_with_what_was_stopped(dltrain, work):
    assert dltrain(*WORDS, "trainer.max_epochs=4").code == 0
    whole = (work / "run" / "metrics.jsonl").read_text().splitlines()
    assert dltrain(*QUICK, "run_dir=other", "trainer.max_epochs=2").code == 0
    (work / "other").rename(work / "half")
    config = work / "half" / "config.yaml"
    config.write_text(
        config.read_text().replace("max_epochs: 2", "max_epochs: 4").replace("resume: true", "resume: false")
    )
    (work / "half" / "result.json").unlink()  # as after a kill
    answer = dltrain(*QUICK, "run_dir=half", "trainer.max_epochs=4")
    assert answer.code == 0, answer.err
    rows = (work / "half" / "metrics.jsonl").read_text().splitlines()
    losses = [[json.loads(row)["val/loss"] for row in lines] for lines in (rows, whole)]
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_a_run_that_is_finished_stays_as_it_is(dltrain, work):
    assert dltrain(*WORDS, "trainer.max_epochs=2").code == 0
    before = tree(work)
    answer = dltrain(*WORDS, "trainer.max_epochs=2")
    assert answer.code == 0 and "run is finished (reached max_epochs=2); nothing is left to do." in answer.out
    assert tree(work) == before


def test_other_settings_are_refused_with_the_difference(dltrain, work):
    assert dltrain(*WORDS, "trainer.max_epochs=2").code == 0
    before = tree(work)
    answer = dltrain(*WORDS, "trainer.max_epochs=2", "model.dropout=0.5")
    assert answer.code == 2
    assert answer.err == (
        "error: model.dropout: 0.0 -> 0.5. A run that goes on cannot change it: the saved weights and what the "
        "optimizer has gathered belong to the model as it was.\nTrain a new run from these weights instead: dltrain "
        "--config run/config.yaml model.init_from=run model.dropout=0.5\n"
        "Or go on with the run as it was: dltrain resume run\n"
    )
    assert tree(work) == before


def test_what_may_change_changes(dltrain, work):
    assert dltrain(*WORDS, "trainer.max_epochs=2").code == 0
    answer = dltrain(
        *WORDS, "trainer.max_epochs=3", "optimizer.lr=0.5", "~callbacks.summary", "callbacks=[default,ema]"
    )
    assert answer.code == 0, answer.err
    log = (work / "run" / "train.log").read_text()
    assert "changed: trainer.max_epochs: 2 -> 3\n" in log and "changed: optimizer.lr: 0.001 -> 0.5\n" in log
    assert "changed: callbacks.ema: null -> {name: ema, " in log and "changed: callbacks.summary: {name: " in log
    words = yaml.safe_load((work / "run" / "overrides.yaml").read_text())
    assert {"trainer.max_epochs=3", "optimizer.lr=0.5", "callbacks.summary=null"} < set(words)
    saved = yaml.safe_load((work / "run" / "config.yaml").read_text())
    assert "ema" in saved["callbacks"] and "summary" not in saved["callbacks"]


def test_a_learning_rate_that_the_command_line_does_not_say_is_not_taken_up(dltrain, work):
    (work / "conf" / "optimizer").mkdir(parents=True)
    mine = work / "conf" / "optimizer" / "mine.yaml"
    mine.write_text("# Mine\n# @package optimizer\nname: sgd\nlr: 0.1\nmomentum: 0\nnesterov: false\nweight_decay: 0\n")
    words = [*WORDS, "optimizer=mine", "--config-dir", "conf"]
    answer = dltrain(*words, "trainer.max_epochs=2")
    assert answer.code == 0, answer.err
    mine.write_text(mine.read_text().replace("lr: 0.1", "lr: 0.2"))
    answer = dltrain(*words, "trainer.max_epochs=3")
    assert answer.code == 2
    assert "optimizer.lr: 0.1 -> 0.2. A run that goes on keeps its rate unless the command line says optimizer.lr" in (
        answer.err
    )
    assert dltrain(*words, "trainer.max_epochs=3", "optimizer.lr=0.2").code == 0
    assert result(work)["last"]["lr"] == 0.2


def test_it_needs_a_folder(dltrain, work):
    answer = dltrain("resume=true")
    assert answer.code == 2
    assert answer.err == "error: resume = true: needs run_dir, the folder of the run to go on with. Set run_dir=...\n"
