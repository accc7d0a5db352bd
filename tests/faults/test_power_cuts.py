"""R2, where the machine and not the process ends: what was not synced may be lost."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from families import overrides_of
from killing import EVERY_STEP, assert_same, stray_files, train, what_counts
from powercut import Disk, Recorder, operations, write

from dltrain.checkpoint import CheckpointStore

pytestmark = pytest.mark.faults


def test_after_a_power_cut_at_any_operation_the_last_checkpoint_loads(tmp_path: Path, files: Path, tally, full_size):
    """Also the rows of figures that it counts on, and the best weights; and the run goes on to the same bits."""
    line = tally(
        "R2", "what a power cut may leave, at any operation: the newest checkpoint, its rows and the best load"
    )
    overrides = [*EVERY_STEP, *overrides_of("bidirectional_gru", files)]
    recorder = Recorder(tmp_path / "whole", tmp_path / "record")
    assert train(tmp_path / "whole", overrides, prepare=recorder) == 0
    whole = what_counts(tmp_path / "whole")
    disk, promised, seen = Disk(), 0, set()
    leftovers: list[dict[str, bytes]] = []
    for operation, path, detail in operations(tmp_path / "record"):
        disk.follow(operation, path, detail)
        check_order(disk, operation, path)
        if not disk.durable.get("config.yaml"):
            continue  # the run has not begun
        for content in disk.after_a_cut():
            kept = {name: found for name, found in content.items() if "checkpoints" in name or "metrics" in name}
            if hash(frozenset(kept.items())) in seen:
                continue
            seen.add(hash(frozenset(kept.items())))
            line.tried += 1
            check(tmp_path / "left", kept, promised, whole["rows"])
            line.survived += 1
            leftovers.append(content)
        if operation == "fsynced folder" and path == "checkpoints" and "checkpoints/last.json" in disk.durable:
            promised = max(promised, step_of(disk.durable["checkpoints/last.json"].content))
    assert promised == whole["state"]["progress"]["step"]
    resumed = tally("R2", "runs that go on from what a power cut left end with the same bits")
    for content in random.Random(0).sample(leftovers, 100 if full_size else 8):
        resumed.tried += 1
        folder = tmp_path / "resumed"
        write(folder, content)
        assert train(folder, overrides) == 0, sorted(content)
        assert_same(whole, what_counts(folder))
        assert stray_files(folder) == []
        resumed.survived += 1
        shutil.rmtree(folder)


def check_order(disk: Disk, operation: str, path: str) -> None:
    """Content, manifest, pointer: each begins when the one before is on the disk; and a pointer leads somewhere."""
    name = path.removeprefix("checkpoints/")
    if operation == "open" and name != path:
        assert "checkpoints" in disk.durable, "a power cut may take the folder of the checkpoints with all in it"
    if operation == "replace" and name.endswith(".json") and "step-" in name:
        assert path.replace(".json", ".safetensors") in disk.durable, f"{name} is there before its content"
    if operation == "replace" and name in ("last.json", "best.json"):
        target = json.loads(disk.names[path].content)["checkpoint"]  # type: ignore[union-attr]
        assert f"checkpoints/{target}.json" in disk.durable, f"{name} is there before {target}"


def step_of(pointer: bytes) -> int:
    return int(json.loads(pointer)["checkpoint"].rpartition("-")[2]) if pointer else 0


def check(folder: Path, content: dict[str, bytes], promised: int, rows: list[dict[str, object]]) -> None:
    """Loads what was left.

    Args:
        promised: the step of the newest checkpoint whose saving was done.
        rows: of the uninterrupted run.
    """
    write(folder, content)
    store = CheckpointStore(folder / "checkpoints")
    state, _ = store.load_newest()
    step = state["progress"]["step"] if state is not None else 0
    assert step >= promised, f"step {promised} was saved, {step} is left of {sorted(content)}"
    lines = content.get("metrics.jsonl", b"").decode().splitlines()
    found = [json.loads(line)["step"] for line in lines]
    assert found[: len(rows)] == [row["step"] for row in rows][: len(found)]
    assert {row["step"] for row in rows if row["step"] <= step} <= set(found), f"rows up to {step}: {found}"
    best = store.pointed("best")
    if store.has_pointer("best"):
        assert best is not None and store.load(best)["model"]
    shutil.rmtree(folder, ignore_errors=True)
