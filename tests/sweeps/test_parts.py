"""Trials of several runs: from several seeds, and over the folds of the data."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from sweeping import QUICK, forget_end, leaderboard, rows_of, swept, trained, trials_of
from training import configure

from dltrain import assembly
from dltrain.run_folder import RunFolder
from dltrain.sweeps.folder import SweepFolder
from dltrain.trainer import Trainer

SHORT = (*QUICK, "trainer.max_epochs=2")


def run_names(sweep: SweepFolder, trial: int) -> list[str]:
    """Returns the runs that a trial has in its folder, "." where it is one itself."""
    return [str(run.path.relative_to(sweep.trials / str(trial))) for run in sweep.runs_of(trial)]


def best_of(run: RunFolder) -> float:
    return min(row["val/loss"] for row in rows_of(run))


# --- seeds ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> SweepFolder:
    """A sweep whose points were trained from three seeds each."""
    return swept(tmp_path_factory.mktemp("seeds"), *SHORT, "sweep.seeds=3", "optimizer.lr=0.001,0.1")


def test_each_point_is_trained_from_several_seeds(seeds):
    for trial in (0, 1):
        assert run_names(seeds, trial) == ["seed-0", "seed-1", "seed-2"]
        saved = [yaml.safe_load(run.config.read_text()) for run in seeds.runs_of(trial)]
        assert [config["seed"] for config in saved] == [0, 1, 2]
        assert {config["optimizer"]["lr"] for config in saved} == {(0.001, 0.1)[trial]}
        assert [yaml.safe_load(run.overrides.read_text())[-1] for run in seeds.runs_of(trial)] == [
            "seed=0",
            "seed=1",
            "seed=2",
        ]
        rows = [rows_of(run) for run in seeds.runs_of(trial)]
        assert rows[0] != rows[1] != rows[2] != rows[0]


def test_their_mean_ranks_them_and_their_spread_is_told(seeds):
    rows, trials = leaderboard(seeds), trials_of(seeds)
    assert [row["trial"] for row in rows] == ["1", "0"]
    for row in rows:
        trial, runs = trials[int(row["trial"])], seeds.runs_of(int(row["trial"]))
        values = {run.path.name: best_of(run) for run in runs}
        assert trial.parts == values
        assert float(row["val/loss"]) == trial.objective == statistics.fmean(values.values())
        assert float(row["spread"]) == trial.spread == statistics.stdev(values.values())
        assert {name: float(row[name]) for name in values} == values
        tested = [run.read_result()["test"]["test/loss"] for run in runs]
        assert float(row["test/loss"]) == statistics.fmean(tested)
        assert row["epochs"] == "6"
        assert float(row["seconds"]) == pytest.approx(sum(run.read_result()["seconds"] for run in runs), abs=2e-3)


def test_best_is_the_best_run_of_the_best_trial(seeds, dltrain):
    values = {run.path.name: best_of(run) for run in seeds.runs_of(1)}
    assert seeds.best.readlink() == Path("trials/1") / min(values, key=values.__getitem__)
    answer = dltrain("evaluate", seeds.best, "--no-pictures")
    assert answer.code == 0, answer.err
    result = RunFolder(seeds.best).read_result()
    assert f"{result['test']['test/loss']:.4f}" in answer.out


def test_a_run_of_several_is_that_of_its_seed_alone(seeds, dltrain, work):
    alone = [word for word in SHORT if not word.startswith("sweep.")]
    answer = dltrain(*alone, "optimizer.lr=0.1", "seed=2", "run_dir=alone", "report=false")
    assert answer.code == 0, answer.err
    assert rows_of(RunFolder(work / "alone")) == rows_of(seeds.run(1, "seed-2"))


def test_a_kill_before_the_end_of_a_trial_is_written_trains_nothing_again(seeds, dltrain, work):
    sweep = SweepFolder(shutil.copytree(seeds.path, work / "copy", symlinks=True))
    results = {run.path.name: run.result.read_text() for run in sweep.runs_of(0)}
    before = trials_of(sweep)
    forget_end(sweep, 0)
    for name, text in results.items():
        sweep.run(0, name).result.write_text(text)
    steps = [path.stat().st_mtime_ns for path in sorted(sweep.trials.rglob("step-*"))]
    assert dltrain("resume", sweep.path).code == 0
    assert [(t.objective, t.parts) for t in trials_of(sweep)] == [(t.objective, t.parts) for t in before]
    assert [path.stat().st_mtime_ns for path in sorted(sweep.trials.rglob("step-*"))] == steps


def test_seeds_begin_at_that_of_the_config(work, capsys):
    sweep = trained("mine", *QUICK, "sweep.seeds=2", "seed=9", "trainer.max_epochs=1", "optimizer.lr=0.1")
    assert set(run_names(sweep, 0)) == {"seed-9", "seed-10"}
    trial = trials_of(sweep)[0]
    assert list(trial.parts) == ["seed-9", "seed-10"]
    assert f" ± {trial.spread:.4f}" in capsys.readouterr().err


# --- folds ------------------------------------------------------------------------------------------------


def samples_of(run: RunFolder, *splits: str) -> Counter[tuple[float, ...]]:
    """Returns the flowers of some splits of a run's data, with their measures as they stand in the table."""
    data = yaml.safe_load(run.config.read_text())["data"]
    config, _ = configure(run.path, f"data.fold={data['fold']}", f"data.folds={data['folds']}", "data.scaling=none")
    parts = assembly.build(config)
    inputs = torch.cat([getattr(parts.data, split).inputs for split in splits])
    return Counter(map(tuple, inputs.tolist()))


def test_each_point_is_trained_once_for_each_fold(work):
    sweep = trained("mine", *SHORT, "data.folds=3", "optimizer.lr=0.1")
    names = ["fold-0", "fold-1", "fold-2"]
    assert run_names(sweep, 0) == names
    assert [yaml.safe_load(run.config.read_text())["data"]["fold"] for run in sweep.runs_of(0)] == [0, 1, 2]
    assert {yaml.safe_load(run.config.read_text())["seed"] for run in sweep.runs_of(0)} == {0}
    (trial,) = trials_of(sweep)
    assert trial.parts == {name: best_of(sweep.run(0, name)) for name in names}
    assert trial.objective == statistics.fmean(trial.parts.values())
    (row,) = leaderboard(sweep)
    assert [float(row[name]) for name in names] == list(trial.parts.values())
    assert len({run.read_result()["test"]["test/loss"] for run in sweep.runs_of(0)}) == 3
    tested = [samples_of(run, "test") for run in sweep.runs_of(0)]
    assert [flowers.total() for flowers in tested] == [50, 50, 50]
    assert tested[0] + tested[1] + tested[2] == samples_of(sweep.run(0, "fold-0"), "train", "validation", "test")


@pytest.mark.parametrize("word", ["data.fold=1", "data.fold=0,2"])
def test_a_fold_that_is_given_or_swept_is_the_only_one(word, work):
    sweep = trained("mine", *SHORT, "data.folds=3", word, "optimizer.lr=0.1")
    folds = word.partition("=")[2].split(",")
    for trial, fold in enumerate(folds):
        assert run_names(sweep, trial) == ["."]
        assert yaml.safe_load(sweep.trial(trial).config.read_text())["data"]["fold"] == int(fold)
    rows = leaderboard(sweep)
    assert "spread" not in rows[0] and [trial.parts for trial in trials_of(sweep)] == [{}] * len(folds)


def test_seeds_and_folds_together(work):
    sweep = trained("mine", *SHORT, "data.folds=2", "sweep.seeds=2", "optimizer.lr=0.1")
    names = ["seed-0-fold-0", "seed-0-fold-1", "seed-1-fold-0", "seed-1-fold-1"]
    assert run_names(sweep, 0) == names and list(trials_of(sweep)[0].parts) == names
    saved = [yaml.safe_load(run.config.read_text()) for run in sweep.runs_of(0)]
    assert [(config["seed"], config["data"]["fold"]) for config in saved] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_the_number_of_folds_can_be_swept(work):
    sweep = trained("mine", *QUICK, "trainer.max_epochs=1", "data.folds=null,2")
    assert [run_names(sweep, trial) for trial in (0, 1)] == [["."], ["fold-0", "fold-1"]]
    by_number = sorted(leaderboard(sweep), key=lambda row: row["trial"])
    assert by_number[0]["spread"] == by_number[0]["fold-0"] == "" and float(by_number[1]["spread"]) > 0


# --- what goes wrong --------------------------------------------------------------------------------------


def test_a_part_that_fails_fails_its_trial_with_its_reason(work, monkeypatch):
    train_epoch = Trainer._train_epoch

    def failing(self):
        if self.history.path.parent.name == "seed-1" and self.learning_rate == 0.1:
            raise KeyError("mine")
        train_epoch(self)

    monkeypatch.setattr(Trainer, "_train_epoch", failing)
    sweep = trained("mine", *SHORT, "sweep.seeds=3", "optimizer.lr=0.1,0.01")
    failed, done = trials_of(sweep)
    assert (failed.status, failed.reason, failed.parts) == ("failed", "KeyError: 'mine'", {})
    assert run_names(sweep, 0) == ["seed-0", "seed-1"]
    assert 'raise KeyError("mine")' in (sweep.trials / "0" / "error.txt").read_text()
    assert done.status == "done" and len(done.parts) == 3
    row = next(row for row in leaderboard(sweep) if row["trial"] == "0")
    assert (row["reason"], row["spread"], row["val/loss"]) == ("KeyError: 'mine'", "", "")


def test_a_trial_goes_on_in_the_part_where_it_was_stopped(dltrain, work, monkeypatch):
    sweep, train_epoch = SweepFolder(work / "mine"), Trainer._train_epoch
    trained: list[tuple[str, int]] = []

    def signalled(self):
        trained.append((self.history.path.parent.name, self.state.epoch))
        if trained[-1] == ("seed-1", 1):
            os.kill(os.getpid(), signal.SIGTERM)
        train_epoch(self)

    words = ["sweep.seeds=3", "hydra.sweep.dir=mine", "-m", "optimizer.lr=0.1"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", signalled)
        answer = dltrain(*SHORT, *words)
    assert answer.code == 128 + signal.SIGTERM
    assert answer.err.endswith(
        "stopped by SIGTERM; what was under way is saved. 1 of 1 trials is left. Go on with: dltrain resume mine\n"
    )
    assert [run.read_result()["status"] for run in sweep.runs_of(0)] == ["done", "interrupted"]
    (stopped,) = trials_of(sweep)
    assert (stopped.status, stopped.parts, stopped.starts) == ("running", {}, (0,))
    before = sweep.run(0, "seed-0").result.stat().st_mtime_ns
    trained.clear()

    def noting(self):
        trained.append((self.history.path.parent.name, self.state.epoch))
        train_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", noting)
        answer = dltrain("resume", "mine")
    assert answer.code == 0, answer.err
    assert trained == [("seed-1", 1), ("seed-2", 0), ("seed-2", 1)]
    assert sweep.run(0, "seed-0").result.stat().st_mtime_ns == before
    (trial,) = trials_of(sweep)
    assert trial.status == "done" and list(trial.parts) == ["seed-0", "seed-1", "seed-2"]
    assert trial.parts == {run.path.name: best_of(run) for run in sweep.runs_of(0)}
    assert len(trial.starts) == 2 and trial.starts[1] > 0
