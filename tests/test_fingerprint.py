"""The fingerprint of data: what changes it and what does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from training import configure, train

from dltrain import registry
from dltrain.data import Samples
from dltrain.fingerprint import _of_version_0_1, fingerprint


def test_the_fingerprint_is_that_of_all_samples_and_of_what_they_stand_for(tmp_path):
    data = registry.build("data", configure(tmp_path)[0].data)
    again = registry.build("data", configure(tmp_path)[0].data)
    assert fingerprint(data) == fingerprint(again)
    changed = data.train.inputs.clone()
    changed[3, 1] += 1e-6
    others = [
        Samples(changed, data.train.targets),
        Samples(data.train.inputs.reshape(90, 2, 2), data.train.targets),
        Samples(data.train.inputs, data.train.targets.flip(0)),
        Samples(data.train.inputs[:-1], data.train.targets[:-1]),
    ]
    prints = {fingerprint(replace(data, train=samples)) for samples in others}
    prints.add(fingerprint(replace(data, test=data.validation)))
    prints.add(fingerprint(replace(data, preprocessing={"vocabulary": ["가는"]})))
    assert len(prints) == 6 and fingerprint(data) not in prints


# --- a run whose data changed -----------------------------------------------------------------------------

ROWS = [f"{number % 7},{number % 5},{'abc'[number % 3]},{number % 2}" for number in range(60)]
CSV = ("data=csv", "data.path=t.csv", "data.target=y", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=2")


def write(path, rows=ROWS, header="u,v,kind,y"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def run(work):
    """A run of two epochs on a table."""
    write(work / "t.csv")
    train(work / "run", *CSV, callbacks=("checkpoint",))
    return work / "run"


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        ([f"{ROWS[0]}", *ROWS[1:-5]], "u,v,kind,y", ["the train split had 42 samples and has 38"]),
        (["6" + ROWS[0][1:], *ROWS[1:]], "u,v,kind,y", [" split has other values (fingerprint "]),
        ([row.replace("c", "d") for row in ROWS], "u,v,kind,y", ['without "c"', 'with "d"']),
        (ROWS, "u,w,kind,y", ['without "v" and with "w"']),
    ],
)
def test_data_that_changed_are_refused_with_what_changed(rows, header, words, run, dltrain, work):
    write(work / "t.csv", rows, header)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for verb in (["resume", "run", "trainer.max_epochs=3"], ["evaluate", "run"]):
        answer = dltrain(*verb)
        assert answer.code == 4
        assert answer.err.startswith("error: the data of run are not those that it was trained on: ")
        for word in [*words, "with model.init_from=run"]:
            assert word in answer.err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_data_that_were_moved_are_the_same(run, dltrain, work):
    shutil.move(work / "t.csv", work / "elsewhere.csv")
    assert dltrain("resume", "run", "trainer.max_epochs=3").code == 3
    write(work / "other.csv", ROWS[:-1])
    assert dltrain("resume", "run", "trainer.max_epochs=3", "data.path=other.csv").code == 4
    answer = dltrain("resume", "run", "trainer.max_epochs=3", "data.path=elsewhere.csv")
    assert answer.code == 0, answer.err
    assert f"path: {work / 'elsewhere.csv'}\n" in (run / "config.yaml").read_text()
    assert "changed: data.path: " in (run / "train.log").read_text()
    assert dltrain("evaluate", "run").code == 0


def test_the_checkpoint_tells_where_the_task_file_is_lost_or_edited(run, dltrain, work):
    task = json.loads((run / "task.json").read_text())
    (run / "task.json").unlink()
    write(work / "t.csv", ROWS[::-1])
    assert dltrain("resume", "run", "trainer.max_epochs=3").code == 4
    assert not (run / "task.json").exists()
    write(work / "t.csv")
    (run / "task.json").write_text(json.dumps({**task, "fingerprint": "0" * 64}))
    assert dltrain("resume", "run", "trainer.max_epochs=3").code == 0
    assert json.loads((run / "task.json").read_text()) == task


def test_a_run_of_an_older_version_has_one_hash_over_everything(run, dltrain, work):
    task = json.loads((run / "task.json").read_text())
    from dltrain import saved
    from dltrain.config import load
    from dltrain.run_folder import RunFolder

    data = registry.build("data", load(saved.saved_config(RunFolder(run))).data)
    old = {"task": task["task"], "preprocessing": task["preprocessing"], "fingerprint": _of_version_0_1(data)}
    (run / "task.json").write_text(json.dumps(old))
    assert dltrain("evaluate", "run").code == 0
    write(work / "t.csv", ROWS[::-1])
    answer = dltrain("evaluate", "run")
    assert answer.code == 4 and "table.features[kind].categories in another order" in answer.err
