"""The verb that lists, fetches and shows data sets."""

from __future__ import annotations

import hashlib
import json
import random
import re

import pytest
import realdata
from commandline import at_terminal
from fileserver import serving
from PIL import Image

from dltrain import catalog, files
from dltrain.catalog import DATASETS, Dataset, File
from dltrain.commands import data
from dltrain.commands.completion import candidates


@pytest.fixture(autouse=True)
def no_data(work, monkeypatch):
    """A machine without files, and an empty cache."""
    monkeypatch.delenv("DLTRAIN_DATA", raising=False)
    monkeypatch.setenv("DLTRAIN_OFFLINE", "1")
    monkeypatch.setenv("DLTRAIN_CACHE", str(work / ".cache"))
    monkeypatch.setattr(files, "SYSTEM", work / "system")


@pytest.fixture
def real_data(monkeypatch):
    """The real files, where there are some."""
    monkeypatch.setenv("DLTRAIN_DATA", str(realdata.folder()))
    return realdata.need


# --- the words --------------------------------------------------------------------------------------------


def test_without_a_second_word_it_explains_itself(dltrain):
    answer = dltrain("data")
    assert answer.code == 0
    assert answer.out == dltrain("data", "--help").out
    for action in ("list", "prepare NAME", "show NAME"):
        assert f"\ndltrain data {action} " in answer.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lst", "no 'dltrain data lst'. Did you mean 'list'?"),
        ("list mnist", "'dltrain data list' takes no names, and 'mnist' is one"),
        ("list --rows 3", "--rows belongs to 'dltrain data show'"),
        ("show iris --json", "--json belongs to 'dltrain data list'"),
        ("prepare iris --split test", "--split belongs to 'dltrain data show'"),
        ("prepare all iris", "'all' stands alone"),
        ("prepare iris wine data.split_seed=1", "'data.split_seed=1' goes with one data set, and 2 are named"),
        ("show iris gate", "'dltrain data show' shows one data set, and 2 are named: iris, gate"),
        ("show iris --rows 0", "--rows 0: must be at least 1"),
        ("show iris --split tset", "--split tset: there is no such split. Did you mean 'test'?"),
        ("show gate --split test", "--split test: this data has none, only train and validation"),
        ("show irs", "no data named 'irs'. Did you mean 'iris'?"),
        ("prepare mnits", "no data named 'mnits'. Did you mean 'mnist'?"),
        ("show iris data.sclaing=none", "no setting 'data.sclaing'. Did you mean 'data.scaling'?"),
    ],
)
def test_mistakes(dltrain, work, words, message):
    answer = dltrain("data", *words.split())
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {message}")
    assert list(work.iterdir()) == []


def test_no_data_set_named(dltrain):
    for action in ("prepare", "show"):
        assert dltrain("data", action).err.startswith("error: name a data set: iris, digits, ")


def test_completion():
    assert candidates(["data"], "") == ["list", "prepare", "show"]
    assert "mnist" in candidates(["data", "show"], "mn")
    assert candidates(["data", "show", "iris"], "data.sca") == ["data.scaling="]
    assert candidates(["data", "list"], "") == []


# --- list -------------------------------------------------------------------------------------------------


def test_the_list_names_each_with_whether_it_is_here(dltrain, work, monkeypatch):
    answer = dltrain("data", "list")
    assert (answer.code, answer.err) == (0, "")
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert set(DATASETS) < set(lines)
    assert lines["iris"].endswith("  yes")
    assert re.search(r"  CC BY-SA 3.0 +no: download 11.6 MB$", lines["mnist"])
    assert lines["insurance_fraud"].endswith("  no: bring the file")
    (work / "mine").mkdir()
    (work / "mine" / "insurance_fraud.csv").touch()
    monkeypatch.setenv("DLTRAIN_DATA", "mine")
    assert f"  yes: {work}/mine\n" in dltrain("data", "list").out


def test_the_list_as_json(dltrain):
    listed = {entry["name"]: entry for entry in json.loads(dltrain("data", "list", "--json").out)}
    assert list(listed) == list(DATASETS)
    assert listed["wine"]["here"] is True
    assert listed["cifar10"] == {
        "name": "cifar10",
        "also": [],
        "task": "thing in a photograph",
        "size": "60,000 images of 32x32x3, 10 classes",
        "rights": "none stated",
        "homepage": "https://www.cs.toronto.edu/~kriz/cifar.html",
        "origin": "files",
        "here": False,
        "folder": None,
        "download_bytes": 170_498_071,
        "files": [["cifar-10-python.tar.gz"], ["cifar-10-binary.tar.gz"]],
    }


def test_a_folder_of_data_that_is_none_is_told(dltrain, monkeypatch):
    monkeypatch.setenv("DLTRAIN_DATA", "nowhere")
    assert dltrain("data", "list").err == "DLTRAIN_DATA=nowhere is no folder\n"


def test_the_list_fits_a_terminal(work):
    text = re.sub("\x1b\\[[0-9;]*m", "", at_terminal("data", "list", cwd=work, columns=100).text)
    assert max(map(len, text.splitlines())) <= 100
    assert "fashion_mnist" in text


# --- prepare ----------------------------------------------------------------------------------------------


def test_prepare_reads_data_sets_and_says_what_they_are(dltrain, work):
    answer = dltrain("data", "prepare", "iris", "gate")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "iris: 3 classes from 4 (multiclass); 90 training, 30 validation, 30 test samples",
        "gate: 2 classes from 2 (binary); 4 training, the same evaluated samples",
        "  there is no validation split: what is evaluated is the training data itself",
    ]
    assert list(work.iterdir()) == []


def test_prepare_with_settings(dltrain, real_data):
    place = real_data("mnist/train-images-idx3-ubyte.gz").parent
    answer = dltrain("data", "prepare", "data=mnist", "data.validation_fraction=0.5")
    assert answer.out.splitlines() == [
        "mnist: 10 classes from 1x28x28 (multiclass); 30,000 training, 30,000 validation, 10,000 test samples",
        f"  its files lie in {place}",
    ]


def test_prepare_without_the_files_says_what_to_do(dltrain):
    answer = dltrain("data", "prepare", "mnist")
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith("error: mnist: its 4 files are not on this machine, and DLTRAIN_OFFLINE forbids a do")
    assert "\n  t10k-labels-idx1-ubyte.gz     4.5 kB  https://" in answer.err


ALL = pytest.param(list(DATASETS), marks=pytest.mark.slow, id="all")


@pytest.mark.parametrize("names", [pytest.param(["iris", "mnist", "sine"], id="three"), ALL])
def test_prepare_all_goes_on_after_a_data_set_that_is_missing(names, dltrain, monkeypatch):
    monkeypatch.setattr(data, "DATASETS", {name: DATASETS[name] for name in names})
    answer = dltrain("data", "prepare", "all")
    assert answer.code == 3
    assert "error: mnist: its 4 files" in answer.err
    assert "iris: 3 classes" in answer.out
    assert "sine: 1 value" in answer.out


def test_prepare_downloads_then_trains_offline(dltrain, work, monkeypatch):
    """Real files, under the hash that they have here, from a server on this machine."""
    names = [file.name for file in DATASETS["mnist"].choices[0]]
    contents = [realdata.need(f"mnist/{name}").read_bytes() for name in names]
    with serving() as server:
        server.files = {f"/{name}": content for name, content in zip(names, contents, strict=True)}
        server.faults[f"/{names[0]}"] = [("cut", 5_000_000)]
        chosen = tuple(
            File(name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}", (f"{server.url}/{name}",))
            for name, content in zip(names, contents, strict=True)
        )
        monkeypatch.setitem(
            catalog.DATASETS, "mnist", Dataset("mnist", "", "images", "CC BY-SA 3.0", "", choices=(chosen,))
        )
        monkeypatch.delenv("DLTRAIN_OFFLINE")
        answer = dltrain("data", "prepare", "mnist")
    assert answer.code == 0
    assert "mnist: images. Rights: CC BY-SA 3.0. About it: \ndownloading 4 files, 11.3 MB, to " in answer.err
    assert answer.out.endswith(f"  its files lie in {work}/.cache/downloads/mnist\n")
    answer = dltrain("data=mnist", "model=linear", "trainer.max_steps=3", "~callbacks.tensorboard", "report=false")
    assert answer.code == 0


# --- show -------------------------------------------------------------------------------------------------


def test_a_table_is_shown_with_its_columns_and_units(dltrain, work):
    lines = ["colour,size,price"] + [f"{('red', 'blue')[i % 2]},{i / 8},{10 * i / 8}" for i in range(240)]
    (work / "t.csv").write_text("\n".join(lines) + "\n")
    words = ("data=csv", "data.path=t.csv", "data.target=price")
    answer = dltrain("data", "show", *words, "--rows", "2")
    assert (answer.code, answer.err) == (0, "")
    shown = answer.out.splitlines()
    rows = [line.split() for line in shown]
    inputs = next(i for i, row in enumerate(rows) if row[:1] == ["inputs:"])
    named = [row[0] for row in rows[inputs + 1 : inputs + 4]]
    assert set(named) == {"colour=red", "colour=blue", "size"}
    (size,) = (row for row in rows if row[:1] == ["size"])
    (target,) = (row for row in rows if row[:2] == ["->", "target"])
    for cell, price in ((size[2], target[3]), (size[4], target[5])):
        assert 10 * float(cell.strip("()")) == float(price.strip("()"))
    assert "target, in its own unit" in shown
    (train,) = (row for row in rows if row[:1] == ["train"])
    assert 0 <= float(train[1]) < float(train[2]) < float(train[3]) <= 298.75


def test_tokens_are_shown_with_their_pieces(dltrain):
    answer = dltrain("data", "show", "korean_text", "--rows", "2")
    assert answer.out.splitlines()[3:] == [
        "",
        "the first 2 of train, as a model gets them:",
        "  inputs: int64 5, 12 tokens with the padding",
        "  1  경마장에(2)  + 4 padding  -> target 있는",
        "  2  경마장에(2) 있는(3)  + 3 padding  -> target 말이",
        "",
        "token counts",
        "          train",
        "  말이        4",
        "  있는        1",
        "  뛰고        1",
        "  있다        1",
        "  법이다      1",
        "  고와야      1",
        "  오는        1",
        "  곱다        1",
    ]


def test_class_counts_and_the_split_that_was_asked_for(dltrain):
    answer = dltrain("data", "show", "iris", "--split", "test", "--rows", "1", "data.scaling=none")
    assert answer.out.splitlines() == [
        "iris: 3 classes from 4 (multiclass); 90 training, 30 validation, 30 test samples",
        "",
        "the first 1 of test, as a model gets them:",
        "  inputs: float32 4",
        *answer.out.splitlines()[4:8],
        "  -> target  setosa",
        "",
        "class counts",
        "              train  validation  test",
        "  setosa         30          10    10",
        "  versicolor     30          10    10",
        "  virginica      30          10    10",
    ]


def test_images_make_a_picture(dltrain, work):
    answer = dltrain("data", "show", "digits", "--rows", "3")
    assert (
        "\nwrote dltrain-show-digits.png: the first images of each class of train, a row for each class\n" in answer.out
    )
    with Image.open(work / "dltrain-show-digits.png") as picture:
        assert picture.height == 10 * 66 + 2
        assert picture.width > 3 * 66
    assert [path.name for path in work.iterdir()] == ["dltrain-show-digits.png"]


def test_augmented_images_stand_beside_the_plain_ones(dltrain, work):
    generator = random.Random(0)
    for name in ("고양이", "dog"):
        (work / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            image = Image.new("RGB", (20, 10), tuple(generator.randbytes(3)))
            image.paste((255, 255, 255), (0, 0, 5, 10))
            image.save(work / "pictures" / name / f"{number}.png")
    words = ("data=image_folder", "data.path=pictures", "data.augmentation.flip=true", "--rows", "4")
    answer = dltrain("data", "show", *words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith(
        "; to the right the same, augmented as in epoch 0 (mixing blends in images of other rows)\n"
        "the rows from top to bottom: dog, 고양이\n"
    )
    with Image.open(work / "dltrain-show-image_folder.png") as picture:
        assert picture.height == 2 * 32 + 2  # two rows of 20x10, three times as large
        ends = {first: [] for first in (picture.width - 2 * 248 - 24, picture.width - 248)}
        for first, found in ends.items():
            for left in range(first, first + 4 * 62, 62):
                found += [(picture.getpixel((left, top)), picture.getpixel((left + 59, top))) for top in (4, 36)]
    white = (255, 255, 255)
    plain, changed = ends.values()
    assert [left for left, _ in plain] == [white] * 8
    mirrored = [left != white and right == white for left, right in changed]
    assert 0 < sum(mirrored) < 8
    assert all(
        (right, left) == before
        for before, (left, right), turned in zip(plain, changed, mirrored, strict=True)
        if turned
    )


def test_a_folder_that_cannot_be_written(dltrain, work, monkeypatch):
    (work / "dltrain-show-digits.png").mkdir()
    answer = dltrain("data", "show", "digits")
    assert answer.code == 5
    assert answer.err == "error: dltrain-show-digits.png cannot be written: Is a directory\n"


@pytest.mark.slow
def test_real_reviews(dltrain, real_data):
    real_data("nsmc_rebuilt/ratings_train.txt.gz")
    answer = dltrain("data", "show", "nsmc", "--rows", "2", "--split", "test")
    assert re.search(r"^  1  \S+\(\d+\) .*-> target [01]$", answer.out, re.MULTILINE)
    assert re.search(r"^  0 +67,\d{3} +7,\d{3} +25,217$", answer.out, re.MULTILINE)
