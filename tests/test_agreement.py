"""Whether two runs came to the same figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dltrain import agreement
from dltrain.run_folder import RunFolder


def run(folder: Path, losses: list[Any], test: float | None = None, status: str = "done", **result: Any) -> RunFolder:
    """Writes what counts of a run: a row of each loss, one an epoch of two steps."""
    folder.mkdir()
    rows = [
        {"epoch": n, "step": 2 * n, "lr": 0.1, "train/loss": loss, "epoch_seconds": hash(folder.name) + n}
        for n, loss in enumerate(losses, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    best = {"metric": "train/loss", "value": losses[0], "epoch": 1} if losses else None
    ends = {"status": status, "steps": 2 * len(losses), "best": best, **result}
    if test is not None:
        ends["test"] = {"test/loss": test}
    (folder / "result.json").write_text(json.dumps(ends))
    return RunFolder(folder)


@pytest.fixture
def told(tmp_path):
    """Returns a function that tells how two runs agree, each given as the arguments of ``run``."""

    def compare(old: tuple[list[Any], dict[str, Any]], new: tuple[list[Any], dict[str, Any]]):
        folders = [run(tmp_path / name, losses, **more) for name, (losses, more) in (("old", old), ("new", new))]
        found = agreement.compare(*folders)
        return found, agreement.told(found)

    return compare


THREE = [0.5, 0.1 + 0.2, 1e-7]


def test_runs_that_agree(told):
    found, text = told((THREE, {"test": 0.25}), (THREE, {"test": 0.25}))
    assert found.agrees
    assert text == "the figures agree to the last bit (3 rows, and those of the end)"


def test_the_last_bit_counts(told):
    found, text = told((THREE, {}), ([0.5, 0.3, 1e-7], {}))
    assert not found.agrees
    assert text == (
        "the figures differ: train/loss in epoch 2 (step 4) was 0.30000000000000004 and is 0.3, a relative difference "
        "of 1.9e-16. It is the only one of 3 rows"
    )


def test_the_first_and_the_largest_difference_are_told(told):
    found, text = told((THREE, {"test": 1.0}), ([0.5, 0.3, 2e-7], {"test": 1.5}))
    assert len(found.discrepancies) == 3
    assert text.endswith(
        "a relative difference of 1.9e-16. That is the first of 3 that differ in 3 rows; most of all train/loss in "
        "epoch 3 (step 6) was 1e-07 and is 2e-07, a relative difference of 0.5"
    )
    assert str(found.discrepancies[-1]) == "test/loss at the end was 1.0 and is 1.5"


def test_a_number_that_became_none(told):
    found, text = told((THREE, {}), ([0.5, None, 1e-7], {}))
    assert not found.agrees
    assert "was 0.30000000000000004 and is NaN or infinite, which have no distance" in text
    assert agreement.compare(*[RunFolder(Path(found.discrepancies[0].place))] * 2).agrees is False  # nothing to compare


@pytest.mark.parametrize(
    ("old", "new", "agrees", "text"),
    [
        (("interrupted", 2), ("done", 3), True, "(2 rows); the new run has 1 more"),
        (("done", 3), ("interrupted", 2), True, "(2 rows); the old run has 1 more"),
        (("done", 2), ("done", 3), False, "(2 rows); the new run has 1 more"),
        (("interrupted", 0), ("done", 3), False, "there is no figure to compare: one of the runs was stopped before"),
    ],
)
def test_runs_of_different_lengths(old, new, agrees, text, told):
    found, said = told((THREE[: old[1]], {"status": old[0]}), (THREE[: new[1]], {"status": new[0]}))
    assert found.agrees is agrees
    assert text in said


def test_a_trial_that_its_sweep_ended_agrees_as_far_as_it_came(told):
    assert told((THREE[:2], {"pruned": "it fell behind"}), (THREE, {}))[0].agrees


def test_two_that_ended_of_the_same(told):
    failed = {"status": "failed", "error": "the loss became NaN"}
    found, text = told(([], failed), ([], failed))
    assert found.agrees
    assert text == "both runs ended at the same step, and of the same: the loss became NaN"
    assert not found.discrepancies


def test_a_figure_that_one_of_them_has_alone_is_no_difference(told, tmp_path):
    found, _ = told((THREE, {"test": 1.0}), (THREE, {}))
    assert found.agrees and found.one_sided == ["test/loss"]


def test_the_number_of_an_epoch_is_no_figure(tmp_path):
    one, other = run(tmp_path / "one", THREE), run(tmp_path / "other", THREE)
    rows = other.metrics.read_text().replace('"epoch": 3', '"epoch": 1')  # of batches of another size
    other.metrics.write_text(rows)
    assert agreement.compare(one, other).agrees


def test_a_damaged_row_is_passed_over(tmp_path):
    folder = run(tmp_path / "run", THREE)
    folder.metrics.write_text(folder.metrics.read_text() + '[1]\n{"epoch": 9}\n{"step": 8, "train/')
    assert agreement.compare(folder, folder).rows == 3


def test_what_a_run_came_to(tmp_path):
    assert agreement.last_figures(run(tmp_path / "run", THREE, test=0.5)) == {
        "train/loss": 1e-7, "test/loss": 0.5, "best train/loss": 0.5, "epoch of the best": 1,
    }  # fmt: skip


def test_runs_without_a_step_in_common_are_told_so(tmp_path):
    old, new = run(tmp_path / "old", [1.0, 0.5]), run(tmp_path / "new", [1.0, 0.5])
    rows = [json.loads(line) for line in (new.metrics).read_text().splitlines()]
    new.metrics.write_text("".join(json.dumps({**row, "step": row["step"] + 1}) + "\n" for row in rows))
    for folder in (old, new):
        (folder.path / "result.json").write_text(json.dumps({"status": "interrupted"}))
    assert agreement.told(agreement.compare(old, new)) == (
        "there is no figure to compare: the runs have no step in common at which both were evaluated"
    )
