"""What tests of sweeps share: a sweep that is done."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sweeping import QUICK, swept

from dltrain.sweeps.folder import SweepFolder


@pytest.fixture(scope="session")
def _two_trials(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    return swept(tmp_path_factory.mktemp("two"), *QUICK, "trainer.max_epochs=1", "optimizer.lr=0.1,0.2")


@pytest.fixture
def finished(_two_trials: SweepFolder, work: Path) -> SweepFolder:
    """A grid of optimizer.lr=0.1,0.2 whose trials are done, in the folder "theirs" of the working directory."""
    shutil.copytree(_two_trials.path, work / "theirs", symlinks=True)
    sweep = SweepFolder(work / "theirs")
    sweep.write_plan(replace(sweep.read_plan(), working_directory=str(work)))
    return sweep
