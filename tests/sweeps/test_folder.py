"""A sweep's folder: made, found, and its configs kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from dltrain.errors import CheckpointError, ConfigError, MachineError
from dltrain.sweeps.folder import SweepFolder, SweepPlan, find_sweep

PLAN = SweepPlan(
    overrides=["data=iris"],
    space={"optimizer.lr": "0.1,0.2"},
    sampler="grid",
    points=[{"optimizer.lr": "0.1"}],
    trials=1,
    seed=0,
    working_directory="/somewhere",
    module_folders=["/mine"],
    metric="val/loss",
)


@pytest.fixture
def sweep(work) -> SweepFolder:
    sweep = SweepFolder.create(None, "grid")
    sweep.write_plan(PLAN)
    return sweep


def test_the_plan_comes_back(sweep):
    assert sweep.read_plan() == PLAN
    sweep.plan_file.write_text("overrides: [")
    with pytest.raises(CheckpointError, match=r"multirun\.yaml is damaged: .* Start the sweep anew with -m"):
        sweep.read_plan()
    sweep.plan_file.write_text("overrides: []")
    with pytest.raises(CheckpointError, match=r"multirun\.yaml is damaged"):
        sweep.read_plan()


def test_a_folder_that_holds_a_sweep_is_not_taken_again(sweep):
    with pytest.raises(ConfigError) as caught:
        SweepFolder.create(sweep.path, "grid")
    assert str(caught.value) == (
        f"{sweep.path} holds a sweep already. Go on with it: dltrain resume {sweep.path}, or name another folder"
    )


def test_a_sweep_is_found_by_its_folder_or_a_part_of_its_name(sweep):
    for name in (str(sweep.path), f"{sweep.path}/", sweep.path.name, sweep.path.name[-4:]):
        found = find_sweep(name)
        assert found is not None and found.path.name == sweep.path.name, name
    assert find_sweep("last") is None and find_sweep("nothing") is None
    assert find_sweep("runs") is None  # a folder that is none
    SweepFolder.create(None, "grid").write_plan(PLAN)
    with pytest.raises(ConfigError, match="'grid' fits 2 sweeps; say more of the name"):
        find_sweep("grid")


def test_two_processes_do_not_drive_one_sweep(sweep):
    with sweep.locked(), pytest.raises(MachineError, match="is being run by another process"), sweep.locked():
        pass


def test_the_yaml_files_are_copied_and_nothing_else(sweep, work):
    own, mine = work / "own", work / "mine"
    for path in (own / "train.yaml", own / "model" / "a.yaml", mine / "model" / "b.yaml", mine / "weights.pt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    sweep.freeze_configs(own, [mine, work])  # the last holds the sweep itself
    kept = {str(path.relative_to(sweep.configs)) for path in sweep.configs.rglob("*") if path.is_file()}
    theirs = {"user-2/own/train.yaml", "user-2/own/model/a.yaml", "user-2/mine/model/b.yaml"}
    assert kept == {"dltrain/train.yaml", "dltrain/model/a.yaml", "user-1/model/b.yaml", *theirs}
    assert sweep.frozen_folders() == [(sweep.configs / f"user-{number}").absolute() for number in (1, 2)]


def test_the_best_trial_is_a_link(sweep):
    for part in ("3", "4/seed-1"):
        sweep.point_best(sweep.trials / part)
        assert sweep.best.readlink() == Path("trials") / part
    sweep.point_best(None)
    assert not sweep.best.is_symlink()
