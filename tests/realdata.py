"""Where the tests find real data sets, which are no part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def folder() -> Path:
    """Returns the folder of real data: ``DLTRAIN_DATA``, or ``shared/data`` beside the checkout."""
    named = os.environ.get("DLTRAIN_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"


def need(name: str) -> Path:
    """Returns the path of a real file; skips the test, naming the file, where there is none."""
    path = folder() / name
    if not path.exists():
        pytest.skip(f"needs {name} in $DLTRAIN_DATA")
    return path
