"""'dltrain rerun': a run once more, and whether its figures agree."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from commandline import tree

from dltrain import run_folder

QUICK = ("report=false", "~callbacks.tensorboard", "~callbacks.progress", "~callbacks.summary")


def newest() -> Path:
    return run_folder.all_runs()[-1].path


def test_a_run_is_repeated_to_the_last_bit_in_a_new_folder(runs, dltrain):
    for run, rows in zip(runs, (4, 60), strict=True):
        before = tree(run)
        answer = dltrain("rerun", run.name)
        assert answer.code == 0, answer.err
        assert "warning" not in answer.err and answer.err.endswith(f"repeats {run}\n")
        new = newest()
        assert new != run and tree(run) == before
        last = answer.out.splitlines()[-3:]
        assert last == [f"old run {run}", f"new run {new}", last[2]]
        assert last[2].startswith(f"the figures agree to the last bit ({rows} rows, and those of the end)")
        assert json.loads((new / "rerun.json").read_text())["agrees"] is True
        configs = [yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) for folder in (run, new)]
        assert configs[0] == configs[1]


def test_a_difference_that_nothing_explains_is_exit_code_1(runs, dltrain):
    rows = (runs[0] / "metrics.jsonl").read_text().splitlines()
    third = json.loads(rows[2])
    other = third["val/loss"] * (1 + 1e-9)
    rows[2] = json.dumps({**third, "val/loss": other})
    (runs[0] / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    answer = dltrain("rerun", runs[0])
    assert answer.code == 1
    assert f"the figures differ: val/loss in epoch 3 (step {third['step']}) was {other!r} and is " in answer.out
    assert "a relative difference of 1e-09. It is the only one of 4 rows\n" in answer.out
    assert answer.out.endswith("Nothing is known to differ between the runs that would explain it\n")
    assert dltrain("rerun", runs[0], "--with", newest()).code == 1


def test_what_the_command_line_changes_is_a_known_difference(runs, dltrain):
    answer = dltrain("rerun", runs[0], "optimizer.lr=0.02", "trainer.max_epochs=2")
    assert answer.code == 0
    assert (
        "warning: settings: optimizer.lr: 0.001 -> 0.02\nwarning: settings: trainer.max_epochs: 4 -> 2\n" in answer.err
    )
    assert "the figures differ: lr in epoch 1 " in answer.out
    assert answer.out.endswith("They need not agree, for something is known to differ: settings\n")
    answer = dltrain("rerun", runs[0], "trainer.max_epochs=2", "--strict")
    assert answer.code == 1
    assert "the figures that both have agree to the last bit (2 rows); the old run has 2 more\n" in answer.out
    assert yaml.safe_load((newest() / "overrides.yaml").read_text())[-1] == "trainer.max_epochs=2"


def test_the_check_trains_nothing(runs, dltrain, work):
    before = tree(work)
    answer = dltrain("rerun", runs[0], "--check", "--strict")
    assert (answer.code, answer.out) == (0, f"nothing is known to differ from what {runs[0]} was made with\n")
    known = json.loads((runs[0] / "environment.json").read_text())
    known["packages"]["torch"] = "1.0.0"
    known["git"] = {"commit": "0123456789abcdef", "changed": False, "diff": ""}
    (runs[0] / "environment.json").write_text(json.dumps(known))
    before = tree(work)
    answer = dltrain("rerun", runs[0], "--check")
    assert answer.code == 0
    assert re.fullmatch(
        r"packages: torch 1\.0\.0 -> \S+\ngit: the run was made at commit 0123456789, and here is no repository\n",
        answer.out,
    )
    assert dltrain("rerun", runs[0], "--check", "--strict").code == 1
    assert tree(work) == before


def table(path: Path, shift: float = 0.0) -> None:
    rows = [f"{n % 7 + shift * (n % 5)},{n % 3},{'개' if n % 7 > n % 3 else '고양이'}" for n in range(60)]
    path.write_text("\n".join(["가,나,이름", *rows]) + "\n", encoding="utf-8")


def test_other_data_are_told_and_trained_on(dltrain, work):
    table(work / "표.csv")
    setup = ("data=csv", "data.path=표.csv", "data.target=이름", "model.hidden=[4]", "trainer.max_epochs=2", *QUICK)
    assert dltrain(*setup, "run_dir=run").code == 0
    (work / "표.csv").rename(work / "moved.csv")
    missing = dltrain("rerun", "run")
    assert missing.code == 3 and "표.csv" in missing.err
    moved = dltrain("rerun", "run", "data.path=moved.csv")
    assert moved.code == 0 and "warning" not in moved.err
    assert "the figures agree to the last bit (2 rows, and those of the end)\n" in moved.out
    table(work / "moved.csv", shift=0.5)
    answer = dltrain("rerun", "run", "data.path=moved.csv")
    assert answer.code == 0
    assert "warning: data: the preprocessing is another (fingerprint " in answer.err
    for split in ("train", "validation", "test"):
        assert f"warning: data: the {split} split has other values (fingerprint " in answer.err
    assert "They need not agree, for something is known to differ: settings, data\n" in answer.out


def test_a_run_that_went_on_is_repeated_as_one(dltrain, work):
    start = ("data=iris", "model.hidden=[4]", "callbacks.checkpoint.min_seconds=0", "run_dir=run", *QUICK)
    assert dltrain(*start, "trainer.max_epochs=2").code == 0
    assert dltrain("resume", "run", "trainer.max_epochs=4").code == 0
    answer = dltrain("rerun", "run")
    assert answer.code == 0 and "to the last bit (4 rows" in answer.out and "warning" not in answer.err
    assert dltrain("resume", "run", "trainer.max_epochs=5", "optimizer.lr=0.1").code == 0
    answer = dltrain("rerun", "run")
    assert answer.code == 0
    assert "warning: changed on the way: optimizer.lr: 0.001 -> 0.1\n" in answer.err
    assert answer.out.endswith("They need not agree, for something is known to differ: changed on the way\n")


def test_a_trial_of_a_sweep_is_repeated(dltrain, of_two, work):
    (sweep,) = of_two.folder.glob("runs/sweeps/*")
    shutil.copytree(sweep, work / "sweep", symlinks=True)
    answer = dltrain("rerun", "sweep/best")
    assert answer.code == 0, answer.err
    assert "to the last bit (1 row, and those of the end)" in answer.out
    assert "sweep" not in str(newest())
    whole = dltrain("rerun", "sweep")
    assert (whole.code, whole.err) == (
        2,
        "error: sweep is a sweep: its trials are runs, and one of them can be repeated: dltrain rerun sweep/best\n",
    )


def test_a_run_that_diverged_diverges_again(dltrain, work):
    start = ("data=sine", "model=mlp", "optimizer=sgd", "optimizer.lr=1e9", "trainer.max_epochs=2", *QUICK)
    assert dltrain(*start, "run_dir=run").code == 6
    answer = dltrain("rerun", "run")
    assert answer.code == 0
    assert "both runs ended at the same step, and of the same: the loss became NaN or infinite at step " in answer.out
    assert dltrain("rerun", "run", "optimizer.lr=0.01").code == 0


def test_a_rerun_that_diverges_where_the_run_did_not_is_an_error(runs, dltrain):
    answer = dltrain("rerun", runs[0], "optimizer=sgd", "optimizer.lr=1e12")
    assert answer.code == 6
    assert "error: the loss became NaN or infinite" in answer.err
    assert f"old run {runs[0]}\n" in answer.out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nothing_like_it",), "no run is named 'nothing_like_it'."),
        (("iris", "resume=true"), "resume=true: a run that is repeated starts anew. Leave it out"),
        (("iris", "optimizr.lr=1"), "no setting 'optimizr.lr'. Did you mean 'optimizer.lr'?"),
        (
            ("iris", "--with", "korean", "--check"),
            "--check goes with a training, and --with trains nothing: leave one",
        ),
        (
            ("iris", "--with", "korean", "seed=3"),
            "key=value goes with a training, and --with trains nothing: leave one",
        ),
        (("iris", "-m"), "unrecognized arguments: -m"),
    ],
)
def test_mistakes(arguments, error, runs, dltrain, work):
    before = tree(work)
    answer = dltrain("rerun", *arguments)
    assert answer.code == 2
    assert error in answer.err
    assert tree(work) == before


def test_the_old_folder_is_refused_as_the_new_one(runs, dltrain, work):
    before = tree(work)
    answer = dltrain("rerun", runs[0], f"run_dir={runs[0]}")
    assert (answer.code, answer.err) == (
        2, f"error: run_dir={runs[0]} holds the run that is to be repeated. Name another folder\n",
    )  # fmt: skip
    assert tree(work) == before


def test_a_module_that_came_with_the_run_is_not_run(runs, dltrain, work):
    container = yaml.safe_load((runs[0] / "config.yaml").read_text())
    (runs[0] / "config.yaml").write_text(yaml.safe_dump({**container, "imports": ["of_a_stranger"]}))
    (runs[0] / "of_a_stranger.py").write_text("open('run', 'w').close()\n")
    answer = dltrain("rerun", runs[0], "--config-dir", work)
    assert answer.code == 2 and "of_a_stranger" in answer.err and not (work / "run").exists()
    answer = dltrain("rerun", runs[0], "--config-dir", runs[0])
    assert answer.code == 0 and (work / "run").exists()
