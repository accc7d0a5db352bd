"""Arrow's arrays are those that pyarrow itself makes, and pandas is left alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dltrain import arrow

TEXTS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])))


@given(TEXTS)
def test_texts(texts):
    array = arrow.strings(texts)
    array.validate(full=True)
    assert array.equals(pa.array(texts, pa.string()))


def test_a_text_that_is_none_of_unicode_is_refused():
    with pytest.raises(UnicodeEncodeError):
        arrow.strings(["\udc80"])


NUMBERS = [
    np.array([1.5, np.nan, -np.inf]),
    np.array([3, -1], np.int32),
    np.arange(2**40, 2**40 + 9),
    np.array([True, False, True]),
    np.zeros(0),
    np.arange(12.0)[::3],  # with gaps in the memory
]


@pytest.mark.parametrize("values", NUMBERS)
def test_numbers(values):
    array = arrow.numbers(values)
    array.validate(full=True)
    expected = pa.array(values)
    assert array.type == expected.type and str(array) == str(expected)  # NaN equals nothing
    is_there = np.arange(len(values)) % 2 == 0
    with_nulls = arrow.numbers(values, is_there)
    with_nulls.validate(full=True)
    assert with_nulls.null_count == len(values) // 2
    assert str(with_nulls) == str(pa.array(values, mask=~is_there))


@given(st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)), st.integers(0, 5))
def test_values_come_back(cells, start):
    array = pa.array(cells, pa.int32())[start:]
    expected = [-7 if cell is None else cell for cell in cells[start:]]
    for given_one in (array, pa.chunked_array([array, array[:0]])):
        values = arrow.values_of(given_one, -7)
        assert values.dtype == np.int32 and values.tolist() == expected
    floats = arrow.values_of(array.cast(pa.float64()), np.nan)
    np.testing.assert_array_equal(floats, [np.nan if cell is None else cell for cell in cells[start:]])


WITHOUT_PANDAS = """
import sys
from dltrain import cli
for words in {lines}:
    assert cli.run(words) == 0, words
    assert "pandas" not in sys.modules, words
"""


@pytest.mark.slow
def test_no_pandas_is_needed_for_tables(work):
    rows = [f"{place % 7},{place % 3}.5,{'가나다'[place % 3]},{place % 2}\n" for place in range(60)]
    (work / "table.csv").write_text("a,b,c,y\n" + "".join(rows), encoding="utf-8")
    words = ["trainer.max_epochs=1", "report=false", "~callbacks.tensorboard"]
    lines = [
        ["data=csv", "data.path=table.csv", "data.target=y", "run_dir=run", *words],
        ["evaluate", "run", "--no-pictures"],
        ["predict", "run", "table.csv", "-o", "out.csv"],
    ]
    subprocess.run([sys.executable, "-c", WITHOUT_PANDAS.format(lines=lines)], check=True, timeout=120, cwd=work)
    assert len((work / "out.csv").read_text(encoding="utf-8").splitlines()) == 61
