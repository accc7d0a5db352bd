"""A run's folder: made, locked, written whole or not at all, and found by name."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killing import is_running

from dltrain import run_folder
from dltrain.errors import CheckpointError, ConfigError, MachineError
from dltrain.run_folder import RunFolder


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(path: str, age: float = 0) -> Path:
    """Makes what counts as a run, so many seconds ago."""
    folder = Path(path)
    folder.mkdir(parents=True)
    config = folder / "config.yaml"
    config.touch()
    then = time.time() - age
    os.utime(config, (then, then))
    return folder


# --- making -----------------------------------------------------------------------------------------------


def test_a_new_run_gets_a_folder_by_date_time_and_label():
    folder = RunFolder.create(None, "iris-mlp")
    assert re.fullmatch(r"runs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-iris-mlp-[a-z]{4}", str(folder.path))
    assert folder.path.is_dir()


def test_no_two_runs_get_the_same_folder(monkeypatch):
    letters = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(run_folder, "random_letters", lambda: next(letters))
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    assert [RunFolder.create(None, "x").path.name for _ in range(2)] == ["now-x-aaaa", "now-x-bbbb"]


def test_a_folder_of_ones_own_is_made_with_its_parents():
    assert RunFolder.create(Path("a/b/한글"), "x").path == Path("a/b/한글")
    assert Path("a/b/한글").is_dir()
    RunFolder.create(Path("a/b/한글"), "x")  # and taken again while no run is in it


def test_a_folder_that_holds_a_run_is_not_taken_again():
    make_run("mine")
    with pytest.raises(ConfigError) as caught:
        RunFolder.create(Path("mine"), "x")
    assert str(caught.value) == (
        "run_dir=mine holds a run already. Go on with it: dltrain resume mine, or name another folder"
    )


def test_a_file_is_no_place_for_a_run():
    Path("file").touch()
    with pytest.raises(MachineError, match=r"^file is a file, so no run folder can be made there$"):
        RunFolder.create(Path("file"), "x")
    with pytest.raises(MachineError) as caught:
        RunFolder.create(Path("file/run"), "x")
    assert str(caught.value) == (
        f"no run folder can be made at {Path.cwd() / 'file/run'}: Not a directory. "
        "Change to a folder that you may write, or give run_dir=..."
    )


def test_a_file_named_runs_ends_in_an_error_and_not_in_a_loop():
    Path("runs").touch()
    with pytest.raises(MachineError, match="Not a directory"):
        RunFolder.create(None, "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(working_directory):
    working_directory.chmod(0o500)
    try:
        with pytest.raises(MachineError, match="Permission denied"):
            RunFolder.create(None, "x")
    finally:
        working_directory.chmod(0o700)


def test_a_sweep_gets_a_folder_by_date_and_time():
    assert re.fullmatch(r"runs/sweeps/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-grid-[a-z]{4}", run_folder.sweep_dir("grid"))


# --- the lock ---------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from dltrain.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_kept_out_until_the_first_ends_however_it_ends(working_directory):
    folder = RunFolder.create(working_directory / "run", "x")
    assert not is_running(folder.path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        assert is_running(folder.path)
        with pytest.raises(MachineError) as caught, folder.locked():
            pass
        assert str(caught.value) == (
            f"{folder.path} is being trained by another process (number {holder.pid}). "
            "Wait for it, or stop it; then try again"
        )
        holder.kill()
    assert not is_running(folder.path)
    with folder.locked():
        assert is_running(folder.path)
        assert folder.lock_file.read_text() == f"{os.getpid()}\n"
    assert not is_running(folder.path)


def test_the_lock_is_given_back_after_an_error():
    folder = RunFolder.create(Path("run"), "x")
    with pytest.raises(KeyError), folder.locked():
        raise KeyError
    with folder.locked():
        pass


def test_a_folder_that_is_gone_cannot_be_locked():
    folder = RunFolder(Path("gone"))
    assert not is_running(folder.path)
    with (
        pytest.raises(MachineError, match=r"^gone cannot be written: No such file or directory$"),
        folder.locked(),
    ):
        pass


# --- files ------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(working_directory):
    path = working_directory / "한글.txt"
    run_folder.write_file(path, "말이\n")
    run_folder.write_file(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert list(working_directory.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, r"the disk is full: needs 2\.0 MB, [\d.]+ MB are free$"),
        (errno.EIO, r"cannot be written: Input/output error$"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file(working_directory, monkeypatch, code, text):
    path = working_directory / "file"
    run_folder.write_file(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MachineError, match=text):
        run_folder.write_file(path, b"x" * 2**21)
    assert path.read_text() == "old"
    assert list(working_directory.iterdir()) == [path]


def test_a_file_in_a_folder_that_is_gone_is_an_error():
    with pytest.raises(MachineError, match=r"^gone/file cannot be written: No such file or directory$"):
        run_folder.write_file(Path("gone/file"), "x")


def test_what_a_killed_process_left_is_swept_up(working_directory):
    for name in (".model.json.123.tmp", ".x.tmp", "model.json", ".hidden"):
        (working_directory / name).touch()
    run_folder.sweep_temporary_files(working_directory)
    assert sorted(path.name for path in working_directory.iterdir()) == [".hidden", "model.json"]


def test_json_comes_back_as_it_was_and_korean_stays_readable():
    path = Path("task.json")
    value = {"classes": ["말이", "법이다"], "none": None, "number": 0.1}
    run_folder.write_json(path, value)
    assert run_folder.read_json(path) == value
    assert "말이" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe", b"[" * 100_000, b"[1]", b"3"])
def test_damaged_json_is_an_error_and_no_crash(content):
    Path("x.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^x\.json cannot be read: "):
        run_folder.read_json(Path("x.json"))


def test_a_run_that_has_not_ended_has_no_result():
    folder = RunFolder(make_run("run"))
    assert folder.read_result() == {}
    run_folder.write_json(folder.result, {"status": "done"})
    assert folder.read_result() == {"status": "done"}


def test_a_damaged_result_is_told_with_what_to_do():
    run = RunFolder(make_run("runs/a"))
    run.result.write_text("{")
    why = (
        "runs/a/result.json cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    )
    with pytest.raises(CheckpointError) as caught:
        run.read_result()
    assert str(caught.value) == f"{why}. Remove it; 'dltrain resume runs/a' writes it anew"


def test_a_run_that_never_read_its_data_has_no_task():
    folder = RunFolder(make_run("run"))
    with pytest.raises(CheckpointError, match=r"^run has no task\.json: the run ended before its data was read$"):
        folder.read_task()


# --- finding ----------------------------------------------------------------------------------------------


@pytest.fixture
def runs() -> list[Path]:
    """Three runs, oldest first; the order of their names is another."""
    return [
        make_run("runs/2024-05-02/09-00-00-iris-mlp-wxyz", age=300),
        make_run("runs/sweeps/2024-05-01_10-00-00-grid-abcd/trials/0", age=200),
        make_run("runs/2024-05-01/08-00-00-digits-mlp-efgh", age=100),
    ]


def test_all_runs_come_oldest_first_with_the_trials_of_sweeps(runs):
    Path("runs/2024-05-01/no-run").mkdir()
    assert [run.path for run in run_folder.all_runs()] == runs


def test_last_is_the_newest(runs):
    assert run_folder.find_run("last").path == runs[-1]


@pytest.mark.parametrize(("name", "place"), [("wxyz", 0), ("iris", 0), ("2024-05-01/08", 2), ("trials/0", 1)])
def test_a_part_of_a_name_that_only_one_run_has_finds_it(runs, name, place):
    assert run_folder.find_run(name).path == runs[place]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_finds_itself_wherever_it_lies(runs, slash):
    own = make_run("elsewhere/own")
    assert run_folder.find_run(f"{own}{slash}").path == own
    assert run_folder.find_run(str(own.absolute()) + slash).path == own.absolute()


def test_a_part_that_several_runs_have_is_refused_with_them(runs):
    with pytest.raises(ConfigError) as caught:
        run_folder.find_run("mlp")
    assert str(caught.value) == f"'mlp' fits 2 runs; say more of the name:\n  {runs[0]}\n  {runs[2]}"


def test_a_whole_name_is_meant_where_others_hold_it_too():
    own = make_run("runs/reg")
    make_run("runs/tworeg")
    assert run_folder.find_run("reg").path == own


def test_a_name_that_no_run_has_is_refused_with_the_nearest(runs):
    with pytest.raises(ConfigError) as caught:
        run_folder.find_run("09-00-00-iris-mpl-wxyz")
    assert str(caught.value) == ("no run is named '09-00-00-iris-mpl-wxyz'. Did you mean '09-00-00-iris-mlp-wxyz'?")


def test_a_folder_without_a_run_is_no_run(runs):
    with pytest.raises(ConfigError, match=r"^runs is no run folder: it has no config\.yaml$"):
        run_folder.find_run("runs")


def test_where_there_are_no_runs_it_is_said(working_directory):
    with pytest.raises(ConfigError) as caught:
        run_folder.find_run("last")
    assert str(caught.value) == (
        f"there are no runs in {working_directory / 'runs'}. Train one first, or change to the folder of your runs"
    )


def test_a_file_that_cannot_be_written_is_told_where_its_remains_cannot_be_removed_either(tmp_path):
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file" / "a.json"
    with pytest.raises(MachineError) as caught:
        run_folder.write_file(path, "{}")
    assert str(caught.value) == f"{path} cannot be written: Not a directory"
