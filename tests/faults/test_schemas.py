"""R13: runs that older versions of dltrain left go on, and those of newer ones are refused.

The runs in tests/assets/checkpoints were trained by the commit in their name, on iris, 8 updates of 3 batches an
epoch, so that each stopped in the middle of an epoch::

    dltrain data=iris model=mlp model.hidden=[4] trainer.batch_size=32 trainer.max_epochs=20 trainer.max_steps=8
        callbacks.checkpoint.min_seconds=0 callbacks.checkpoint.every_steps=2 ~callbacks.tensorboard device=cpu ...

What a resume does not need was taken out: environment.json, train.log, run.lock.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from killing import assert_same

from dltrain.checkpoint import CheckpointStore
from dltrain.migrations import SCHEMA
from dltrain.run_folder import RunFolder

pytestmark = pytest.mark.faults

ASSETS = Path(__file__).parents[1] / "assets" / "checkpoints"
RUNS = sorted(path.name for path in ASSETS.iterdir())
GOES_ON = "runs of older versions are evaluated, and go on"


def schema_of(run: str) -> int:
    return json.loads((ASSETS / run / "checkpoints" / "step-00000008.json").read_text())["schema"]


def test_every_schema_has_a_run() -> None:
    assert {schema_of(run) for run in RUNS} == set(range(1, SCHEMA + 1))


@pytest.mark.parametrize("run", RUNS)
def test_the_run_of_an_older_version_goes_on(run: str, dltrain, work: Path, tally) -> None:
    line = tally("R13", GOES_ON)
    line.tried += 1
    folder = shutil.copytree(ASSETS / run, work / run)
    before = CheckpointStore(folder / "checkpoints").load("step-00000008")
    assert before["progress"] == {"epoch": 2, "batch": 2, "step": 8, "samples": 244}
    assert len(before["metrics"]["kept"]) == 2, "batches of the epoch that it stopped in, not summed yet"
    evaluated = dltrain("evaluate", folder, "--json")
    assert evaluated.code == 0, evaluated.err
    resumed = dltrain("resume", folder, "trainer.max_steps=9", "callbacks.checkpoint.keep_last=2")
    assert resumed.code == 0, resumed.err
    result = RunFolder(folder).read_result()
    assert result["status"] == "done" and result["steps"] == 9 and result["epochs"] == 3
    rows = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 9]
    after = CheckpointStore(folder / "checkpoints").load("step-00000009")
    assert_one_step_further(before, after)
    line.survived += 1


def assert_one_step_further(before: dict, after: dict) -> None:
    """The ninth update changed weights and optimizer, by little, and began from what was saved."""
    assert before["model"].keys() == after["model"].keys()
    for name, weight in before["model"].items():
        change = (after["model"][name] - weight).abs().max()
        assert 0 < change < 0.5 or not weight.is_floating_point(), name
    assert before["optimizer"].keys() == after["optimizer"].keys()
    for number, state in before["optimizer"].items():
        assert state.keys() == after["optimizer"][number].keys()
        if "step" in state:
            assert int(after["optimizer"][number]["step"]) == int(state["step"]) + 1 == 9


@pytest.mark.parametrize("run", [run for run in RUNS if "cosine" not in run])  # whose rate depends on the length
def test_what_goes_on_is_the_same_for_good(run: str, dltrain, work: Path, tally) -> None:
    """Resumed twice from the old checkpoint, once through a checkpoint of the present schema: the same bits."""
    line = tally("R13", "and do so to the same bits through a checkpoint of the present version")
    line.tried += 1
    for name, stops in (("at_once", [14]), ("by_the_way", [11, 14])):
        folder = shutil.copytree(ASSETS / run, work / name)
        for steps in stops:
            assert dltrain("resume", folder, f"trainer.max_steps={steps}").code == 0
    states = [CheckpointStore(work / name / "checkpoints").load("step-00000014") for name in ("at_once", "by_the_way")]
    for state in states:
        state["row"].pop("epoch_seconds")
    assert_same(*states)
    line.survived += 1


@pytest.mark.parametrize(
    "words",
    [("resume", "run", "trainer.max_steps=9"), ("evaluate", "run"), ("evaluate", "run", "--checkpoint", "last")],
)
def test_a_run_of_a_newer_version_is_refused_and_left_as_it_is(words: tuple[str, ...], dltrain, work, tally) -> None:
    line = tally("R13", "runs of newer versions are refused, with what to do")
    line.tried += 1
    folder = shutil.copytree(ASSETS / RUNS[0], work / "run")
    for path in (folder / "checkpoints").glob("*step-*.safetensors"):
        make_newer(path)
    before = {path: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    answer = dltrain(*words)
    assert answer.code == 4
    assert f"has schema {SCHEMA + 1}, this dltrain reads up to {SCHEMA}" in answer.err
    assert "Install that one, which environment.json in the run's folder names, or a later one" in answer.err
    assert {path: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before
    line.survived += 1


def make_newer(path: Path) -> None:
    """Rewrites a checkpoint as a version to come would, its manifest too."""
    import hashlib

    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["schema"] = str(SCHEMA + 1)
    head = json.dumps(header).encode()
    content = len(head).to_bytes(8, "little") + head + content[8 + length :]
    path.write_bytes(content)
    manifest = {"schema": SCHEMA + 1, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(manifest))
