"""R2: a run that ends at any point of a save goes on to the same bits, and leaves nothing that it should not."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from crashing import Crash
from families import FAMILIES, overrides_of
from killing import EVERY_STEP, assert_same, stray_files, train, what_counts

pytestmark = pytest.mark.faults

CRASHED = (-signal.SIGKILL, -signal.SIGXFSZ)  # the second where the system ends it in the middle of a write
# Of each file: before the first byte, with half of them, with all but not on the disk, on the disk under another
# name, in place but its name not on the disk.
STAGES = ("open", "half", "fsync", "replace", "fsync folder")
WRITTEN = ("best", "best manifest", "best pointer", "content", "manifest", "pointer")
ALL_POINTS = [
    *((stage, kind) for kind in WRITTEN for stage in STAGES),
    *(("remove", kind) for kind in ("manifest", "content", "best manifest", "best")),
]
TWELVE = [
    *(("half", "best"), ("fsync folder", "best"), ("half", "best manifest")),
    *(("open", "content"), ("half", "content"), ("fsync", "content"), ("replace", "content")),
    *(("fsync folder", "content"), ("half", "manifest"), ("half", "pointer")),
    *(("remove", "manifest"), ("remove", "content")),
]
# Those that come with every save, so also in a run that is nearly done.
OF_EVERY_SAVE = [point for point in ALL_POINTS if "best" not in point[1]]

TIMES = (2, 5, 12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_crash_at_any_point_of_a_save_changes_nothing(family: str, tmp_path: Path, files: Path, tally, full_size):
    """The run crashes at the point, its resumption at another one, and the next one gets to the end."""
    line = tally("R2", "runs that crash at a point of a save, and of another when resumed, end with the same bits")
    overrides = [*EVERY_STEP, *overrides_of(family, files)]
    assert train(tmp_path / "whole", overrides) == 0
    whole = what_counts(tmp_path / "whole")
    generator = random.Random(family)
    points = [(point, time) for point in ALL_POINTS for time in TIMES] if full_size else [(p, 0) for p in TWELVE]
    for number, ((operation, kind), time) in enumerate(points):
        folder = tmp_path / f"crashed-{number}"
        # A second time at least: there is something already that could be lost. The best weights are few.
        few = 1 if operation == "remove" else 2
        first = Crash(operation, kind, few if "best" in kind else time or generator.randint(2, 9))
        second = Crash(*generator.choice(OF_EVERY_SAVE), 2)
        line.tried += 1
        assert train(folder, overrides, prepare=first) in CRASHED, first
        assert train(folder, overrides, prepare=second) in CRASHED, second
        assert train(folder, overrides) == 0, (first, second)
        assert_same(whole, what_counts(folder))
        assert stray_files(folder) == [], (first, second)
        line.survived += 1


@pytest.mark.parametrize("kind", ["result", "overrides", "config"])
def test_a_crash_while_a_run_learns_of_its_new_end_changes_nothing(kind: str, tmp_path: Path, files: Path, tally):
    line = tally("R2", "runs that crash while they are extended end with the same bits")
    overrides, longer = [*EVERY_STEP, *overrides_of("bidirectional_gru", files)], ["trainer.max_epochs=12"]
    assert train(tmp_path / "whole", [*overrides, *longer]) == 0
    whole = what_counts(tmp_path / "whole")
    for operation in ("open", "fsync", "replace", "fsync folder"):
        folder = tmp_path / operation
        assert train(folder, overrides) == 0
        line.tried += 1
        assert train(folder, overrides, resume_with=longer, prepare=Crash(operation, kind, 1)) in CRASHED, operation
        assert train(folder, overrides, resume_with=longer) == 0
        assert_same(whole, what_counts(folder))
        assert stray_files(folder) == [], operation
        line.survived += 1
