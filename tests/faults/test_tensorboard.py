"""R12: TensorBoard is open to this machine only, and no trouble with its files ends or doubles anything."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from commandline import QUICK, start
from killing import EVERY_STEP, train_with_kills

from dltrain import cli

pytestmark = pytest.mark.faults

SMALL = ["data=iris", "model.hidden=[4]", *EVERY_STEP]


def listening(port: int) -> set[str]:
    """Returns the addresses on which something listens at a port, as the kernel says it."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text(encoding="utf-8").splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if int(number, 16) == port and line.split()[3] == "0A":
                found.add(address)
    return found


def test_the_board_listens_on_this_machine_only(work, tally):
    line = tally("R12", "the board: loopback only, a port in use")
    assert cli.run([*QUICK[:-1], "run_dir=runs/2026-01-01/a"]) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line.tried += 1
    process = start("board", "--port", str(port), cwd=work)
    try:
        until = time.monotonic() + 90
        while not listening(port) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert listening(port) == {"0100007F"}
        line.survived += 1
        line.tried += 1
        assert cli.run(["board", "--port", str(port)]) == 5
        line.survived += 1
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_log_folder_that_vanishes_does_not_end_a_training(work, tally):
    line = tally("R12", "a log folder that vanishes, or cannot be made, while training")
    line.tried += 1
    process = start(*SMALL, "trainer.max_epochs=300", "run_dir=run", cwd=work)
    folder = work / "run" / "tensorboard"
    while process.poll() is None and not folder.exists():
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        folder.write_text("a file in its place")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in said, said
    line.survived += 1


def test_no_step_stands_twice_after_kills(work, tally):
    line = tally("R12", "steps in the event files after kill -9 and resume")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    line.tried += 1
    train_with_kills(work / "run", [*SMALL, "trainer.max_epochs=30"], [0.3, 0.3])
    events = EventAccumulator(os.fspath(work / "run" / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
    assert events.Tags()["scalars"]
    line.survived += 1
