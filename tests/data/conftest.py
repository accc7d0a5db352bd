"""What many tests of bad data need: a training that ends before it begins, and what is said of it."""

from __future__ import annotations

import pytest
import training
from commandline import Answer

from dltrain.errors import DltrainError


@pytest.fixture
def attempt(work, capsys):
    """Returns a function that trains in this process what a command line says, and tells what that would print.

    The config is put together without Hydra, which takes longer than all else until the data are found to be bad.
    """

    def run(*words: str) -> Answer:
        capsys.readouterr()
        try:
            training.train(work / "run", *words)
        except DltrainError as error:
            return Answer(error.exit_code, *capsys.readouterr()._replace(err=f"error: {error}\n"))
        return Answer(0, *capsys.readouterr())

    return run
