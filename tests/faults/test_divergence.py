"""R8: a training that diverges says where, and harms no checkpoint; by policy it skips the batch or goes back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from killing import EVERY_STEP, assert_same, duration, stray_files, train, what_counts
from training import result_of, rows_of

from dltrain.checkpoint import CheckpointStore
from dltrain.data.batching import permutation

pytestmark = pytest.mark.faults

ROWS, BATCH = 160, 16
EACH_STEP = "trainer.evaluate_every_steps=1"
STATISTICS = "the statistics of normalisation layers became NaN or infinite by"
STOPPED = "NaN at step k: exit 6, step and batch named, checkpoint untouched"


def write_table(path: Path, bad_row: int | None) -> None:
    """Writes a table whose target is a sum; the sum of the numbers of the bad row is beyond the range of floats."""
    generator = random.Random(0)
    lines = ["a,b,y"]
    for row in range(ROWS):
        a, b = generator.gauss(0, 1), generator.gauss(0, 1)
        inputs = "3.4e38,3.4e38" if row == bad_row else f"{a},{b}"
        lines.append(f"{inputs},{a + 2 * b + generator.gauss(0, 0.1)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def overrides_for(folder: Path, *more: str) -> list[str]:
    """10 batches an epoch, in an order that the seed of the run decides; evaluated on rows that are all right."""
    return [
        *EVERY_STEP,
        "data=csv",
        f"data.path={folder / 'table.csv'}",
        f"data.validation_path={folder / 'good.csv'}",
        f"data.test_path={folder / 'good.csv'}",
        "data.target=y",
        "data.scaling=none",
        "model=mlp",
        "model.hidden=[64]",
        "model.norm=batch",
        "model.dropout=0.1",
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "optimizer.lr=0.01",
        f"trainer.batch_size={BATCH}",
        "trainer.max_epochs=3",
        *more,
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path / "good.csv", None)
    write_table(tmp_path / "table.csv", 77)
    return tmp_path


def step_of(row: int) -> int:
    """Returns the step of the first epoch, from 1, at which a row comes."""
    return permutation(ROWS, seed=0, epoch=0).tolist().index(row) // BATCH + 1


def content(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}


def error_of(run: Path) -> str:
    result = result_of(run)
    assert result["status"] == "failed"
    return str(result["error"])


def kill_at_random(folder: Path, overrides: list[str], kills: int, seconds: float, seed: int) -> None:
    generator = random.Random(seed)
    for _ in range(kills):
        train(folder, overrides, kill_after=generator.uniform(0.02, 0.5) * seconds)
    assert train(folder, overrides) == 0, (folder / "train.log").read_text(encoding="utf-8")
    assert stray_files(folder) == []


# --- stop -------------------------------------------------------------------------------------------------


def test_a_value_that_overflows_ends_the_run_and_harms_no_checkpoint(folder: Path, tally, full_size) -> None:
    line = tally("R8", STOPPED)
    rows = random.Random(0).sample(range(ROWS), 40 if full_size else 8)
    for number, row in enumerate(row for row in rows if step_of(row) > 1):
        norm, what = [("null", "the loss became NaN or infinite at"), ("batch", STATISTICS)][number % 2]
        write_table(folder / "table.csv", row)
        run, step = folder / f"run-{row}", step_of(row)
        line.tried += 1
        before_it = overrides_for(folder, f"trainer.max_steps={step - 1}", f"model.norm={norm}", EACH_STEP)
        assert train(run, before_it) == 0
        before = content(run)
        said = folder / "said.txt"
        assert train(run, before_it, resume_with=["trainer.max_steps=30"], says=said) == 6
        place = f"{what} step {step} (epoch 1, batch {step})."
        assert place in error_of(run) and place in said.read_text(encoding="utf-8")
        assert "Traceback" not in said.read_text(encoding="utf-8")
        assert content(run) == before
        line.survived += 1


@pytest.mark.parametrize("rate", ["1e20", "1e38"])
def test_a_rate_that_is_far_too_high_ends_the_run_and_harms_no_checkpoint(rate: str, folder: Path, tally) -> None:
    line = tally("R8", STOPPED)
    write_table(folder / "table.csv", None)
    overrides = overrides_for(folder, "model.norm=null", "trainer.max_steps=7", EACH_STEP)
    line.tried += 1
    assert train(folder / "run", overrides) == 0
    names = content(folder / "run")
    assert train(folder / "run", overrides, resume_with=[f"optimizer.lr={rate}", "trainer.max_steps=20"]) == 6
    assert "became NaN or infinite" in error_of(folder / "run")
    store = CheckpointStore(folder / "run" / "checkpoints")
    state, notes = store.load_newest()
    assert state is not None and notes == []
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    kept = content(folder / "run")
    best = [name for name in names if name.startswith("best")]
    assert {name: kept[name] for name in best} == {name: names[name] for name in best}
    line.survived += 1


# --- skip and rollback ------------------------------------------------------------------------------------


def test_skipping_survives_and_kills_change_nothing(folder: Path, tally, full_size) -> None:
    line = tally("R8", "on_divergence=skip survives, and through kills to the same bits")
    overrides = overrides_for(folder, "trainer.on_divergence=skip", "trainer.evaluate_every_steps=4")
    line.tried += 1
    seconds = duration(folder / "whole", overrides)
    whole = what_counts(folder / "whole")
    assert result_of(folder / "whole")["skipped_updates"] == 3
    assert all(value is not None for row in rows_of(folder / "whole") for value in row.values())
    line.survived += 1
    for number in range(20 if full_size else 4):
        line.tried += 1
        kill_at_random(folder / str(number), overrides, 2, seconds, seed=number)
        assert_same(whole, what_counts(folder / str(number)))
        assert result_of(folder / str(number))["skipped_updates"] == 3
        line.survived += 1


@pytest.mark.parametrize("schedule", [[], ["scheduler=cosine"], ["scheduler=plateau", "scheduler.patience=1"]])
def test_going_back_survives_and_kills_change_nothing(schedule: list[str], folder: Path, tally, full_size) -> None:
    line = tally("R8", "on_divergence=rollback survives, and through kills to the same bits")
    write_table(folder / "table.csv", None)
    more = ["model.norm=null", "model.dropout=0", "optimizer.lr=300", "trainer.max_rollbacks=20"]
    more += ["optimizer.momentum=0", "trainer.on_divergence=rollback", "trainer.rollback_factor=0.05", *schedule]
    overrides = overrides_for(folder, *more)
    line.tried += 1
    seconds = duration(folder / "whole", overrides)
    whole = what_counts(folder / "whole")
    assert result_of(folder / "whole")["rollbacks"] >= 1
    steps = [row["step"] for row in rows_of(folder / "whole")]
    assert steps == sorted(set(steps))
    line.survived += 1
    for number in range(20 if full_size else 2):
        line.tried += 1
        kill_at_random(folder / str(number), overrides, 2, seconds, seed=number)
        assert_same(whole, what_counts(folder / str(number)))
        line.survived += 1


def test_where_no_rate_helps_it_gives_up(folder: Path, tally) -> None:
    line = tally("R8", "on_divergence=rollback gives up where no rate helps")
    line.tried += 1
    assert train(folder / "run", overrides_for(folder, "trainer.on_divergence=rollback")) == 6
    assert "It went back 5 times, each with a lower rate, as trainer.max_rollbacks allows" in error_of(folder / "run")
    assert f"{STATISTICS} step {step_of(77)} " in error_of(folder / "run")
    line.survived += 1


def test_where_nothing_is_finite_skipping_gives_up(folder: Path, tally) -> None:
    line = tally("R8", "on_divergence=skip gives up where nothing is finite")
    rate = ["optimizer.lr=1e30", "model.norm=null", "trainer.max_epochs=30", "trainer.on_divergence=skip"]
    line.tried += 1
    assert train(folder / "run", overrides_for(folder, *rate)) == 6
    assert "NaN or infinite" in error_of(folder / "run")
    line.survived += 1
