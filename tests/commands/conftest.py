"""Two trained runs and a multirun, which the verbs that work on runs share."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from commandline import QUICK

from dltrain import cli, run_folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with two finished runs: first one of iris, then one of korean_text."""
    folder = tmp_path_factory.mktemp("trained")
    quick = [
        "report=false",
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


@dataclass(frozen=True)
class Swept:
    """A multirun and the folder that it was called in.

    Attributes:
        out: what it printed.
    """

    folder: Path
    out: str


@pytest.fixture(scope="session")
def of_two(tmp_path_factory):
    """A multirun of two trials; a test that changes it takes a copy."""
    folder, out = tmp_path_factory.mktemp("swept"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(folder)
        patch.setenv("COLUMNS", "120")
        assert cli.run([*QUICK, "-m", "optimizer.lr=0.1,0.2"]) == 0
    return Swept(folder, out.getvalue())


@pytest.fixture
def runs(trained, work):
    """Returns the two runs in a copy of their own: the working directory."""
    shutil.copytree(trained / "runs", work / "runs")
    return [run.path for run in run_folder.all_runs()]
