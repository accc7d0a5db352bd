"""What tests of sweeps share: composing that is done once, and a sweep that is done."""

from __future__ import annotations

import copy
import functools
import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sweeping import QUICK, swept

from dltrain import compose, config_files
from dltrain.sweeps.folder import SweepFolder

_unresolved = compose.unresolved
_composed: dict[Any, Any] = {}


@pytest.fixture(autouse=True, scope="module")
def the_same_is_composed_once():
    """What is derived from the same overrides of the same files is the same in all tests, and takes most of the time.

    The files are told apart by what stands in them, so that the copies that a sweep keeps count as dltrain's own until
    one is changed. Mistakes are not kept.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "unresolved", _composed_before)
        yield


def _composed_before(overrides: list[str], config_dirs: list[Path], root: Path | None) -> Any:
    folders = [*config_dirs, *config_files.user_dirs()]
    key = (tuple(overrides), _of_dltrain() if root is None else _contents([root]), _contents(folders))
    if key not in _composed:
        _composed[key] = _unresolved(overrides, config_dirs, root)
    return copy.deepcopy(_composed[key])


@functools.cache
def _of_dltrain() -> str:
    return _contents([config_files.config_dir()])


def _contents(folders: Iterable[Path]) -> str:
    """Returns a hash of the YAML files of some folders, their names and their order."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.yaml")):
            found.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        found.update(b"\n")
    return found.hexdigest()


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
