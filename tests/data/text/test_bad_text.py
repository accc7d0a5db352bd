"""Text that cannot be used: what is said, and that nothing is written. And any bytes at all, fed to the readers."""

from __future__ import annotations

import builtins
import gzip
import importlib
import importlib.metadata
import random
from pathlib import Path

import pytest
from commandline import tree
from hypothesis import given, settings
from hypothesis import strategies as st

from dltrain import registry
from dltrain.data import Data
from dltrain.errors import DataError

GOOD = "text,label\na b,x\nb c,y\nc d,x\n"
CSV = ("data=text_csv", "data.path=in.csv")
WHERE = "data.path=in.csv"
INVALID = "Save the file as UTF-8, or give data.encoding"

# name -> (content of in.csv or None, arguments, the message)
BAD: dict[str, tuple[str | bytes | None, tuple[str, ...], str]] = {
    "no path": (None, ("data=text_csv",), "data.path is missing: name a CSV or TSV file, as in data.path=reviews.csv"),
    "no file": (
        GOOD,
        ("data=text_csv", "data.path=inn.csv"),
        "data.path=inn.csv: there is no such file in {folder}. Did you mean 'in.csv'?",
    ),
    "folder": (None, ("data=text_csv", "data.path=."), "data.path=.: this is a folder; give a text file"),
    "empty": ("", CSV, f"{WHERE}: the file is empty"),
    "header only": ("text,label\n", CSV, f"{WHERE}: there is no row below the header"),
    "no such column": (
        "review,lable\na,x\n",
        (*CSV, "data.text=review"),
        f"{WHERE}: data.target=label is no column of it. Did you mean 'lable'? There is: review, lable",
    ),
    "one column": (
        "text#label\na#x\n",
        CSV,
        f"{WHERE}: data.text=text is no column of it. There is: text#label. With a single column found, try another "
        "data.delimiter",
    ),
    "two columns of one name": (
        "text,text,label\na,b,x\n",
        CSV,
        f"{WHERE}: several columns are named text. Rename all but one",
    ),
    "ragged row": (
        "text,label\na,x\n\nb, c,y\n",
        CSV,
        f"{WHERE}: row 4 has 3 cells, and the header has 2. Where a text holds a comma, put it in quotes",
    ),
    "short row of a TSV": (
        "text\tlabel\na\tx\nb\n",
        (*CSV, "data.quoting=false"),
        f"{WHERE}: row 3 has 1 cell, and the header has 2. Where a text holds a tab, take it out",
    ),
    "open quote": (
        'text,label\na,x\n"b,y\n',
        CSV,
        f"{WHERE}: row 3 (line 3) cannot be read: unexpected end of data. Where quotes are characters like any other, "
        "give data.quoting=false",
    ),
    "no class": (
        "text,label\na,x\nb, \n",
        CSV,
        f"{WHERE}: row 3 has no label. Fill it in, or take the row out",
    ),
    "one class": (
        "text,label\na,x\nb,x\n",
        CSV,
        f"{WHERE}: every row has the label 'x', so there is nothing to tell apart",
    ),
    "all documents empty": (
        "text,label\n,x\n ,y\n",
        (*CSV, "data.validation_fraction=0", "data.test_fraction=0"),
        "in.csv, column text: every training text is empty",
    ),
    "empty vocabulary": (
        GOOD,
        (*CSV, "data.validation_fraction=0", "data.test_fraction=0", "data.min_count=9"),
        "in.csv, column text: no token appears 9 times in the training texts, so the vocabulary is empty. "
        "Lower data.min_count=9",
    ),
    "invalid byte": (
        GOOD.encode() + b"\xff,x\n",
        CSV,
        f"{WHERE}: byte 29 (line 5) is not UTF-8 or CP949. {INVALID}",
    ),
    "invalid byte far behind": (
        GOOD.encode() + "말이,x\n".encode() * 200_000 + b"\xff,x\n",
        CSV,
        f"{WHERE}: byte 1800029 (line 200005) is not UTF-8 or CP949. {INVALID}",
    ),
    "CP949 read as UTF-8": (
        "text,label\n말이,x\n".encode("cp949"),
        (*CSV, "data.encoding=utf-8"),
        f"{WHERE}: byte 11 (line 2) is not UTF-8. {INVALID}",
    ),
    "UTF-16 without a mark": (
        GOOD.encode("utf-16-le"),
        CSV,
        f"{WHERE}: holds NUL characters, so it is not a text file",
    ),
    "torn UTF-16": (GOOD.encode("utf-16") + b"x", CSV, f"{WHERE}: byte 60 (line 5) is not UTF-16. {INVALID}"),
    "NUL": ("text,label\na\0b,x\n", CSV, f"{WHERE}: holds NUL characters, so it is not a text file"),
    "torn gzip": (
        gzip.compress(GOOD.encode())[:-9],
        CSV,
        f"{WHERE}: the gzip file is damaged (Compressed file ended before the end-of-stream marker was reached). "
        "Fetch it again",
    ),
    "class that only the test has": (
        GOOD,
        (*CSV, "data.test_path=test.csv"),
        "data.test_path=test.csv: row 3 has the label 'yy', which no row of in.csv has, so no model can learn it. "
        "Did you mean 'y'?",
    ),
    "an empty test path": (
        GOOD,
        (*CSV, "data.test_path=''"),
        "data.test_path is empty: name a CSV or TSV file, or leave it out",
    ),
    "text without a path": (None, ("data=text",), "data.path is missing: name a text file, as in data.path=mytext.txt"),
    "nothing to predict": (
        "a\nb\n",
        ("data=text", "data.path=in.csv"),
        f"{WHERE}: no line with at least two words, so there is nothing to predict",
    ),
    "a stream in folds": (
        "a b\n" * 30,
        ("data=text", "data.path=in.csv", "data.form=stream", "data.folds=3"),
        "data.folds: a stream is not dealt to folds. Give data.folds=null, or data.form=windows",
    ),
    "pairs without a path": (
        None,
        ("data=pairs_csv",),
        "data.path is missing: name a CSV or TSV file, as in data.path=pairs.csv",
    ),
    "pairs without a pair": (
        "source,target\na,\n,b\n",
        ("data=pairs_csv", "data.path=in.csv"),
        f"{WHERE}: no row has both source and target",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_mistake_is_named_and_nothing_is_written(attempt, work, name):
    content, arguments, message = BAD[name]
    if content is not None:
        (work / "in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        (work / "test.csv").write_text("text,label\na,x\nb,yy\n", encoding="utf-8")
    before = tree(work)
    answer = attempt(*arguments, "model=lstm")
    assert answer.code == 3, answer.err
    assert answer.err == f"error: {message.replace('{folder}', str(work))}\n"
    assert answer.out == "" and tree(work) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data=text_csv", "data.text=a", "data.target=a"), "the class would be read from itself"),
        (("data=pairs_csv", "data.source=a", "data.target=a"), "there is nothing to learn"),
    ],
)
def test_a_text_is_not_its_own_target(dltrain, words, message):
    answer = dltrain(*words, "data.path=in.csv")
    assert answer.code == 2
    assert answer.err.strip().endswith(f" = target = 'a': {message}. Name two columns")


def test_byte_pairs_need_a_number_of_pieces(dltrain, work):
    (work / "in.csv").write_text(GOOD, encoding="utf-8")
    answer = dltrain(*CSV, "data.tokens=bpe", "data.vocabulary_size=null")
    assert answer.code == 2
    assert answer.err == "error: data: tokens=bpe needs a vocabulary_size: how many pieces to learn, such as 8000\n"


@pytest.mark.parametrize(
    ("kind", "package", "message"),
    [
        (
            "morpheme",
            "kiwipiepy",
            "data.tokens=morpheme needs the package kiwipiepy with its model, which is not installed: "
            "pip install 'dltrain[korean]'",
        ),
        (
            "bpe",
            "tokenizers",
            "data.tokens=bpe needs the package tokenizers, which is not installed: pip install tokenizers",
        ),
    ],
)
def test_a_missing_tokenizer_is_named_with_its_installation(dltrain, work, monkeypatch, kind, package, message):
    real_version, real_import, real_module = importlib.metadata.version, builtins.__import__, importlib.import_module

    def absent(found):
        def look(name, *arguments, **options):
            if name.partition(".")[0] == package:
                if found is real_version:
                    raise importlib.metadata.PackageNotFoundError(name)
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)
            return found(name, *arguments, **options)

        return look

    from dltrain.data.text import tokenizing

    monkeypatch.setattr(importlib.metadata, "version", absent(real_version))
    monkeypatch.setattr(importlib, "import_module", absent(real_module))
    monkeypatch.setattr(builtins, "__import__", absent(real_import))
    tokenizing._kiwi.cache_clear()
    (work / "in.csv").write_text(GOOD, encoding="utf-8")
    before = tree(work)
    answer = dltrain(*CSV, f"data.tokens={kind}", "data.validation_fraction=0", "data.test_fraction=0", "model=lstm")
    assert (answer.code, answer.err) == (3, f"error: {message}\n")
    assert tree(work) == before


# --- any bytes --------------------------------------------------------------------------------------------

SOURCE = "text,label\n" + "".join(f'"말이 {n}, ""b""",x\nc d {n},y\n' for n in range(12))


def outcome(settings_of, name: str, path: Path, **changes) -> Data | DataError:
    """Returns the data, or the refusal; anything else goes up and fails the test."""
    try:
        return registry.build("data", settings_of("data", name, path=str(path), **changes))
    except DataError as error:
        assert str(error)
        return error


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp949", "gzip"])
def test_mutated_files_give_data_or_a_refusal(settings_of, tmp_path, monkeypatch, encoding):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    content = gzip.compress(SOURCE.encode(), mtime=0) if encoding == "gzip" else SOURCE.encode(encoding)
    generator = random.Random(0)
    path = tmp_path / "in.csv"
    kinds = set()
    for number in range(60):
        mutated = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(mutated))
            edit = generator.randrange(4)
            if edit == 0:
                mutated[place] ^= 1 << generator.randrange(8)
            elif edit == 1:
                mutated[place : place + generator.randint(1, 9)] = b" "
            elif edit == 2:
                mutated[place:place] = generator.choice(
                    [b'"', b",", b"\n", b"\r", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf"]
                )
            else:
                del mutated[max(9, place) :]
        path.write_bytes(mutated)
        kinds.add(type(outcome(settings_of, "text_csv", path, form=("sequence", "counts")[number % 2])))
    assert kinds == ({DataError} if encoding == "gzip" else {Data, DataError})


@settings(max_examples=150)
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_give_data_or_a_refusal(settings_of, tmp_path_factory, content, has_header):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"text,label\na,x\nb,y\n" * has_header + content)
    outcome(settings_of, "text_csv", path, validation_fraction=0, test_fraction=0)
    outcome(settings_of, "text", path, form="stream", block=4)
    outcome(settings_of, "pairs_csv", path, source="text", target="label", validation_fraction=0, test_fraction=0)


@pytest.mark.parametrize("data", ["text", "text_csv"])
def test_what_never_ends_is_refused(dltrain, data):
    answer = dltrain("check", f"data={data}", "data.path=/dev/zero", "model=lstm")
    assert answer.code == 3
    assert answer.err == "error: data.path=/dev/zero: this is no ordinary file; give a text file\n"
