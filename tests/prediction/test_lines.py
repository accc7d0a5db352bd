"""Lines and records, of files and of pipes, whole and damaged."""

from __future__ import annotations

import csv
import gzip
import io
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dltrain.errors import DataError
from dltrain.prediction.lines import Lines, open_lines
from dltrain.prediction.records import first_record, named, records

TEXT = "이름,a\r\n가나,1\r다라,2\n마지막"
LINES = ["이름,a\r\n", "가나,1\r", "다라,2\n", "마지막"]


def of(content: bytes, encoding: str = "utf-8", piece: int = 5) -> Lines:
    """Returns lines of bytes that come so many at a time."""

    class Trickle(io.BytesIO):
        def read1(self, size=-1):
            return super().read1(piece)

    return Lines(Trickle(content), encoding, "x")


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le"])
def test_lines_are_the_same_however_the_bytes_come(encoding, piece):
    lines = of(TEXT.encode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding, piece)
    assert [*lines] == LINES
    assert lines.number == 4 and not lines.has_bad_bytes


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "utf-16"])
@pytest.mark.parametrize("packs", [False, True])
def test_a_file_is_read_in_its_own_encoding(encoding, packs, tmp_path):
    path = tmp_path / "한글.csv"
    content = TEXT.encode(encoding)
    path.write_bytes(gzip.compress(content) if packs else content)
    lines = open_lines(path, "auto")
    assert [*lines] == LINES and lines.encoding == encoding
    lines.close()


def test_an_encoding_that_nobody_can_guess_is_that_of_the_training(tmp_path):
    path = tmp_path / "café.csv"
    path.write_bytes("café €".encode("cp1252"))
    lines = open_lines(path, "cp1252")
    assert [*lines] == ["café €"]
    lines.close()


def test_a_file_that_is_not_in_the_utf_16_of_the_training(tmp_path):
    for text in ("가나\n", "가나\r\n"):
        (tmp_path / "a.csv").write_bytes(text.encode("cp949"))
        lines = open_lines(tmp_path / "a.csv", "utf-16")
        assert [*lines] == [text] and lines.encoding == "cp949"
        lines.close()


@pytest.mark.parametrize("is_given", [False, True])
def test_utf_16_without_a_mark_is_read_as_in_the_training(is_given, tmp_path):
    (tmp_path / "a.csv").write_bytes("가나\n".encode("utf-16-le"))
    lines = open_lines(tmp_path / "a.csv", "utf-16", is_given=is_given)
    assert [*lines] == ["가나\n"] and lines.encoding == "utf-16-le"
    lines.close()


def test_an_encoding_that_is_given_holds(tmp_path):
    (tmp_path / "a.csv").write_bytes("café\n".encode())
    lines = open_lines(tmp_path / "a.csv", "cp1252", is_given=True)
    assert [*lines] == ["cafÃ©\n"]
    lines.close()
    (tmp_path / "cut.csv").write_bytes("가나\n".encode("utf-16")[:-1])
    lines = open_lines(tmp_path / "cut.csv", "utf-16", is_given=True)
    with pytest.raises(DataError) as error:
        list(lines)
    lines.close()
    path = tmp_path / "cut.csv"
    assert str(error.value) == f"{path}: it is not UTF-16, or damaged (truncated data): save it as UTF-8"


def test_bytes_that_are_no_text_spoil_one_line_alone():
    lines = of(b"a,b\n1,\xff\n\xea\xb0\x80,\xed\x95\nc,d\n", piece=4)
    found = [*records(lines, ",", 2)]
    reason = "it holds bytes that are not UTF-8"
    assert found == [(1, ["a", "b"]), (2, reason), (3, reason), (4, ["c", "d"])]


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory():
    long = of(b"ab\n" + b"x" * 2**25, piece=2**20)
    with pytest.raises(DataError, match="x: line 2 has more than 16,777,216 characters: is it a text"):
        list(long)


def test_lines_that_are_put_back_come_again():
    lines = of(b"a\nb\nc\n")
    first = [next(lines), next(lines)]
    lines.put_back(first)
    assert lines.number == 0 and [*lines] == ["a\n", "b\n", "c\n"]


# --- records ----------------------------------------------------------------------------------------------


def test_a_quote_that_is_left_open_costs_one_row():
    text = 'a,b\n1,"x\ny"\n2,"z\n3,w\n4,"v ""q"""\n'
    found = [*records(of(text.encode()), ",", 2)]
    assert found == [
        (1, ["a", "b"]),
        (2, ["1", "x\ny"]),
        (4, 'a quotation mark (") is left open in it'),
        (5, ["3", "w"]),
        (6, ["4", 'v "q"']),
    ]


def test_without_quoting_quotes_are_characters():
    assert [*records(of(b'a\t"b\nc\td\n'), "\t", 2, quoting=False)] == [(1, ["a", '"b']), (2, ["c", "d"])]


def test_the_limit_of_the_csv_module_is_as_it_was_before():
    before = csv.field_size_limit()
    assert len([*records(of(b"a,b\n" + b"1," + b"x" * 200_000 + b"\n", piece=2**16), ",", 2)]) == 2
    assert csv.field_size_limit() == before


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=8)
tables = st.integers(2, 5).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1))


@given(tables, st.integers(1, 50), st.sampled_from(",;\t|"))
def test_what_the_csv_module_writes_is_read_back(table, piece, delimiter):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(table)
    content = file.getvalue().encode()
    found = [row for _, row in records(of(content, piece=piece), delimiter, len(table[0]))]
    expected = [[cell.removeprefix("\ufeff") if content.startswith(b"\xef") else cell for cell in row] for row in table]
    assert found == expected


@given(st.binary(max_size=300), st.integers(1, 50))
def test_whatever_comes_each_line_is_accounted_for(content, piece):
    content = content.replace(b"\0", b"")
    lines = of(content, piece=piece)
    numbers = [number for number, _ in records(lines, ",", 3)]
    assert numbers == sorted(set(numbers)) and all(1 <= number <= lines.number for number in numbers)


def test_names_of_columns_are_composed_and_told_apart():
    assert first_record("\n 나이 ,b,\n", ",") == ["나이", "b", ""]
    names, notes = named(["a", "", "a", "a_2", "a"])
    assert names == ["a", "column_2", "a_2", "a_2_2", "a_3"]
    assert notes[0] == "there are two columns 'a': the second one is called 'a_2' here"


# --- pipes ------------------------------------------------------------------------------------------------


def test_what_has_come_is_given_before_the_rest_comes(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    more = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write("가\n나\nd".encode())
            more.wait(10)
            pipe.write("라\n".encode())

    writer = threading.Thread(target=write)
    writer.start()
    lines = open_lines(path, "auto")
    assert [next(lines), next(lines)] == ["가\n", "나\n"]
    assert lines.would_wait
    more.set()
    writer.join()
    assert not lines.would_wait
    assert [*lines] == ["d라\n"] and not lines.would_wait
    lines.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input is empty"),
        (b"\x1f\x8b\x08", "standard input is packed with gzip: unpack it on the way, as in zcat FILE | dltrain"),
        (b"PAR1....", "standard input is a Parquet file, which is not read through a pipe: name the file"),
        (b"\x89PNG\r\n", "standard input: this is an image, and this run's model takes no images"),
    ],
)
def test_what_cannot_be_read_through_a_pipe(content, message, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(DataError) as error:
        open_lines(None, "auto")
    assert str(error.value).startswith(message)


def test_a_standard_input_that_is_closed(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="standard input is closed: give a file, or pipe something in"):
        open_lines(None, "auto")


def test_korean_of_old_windows_through_a_pipe(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("가나\n".encode("cp949"))))
    assert [*open_lines(None, "auto")] == ["가나\n"]
