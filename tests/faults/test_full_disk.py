"""R4: a disk that is full, in the middle of a training or before it, loses nothing and is said with its figures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import DLTRAIN, environment
from killing import EVERY_STEP, assert_same, start, stray_files, train, what_counts

from dltrain.checkpoint import CheckpointStore

pytestmark = pytest.mark.faults

PAGE = 4096
RUN = [
    *EVERY_STEP,
    "model=mlp",
    "model.hidden=[256]",
    "model.dropout=0.2",
    "data=digits",
    "scheduler=cosine",
    "trainer.batch_size=256",
    "trainer.max_epochs=8",
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "dltrain-test", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fills the disk until no more than so many bytes are free; returns the file that does it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while (free := os.statvfs(disk).f_bavail * PAGE) > leave:
            file.write(bytes(min(free - leave, 64 * PAGE)))
    return filler


def assert_said(text: str, *, figures: bool = True) -> None:
    assert "Traceback" not in text, text
    assert "the disk is full" in text, text
    if figures:
        found = re.search(r"needs ([\d.]+) MB, ([\d.]+) MB are free", text)
        assert found is not None and float(found[1]) >= float(found[2]), text


def test_a_disk_that_fills_up_while_a_run_trains_loses_no_checkpoint(tmp_path, disk, tally, full_size):
    line = tally(
        "R4", "full disks: exit 5 with figures, the last checkpoint loads, nothing stray, goes on to the same bits"
    )
    assert train(tmp_path / "whole", RUN) == 0
    whole = what_counts(tmp_path / "whole")
    (content,) = (tmp_path / "whole" / "checkpoints").glob("step-*.safetensors")
    levels = 200 if full_size else 20
    for level in range(levels):
        line.tried += 1
        folder, says = disk / f"run-{level}", tmp_path / f"says-{level}"
        process = start(folder, RUN, says=says)
        store = CheckpointStore(folder / "checkpoints")
        while process.is_alive() and store.pointed("last") is None:
            time.sleep(0.001)
        before = store.pointed("last")
        filler = fill(disk, leave=level * content.stat().st_size // levels)
        process.join()
        assert process.exitcode == 5, says.read_text(encoding="utf-8")
        assert_said(says.read_text(encoding="utf-8"))
        state, notes = store.load_newest()
        assert state is not None and notes == [] and (store.pointed("last") or "") >= (before or "step")
        assert stray_files(folder) == []
        filler.unlink()
        assert train(folder, RUN, says=says) == 0, says.read_text(encoding="utf-8")
        assert_same(whole, what_counts(folder))
        assert stray_files(folder) == []
        line.survived += 1
        subprocess.run(["rm", "-r", folder], check=True)


# What stands on the full disk, while the rest of the run has all the room -> does the training end with exit 5?
PARTS = {"metrics.jsonl": True, "checkpoints": True, "train.log": False, "tensorboard": False}


@pytest.mark.parametrize("part", PARTS)
def test_a_full_disk_under_one_part_of_a_run(part: str, tmp_path: Path, disk: Path, tally):
    """What a run can do without does not end it."""
    line = tally("R4", "parts of a run, each on a full disk of its own")
    line.tried += 1
    folder, says = tmp_path / "run", tmp_path / "says"
    folder.mkdir()
    for place in (disk / part, folder / part):
        if "." in part:
            place.touch()
        else:
            place.mkdir()
    fill(disk, leave=0)
    subprocess.run(["mount", "--bind", disk / part, folder / part], check=True)
    try:
        code = train(folder, RUN, says=says)
    finally:
        subprocess.run(["umount", folder / part], check=True)
    for path in (disk / part).iterdir() if (disk / part).is_dir() else [disk / part]:  # onto a disk with room
        shutil.copy(path, folder / part)
    text = says.read_text(encoding="utf-8")
    assert "Traceback" not in text, text
    assert code == (5 if PARTS[part] else 0), text
    if PARTS[part]:
        assert_said(text)
        assert stray_files(folder) == stray_files(disk) == []
        assert train(folder, RUN, says=says) == 0, says.read_text(encoding="utf-8")
    assert train(tmp_path / "whole", RUN) == 0
    assert_same(what_counts(tmp_path / "whole"), what_counts(folder))
    line.survived += 1


@pytest.mark.parametrize("leave", [0, PAGE, 2 * PAGE, 3 * PAGE, 5 * PAGE])
def test_a_disk_that_is_full_before_the_run_begins(leave: int, tmp_path: Path, disk: Path, tally):
    """Through the command itself. The files of the start are written whole or not at all."""
    line = tally("R4", "runs that begin on a full disk: exit 5 with figures, no half of a run")
    line.tried += 1
    filler = fill(disk, leave)
    command = [*DLTRAIN, *RUN, "run_dir=run"]
    answer = subprocess.run(command, cwd=disk, env=environment(), capture_output=True, text=True, timeout=120)
    assert answer.returncode == 5, answer.stderr
    assert_said(answer.stderr)
    assert stray_files(disk) == []
    filler.unlink()
    assert train(disk / "run", RUN) == 0
    assert train(tmp_path / "whole", RUN) == 0
    assert_same(what_counts(tmp_path / "whole"), what_counts(disk / "run"))
    line.survived += 1
