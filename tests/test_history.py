"""The rows of metrics.jsonl: appended, read back and cut."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dltrain.history import History

ROWS = [{"epoch": epoch, "step": 10 * epoch, "train/loss": 1 / epoch} for epoch in (1, 2, 3, 4)]


@pytest.fixture
def history(tmp_path) -> History:
    history = History(tmp_path / "metrics.jsonl")
    for row in ROWS:
        history.append(row)
    return history


def test_rows_come_back_in_order(history):
    assert list(history.rows()) == ROWS


def test_each_row_is_a_line_of_json(history):
    lines = history.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=4))
def test_any_row_comes_back_as_it_was(tmp_path_factory, rows):
    history = History(tmp_path_factory.mktemp("history") / "metrics.jsonl")
    for row in rows:
        history.append(row)
    assert list(history.rows()) == rows


def test_figures_that_are_no_number_become_null_which_every_reader_takes(history):
    history.append({"step": 50, "val/r2": math.nan, "val/perplexity": math.inf})
    *_, row = history.rows()
    assert row == {"step": 50, "val/r2": None, "val/perplexity": None}
    assert "NaN" not in history.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ["garbage", "", "3", '{"epoch": 2, "st', "[" * 100_000])
def test_a_damaged_line_is_told_and_takes_no_other_along(history, caplog, line):
    lines = history.path.read_text(encoding="utf-8").splitlines()
    lines[1] = line
    history.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert list(history.rows()) == [ROWS[0], *ROWS[2:]]
    assert caplog.messages == [f"{history.path}: line 2 is damaged, and is passed over"]
    history.cut(30)
    assert list(history.rows()) == [ROWS[0], ROWS[2]]


def test_a_history_without_a_file_has_no_rows(tmp_path):
    history = History(tmp_path / "metrics.jsonl")
    assert list(history.rows()) == []
    history.sync()
    assert not history.path.exists()


def test_sync_changes_nothing(history):
    history.sync()
    assert list(history.rows()) == ROWS


def test_a_line_that_was_not_finished_is_passed_over_wherever_it_broke_off(history):
    whole = history.path.read_bytes()
    last = len(json.dumps(ROWS[-1])) + 1
    for missing in range(2, last + 1):
        history.path.write_bytes(whole[:-missing])
        assert list(history.rows()) == ROWS[:-1]
    history.path.write_bytes(whole + '{"a": "말'.encode()[:-1])  # and in the middle of a character
    assert list(history.rows()) == ROWS


def test_a_cut_takes_the_rows_after_a_step_and_lets_the_history_go_on(history):
    history.cut(20)
    assert list(history.rows()) == ROWS[:2]
    history.append(ROWS[2])
    assert list(history.rows()) == ROWS[:3]


def test_a_cut_takes_an_unfinished_line_along(history):
    with history.path.open("a") as file:
        file.write('{"epoch": 5, "st')
    history.cut(40)
    history.append({"epoch": 5, "step": 50})
    assert list(history.rows()) == [*ROWS, {"epoch": 5, "step": 50}]


def test_a_cut_takes_a_row_that_stood_only_for_the_end(history):
    history.append({"epoch": 4, "step": 40, "partial": True})
    history.cut(40)
    assert list(history.rows()) == ROWS


def test_a_cut_to_the_start_leaves_nothing(history):
    history.cut(-1)
    assert history.path.read_text() == ""
