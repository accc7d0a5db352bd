"""Training where a run is already: ``run_dir=... resume=true``."""

from __future__ import annotations

import json

from commandline import tree

WORDS = ("data=iris", "model.hidden=[4]", "run_dir=run", "resume=true")


def result(work):
    return json.loads((work / "run" / "result.json").read_text())


def test_the_same_command_again_goes_on_with_what_was_stopped(dltrain, work):
    assert dltrain(*WORDS, "trainer.max_epochs=4").code == 0
    whole = (work / "run" / "metrics.jsonl").read_text().splitlines()
    assert dltrain(*WORDS[:2], "run_dir=other", "resume=true", "trainer.max_epochs=2").code == 0
    (work / "other").rename(work / "half")
    config = work / "half" / "config.yaml"
    config.write_text(
        config.read_text().replace("max_epochs: 2", "max_epochs: 4").replace("resume: true", "resume: false")
    )
    (work / "half" / "result.json").unlink()  # as after a kill
    answer = dltrain(*WORDS[:2], "run_dir=half", "resume=true", "trainer.max_epochs=4")
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
        "error: run_dir=run: the run there has other settings: model.dropout was 0.0 and is 0.5. "
        "Go on with it as it was: dltrain resume run; or name another folder\n"
    )
    answer = dltrain(*WORDS, "trainer.max_epochs=3", "optimizer.lr=0.5")
    assert answer.err == (
        "error: run_dir=run: the run there has other settings: optimizer.lr was 0.001 and is 0.5, trainer.max_epochs "
        "was 2 and is 3. Go on with it so: dltrain resume run optimizer.lr=0.5 trainer.max_epochs=3; or name another "
        "folder\n"
    )
    assert tree(work) == before


def test_it_needs_a_folder(dltrain, work):
    answer = dltrain("resume=true")
    assert answer.code == 2
    assert answer.err == "error: resume = true: needs run_dir, the folder of the run to go on with. Set run_dir=...\n"
