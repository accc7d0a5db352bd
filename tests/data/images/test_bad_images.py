"""Images that cannot be used: each with its message and exit code, soon, and with nothing written."""

from __future__ import annotations

import gzip
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from commandline import tree
from pictures import (
    MNIST_FILES,
    TEST_FILES,
    bomb,
    cifar_contents,
    encoded,
    idx,
    pixels,
    write_folder,
    write_mnist,
    write_tar,
)


@dataclass(frozen=True)
class Case:
    """A mistake.

    Attributes:
        prepare: makes the files in a folder and returns the words of the command line.
        message: what is printed, with {folder} for that folder.
    """

    name: str
    prepare: Callable[[Path], list[str]]
    message: str
    code: int = 3


def mnist(name: str, content: bytes) -> Callable[[Path], list[str]]:
    """Returns MNIST with one of its files replaced."""

    def prepare(folder: Path) -> list[str]:
        write_mnist(folder)
        (folder / name).write_bytes(content)
        return ["data=mnist", f"data.root={folder}"]

    return prepare


def folder(change: Callable[[Path], object], *words: str) -> Callable[[Path], list[str]]:
    """Returns an image folder of two classes, changed."""

    def prepare(root: Path) -> list[str]:
        write_folder(root, {"cat": 12, "dog": 12})
        change(root)
        return ["data=image_folder", f"data.path={root}", *words]

    return prepare


def labels(text: str | bytes, *words: str) -> Callable[[Path], list[str]]:
    content = text.encode() if isinstance(text, str) else text
    return folder(lambda root: (root / "labels.csv").write_bytes(content), "data.labels=labels.csv", *words)


class TouchesACanary:
    def __reduce__(self):
        return os.system, ("touch canary",)


def cifar(root: Path) -> list[str]:
    contents = cifar_contents(4, binary=False)
    contents["cifar-10-batches-py/data_batch_2"] = pickle.dumps({"data": TouchesACanary()}, protocol=2)
    write_tar(root / "cifar-10-python.tar.gz", contents)
    return ["data=cifar10", f"data.root={root}"]


def emptied(root: Path) -> None:
    for path in (root / "cat").iterdir():
        path.unlink()


IMAGES, LABELS = MNIST_FILES
GOOD = idx(pixels(0, 60, 7, 7))
CORRUPT = encoded(pixels(0, 6, 5, 3), "JPEG")[:-20]
MEND = ". Mend or remove it, or leave such files out with data.bad_images=skip"

CASES = [
    Case(
        "a wrong magic number",
        mnist(IMAGES, b"\x00\x00\x07\x03" + GOOD[4:]),
        f"{{folder}}/{IMAGES}: begins with 00 00 07 03, so it is no IDX file of images",
    ),
    Case(
        "labels where images belong",
        mnist(IMAGES, idx(np.zeros(60, np.uint8))),
        f"{{folder}}/{IMAGES}: has 1 dimensions where images have 3. Is it the right file?",
    ),
    Case(
        "a file that was cut off",
        mnist(IMAGES, GOOD[:-40]),
        f"{{folder}}/{IMAGES}: is cut off: its header promises 2940 values and 2900 follow. Fetch it again",
    ),
    Case(
        "a gzip file that was cut off",
        mnist(TEST_FILES[0], gzip.compress(GOOD)[:-100]),
        f"{{folder}}/{TEST_FILES[0]}: the gzip file ends in its middle. Fetch it again",
    ),
    Case(
        "fewer labels than images",
        mnist(LABELS, idx(np.zeros(59, np.uint8))),
        f"{{folder}}/{LABELS}: holds 59 labels for 60 images. Take both files from one source",
    ),
    Case(
        "a label out of range",
        mnist(LABELS, idx(np.full(60, 10, np.uint8))),
        f"{{folder}}/{LABELS}: label 10 of image 0 is not in 0 to 9",
    ),
    Case(
        "a CIFAR pickle that runs something",
        cifar,
        "{folder}/cifar-10-python.tar.gz: data_batch_2: the pickle asks for posix.system, which no array needs. "
        "Do not trust this file",
    ),
    Case(
        "a class of images in a format that is not read",
        folder(lambda root: (emptied(root), (root / "cat" / "IMG_1.HEIC").write_bytes(b"x"))),
        "data.path={folder}: the class folder {folder}/cat has no images. cat/IMG_1.HEIC and its like are not read: "
        "save them as JPEG or PNG",
    ),
    Case(
        "a list without a header",
        labels("cat/00.png,cat\ndog/00.png,dog\n"),
        "{folder}/labels.csv: its first line is a row (cat/00.png, cat). Write a header above it, such as path,label",
    ),
    Case(
        "a corrupt JPEG",
        folder(lambda root: (root / "cat" / "05.jpg").write_bytes(CORRUPT)),
        "{folder}/cat/05.jpg: the image is cut off" + MEND,
    ),
    Case(
        "text named as an image",
        folder(lambda root: (root / "cat" / "05.jpg").write_text("hello")),
        "{folder}/cat/05.jpg: this is no JPEG, PNG, BMP, GIF or WebP image" + MEND,
    ),
    Case(
        "an image bomb",
        folder(lambda root: (root / "dog" / "00.png").write_bytes(bomb(12_000, 10_000))),
        "{folder}/dog/00.png: the image is too large: 12000 x 10000 pixels, and 90 million are allowed" + MEND,
    ),
    Case(
        "images of different sizes",
        folder(lambda root: (root / "dog" / "00.png").write_bytes(encoded(pixels(0, 9, 9, 3)))),
        "the images have different sizes (height x width): 6x5 (00.png), 9x9 (00.png). Give the one that all shall "
        "have, such as data.size=6 or 'data.size=[H, W]'",
    ),
    Case(
        "an empty class folder",
        folder(emptied),
        "data.path={folder}: the class folder {folder}/cat has no images. Fill or remove it",
    ),
    Case(
        "a single class",
        folder(lambda root: (root / "cat").rename(root / "dog" / "inside")),
        "data.path={folder}: all images are of one class, 'dog'; learning needs two or more",
    ),
    Case(
        "no class folders",
        lambda root: ["data=image_folder", f"data.path={root}"],
        "data.path={folder}: there are no class folders with images (.bmp, .gif, .jfif, .jpe, .jpeg, .jpg, .png, "
        ".webp). Put the images of each class into a folder with its name, or give a CSV of paths and labels: "
        "data.labels=labels.csv",
    ),
    Case(
        "a class of the test that training lacks",
        folder(lambda root: (write_folder(root / "train", {"a": 3}), write_folder(root / "test", {"a": 1, "b": 2}))),
        "data.path={folder}: class 'b' has no folder among the training images, so no model can learn it. "
        "Add one, or remove the class",
    ),
    Case(
        "splits without classes",
        lambda root: [f"data.path={write_folder(root, {'train': 3, 'test': 3})}", "data=image_folder"],
        "data.path={folder}: train/ has no class folders. Put the images of each class into a folder with its name, "
        "or give a CSV of paths and labels: data.labels=labels.csv",
    ),
    Case(
        "no such folder",
        folder(lambda root: root.rename(root.with_name("filez"))),
        "data.path={folder}: there is no such folder in {parent}. Did you mean 'filez'?",
    ),
    Case(
        "no path",
        lambda root: ["data=image_folder"],
        "data.path: no value. Give the folder of your images: data.path=FOLDER",
        code=2,
    ),
    Case(
        "missing files in the CSV",
        labels("path,label\ncat/00.png,a\ncat/99.png,b\ncat/98.png,b\n"),
        "{folder}/labels.csv: line 3 names cat/99.png, which is not in {folder} (2 of 3 files are missing). "
        "Mend the paths, or leave such rows out with data.bad_images=skip",
    ),
    Case(
        "a CSV of one class",
        labels("path,label\ncat/00.png,a\ncat/01.png,a\n"),
        "{folder}/labels.csv: all images are of one class, 'a'; learning needs two or more",
    ),
    Case("an empty CSV", labels(""), "{folder}/labels.csv: the file is empty"),
    Case(
        "a CSV with nothing but a header",
        labels("path,label\n"),
        "{folder}/labels.csv: has no rows below its header, so there are no images",
    ),
    Case(
        "a CSV with other columns",
        labels("where,label\ncat/00.png,a\n"),
        "{folder}/labels.csv: which column holds the paths? It has where, label. Give data.path_column=...",
    ),
    Case(
        "a column that is not there",
        labels("path,label\ncat/00.png,a\n", "data.label_column=labl"),
        "data.label_column=labl: {folder}/labels.csv has no such column. Did you mean 'label'?",
    ),
    Case(
        "a ragged row",
        labels("path,label\ncat/00.png,a,b\n"),
        "{folder}/labels.csv: line 2 has 3 cells where the header has 2",
    ),
    Case("a row without a label", labels("path,label\ncat/00.png,\n"), "{folder}/labels.csv: line 2 has no label"),
    Case(
        "a CSV that is not there",
        folder(lambda root: (root / "label.csv").write_text("x"), "data.labels=labels.csv"),
        "data.labels=labels.csv: there is no such file in {folder}. Did you mean 'label.csv'?",
    ),
    Case(
        "a binary file for a CSV",
        labels(b"\x00\x01\x02"),
        "{folder}/labels.csv: is neither UTF-8 nor CP949 text. Save it as UTF-8",
    ),
    Case(
        "three numbers for a size",
        folder(lambda root: None, "data.size=[1,2,3]"),
        "data: size = [1, 2, 3]: must be one whole number, or two: [H, W]",
        code=2,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_told_and_nothing_is_written(attempt, work, case, monkeypatch, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DLTRAIN_CACHE", str(cache))
    (work / "files").mkdir()
    words = case.prepare(work / "files")
    before = tree(work)
    started = time.monotonic()
    answer = attempt(*words)
    assert time.monotonic() - started < 5
    expected = case.message.format(folder=work / "files", parent=work)
    assert answer.err.strip() == f"error: {expected}"
    assert answer.code == case.code, answer.err
    assert tree(work) == before
    assert case.code == 2 or tree(cache) == {}


def test_bad_images_can_be_skipped(dltrain, work):
    words = folder(lambda root: (root / "cat" / "05.jpg").write_bytes(CORRUPT), "data.bad_images=skip")(work / "files")
    answer = dltrain(*words, "trainer.max_epochs=1", "~callbacks.tensorboard")
    assert answer.code == 0
    assert "1 of 25 images are left out (data.bad_images=skip), the first: " in answer.err
