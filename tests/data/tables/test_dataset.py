"""Tables from a path to samples: how files are read, what columns are taken for, what is learned from which rows."""

from __future__ import annotations

import contextlib
import gzip
import json
import unicodedata
import weakref
from pathlib import Path

import numpy as np
import pytest
import realdata
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dltrain import registry
from dltrain.data import Data
from dltrain.data.tables import csv_reader
from dltrain.data.tables.columns import Table
from dltrain.data.tables.preprocessing import TablePreprocessing
from dltrain.data.tables.reader import read_table
from dltrain.data.tables.sniffing import Format
from dltrain.data.tables.spelling import spelled
from dltrain.errors import ConfigError, DataError

AUTO = Format("auto", "auto", "auto", "auto", ("NA", "nan"))
PLAIN = "크기,city,grade\n" + "".join(f"{i % 9}.5,{['서울', '부산', '대구'][i % 3]},{'ab'[i % 2]}\n" for i in range(60))


@pytest.fixture
def load(settings_of):
    def build(path: Path, **changes) -> Data:
        return registry.build("data", settings_of("data", "csv", path=str(path), **changes))

    return build


@pytest.fixture
def write(tmp_path):
    def file(content: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return file


def read(path: Path, form: Format = AUTO, **more) -> Table:
    return read_table(path, f"data.path={path}", form, **more)


def cells(table: Table) -> dict[str, list]:
    """Returns each column's cells: floats, texts, None where empty."""
    found = {}
    for name, column in table.columns.items():
        if column.codes is not None:
            found[name] = [column.words[code] if code >= 0 else None for code in column.codes]
        elif column.stored == "number":
            values = column.numbers(slice(0, table.num_rows)).tolist()
            found[name] = [None if np.isnan(value) else value for value in values]
        else:
            found[name] = [None] * table.num_rows
    return found


# --- reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("cp949"),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", "|").encode("cp949"),
        lambda text: gzip.compress(text.encode("cp949")),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", ";").replace(".", ",").encode("utf-8-sig"),  # a German spreadsheet
        lambda text: text.replace(",", " , ").encode(),
    ],
)
def test_however_a_file_is_written_the_samples_are_the_same(load, write, change):
    plain, other = (load(write(content), target="grade") for content in (PLAIN, change(PLAIN)))
    assert other.task == plain.task and other.preprocessing["table"] == plain.preprocessing["table"]
    for name, samples in plain.splits.items():
        assert torch.equal(other.splits[name].inputs, samples.inputs)
        assert torch.equal(other.splits[name].targets, samples.targets)


def test_utf_16_without_a_mark_is_read_as_windows_writes_it(load, write):
    plain, other = (
        load(write(PLAIN), target="grade"),
        load(write(PLAIN.encode("utf-16-le")), target="grade", encoding="utf-16"),
    )
    assert torch.equal(other.train.inputs, plain.train.inputs)


def test_parquet_gives_the_same_samples(load, write, tmp_path):
    import pyarrow as pa
    from pyarrow import csv, parquet

    parquet.write_table(csv.read_csv(pa.BufferReader(PLAIN.encode())), tmp_path / "t.parquet", row_group_size=7)
    plain, other = load(write(PLAIN), target="grade"), load(tmp_path / "t.parquet", target="grade")
    assert torch.equal(other.train.inputs, plain.train.inputs)
    assert torch.equal(other.train.targets, plain.train.targets)
    assert other.task == plain.task


def test_cells_are_numbers_texts_or_empty(write):
    table = read(write('a,b,c\n1, x ,"q, ""r"""\nNA,,"two\nlines"\n+3e2,y,z\n'))
    assert cells(table) == {"a": [1.0, None, 300.0], "b": ["x", None, "y"], "c": ['q, "r"', "two\nlines", "z"]}
    assert [table.row_number(row) for row in range(3)] == [2, 3, 5]  # lines of the file


def test_codes_with_leading_zeros_and_numbers_too_long_for_floats_stay_texts(write):
    table = read(write("zip,long,x\n01234,12345678901234567890,1\n56789,12345678901234567891,2\n"))
    assert cells(table)["zip"] == ["01234", "56789"]
    assert cells(table)["long"] == ["12345678901234567890", "12345678901234567891"]


def test_a_word_far_down_a_column_of_numbers_is_found(write):
    rows = 300_000
    path = write("x,y\n" + "1.50,2\n" * rows + "n.b.,3\n")
    column = read(path).columns["x"]
    assert column.stored == "text" and sorted(column.words) == ["1.50", "n.b."]
    assert column.words[column.codes[rows]] == "n.b."


def test_a_file_without_names_gets_some(load, write):
    path = write("".join(f"{i % 7},{i % 3}.5,{i % 2}\n" for i in range(40)))
    data = load(path, target=-1)
    assert data.notes[0] == f"{path} has no header, so its columns are called column_1 to column_3"
    assert data.task.class_names == ("0", "1") and data.task.kind == "binary"
    assert torch.equal(load(path, target="column_3", header=False).train.inputs, data.train.inputs)
    with pytest.raises(DataError, match="there is no column 'column_1'"):
        load(path, target="column_1", header=True)


def test_two_columns_of_a_name_and_one_without(write):
    table = read(write("a,a,\n1,2,3\n"))
    assert list(table.columns) == ["a", "a_2", "column_3"]
    assert table.notes == [f"{table.where[10:]} has two columns 'a': the second one is called 'a_2' here"]


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=6), min_size=3, max_size=3
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60)
def test_any_text_that_a_csv_writer_wrote_comes_back(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.getbasetemp() / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    table = read(path, Format(",", "utf-8", "true", ".", ()), texts={"a", "b", "c"})
    assert table.num_rows == len(rows)
    for place, name in enumerate("abc"):
        wanted = [row[place].strip(" \t\n\x0b\x0c\x1c\x1d\x1e\x1f\x85") or None for row in rows]
        got = cells(table)[name]
        assert [g and g.strip() for g in got] == [w and (w.strip() or None) for w in wanted]


# --- what columns are -------------------------------------------------------------------------------------


def test_the_kinds_of_columns_are_found_and_said(load, write):
    lines = ["CUST_ID,date,flag,city,size,name,same,empty,y"]
    lines += [
        f"{9000 - i},2024-01-{i % 28 + 1:02},{'TF'[i % 2]},c{i % 3},{i % 13}.25,person no {i},7,,{i % 5 / 3:.4f}"
        for i in range(60)
    ]
    data = load(write("\n".join(lines)), target="y")
    assert data.notes == (
        "columns: 1 number (size); 1 category (city: 3); 1 boolean (flag)",
        "left out: CUST_ID (id), date (date), name (42 different texts), empty (empty). "
        "'data.columns={CUST_ID: category}' would take one in",
        "left out, for they never change in the training rows: same (always 7)",
        "target y: a number from 0 to 1.3333",
    )
    assert data.task.input.shape == (5,)


def test_the_settings_have_the_last_word_on_a_column(load, write):
    data = load(write(PLAIN), target="grade", columns={"크기": "category", "city": "skip"})
    assert data.notes[:2] == ("columns: 1 category (크기)", "left out by data.columns: city")
    assert data.task.input.shape == (9,)
    assert set(data.train.inputs.unique().tolist()) == {0.0, 1.0}


def test_a_running_number_is_taken_where_there_is_nothing_else(load, write):
    data = load(write("x,y\n" + "".join(f"{i},{2 * i + 0.5}\n" for i in range(50))), target="y")
    assert data.notes == ("columns: 1 number (x)", "target y: a number from 0.5 to 98.5")


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        (["no", "yes"], "binary", ("no", "yes")),
        (["T", "F"], "binary", ("F", "T")),
        (["0", "1"], "binary", ("0", "1")),
        (["a", "a", "b"], "binary", ("a", "b")),
        (["a", "b", "b"], "binary", ("b", "a")),  # the rarer one is the positive one
        (["10", "9", "2"], "multiclass", ("2", "9", "10")),
        (["c", "a", "b"], "multiclass", ("a", "b", "c")),
        (["1.5", "2.5", "3"], "regression", ()),
    ],
)
def test_the_target_is_a_class_or_a_number_by_its_kind(load, write, values, kind, names):
    rows = "".join(f"{i % 7},{values[i % len(values)]}\n" for i in range(90))
    task = load(write("x,y\n" + rows), target="y").task
    assert (task.kind, task.class_names) == (kind, names)


# --- what is learned, and how it is applied ---------------------------------------------------------------


def test_numbers_are_scaled_by_the_training_rows_and_the_target_too(load, write):
    rows = np.random.default_rng(0).normal(size=(100, 2)).round(3)
    path = write("x,y\n" + "".join(f"{x},{y}\n" for x, y in rows))
    data = load(path, target="y", validation_fraction=0, folds=5, fold=2)
    raw = load(path, target="y", validation_fraction=0, folds=5, fold=2, scaling="none", target_scaling="none")
    mean, deviation = raw.train.inputs.mean(), raw.train.inputs.std(correction=0)
    torch.testing.assert_close(data.test.inputs, (raw.test.inputs - mean) / deviation)
    (shift,), (scale,) = data.task.target_shift, data.task.target_scale
    torch.testing.assert_close(data.test.targets * scale + shift, raw.test.targets)
    assert raw.task.target_scale == ()
    low = load(path, target="y", scaling="minmax").train.inputs
    assert (low.min(), low.max()) == (0, 1)


@pytest.mark.parametrize(
    ("policy", "value", "filled"),
    [("mean", None, 4.0), ("median", None, 2.0), ("most_frequent", None, 1.0), ("constant", -5.0, -5.0)],
)
def test_empty_cells_are_filled(load, write, policy, value, filled):
    rows = ["1", "1", "2", "3", "13", ""] * 5
    path = write("x,k,y\n" + "".join(f"{x},{i % 4}.5,{i / 7}\n" for i, x in enumerate(rows)))
    data = load(
        path, target="y", empty=policy, empty_value=value, scaling="none", validation_fraction=0, test_fraction=0
    )
    assert data.train.inputs[5::6, 0].tolist() == [filled] * 5


def test_rows_with_empty_cells_are_dropped_and_counted(load, write):
    path = write(
        "x,c,junk,y\n"
        + "".join(f"{'' if i == 3 else i % 9},{'' if i == 5 else 'ab'[i % 2]},,{i / 7}\n" for i in range(40))
    )
    data = load(path, target="y", empty="drop", validation_fraction=0, test_fraction=0)
    assert len(data.train) == 38
    assert f"data.path={path}: 2 rows with empty cells are left out" in data.notes


def test_rare_and_unseen_categories_are_other(load, write):
    names = ["a"] * 20 + ["b"] * 10 + ["c"]
    path = write("c,x,y\n" + "".join(f"{c},{i % 5},{i / 3}\n" for i, c in enumerate(names)))
    test = write("c,x,y\nb,1,2\nnew,1,2\na,1,2\nc,1,2\n,1,2\n", "test.csv")
    changes = {"target": "y", "test_path": str(test), "validation_fraction": 0, "min_category_count": 2}
    data = load(path, **changes)
    assert data.test.inputs[:, :2].tolist() == [[0, 1], [0, 0], [1, 0], [0, 0], [0, 0]]
    embedded = load(path, **changes, categories="embedding", empty_category="most_frequent")
    assert embedded.task.input.categories == (3,) and embedded.task.input.shape == (2,)
    assert embedded.test.inputs[:, -1].tolist() == [2, 0, 1, 0, 1]  # codes come last


def test_weights_and_chances_make_up_for_rare_classes_in_training_only(load, write):
    path = write("x,y\n" + "".join(f"{i % 7},{'ab'[i % 5 == 0]}\n" for i in range(100)))
    weighed = load(path, target="y", class_weights="balanced")
    targets, weights = weighed.train.targets.flatten(), weighed.train.weights
    assert weights.mean() == pytest.approx(1) and weights.dtype == torch.float32
    assert weights[targets == 0].sum() == pytest.approx(float(weights[targets == 1].sum()))
    assert weighed.validation.weights is None and weighed.test.weights is None
    drawn = load(path, target="y", sampling="balanced").train
    assert drawn.chances.dtype == torch.float64 and float(drawn.chances[targets == 1].sum()) == pytest.approx(0.5)


def test_columns_are_dealt_to_inputs_and_targets_to_heads(load, write):
    rows = "".join(f"{i % 7},{i % 5},{'pq'[i % 2]},{i / 3},{'ab'[i % 2]}\n" for i in range(60))
    path = write("a,b,c,size,kind\n" + rows)
    data = load(path, target=["size", "kind"], inputs={"wide": ["a", "c"], "deep": ["b", "c"]})
    assert {name: spec.shape for name, spec in data.task.inputs.items()} == {"wide": (3,), "deep": (3,)}
    assert {name: task.kind for name, task in data.task.heads.items()} == {"size": "regression", "kind": "binary"}
    assert data.task.kind == "several" and data.task.output_size == 2
    assert data.train.inputs["wide"].shape == (42, 3) and data.train.targets["kind"].shape == (42, 1)
    with pytest.raises(DataError, match=r"^data\.inputs\.wide: column 'size' is the target or left out"):
        load(path, target="size", inputs={"wide": ["size"]})
    with pytest.raises(ConfigError, match=r"^data\.target names the column 'a' twice$"):
        load(path, target=["a", "a"])


@pytest.mark.parametrize("changes", [{}, {"categories": "embedding"}, {"scaling": "minmax", "empty": "mean"}])
def test_what_was_learned_turns_the_file_into_the_same_inputs_again(load, changes):
    path = realdata.need("tabular/thoracic_surgery.csv")
    data = load(path, target="Risk1Yr", validation_fraction=0, test_fraction=0, **changes)
    saved = json.loads(json.dumps(data.preprocessing))
    again = TablePreprocessing.from_dict(saved["table"])
    assert torch.equal(again.transform(read(path, texts=again.texts)), data.train.inputs)
    assert again.to_dict() == saved["table"]


def test_nothing_is_learned_from_the_rows_of_the_test(load, write):
    lines = PLAIN.splitlines()
    first = load(write(PLAIN), target="grade")
    kept = {tuple(row) for row in first.train.inputs.tolist()}
    # Rows of the test are found by marking one after the other: those whose change leaves training as it was.
    changed, marked = list(lines), 0
    for place in range(1, len(lines)):
        trial = [*lines[:place], f"1e9,달나라,{lines[place][-1]}", *lines[place + 1 :]]
        data = load(write("\n".join(trial)), target="grade")
        if {tuple(row) for row in data.train.inputs.tolist()} == kept and not torch.equal(
            data.test.inputs, first.test.inputs
        ):
            changed[place], marked = trial[place], marked + 1
    assert marked == len(first.test) == 12
    data = load(write("\n".join(changed)), target="grade")
    assert data.preprocessing == first.preprocessing
    assert torch.equal(data.train.inputs, first.train.inputs) and torch.equal(data.train.targets, first.train.targets)
    assert not torch.equal(data.test.inputs, first.test.inputs)


def test_nothing_is_learned_from_a_test_file(load, write):
    path = write(PLAIN)
    tests = [write("크기,city,grade\n" + rows, f"{i}.csv") for i, rows in enumerate(["1,서울,a\n", "1e9,달,b\n,,a\n"])]
    one, other = (load(path, target="grade", test_path=str(test)) for test in tests)
    assert one.preprocessing == other.preprocessing and torch.equal(one.train.inputs, other.train.inputs)
    assert (len(one.test), len(other.test)) == (1, 2)


# --- fuzz -------------------------------------------------------------------------------------------------

EDIT = st.tuples(st.floats(0, 1), st.binary(max_size=3), st.integers(0, 4))


def mutated(content: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    for place, inserted, removed in edits:
        start = int(place * len(content))
        content = content[:start] + inserted + content[start + removed :]
    return content


def survives(load, path: Path, **changes) -> None:
    try:
        data = load(path, **changes)
    except (DataError, ConfigError) as error:
        assert str(error)
        return
    for samples in data.splits.values():
        assert samples.inputs.isfinite().all() and samples.targets.isfinite().all()
        assert len(samples.inputs) == len(samples.targets) > 0


@given(edits=st.lists(EDIT, min_size=1, max_size=6), target=st.sampled_from(["grade", -1, 0]))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_csv_is_data_or_an_error_of_the_data(load, write, edits, target):
    survives(load, write(mutated(PLAIN.encode(), edits)), target=target)


@given(edits=st.lists(EDIT, min_size=1, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_gzip_file_is_data_or_an_error_of_the_data(load, write, edits):
    survives(load, write(mutated(gzip.compress(PLAIN.encode(), mtime=0), edits)), target="grade")


@given(edits=st.lists(EDIT, min_size=1, max_size=4))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_parquet_file_is_data_or_an_error_of_the_data(load, write, edits):
    import io

    import pyarrow as pa
    from pyarrow import csv, parquet

    buffer = io.BytesIO()
    parquet.write_table(csv.read_csv(pa.BufferReader(PLAIN.encode())), buffer)
    survives(load, write(mutated(buffer.getvalue(), edits), "t.parquet"), target="grade")


CELL = st.one_of(
    st.sampled_from(["", "NA", "1", "0", "-3.5", "3,14", "1e400", "T", "F", "2024-01-02", "007", "a", "가", "inf"]),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=4),
)


@given(
    rows=st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=30)
    ),
    delimiter=st.sampled_from(",;\t|"),
    policy=st.sampled_from(["median", "drop", "most_frequent", "error"]),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_is_data_or_an_error_of_the_data(load, write, rows, delimiter, policy):
    text = "\n".join(delimiter.join(row) for row in rows)
    survives(load, write(text.encode()), target=-1, empty=policy, validation_fraction=0, test_fraction=0)


# --- spelling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "decimal", "number"),
    [
        ("1,234", None, 1234),
        ("1,234,567.5", ".", 1234567.5),
        ("1.234.567,5", ",", 1234567.5),
        ("1.234", ",", 1234),
        ("1 234,5", ",", 1234.5),
        ("12.5%", ".", 12.5),
        ("₩12,000", None, 12000),
        ("12,000원", None, 12000),
        ("-$1,000.25", ".", -1000.25),
        ("\N{MINUS SIGN}3,5 €", ",", -3.5),
        ("2.5", ",", 2.5),
        ("1,23", ".", None),
        ("1,2345", ".", None),
        ("1,234 567", ".", None),
        ("0,123", ".", None),
        ("1_000", ".", None),
        ("--5", ".", None),
        ("$", ".", None),
        ("5 apples", ".", None),
    ],
)
def test_numbers_are_read_as_spreadsheets_write_them(cell, decimal, number):
    assert spelled(cell, decimal) == number


@pytest.mark.parametrize(
    ("delimiter", "spell", "told"),
    [
        (",", lambda value: f'"{value:,}"', "'1,000' is 1000"),
        ("\t", lambda value: f"{value:,}", "'1,000' is 1000"),
        (";", lambda value: f"{value:,}".replace(",", ".") + ",5", "'1.000,5' is 1000.5"),
        (",", lambda value: f'"${value:,}"', "'$700' is 700"),
        (",", lambda value: f"{value}%", "'700%' is 700"),
    ],
)
def test_a_column_of_written_numbers_is_learned_as_numbers_and_that_is_said(load, write, delimiter, spell, told):
    values = [700 + 100 * row for row in range(60)]
    lines = [delimiter.join((spell(value), "ab"[row % 2], str(row))) for row, value in enumerate(values)]
    path = write(delimiter.join(("price", "city", "y")) + "\n" + "\n".join(lines) + "\n")
    data = load(path, target="y", scaling="none", validation_fraction=0, test_fraction=0)
    assert f"read as numbers (price: {told})" in data.notes
    assert data.train.inputs[:, 0].int().tolist() == values


def test_amounts_in_several_currencies_are_no_numbers(load, write):
    rows = "".join(f"{'$€'[row % 2]}{row},{'ab'[row % 2]},{row}\n" for row in range(60))
    data = load(write("price,city,y\n" + rows), target="y")
    assert any(note.startswith("left out: price (id)") for note in data.notes)


def test_words_and_names_that_are_spelled_in_parts_are_composed(load, write):
    apart = unicodedata.normalize("NFD", PLAIN)
    mixed = PLAIN + apart.partition("\n")[2]
    data = load(write(mixed), target="city", columns={unicodedata.normalize("NFD", "크기"): "number"})
    assert data.task.class_names == ("대구", "부산", "서울")
    assert f"{write(mixed)} spells letters in parts (NFD) in city: they are composed (NFC), to be equal to others" in (
        data.notes
    )
    assert load(write(apart), target="크기", task="regression").task.kind == "regression"


def test_nothing_of_arrow_outlives_an_error(write, monkeypatch):
    """A thread that let go of the stream while the interpreter shuts down would abort the process."""
    streams = []

    class Watched(csv_reader.Utf8Stream):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            streams.append(weakref.ref(self))

    monkeypatch.setattr(csv_reader, "Utf8Stream", Watched)
    path = write(PLAIN + "1,2\n")
    for _ in range(50):
        with contextlib.suppress(DataError):
            read(path)
        assert [stream() for stream in streams[::2]] == [None] * len(streams[::2])


def test_the_index_that_pandas_leaves_in_a_table_is_no_number(load, write):
    rows = "".join(f"{row * 7 % 5},{row},{'ab'[row % 2]}\n" for row in range(60))
    data = load(write("a,__index_level_0__,y\n" + rows), target="y")
    assert any(note.startswith("left out: __index_level_0__ (id)") for note in data.notes)


def test_a_link_to_nothing_is_told_as_such(load, tmp_path):
    (tmp_path / "link.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match=r"this is a link to gone\.csv, which is not there$"):
        load(tmp_path / "link.csv", target="y")


def test_categories_of_a_test_file_are_read_as_those_of_training(settings_of, tmp_path):
    """Where a code of letters makes a column text in training, 1 and 1.0 are words; a test file without that letter
    must not be read as numbers, whose words would be other ones."""
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    rows = [f"{('1.0', '2.0', 'S')[i % 3]},{i},{i / 2}" for i in range(60)]
    train.write_text("zone,a,y\n" + "\n".join(rows))
    test.write_text("zone,a,y\n" + "\n".join(f"{('1.0', '2.0')[i % 2]},{i},{i / 2}" for i in range(10)))
    settings = settings_of("data", "csv", path=str(train), test_path=str(test), target="y")
    data = registry.build("data", settings)
    assert data.test.inputs[:, :3].sum(dim=1).tolist() == [1.0] * 10  # each has its own category


def test_leading_zeros_make_a_code_wherever_they_stand(settings_of, tmp_path):
    zips = [str(10_000 + i) for i in range(50_000)] + [f"{i:05d}" for i in range(10_000)]
    for order in (1, -1):
        path = tmp_path / f"{order}.csv"
        path.write_text("zip,a,y\n" + "\n".join(f"{z},{i % 7},{i % 11}.5" for i, z in enumerate(zips[::order])))
        data = registry.build("data", settings_of("data", "csv", path=str(path), target="y"))
        assert data.task.input.shape == (1,), data.notes


def test_a_first_column_of_years_is_no_id(settings_of, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("year,x,y\n" + "\n".join(f"{1950 + i},{i % 3},{i * 1.5}" for i in range(60)))
    data = registry.build("data", settings_of("data", "csv", path=str(path), target="y"))
    assert data.task.input.shape == (2,), data.notes
