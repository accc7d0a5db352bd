"""Small runs that are trained as they are asked for, once each."""

from __future__ import annotations

import predicting
import pytest


@pytest.fixture(scope="session")
def new_files(tmp_path_factory):
    """A folder with the files that ``predicting.RUNS`` are trained on."""
    return predicting.write_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def run_of(tmp_path_factory, new_files):
    """Returns a function that gives the folder of a run of ``predicting.RUNS``."""
    folder = tmp_path_factory.mktemp("predicting")

    def trained(name):
        run = folder / name
        if not run.exists():
            predicting.train(name, new_files, run)
        return run

    return trained


@pytest.fixture
def predict(dltrain):
    """Returns a function that predicts with a command line, and gives the rows of what it printed."""

    def run(*arguments):
        answer = dltrain("predict", *arguments)
        assert answer.code == 0, answer.err
        return predicting.rows_of(answer.out)

    return run
