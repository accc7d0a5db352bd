"""What environment.json says of where and of what a run was made."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import distributions

import pytest
import torch

import dltrain
from dltrain import environment
from dltrain.run_folder import RunFolder

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def written(folder) -> dict:
    environment.write_beside_training(RunFolder(folder), {}).join()
    return json.loads((folder / "environment.json").read_text(encoding="utf-8"))


def git(folder, *arguments: str) -> str:
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with one commit, which is the working directory."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "모델.py").write_text("width = 1\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


def test_versions_and_hardware_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dltrain", "data=iris", "data.path=한글.csv"])
    found = written(tmp_path)
    assert found["dltrain"] == dltrain.__version__ and found["python"] == sys.version
    assert found["platform"] == platform.platform() and found["threads"] == torch.get_num_threads()
    assert found["command"] == ["dltrain", "data=iris", "data.path=한글.csv"]
    assert found["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["started"][:2] == "20" and "T" in found["started"]


def test_every_package_is_told_with_its_version(tmp_path, monkeypatch):
    expected = {one.metadata["Name"]: one.version for one in distributions()}
    assert environment.describe()["packages"] == expected
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "new-one" not in environment.describe()["packages"]
    installed = tmp_path / "new_one-1.2.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: new-one\nVersion: 1.2\n\nVersion: of its text\n")
    assert environment.describe()["packages"] == {**expected, "new-one": "1.2"}


def test_outside_of_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert written(tmp_path)["git"] is None


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert written(tmp_path)["git"] is None


@needs_git
def test_a_clean_repository_is_its_commit(repository, tmp_path):
    commit = git(repository, "rev-parse", "HEAD").strip()
    assert written(tmp_path)["git"] == {"commit": commit, "changed": False, "diff": ""}


@needs_git
def test_uncommitted_changes_are_kept_as_a_diff_that_applies(repository, tmp_path):
    (repository / "모델.py").write_text("width = 2\n", encoding="utf-8")
    found = written(tmp_path)["git"]
    assert found["changed"] and "-width = 1" in found["diff"] and "+width = 2" in found["diff"]
    git(repository, "checkout", "-q", ".")
    (tmp_path / "changes.diff").write_text(found["diff"], encoding="utf-8")
    git(repository, "apply", str(tmp_path / "changes.diff"))
    assert (repository / "모델.py").read_text(encoding="utf-8") == "width = 2\n"


@needs_git
def test_a_diff_that_is_too_long_is_noted_but_not_kept(repository, tmp_path):
    (repository / "모델.py").write_text("width = 2\n" * 150_000, encoding="utf-8")
    found = written(tmp_path)["git"]
    assert found["changed"] and found["diff"].endswith("characters, not kept")


def test_a_folder_that_cannot_be_written_is_warned_about(tmp_path, caplog):
    environment.write_beside_training(RunFolder(tmp_path / "gone"), {}).join()
    assert "environment.json cannot be written" in caplog.text
