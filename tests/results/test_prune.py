"""What is removed is what the rule says, whole, and never what somebody works in."""

from __future__ import annotations

import contextlib
import shutil
import signal
from pathlib import Path

import pytest
from commandline import start, tree
from runfolders import make_run, result_of, rows_of

from dltrain import run_folder
from dltrain.errors import ConfigError, MachineError
from dltrain.results import index, prune
from dltrain.results.prune import Rule

DAY = Path("runs/2026-01-02")
SWEEP = Path("runs/sweeps/2026-01-01_10-00-00-grid-abcd")


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    monkeypatch.setattr(index, "_SETTLED", -10.0)


@pytest.fixture
def four(work):
    for number, loss in enumerate([0.4, 0.2, 0.3, 0.1]):
        result = None if number else result_of(rows_of([loss]), status="failed")
        make_run(DAY / f"r{number}", [1.0, loss], result=result, days=10 * number)
    return work


def sweep_of(*losses):
    for number, loss in enumerate(losses):
        make_run(SWEEP / "trials" / str(number), [1.0, loss])
    (SWEEP / "multirun.yaml").write_text("{}")
    (SWEEP / "best").symlink_to("trials/0")


def names():
    return sorted(path.name for path in DAY.iterdir()) if DAY.exists() else []


def inside(folder):
    return sorted(path.name for path in folder.iterdir())


def planned(*words, **options):
    found = prune.plan(Rule(list(words), **options))
    return [Path(item.path).name for item in found.items]


@pytest.mark.parametrize(
    ("words", "options", "expected"),
    [
        (["status=failed"], {}, ["r0"]),
        (["age>5d", "status=done"], {}, ["r1", "r2", "r3"]),
        (["age>5d", "status=done"], {"keep_best": 1}, ["r1", "r2"]),
        ([], {"keep_best": 2}, ["r0", "r2"]),
        ([], {"keep_best": 2, "by": "test/loss"}, ["r0", "r2"]),
        ([], {"keep_best": 0}, ["r0", "r1", "r2", "r3"]),
        (["r1", "r3"], {}, ["r1", "r3"]),
        (["status=killed"], {}, []),
    ],
)
def test_what_is_selected(four, words, options, expected):
    assert planned(*words, **options) == expected


def test_the_best_are_found_among_figures_that_compare(four):
    make_run(DAY / "other", [1.0, 0.01], data="digits")
    with pytest.raises(ConfigError, match=r"of several data sets, .*: digits, iris\. Choose one, such as data=digits"):
        planned(keep_best=1)
    assert planned("data=iris", keep_best=1) == ["r0", "r1", "r2"]
    for name in ("a", "b"):
        make_run(DAY / f"csv-{name}", [1.0, 0.5], data="csv", data__path=f"{name}.csv")
    with pytest.raises(ConfigError, match=r": a\.csv, b\.csv\. Choose one, such as data\.path=a\.csv"):
        planned("data=csv", keep_best=1)
    best = {"metric": "val/accuracy", "value": 0.9, "epoch": 2}
    make_run(DAY / "by-accuracy", [1.0, 0.5], result=result_of(rows_of([1.0, 0.5]), best=best))
    with pytest.raises(ConfigError, match=r"several figures: val/accuracy, val/loss\. Name one: --by val/accuracy"):
        planned("data=iris", keep_best=1)
    assert "by-accuracy" in planned("data=iris", keep_best=1, by="val/loss")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data__validation_fraction": 0.4}, r"data\.validation_fraction: 0\.2, 0\.4"),
        ({"data__split_seed": 7}, r"data\.split_seed: 0, 7"),
        ({"data__fold": 3}, r"data\.fold: 0, 3"),
        ({"loss__name": "focal"}, r"loss\.name: auto, focal"),
    ],
)
def test_the_best_are_found_among_the_same_samples_and_losses(four, change, told):
    make_run(DAY / "other", [1.0, 0.01], **change)
    with pytest.raises(ConfigError, match=rf"figures of the runs do not compare, for they differ in {told}\. Choose"):
        planned(keep_best=1)
    if "loss__name" in change:
        assert planned(keep_best=1, by="val/accuracy")


def test_runs_without_the_figure_stay(four):
    make_run(DAY / "untested", [1.0, 0.5], result=result_of(rows_of([1.0, 0.5]), test=None))
    found = prune.plan(Rule([], keep_best=1, by="test/loss"))
    assert "untested" not in [Path(item.path).name for item in found.items]
    assert f"{DAY / 'untested'} stays: it has no test/loss" in found.kept


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Rule([]), "'runs prune' needs a rule, such as status=failed, 'age>30d' or --keep-best 10"),
        (Rule(["qqq"]), "no run is named 'qqq'"),
        (Rule(["r1"], keep_best=1, by="val/none"), "no run has 'val/none'"),
        (Rule(["r1"], keep_best=1, by="optimizer.name"), "--by optimizer.name: none of the runs has such a figure"),
    ],
)
def test_rules_that_are_none(four, rule, told):
    with pytest.raises(ConfigError, match=told):
        prune.plan(rule)


def test_runs_are_removed_with_their_files_and_the_others_stay_as_they_are(four):
    before = {name: tree(DAY / name) for name in names()}
    times = {name: (DAY / name / "run.lock").stat().st_mtime_ns for name in names()}
    assert prune.run(Rule(["status=failed"]), is_sure=True) == 0
    assert names() == ["r1", "r2", "r3"]
    for name in names():
        assert tree(DAY / name) == before[name]
        assert (DAY / name / "run.lock").stat().st_mtime_ns == times[name]
    prune.run(Rule([], keep_best=0), is_sure=True)
    assert not DAY.exists() and Path("runs").is_dir()


def test_checkpoints_alone(four):
    times = {name: (DAY / name / "run.lock").stat().st_mtime_ns for name in names()}
    assert prune.run(Rule(["age>5d"], checkpoints_only=True), is_sure=True) == 0
    assert [(DAY / name / "checkpoints").exists() for name in names()] == [True, False, False, False]
    assert [(DAY / name / "config.yaml").exists() for name in names()] == [True] * 4
    assert {name: (DAY / name / "run.lock").stat().st_mtime_ns for name in names()} == times
    assert [run.path.name for run in run_folder.all_runs()] == ["r3", "r2", "r1", "r0"]


def test_a_run_that_is_trained_stays(four, capsys):
    run = run_folder.RunFolder(DAY / "r1")
    with run.locked():
        prune.run(Rule([], keep_best=0), is_sure=True)
        assert names() == ["r1"] and len(tree(DAY / "r1")) == 6
    assert f"{DAY}/r1 stays: it is being trained" in capsys.readouterr().err


def test_a_run_whose_training_begins_meanwhile_stays(four):
    items = prune.plan(Rule(["r0", "r1", "r2"])).items
    with (
        run_folder.RunFolder(DAY / "r1").locked(),
        pytest.raises(MachineError, match=rf"{DAY}/r1 stays: {DAY}/r1 is being trained by another process \(number"),
    ):
        prune.remove(items)
    assert names() == ["r1", "r3"]


def test_links_are_not_followed(four):
    outside = make_run(four / "outside")
    (DAY / "link").symlink_to(outside.path)
    (DAY / "r1" / "checkpoints" / "link").symlink_to(outside.path)
    shutil.rmtree(DAY / "r2" / "checkpoints")
    (DAY / "r2" / "checkpoints").symlink_to(outside.checkpoints)
    (DAY / "r3" / "run.lock").unlink()
    (DAY / "r3" / "run.lock").symlink_to(outside.log)
    before = tree(outside.path)
    found = prune.plan(Rule([], keep_best=0))
    assert f"{DAY}/link stays: {DAY}/link is a link" in found.kept
    assert f"{DAY}/r3 stays: {DAY}/r3/run.lock is a link" in found.kept
    assert planned("r2", checkpoints_only=True) == []
    prune.remove(found.items)
    assert names() == ["link", "r3"] and tree(outside.path) == before and not outside.log.exists()


def test_trials_one_by_one_and_a_whole_sweep(four, capsys):
    sweep_of(0.1, 0.2, 0.3)
    assert planned("status=done", "epochs=2") == ["r1", "r2", "r3"]
    assert sorted(planned("grid", "val/loss>0.15")) == ["1", "2"]
    found = prune.plan(Rule(["grid", "val/loss<0.25"]))
    assert [item.path for item in found.items] == [f"{SWEEP}/trials/1"]
    assert found.kept == [f"{SWEEP}/trials/0 stays: it is the best run of its sweep"]
    prune.run(Rule(["grid", "val/loss<0.25"]), is_sure=True)
    assert inside(SWEEP) == ["best", "multirun.yaml", "trials"]
    capsys.readouterr()
    prune.run(Rule(["grid"]), is_sure=True)
    assert f"{SWEEP}, the whole sweep: 2 runs" in capsys.readouterr().out
    assert inside(SWEEP.parent) == [] and len(names()) == 4


LEADERBOARD = """rank,trial,status,data.path,val/loss,test/accuracy,epochs,seconds,folder,reason
1,0,done,"뉴스, 1",0.1,0.5,2,1.0,trials/0,
2,1,done,자료,0.2,0.5,2,1.0,{},
,2,failed,자료,,,,,{},"a ""reason"", told"
"""


@pytest.mark.parametrize("is_checkpoints_only", [False, True])
def test_the_leaderboard_keeps_what_was_tried_and_no_links_to_what_is_gone(four, is_checkpoints_only):
    sweep_of(0.1, 0.2, 0.3)
    file = SWEEP / "leaderboard.csv"
    file.write_text(LEADERBOARD.format("trials/1", "trials/2"), encoding="utf-8")
    prune.run(Rule(["grid", "val/loss>0.15", "val/loss<0.25"], checkpoints_only=is_checkpoints_only), is_sure=True)
    first = "trials/1" if is_checkpoints_only else ""
    assert file.read_text(encoding="utf-8") == LEADERBOARD.format(first, "trials/2")
    assert not (SWEEP / "sweep.lock").exists()
    prune.run(Rule(["trials/2"]), is_sure=True)
    assert file.read_text(encoding="utf-8") == LEADERBOARD.format(first, "")


def test_the_page_of_a_sweep_that_links_to_what_is_gone_is_named(four, capsys):
    sweep_of(0.1, 0.2, 0.3)
    (SWEEP / "report.html").write_text("")
    told = f"{SWEEP}/report.html still links to them: 'dltrain report {SWEEP}' writes it anew\n"
    for is_checkpoints_only in (True, False):
        prune.run(Rule(["trials/1"], checkpoints_only=is_checkpoints_only), is_sure=True)
        assert capsys.readouterr().err.endswith(told) != is_checkpoints_only
    prune.run(Rule(["grid"]), is_sure=True)
    assert told not in capsys.readouterr().err and not SWEEP.exists()


def test_a_leaderboard_that_cannot_be_read_is_told_and_stays(four):
    sweep_of(0.1, 0.2)
    file = SWEEP / "leaderboard.csv"
    file.write_bytes(b"folder\n\xff\n")
    with pytest.raises(MachineError, match=f"^{file} still names the folders of trials that are gone: 'utf-8' codec"):
        prune.run(Rule(["trials/1"]), is_sure=True)
    assert inside(SWEEP / "trials") == ["0"] and file.read_bytes() == b"folder\n\xff\n"
    file.write_text("trial,status\n1,done\n")  # of another version
    sweep_of_one = make_run(SWEEP / "trials" / "1")
    prune.run(Rule(["trials/1"]), is_sure=True)
    assert not sweep_of_one.path.exists() and file.read_text() == "trial,status\n1,done\n"


def test_a_sweep_that_is_run_stays(four):
    sweep_of(0.1, 0.2)
    with run_folder.lock(SWEEP / "sweep.lock", "busy"):
        assert planned("grid") == [] and planned("trials/1") == []
    items = prune.plan(Rule(["grid"])).items
    with (
        run_folder.RunFolder(SWEEP / "trials" / "1").locked(),
        pytest.raises(MachineError, match=f"{SWEEP} stays: it is being trained"),
    ):
        prune.remove(items)
    assert len(inside(SWEEP / "trials")) == 2


def test_runs_of_a_trial_with_several(work):
    for seed in (0, 1):
        make_run(SWEEP / "trials" / "0" / f"seed-{seed}", [1.0, seed + 1.0])
        make_run(SWEEP / "trials" / "1" / f"seed-{seed}", [1.0, seed + 5.0])
    (SWEEP / "multirun.yaml").write_text("{}")
    prune.run(Rule(["trials/0/seed-1"]), is_sure=True)
    assert inside(SWEEP / "trials" / "0") == ["seed-0"]
    prune.run(Rule(["trials/0"]), is_sure=True)
    assert inside(SWEEP / "trials") == ["1"]


def test_stopping_midway_leaves_whole_runs_or_nothing(four, monkeypatch, capsys):
    calls = []

    def stopped(path, *arguments, **options):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(path, *arguments, **options)

    real = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        prune.run(Rule([], keep_best=0), is_sure=True)
    assert len(names()) == 2 and all(len(tree(DAY / name)) == 6 for name in names())
    assert "2 of 4 are removed, the others are as they were" in capsys.readouterr().err


def test_what_a_killed_removal_left_is_no_run_and_goes_with_the_next(four, monkeypatch):
    with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        prune.run(Rule(["r0"]), is_sure=True)
    left = [name for name in names() if name.startswith(".removed-")]
    assert len(left) == 1 and [run.path.name for run in run_folder.all_runs()] == ["r3", "r2", "r1"]
    prune.run(Rule(["r1"]), is_sure=True)
    assert names() == ["r2", "r3"]


def test_what_cannot_be_removed_is_told_and_the_rest_goes(four, monkeypatch):
    real = Path.rename

    def rename(self, target):
        if self.name == "r1":
            raise PermissionError(13, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(MachineError, match=f"{DAY}/r1 stays: Permission denied"):
        prune.run(Rule([], keep_best=0), is_sure=True)
    assert names() == ["r1"]


def test_what_is_left_of_a_run_that_is_none_any_more_is_told(four, monkeypatch):
    real = shutil.rmtree

    def rmtree(path, *arguments, **options):
        if "r1" in Path(path).name and not options:
            raise PermissionError(13, "Permission denied")
        real(path, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(MachineError) as error:
        prune.run(Rule(["r1", "r2"]), is_sure=True)
    (left,) = (name for name in names() if name.startswith(".removed-"))
    assert str(error.value) == (
        f"of {DAY}/r1 something is left in {DAY / left}: Permission denied. The next prune tries again"
    )
    assert [run.path.name for run in run_folder.all_runs()] == ["r3", "r0"]


def test_ctrl_c_of_the_real_command(four):
    for number in range(4, 60):
        make_run(DAY / f"r{number}")
    process = start("runs", "prune", "--keep-best", "0", "--yes", cwd=four)
    assert any("in all: 60 folders" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert all(len(tree(DAY / name)) == 6 for name in names())
