"""Two trained runs, which the verbs that work on runs share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dltrain import cli, run_folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with two finished runs: first one of iris, then one of korean_text."""
    folder = tmp_path_factory.mktemp("trained")
    quick = [
        "~callbacks.tensorboard",
        "~callbacks.progress",
        "~callbacks.summary",
        "callbacks.checkpoint.min_seconds=0",
    ]
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert cli.run(["data=iris", "model.hidden=[6]", "trainer.max_epochs=4", *quick]) == 0
        words = ["data=korean_text", "model=rnn", "optimizer.lr=0.01", "trainer.max_epochs=60"]
        assert cli.run([*words, *quick]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def runs(trained, work):
    """Returns the two runs in a copy of their own: the working directory."""
    shutil.copytree(trained / "runs", work / "runs")
    return [run.path for run in run_folder.all_runs()]
