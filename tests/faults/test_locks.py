"""R7: of two processes on one run folder exactly one trains; a hundred new runs at once get a hundred folders."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from pathlib import Path

import pytest
from killing import _CONTEXT, EVERY_STEP, assert_same, train, what_counts

from dltrain import locks, run_folder
from dltrain.errors import MachineError
from dltrain.run_folder import RunFolder, read_json

pytestmark = pytest.mark.faults

RUN = [*EVERY_STEP, "data=iris", "model=linear", "trainer.batch_size=16", "~callbacks.tensorboard"]
LONGER = "trainer.max_epochs=5"
BUSY, USED = 5, 2


def _run(arguments: list[str], folder: str, says: str, ready, started) -> None:
    """Runs a command line in ``folder`` from when all others are ready as well."""
    os.dup2(os.open(says, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    os.chdir(folder)
    from dltrain import cli

    ready.release()
    started.wait()
    os._exit(cli.run(arguments))


def together(commands: list[list[str]], folder: Path) -> list[tuple[int | None, str]]:
    """Runs command lines at the same instant; returns the exit code of each and what it said."""
    ready, started = _CONTEXT.Semaphore(0), _CONTEXT.Event()
    files = [folder / f"says-{number}" for number in range(len(commands))]
    processes = [
        _CONTEXT.Process(target=_run, args=(command, str(folder), str(file), ready, started))
        for command, file in zip(commands, files, strict=True)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        assert ready.acquire(timeout=120)
    started.set()
    for process in processes:
        process.join()
    return [(process.exitcode, file.read_text("utf-8")) for process, file in zip(processes, files, strict=True)]


def test_of_two_new_runs_in_one_folder_exactly_one_trains(tmp_path, tally, full_size):
    lines = tally("R7", "two new runs in one folder: one trains")
    assert train(tmp_path / "whole", [*RUN, "trainer.max_epochs=3"]) == 0
    whole = what_counts(tmp_path / "whole")
    for trial in range(100 if full_size else 20):
        folder = tmp_path / f"both-{trial}"
        lines.tried += 1
        command = [*RUN, "trainer.max_epochs=3", f"run_dir={folder}"]
        answers = sorted(together([command, command], tmp_path))
        assert [code for code, _ in answers] in ([0, BUSY], [0, USED]), answers
        _, (code, said) = answers
        assert "Traceback" not in said
        assert ("is being trained by another process (number " if code == BUSY else "holds a run already") in said
        assert_same(whole, what_counts(folder))
        assert not list(folder.glob(".*"))
        lines.survived += 1


def test_of_two_that_go_on_with_one_run_exactly_one_trains(tmp_path, tally, full_size):
    lines = tally("R7", "two resumes of one run: one trains")
    assert train(tmp_path / "half", [*RUN, "trainer.max_epochs=2"]) == 0
    shutil.copytree(tmp_path / "half", tmp_path / "whole")
    assert train(tmp_path / "whole", RUN, resume_with=[LONGER]) == 0
    whole = what_counts(tmp_path / "whole")
    for trial in range(100 if full_size else 20):
        folder = tmp_path / f"both-{trial}"
        shutil.copytree(tmp_path / "half", folder)
        lines.tried += 1
        (first, _), (second, said) = sorted(together([["resume", str(folder), LONGER]] * 2, tmp_path))
        assert first == 0 and "Traceback" not in said
        if second == 0:  # it came when the other was done
            assert "nothing is left to do" in "".join(path.read_text("utf-8") for path in tmp_path.glob("says-*"))
        else:
            assert second == BUSY and "is being trained by another process (number " in said
        found = what_counts(folder)
        assert_same(whole, found)
        assert (folder / "overrides.yaml").read_text("utf-8").count(LONGER) == 1
        lines.survived += 1


def test_new_runs_that_start_at_once_get_a_folder_each(tmp_path, tally, full_size):
    lines, number = tally("R7", "new runs at once get a folder each"), 100 if full_size else 25
    command = [*RUN, "trainer.max_epochs=1", "trainer.batch_size=90"]
    lines.tried += number
    answers = together([command] * number, tmp_path)
    assert [code for code, _ in answers] == [0] * number, [said for code, said in answers if code]
    folders = [path.parent for path in tmp_path.glob("runs/*/*/config.yaml")]
    assert len(folders) == number
    for folder in folders:
        assert read_json(folder / "result.json")["status"] == "done"
        lines.survived += 1


def test_names_that_are_taken_are_drawn_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = iter("aabbbbcca")
    monkeypatch.setattr(run_folder, "random_letters", lambda: next(drawn))
    monkeypatch.setattr(time, "strftime", lambda layout: "now")
    names = [RunFolder.create(None, "x").path.name for _ in range(3)]
    assert names == ["now-x-a", "now-x-b", "now-x-c"]


def test_a_lock_on_a_file_that_was_removed_does_not_count(tmp_path):
    """As where the first process fails and takes its folder back while a second one waits at the door."""
    folder = RunFolder(tmp_path)
    real = fcntl.flock
    removed = []

    def flock(descriptor, how):
        real(descriptor, how)
        if not removed:
            removed.append(folder.lock_file.unlink())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with folder.locked(), pytest.raises(MachineError, match="is being trained by another process"):
            RunFolder(tmp_path).locked().__enter__()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_bsd_locks_is_locked_as_posix_has_it(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _refusing(number))
    with RunFolder(tmp_path).locked():
        assert _lock_of_another_process(tmp_path) == BUSY
    assert _lock_of_another_process(tmp_path) == 0


def test_a_file_system_without_any_locks_is_told_once(tmp_path, monkeypatch, caplog):
    locks._warn_of_no_locks.cache_clear()
    monkeypatch.setattr(fcntl, "flock", _refusing(errno.ENOLCK))
    monkeypatch.setattr(fcntl, "lockf", _refusing(errno.EOPNOTSUPP))
    for _ in range(2):
        with RunFolder(tmp_path).locked():
            pass
    (record,) = caplog.records
    assert "its file system has no locks (Operation not supported)" in record.getMessage()


def test_another_mistake_of_locking_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _refusing(errno.EIO))
    with pytest.raises(MachineError, match=r"run\.lock cannot be locked: Input/output error$"):
        RunFolder(tmp_path).locked().__enter__()


def _refusing(number: int):
    def take(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    return take


def _lock_of_another_process(folder: Path) -> int:
    """Returns the exit code of a process that takes the folder's lock in POSIX's way."""
    process = _CONTEXT.Process(target=_take_posix_lock, args=(str(folder),))
    process.start()
    process.join()
    return process.exitcode if process.exitcode is not None else 1


def _take_posix_lock(folder: str) -> None:
    fcntl.flock = _refusing(errno.ENOLCK)
    try:
        with RunFolder(Path(folder)).locked():
            os._exit(0)
    except MachineError as error:
        os._exit(error.exit_code)
