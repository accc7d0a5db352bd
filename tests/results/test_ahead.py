"""Files that have to be waited for are asked for many at once, and all others one after another."""

from __future__ import annotations

import os
import threading
import time

import pytest

from dltrain.results import ahead


def asking(seconds):
    """Returns a function that waits before it answers, and the threads that have called it."""
    threads = set()

    def ask(path):
        threads.add(threading.get_ident())
        if seconds:
            time.sleep(seconds)
        return f"{path}!"

    return ask, threads


@pytest.mark.parametrize("count", [0, 1, 32, 33, 300])
@pytest.mark.parametrize("seconds", [0, 0.0005])
def test_all_are_answered_in_their_order(count, seconds):
    paths = [str(number) for number in range(count)]
    ask, threads = asking(seconds)
    assert ahead.each(ask, paths) == [f"{path}!" for path in paths]
    if count:
        assert (len(threads) > 1) == (seconds > 0 and count > 32)


def test_a_mistake_in_a_thread_is_raised():
    def ask(path):
        time.sleep(0.0005)
        if path == "200":
            raise ValueError(path)

    with pytest.raises(ValueError, match=r"^200$"):
        ahead.each(ask, [str(number) for number in range(300)])


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot be asked to drop a file")
def test_files_are_fetched_where_they_are_not_in_memory(tmp_path):
    paths = [tmp_path / str(number) for number in range(200)]
    for path in paths:
        path.write_bytes(b"content" * 100)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    assert not ahead.fetch(list(map(str, paths)))
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = ahead.waits()
    for path in paths[1::5]:
        path.read_bytes()
    if ahead.waits() - before < 30:
        pytest.skip("this file system holds its files in memory")
    wanted = [str(path) for number, path in enumerate(paths) if number % 5 != 1]
    assert ahead.fetch(wanted)
    before = ahead.waits()
    for path in wanted:
        with open(path, "rb") as file:  # noqa: PTH123 (as short as can be)
            file.read()
    assert ahead.waits() - before < len(wanted) / 2
    assert not ahead.fetch(wanted)


def test_files_that_cannot_be_opened_and_few_files_are_left_alone(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    names = ["fifo", "folder", *map(str, range(50))]
    assert not ahead.fetch([str(tmp_path / name) for name in names])
    assert not ahead.fetch([]) and not ahead.fetch(["missing"])
