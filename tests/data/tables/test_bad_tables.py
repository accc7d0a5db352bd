"""Tables that cannot be used: each with its message and exit code, without a traceback, and nothing written."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from commandline import tree

QUICK = ("model.hidden=[4]", "trainer.max_epochs=1", "~callbacks.tensorboard")
ROWS = "".join(f"{i * 7 % 11},{i % 3},{'ab'[i % 2]}\n" for i in range(40))
GOOD = "x,k,y\n" + ROWS
KOREAN = "가격,등급\n" + "".join(f"{i * 7 % 11},{'상하'[i % 2]}\n" for i in range(40))


def with_row(row: int, text: str, table: str = GOOD) -> str:
    """Returns a table with another text in a row, counted as lines of the file are."""
    lines = table.splitlines()
    lines[row - 1] = text
    return "\n".join(lines) + "\n"


# name: the content of t.csv, what the command says besides data=csv data.path=t.csv, the error
CASES: dict[str, tuple[bytes | str, list[str], str]] = {
    "empty": ("", [], "data.path=t.csv: the file is empty"),
    "blank": ("\n \n", [], "data.path=t.csv: the file is empty"),
    "header only": ("x,k,y\n", [], "data.path=t.csv: there is a header and no row below it"),
    "no target column": (
        GOOD,
        ["data.target=yy"],
        "data.path=t.csv: there is no column 'yy'. Did you mean 'y'? The columns are: x, k, y",
    ),
    "no target at that place": (
        GOOD,
        ["data.target=3"],
        "data.target=3: there are 3 columns, so a place is from -3 to 2",
    ),
    "no such column": (
        GOOD,
        ["data.columns={z: skip}"],
        "data.columns: there is no column 'z'. The columns are: x, k, y",
    ),
    "ragged row": (
        with_row(7, "1,2"),
        [],
        "data.path=t.csv: row 7: 2 cells, where the first row has 3. Put cells that hold the delimiter into quotation "
        'marks ("), or give data.delimiter',
    ),
    "long row": (
        with_row(41, "1,2,a,b"),
        [],
        "data.path=t.csv: row 41: 4 cells, where the first row has 3. Put cells that hold the delimiter into quotation "
        'marks ("), or give data.delimiter',
    ),
    "empty cells that are refused": (
        with_row(9, ",1,a", with_row(5, ",1,a")),
        ["data.empty=error"],
        "data.path=t.csv: column 'x' has 2 empty cells, the first one in row 5. data.empty=median fills them, "
        "data.empty=drop leaves their rows out",
    ),
    "empty target": (
        with_row(9, "1,1,", with_row(5, "1,1,NA")),
        [],
        "data.path=t.csv: row 5: the target 'y' is empty, as in 1 more rows. Fill it in, or leave such rows out with "
        "data.empty=drop",
    ),
    "no target at all": (
        "x,y\n" + "1,\n" * 9,
        [],
        "data.path=t.csv: the target column 'y' is empty, so there is nothing to learn",
    ),
    "text in a column that is said to hold numbers": (
        GOOD,
        ["data.target=x", "data.columns={y: number}", "data.task=regression"],
        "data.path=t.csv: row 2: column 'y' holds numbers, and 'a' is none. Mend it, or add it to data.empty_words if "
        "it means an empty cell",
    ),
    "text among numbers": (
        "x,y\n" + "".join(f"{i}.5,{i % 2}\n" for i in range(60)) + "oops,1\n" + "1.5,0\n1.5,0\n",
        ["data.target=y", "data.test_fraction=0", "data.validation_fraction=0"],
        "data.path=t.csv: row 62: column 'x' holds numbers, and 'oops' is none. Mend it, or add it to "
        "data.empty_words if it means an empty cell",
    ),
    "infinite number": (
        with_row(8, "inf,1,a"),
        ["data.test_fraction=0", "data.validation_fraction=0"],
        "data.path=t.csv: row 8: column 'x' holds inf, which is no finite number",
    ),
    "one column": (
        "x:y\n1:2\n",
        [],
        "data.path=t.csv: only one column was found, where the target and at least one more are needed. The file "
        "begins with 'x:y'; if its cells are apart by something else than comma, semicolon, tab or |, give "
        "data.delimiter; if a title stands above the table, remove it",
    ),
    "quotation mark left open before the end": (
        with_row(7, '"1,2,a'),
        [],
        "data.path=t.csv: row 7: 1 cell, where the first row has 3. One of them runs over lines: is a quotation mark "
        '(") left open?',
    ),
    "CP949 read as UTF-8": (
        KOREAN.encode("cp949"),
        ["data.encoding=utf-8", "data.target=등급"],
        "data.path=t.csv: byte 0 (line 1) is not UTF-8. Save the file as UTF-8, or give data.encoding",
    ),
    "neither UTF-8 nor CP949": (
        GOOD.encode() + b"1,2,\xff\n",
        [],
        f"data.path=t.csv: byte {len(GOOD) + 4} (line 42) is not UTF-8 or CP949. Save the file as UTF-8, "
        "or give data.encoding",
    ),
    "UTF-16 without a mark": (
        GOOD.encode("utf-16-le"),
        [],
        "data.path=t.csv: holds NUL characters, so it is not a text file; for UTF-16 give data.encoding=utf-16",
    ),
    "UTF-16 without a mark, cut off": (
        GOOD.encode("utf-16-le") + b"x",
        ["data.encoding=utf-16"],
        f"data.path=t.csv: byte {2 * len(GOOD)} (line 42) is not UTF-16. Save the file as UTF-8, or give data.encoding",
    ),
    "NUL": (
        GOOD.encode() + b"1,\0,a\n",
        [],
        "data.path=t.csv: holds NUL characters, so it is not a text file; for UTF-16 give data.encoding=utf-16",
    ),
    "one class": (
        "x,y\n" + "".join(f"{i % 7},a\n" for i in range(40)),
        [],
        "data.path=t.csv: the target 'y' has one class only, 'a', in all 28 training rows: there is nothing to tell "
        "apart",
    ),
    "one number": (
        "x,y\n" + "".join(f"{i % 7},2.5\n" for i in range(40)),
        [],
        "data.path=t.csv: the target 'y' is 2.5 in every training row, so there is nothing to learn",
    ),
    "too few rows": (
        "x,y\n1,a\n",
        [],
        "data.path=t.csv: 1 row is too few to train on",
    ),
    "too few rows for a test": (
        "x,y\n1,a\n2,b\n",
        [],
        "data.path=t.csv: data.test_fraction=0.2 of 2 samples is none at all. Give a larger share, or "
        "data.test_fraction=0 to do without",
    ),
    "no column to learn from": (
        "a,y\n" + "".join(f"7,{'ab'[i % 2]}\n" for i in range(40)),
        [],
        "data.path=t.csv: no column is left to learn from. left out, for they never change in the training rows: a "
        "(always 7)",
    ),
    "a spreadsheet": (
        b"PK\x03\x04" + bytes(40),
        [],
        "data.path=t.csv: this is a ZIP archive or a spreadsheet (.xlsx): unpack it, or save the sheet as CSV",
    ),
    "gzip that is cut off": (
        gzip.compress(GOOD.encode(), mtime=0)[:60],
        [],
        "data.path=t.csv: the gzip file is cut off or damaged: get or make it again",
    ),
    "open quotation mark": (
        "x,y\n" + "2,b\n" * 30 + '1,"a\n' + "2,b\n" * 30,
        [],
        'data.path=t.csv: row 32: a quotation mark (") is left open, up to the end of the file',
    ),
    "each row a class of its own": (
        "x,y\n" + "".join(f"{i % 7},name{i}\n" for i in range(60)),
        [],
        "data.path=t.csv: the target 'y' has 42 different values in 42 training rows, which are too many to be "
        "classes. Choose another data.target, or data.task=regression for numbers",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_table_is_refused(attempt, work, case):
    content, words, error = CASES[case]
    (work / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    target = [] if any(word.startswith("data.target=") for word in words) else ["data.target=y"]
    before = tree(work)
    answer = attempt("data=csv", "data.path=t.csv", *target, *words)
    assert answer.err == f"error: {error}\n"
    assert (answer.code, answer.out) == (3, "")
    assert tree(work) == before


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("tt.csv", "data.path=tt.csv: there is no such file in {work}. Did you mean 't.csv'?"),
        ("zzz", "data.path=zzz: there is no such file in {work}. There is: folder, t.csv."),
        ("folder", "data.path=folder: this is a folder; give a file"),
        ("/dev/zero", "data.path=/dev/zero: this is no ordinary file"),
    ],
)
def test_a_path_that_is_no_table_is_refused(dltrain, work, path, error):
    (work / "folder").mkdir()
    (work / "t.csv").write_text(GOOD)
    before = tree(work)
    answer = dltrain("data=csv", f"data.path={path}", "data.target=y", *QUICK)
    assert answer.err == f"error: {error.format(work=work)}\n"
    assert answer.code == 3 and tree(work) == before


OTHER_FILES = {
    "a feature is missing": (
        "x,y\n" + "1,a\n" * 5,
        "data.test_path=o.csv: there is no column 'k'. The columns are: x, y",
    ),
    "the target is missing": (
        "x,k\n" + "1,2\n" * 5,
        "data.test_path=o.csv: there is no column 'y'. The columns are: x, k",
    ),
    "text in a column of numbers": (
        "x,k,y\n1,2,a\n1,oops,b\n",
        "data.test_path=o.csv: row 3: column 'k' holds numbers, and 'oops' is none. Mend it, or add it to "
        "data.empty_words if it means an empty cell",
    ),
    "a class that training has not seen": (
        "x,k,y\n1,2,a\n1,2,c\n",
        "data.test_path=o.csv: row 3: column 'y' has the class 'c', which no training row has. They have: a, b",
    ),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_a_test_file_that_does_not_fit_is_refused(attempt, work, case):
    content, error = OTHER_FILES[case]
    (work / "t.csv").write_text(GOOD)
    (work / "o.csv").write_text(content)
    before = tree(work)
    answer = attempt("data=csv", "data.path=t.csv", "data.target=y", "data.test_path=o.csv")
    assert answer.err == f"error: {error}\n"
    assert answer.code == 3 and tree(work) == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["data.target=y"], "data.path: name the file of the table, as in data.path=my.csv data.target=COLUMN"),
        (["data.path=t.csv"], "data.target: name the column to predict, or give its place (-1 is the last)"),
        (
            ["data.path=t.csv", "data.target=y", "data.columns={k: categori}"],
            "data: columns.k = 'categori': must be one of number, category, boolean, date, id, skip",
        ),
        (
            ["data.path=t.csv", "data.target=x", "data.task=regression", "data.class_weights=balanced"],
            "data.class_weights or data.sampling is balanced, which needs one target with classes: this data has none",
        ),
        (
            ["data.path=t.csv", "data.target=y", "data.delimiter=ab"],
            "data: delimiter = 'ab': must be one character, tab, space or auto",
        ),
        (["data.path=t.csv", "data.target=y", "data.empty=constant"], "data: empty = 'constant': give empty_value"),
    ],
)
def test_settings_that_do_not_fit_are_errors_of_the_config(dltrain, work, words, error):
    (work / "t.csv").write_text(GOOD)
    answer = dltrain("data=csv", *words, *QUICK)
    assert (answer.err, answer.code) == (f"error: {error}\n", 2)
    assert [path.name for path in Path(work).iterdir()] == ["t.csv"]


def test_a_constant_column_and_an_empty_one_are_left_out_with_a_line(dltrain, work):
    rows = "".join(f"{i % 7},5,,{'ab'[i % 2]}\n" for i in range(40))
    (work / "t.csv").write_text("x,c,e,y\n" + rows)
    answer = dltrain("data=csv", "data.path=t.csv", "data.target=y", *QUICK)
    assert answer.code == 0
    assert "left out: e (empty)\n" in answer.err
    assert "left out, for they never change in the training rows: c (always 5)\n" in answer.err
