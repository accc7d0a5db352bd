"""The thread that writes beside the training: one job at a time, in order, and no error is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from dltrain.background import BackgroundWriter
from dltrain.errors import MachineError


@pytest.fixture
def writer() -> BackgroundWriter:
    return BackgroundWriter()


def fail() -> None:
    raise MachineError("the disk is gone")


def test_jobs_run_in_order_and_in_another_thread(writer):
    done = []
    for number in range(20):
        writer.submit(lambda number=number: done.append((number, threading.current_thread().name)))
    writer.wait()
    assert done == [(number, "checkpoint") for number in range(20)]


def test_the_thread_that_hands_over_goes_on_while_the_job_runs(writer):
    may_end, ended = threading.Event(), []
    writer.submit(lambda: ended.append(may_end.wait(10)))
    assert not ended
    may_end.set()
    writer.wait()
    assert ended == [True]


def test_a_further_job_waits_until_the_one_before_has_ended(writer):
    may_end, order = threading.Event(), []
    writer.submit(lambda: (may_end.wait(10), order.append("first")))
    handing = threading.Thread(target=lambda: (writer.submit(lambda: order.append("second")), order.append("handed")))
    handing.start()
    handing.join(0.05)
    assert handing.is_alive() and not order, "the second job was taken while the first one ran"
    may_end.set()
    handing.join()
    writer.wait()
    assert order[0] == "first" and sorted(order[1:]) == ["handed", "second"]


def test_an_error_is_raised_where_the_next_job_is_handed_over_and_that_one_never_starts(writer):
    started = []
    writer.submit(fail)
    with pytest.raises(MachineError, match="the disk is gone"):
        writer.submit(lambda: started.append(1))
    writer.wait()
    assert not started


def test_an_error_is_raised_once_by_what_asks_first(writer):
    writer.submit(fail)
    with pytest.raises(MachineError, match="the disk is gone"):
        writer.wait()
    writer.wait()
    writer.check()
    writer.submit(fail)
    writer._thread.join()
    with pytest.raises(MachineError, match="the disk is gone"):
        writer.check()
    writer.wait()


def test_check_does_not_wait(writer):
    may_end = threading.Event()
    writer.submit(lambda: may_end.wait(10) and fail())
    writer.check()
    may_end.set()
    with pytest.raises(MachineError):
        writer.wait()


def test_a_job_does_not_wait_for_itself(writer):
    ended = []
    writer.submit(lambda: (writer.wait(), ended.append(True)))
    writer.wait()
    assert ended


def test_what_a_job_costs_the_processor_is_known(writer):
    def work(seconds: float) -> None:
        started = time.thread_time()
        while time.thread_time() - started < seconds:
            pass

    for job, least, most in ((lambda: work(0.05), 0.05, 1.0), (lambda: time.sleep(0.05), 0.0, 0.04)):
        writer.submit(job)
        writer.wait()
        assert least <= writer.cpu_seconds < most


def test_a_process_that_ends_ends_its_job_first(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from dltrain.background import BackgroundWriter\n"
        "BackgroundWriter().submit(lambda: (time.sleep(0.2), Path('written').touch()))\n"
        "raise OverflowError\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 1 and (tmp_path / "written").exists()
