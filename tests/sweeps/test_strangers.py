"""A sweep's folder that somebody sends: to go on with it runs nothing of theirs, and writes nowhere else."""

from __future__ import annotations

import shutil

import pytest
import yaml
from sweeping import forget_end

from dltrain.sweeps.folder import SweepFolder


@pytest.fixture
def sweep(finished) -> SweepFolder:
    """A sweep that has one trial left to do, as after a kill."""
    forget_end(finished, 1)
    shutil.rmtree(finished.trials / "1")
    return finished


def change_plan(sweep: SweepFolder, **changes: object) -> None:
    plan = yaml.safe_load(sweep.plan_file.read_text())
    sweep.plan_file.write_text(yaml.safe_dump({**plan, **changes}))


def with_override(sweep: SweepFolder, *more: str) -> None:
    change_plan(sweep, overrides=[*sweep.read_plan().overrides, *more])


def test_such_a_sweep_goes_on(sweep, dltrain):
    answer = dltrain("resume", sweep.path)
    assert answer.code == 0, answer.err
    assert (sweep.trials / "1" / "result.json").exists()


@pytest.mark.parametrize("where", ["", "inside"])
def test_no_module_of_it_is_imported(where, sweep, dltrain, work):
    folder = sweep.path / where
    folder.mkdir(exist_ok=True)
    (folder / "their_evil.py").write_text(f"open({str(work / 'canary')!r}, 'w')")
    with_override(sweep, "imports=[their_evil]")
    change_plan(sweep, module_folders=[str(folder)], working_directory=str(folder))
    answer = dltrain("resume", sweep.path)
    assert answer.code in (2, 8) and "their_evil" in answer.err, answer.err
    assert not (work / "canary").exists()


LOGGING = "+hydra.job_logging.handlers={{h: {{class: logging.FileHandler, filename: {canary}}}}}"
TARGETS = [
    LOGGING,
    "+hydra.callbacks.x={{_target_: builtins.open, file: {canary}, mode: w}}",
    "hydra.launcher._target_=os.mkdir",
]


@pytest.mark.parametrize("override", TARGETS)
def test_no_setting_of_hydra_in_its_plan_runs_anything(override, sweep, dltrain, work):
    with_override(sweep, override.format(canary=work / "canary"))
    answer = dltrain("resume", sweep.path)
    assert answer.code == 2 and "hydra." in answer.err, answer.err
    assert not (work / "canary").exists()


def test_no_setting_of_hydra_in_its_yaml_files_runs_anything(sweep, dltrain, work):
    path = sweep.frozen(0) / "hydra" / "default.yaml"
    target = f"{{_target_: builtins.open, file: {work / 'canary'}, mode: w}}"
    path.write_text(path.read_text() + f"callbacks:\n  x: {target}\n")
    answer = dltrain("resume", sweep.path)
    assert answer.code == 2 and "hydra.callbacks" in answer.err, answer.err
    assert not (work / "canary").exists()


def test_values_of_its_ledger_are_those_of_its_space(sweep, dltrain, work):
    point = {"hydra.job_logging": f"{{version: 1, handlers: {{h: {{'()': builtins.open, file: {work / 'canary'}}}}}}}"}
    change_plan(sweep, points=[*sweep.read_plan().points, point], trials=3)
    answer = dltrain("resume", sweep.path)
    assert answer.code in (1, 4) and not (work / "canary").exists()
    sweep.journal.unlink()
    answer = dltrain("resume", sweep.path)
    assert answer.code == 4 and "and the sweep searches optimizer.lr. Start the sweep anew with -m" in answer.err
    change_plan(sweep, space={"hydra.job_logging": "1,2"})
    answer = dltrain("resume", sweep.path)
    assert answer.code == 2 and "settings of Hydra cannot be searched" in answer.err


@pytest.mark.parametrize("name", ["sweep.lock", "journal.log", "trials", "trials/1", "leaderboard.csv"])
def test_links_in_it_are_refused(name, sweep, dltrain, work):
    outside, path = work / "outside", sweep.path / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    outside.mkdir() if name.startswith("trials") else outside.write_text("mine")
    path.symlink_to(outside)
    answer = dltrain("resume", sweep.path)
    assert answer.code == 5 and f"{path} is a link to {outside}" in answer.err, answer.err
    assert list(outside.iterdir()) == [] if outside.is_dir() else outside.read_text() == "mine"
