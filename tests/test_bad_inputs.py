"""Every bad input that is promised to be told: its exit code, the words that name it, and a folder left as it was.

The table is the one place to see them all; the exact messages of each are tested where the thing is that says them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gzip
import hashlib
import json
import os
import pickle
import re
import shlex
import shutil
import socket
import struct
import subprocess
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from commandline import QUICK
from pictures import MNIST_FILES, bomb, cifar_contents, encoded, idx, pixels, write_folder, write_mnist, write_tar

from dltrain import cli

Make = Callable[[Path], object]
SECONDS = 5.0


@dataclass(frozen=True)
class Bad:
    """A bad input.

    Attributes:
        words: the command line.
        says: words that its message has.
        code: the exit code.
        make: puts what is bad into the folder, the working directory.
    """

    words: str
    says: tuple[str, ...]
    code: int
    make: Make | None = None


def table(text: str | bytes, name: str = "t.csv") -> Make:
    return lambda folder: (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)


def tables(**contents: str) -> Make:
    def make(folder: Path) -> None:
        for name, text in contents.items():
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")

    return make


def own_yaml(text: str | bytes, name: str = "mine/model/mine.yaml") -> Make:
    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    return make


# --- config -----------------------------------------------------------------------------------------------

MINE = "--config-dir mine data=iris model=mine"
MLP = "name: mlp\nhidden: [4]\nactivation: relu\n"


def config(words: str, *says: str, make: Make | None = None) -> Bad:
    return Bad(words, says, 2, make)


CONFIG = {
    "unknown key": config("optimizr.lr=0.1", "'optimizr.lr'", "Did you mean 'optimizer.lr'?"),
    "unknown group choice": config("model=mpl", "no model named 'mpl'", "Did you mean 'mlp'?"),
    "wrong type": config("optimizer.lr=fast", "optimizer.lr = 'fast'", "must be a number above 0"),
    "negative rate, 0 epochs, 0 batch size, dropout 1.5, validation share of 1, unknown precision": config(
        "optimizer.lr=-0.1 trainer.max_epochs=0 trainer.batch_size=0 model.dropout=1.5 data.validation_fraction=1 "
        "device.precision=fp12",
        "6 mistakes in the config",
        "optimizer.lr = -0.1: must be a number above 0",
        "trainer.max_epochs = 0: must be a whole number at least 1",
        "trainer.batch_size = 0: must be a whole number at least 1",
        "model.dropout = 1.5: must be a number at least 0 and below 1",
        "data.validation_fraction = 1: must be a number at least 0 and below 1",
        "device.precision = 'fp12'",
    ),
    "missing value": config(MINE, "model.hidden", "no value", make=own_yaml("name: mlp\nhidden: ???\n")),
    "broken YAML": config(MINE, "mine.yaml", "line 3, column", make=own_yaml("name: mlp\nhidden: [4]\n  bad: : 1\n")),
    "interpolation to nowhere": config("data=iris 'trainer.batch_size=${nowhere.at.all}'", "nowhere"),
    "cycle": config(
        "'trainer.batch_size=${trainer.max_epochs}' 'trainer.max_epochs=${trainer.batch_size}'",
        "trainer.max_epochs",
        "nterpolation",
    ),
    "tab indentation": config(MINE, "mine.yaml", "line 2", "not tabs", make=own_yaml("name: mlp\n\thidden: [4]\n")),
    "empty hidden list": config("model=rbf model.hidden=[]", "model.hidden"),
    "loss that does not fit the task": config("data=iris loss=msle", "loss.name = 'msle'", "multiclass"),
    "unknown monitored metric": config(
        "data=iris callbacks.checkpoint.monitor=val/acuracy", "'val/acuracy'", "Did you mean 'val/accuracy'?"
    ),
    "never logged monitored metric": config(
        "data=korean_text model=rnn callbacks.checkpoint.monitor=val/r2", "'val/r2'", "There is"
    ),
    "_target_": config("+model._target_=os.system", "_target_", "refused"),
    "unclosed bracket": config("'model.hidden=[4,'", "model.hidden=[4,", "left open"),
    "sweep over an unknown key": config("-m optimizr.lr=0.1,0.2", "'optimizr.lr'", "Did you mean 'optimizer.lr'?"),
    "sweep over an unknown choice": config("-m model=mlp,mpl", "no model named 'mpl'", "Did you mean 'mlp'?"),
    "several values without -m": config("optimizer.lr=0.1,0.2", "-m"),
    "fp16 on CPU": config("device=cpu device.precision=fp16", "device.precision", "fp16"),
    "a path relative to who knows what": Bad(
        "data=csv data.path=sub/t.csv data.target=y", ("sub/t.csv", "{folder}"), 3
    ),
    "a path beside the YAML file": config("--config-dir nowhere", "nowhere", "does not exist"),
}

# --- tables -----------------------------------------------------------------------------------------------

CSV = "data=csv data.path=t.csv data.target=y"
ROWS = "".join(f"{i * 7 % 11},{i % 3},{'ab'[i % 2]}\n" for i in range(40))
GOOD = "x,k,y\n" + ROWS
KOREAN = "가격,등급\n" + "".join(f"{i * 7 % 11},{'상하'[i % 2]}\n" for i in range(40))


def with_row(row: int, text: str) -> str:
    """Returns the good table with another text in a row, counted as lines of the file are."""
    lines = GOOD.splitlines()
    lines[row - 1] = text
    return "\n".join(lines) + "\n"


def data(words: str, *says: str, make: Make | None = None) -> Bad:
    return Bad(words, says, 3, make)


TABULAR = {
    "no file": data(
        "data=csv data.path=tt.csv data.target=y", "tt.csv", "no such file", "Did you mean 't.csv'?", make=table(GOOD)
    ),
    "a folder": data(CSV, "t.csv", "folder", make=lambda folder: (folder / "t.csv").mkdir()),
    "empty": data(CSV, "t.csv", "empty", make=table("")),
    "header only": data(CSV, "t.csv", "no row below", make=table("x,k,y\n")),
    "no target column": data("data=csv data.path=t.csv data.target=z", "no column 'z'", "x, k, y", make=table(GOOD)),
    "feature missing in the test file": data(
        f"{CSV} data.test_path=test.csv",
        "test.csv",
        "'k'",
        make=tables(t=GOOD, test="x,y\n1,a\n2,b\n"),
    ),
    "ragged row": data(CSV, "row 7", "2 cells", "3", make=table(with_row(7, "1,2"))),
    "empty cells under policy error": data(
        f"{CSV} data.empty=error", "column 'x'", "1 empty cell", "row 5", make=table(with_row(5, ",1,a"))
    ),
    "empty target": data(CSV, "'y'", "row 5", make=table(with_row(5, "1,1,"))),
    "text in a numeric column": data(
        f"{CSV} 'data.columns={{x: number}}'", "row 5", "'x'", "'many'", make=table(with_row(5, "many,1,a"))
    ),
    "one column found": data(
        f"{CSV} data.delimiter=comma", "x|k|y", "another data.delimiter", make=table(GOOD.replace(",", "|"))
    ),
    "CP949 read as UTF-8": data(
        "data=csv data.path=t.csv data.target=등급 data.encoding=utf-8",
        "line 1",
        "data.encoding",
        make=table(KOREAN.encode("cp949")),
    ),
    "NUL bytes": data(CSV, "t.csv", "NUL", make=table(with_row(5, "1,\0,a"))),
    "one class only": data(CSV, "'y'", "one class only", make=table("x,y\n" + "1,a\n2,a\n" * 20)),
    "class unseen in training": data(
        f"{CSV} data.test_path=test.csv", "test.csv", "'c'", make=tables(t=GOOD, test="x,k,y\n1,1,c\n")
    ),
    "nothing but empty columns": data(CSV, "no column is left", "k", make=table("k,y\n" + ",a\n,b\n" * 20)),
    "too few rows": data(CSV, "1 row", "too few", make=table("x,k,y\n1,2,a\n")),
}

# --- images -----------------------------------------------------------------------------------------------


def mnist(name: str, content: bytes) -> Make:
    """Makes MNIST with one of its files replaced."""

    def make(folder: Path) -> None:
        write_mnist(folder / "m")
        (folder / "m" / name).write_bytes(content)

    return make


def photographs(name: str, content: bytes | None) -> Make:
    """Makes a folder of images of two classes and one file more, or one class more that is empty."""

    def make(folder: Path) -> None:
        write_folder(folder / "p", {"cat": 12, "dog": 12})
        path = folder / "p" / name
        path.mkdir() if content is None else path.write_bytes(content)

    return make


class TouchesACanary:
    def __reduce__(self):
        return os.system, ("touch canary",)


def foreign_cifar(folder: Path) -> None:
    contents = cifar_contents(4, binary=False)
    contents["cifar-10-batches-py/data_batch_2"] = pickle.dumps({"data": TouchesACanary()}, protocol=2)
    write_tar(folder / "c" / "cifar-10-python.tar.gz", contents)


MNIST = "data=mnist data.root=m"
FOLDER = "data=image_folder data.path=p"
IMAGES = idx(pixels(0, 60, 7, 7))

IMAGE = {
    "wrong IDX magic": data(MNIST, MNIST_FILES[0], "no IDX file", make=mnist(MNIST_FILES[0], b"\1\2\3\4" + bytes(99))),
    "truncated": data(MNIST, MNIST_FILES[0], "cut off", make=mnist(MNIST_FILES[0], IMAGES[:-100])),
    "label count differs": data(
        MNIST, MNIST_FILES[1], "59 labels for 60 images", make=mnist(MNIST_FILES[1], idx(np.zeros(59, np.uint8)))
    ),
    "truncated gzip": data(MNIST, MNIST_FILES[0], "gzip", make=mnist(MNIST_FILES[0], gzip.compress(IMAGES)[:-40])),
    "corrupt JPEG": data(
        FOLDER, "cat/bad.jpg", make=photographs("cat/bad.jpg", encoded(pixels(0, 60, 50, 3), "JPEG")[:300])
    ),
    "shape that does not fit the model": Bad(
        f"{FOLDER} model=text_cnn", ("text_cnn",), 2, photographs("cat/x.png", encoded(pixels(9, 6, 5, 3)))
    ),
    "empty class folder": data(FOLDER, "p/bird", "no images", make=photographs("bird", None)),
    "image bomb": data(FOLDER, "cat/bomb.png", make=photographs("cat/bomb.png", bomb(50_000, 50_000))),
    "foreign CIFAR pickle": data("data=cifar10 data.root=c", "data_batch_2", "posix.system", make=foreign_cifar),
    "size becomes 0 after pooling": Bad(
        f"{FOLDER} model=vgg", ("pooling 3 of 5", "6x5"), 2, photographs("cat/x.png", encoded(pixels(9, 6, 5, 3)))
    ),
    "labels out of range": data(
        MNIST, MNIST_FILES[1], "label 10", make=mnist(MNIST_FILES[1], idx(np.full(60, 10, np.uint8)))
    ),
}

# --- text -------------------------------------------------------------------------------------------------

TEXT_CSV = "data=text_csv data.path=t.csv model=text_cnn"
REVIEWS = "text,label\n" + "".join(f"word{i % 5} other{i % 3},{'ab'[i % 2]}\n" for i in range(40))

TEXT = {
    "empty vocabulary": data(f"{TEXT_CSV} data.min_count=100", "vocabulary", make=table(REVIEWS)),
    "all documents empty": data(TEXT_CSV, "empty", make=table("text,label\n" + " ,a\n ,b\n" * 20)),
    "invalid byte": data(
        "data=text data.path=t.csv model=lstm", "byte", make=table(b"one two\nthree \xff\xfe\xfa four\n" * 20)
    ),
    "CP949": data(
        f"{TEXT_CSV} data.encoding=utf-8",
        "byte 11 (line 2)",
        "data.encoding",
        make=table(REVIEWS.replace("word", "낱말").encode("cp949")),
    ),
    "label not in the set": data(
        f"{TEXT_CSV} data.test_path=test.csv", "test.csv", "'c'", make=tables(t=REVIEWS, test="text,label\nword1,c\n")
    ),
    "tokenizer missing": Bad(f"{TEXT_CSV} data.tokens=wort", ("data.tokens", "wort"), 2, table(REVIEWS)),
}

# --- what can be mended is mended, and told ------------------------------------------------------------------


def check(words: str, *says: str, make: Make) -> Bad:
    return Bad(f"check {words}", says, 0, make)


TOLD = {
    "constant column": check(
        CSV, "never change", "k (always 1)", make=table("x,k,y\n" + "".join(f"{i},1,{i % 2}\n" for i in range(40)))
    ),
    "all-empty column": check(
        CSV, "left out", "k", make=table("x,k,y\n" + "".join(f"{i},,{i % 2}\n" for i in range(40)))
    ),
    "UTF-16": check(CSV, "UTF-16", make=table(GOOD.encode("utf-16"))),
    "CP949": check("data=csv data.path=t.csv data.target=등급", "CP949", make=table(KOREAN.encode("cp949"))),
    "decimal commas": check(CSV, "decimal", make=table("x;y\n" + "".join(f"{i},5;{i % 2}\n" for i in range(40)))),
    "decomposed Hangul": check(
        f"{TEXT_CSV} data.test_path=test.csv",
        "NFC",
        make=tables(
            t=REVIEWS.replace("word", "낱말"), test=unicodedata.normalize("NFD", REVIEWS.replace("word", "낱말"))
        ),
    ),
}

# --- checkpoints ------------------------------------------------------------------------------------------

EVALUATE, RESUME, LONGER = "evaluate run", "resume run", "resume run trainer.max_epochs=3"


def checkpoint(words: str, *says: str, make: Make) -> Bad:
    return Bad(words, says, 4, make)


def states(folder: Path) -> list[Path]:
    return sorted((folder / "run" / "checkpoints").glob("*.safetensors"))


def damaged(change: Callable[[bytes], bytes], *, vouched: bool = False) -> Make:
    """Changes every checkpoint of the run.

    Args:
        vouched: the manifests are made to fit, as who means harm would.
    """

    def make(folder: Path) -> None:
        for path in states(folder):
            content = change(path.read_bytes())
            path.write_bytes(content)
            if vouched:
                manifest = json.loads(path.with_suffix(".json").read_text())
                manifest |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                path.with_suffix(".json").write_text(json.dumps(manifest))

    return make


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def newer(folder: Path) -> None:
    damaged(lambda content: re.sub(rb'("schema": ?")\d', rb"\g<1>9", content), vouched=True)(folder)
    for path in states(folder):
        manifest = json.loads(path.with_suffix(".json").read_text())
        path.with_suffix(".json").write_text(json.dumps(manifest | {"schema": 9}))


def edited(old: str, new: str) -> Make:
    """Changes the run's config.yaml."""

    def make(folder: Path) -> None:
        path = folder / "run" / "config.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return make


def checkpoints_of_the_other(folder: Path) -> None:
    shutil.rmtree(folder / "run" / "checkpoints")
    shutil.copytree(folder / "other" / "checkpoints", folder / "run" / "checkpoints")


def pickled(folder: Path) -> None:
    (folder / "weights.pt").write_bytes(pickle.dumps({"weight": TouchesACanary()}))


CHECKPOINT = {
    "not one": checkpoint(EVALUATE, "no checkpoint of dltrain", make=damaged(lambda _: b"hello", vouched=True)),
    "a file that is no weights": checkpoint(
        "data=iris model.init_from=weights.pt", "weights.pt", "no file of torch.save", make=table("hello", "weights.pt")
    ),
    "truncated": checkpoint(EVALUATE, "damaged", "SHA-256", make=damaged(lambda content: content[:-10])),
    "truncated, resumed": checkpoint(LONGER, "damaged", "is whole", make=damaged(lambda content: content[:-10])),
    "flipped": checkpoint(EVALUATE, "damaged", "SHA-256", make=damaged(flipped)),
    "pickle payload": checkpoint(
        EVALUATE, "no checkpoint of dltrain", make=damaged(lambda _: pickle.dumps(TouchesACanary()), vouched=True)
    ),
    "pickle as first weights": checkpoint("data=iris model.init_from=weights.pt", "weights.pt", make=pickled),
    "another architecture": checkpoint(
        EVALUATE, "another model", "layers.1.weight has shape (4, 2)", "(5, 2)", make=edited("  - 4\n", "  - 5\n")
    ),
    "another class count": checkpoint(
        EVALUATE, "another model", "layers.3.weight has shape (4, 4)", "(3, 4)", make=checkpoints_of_the_other
    ),
    "newer schema": checkpoint(EVALUATE, "schema 9", "newer version", make=newer),
    "other optimizer": checkpoint(LONGER, "Adam", "AdamW", make=edited("name: adam\n", "name: adamw\n")),
    "other data": checkpoint(LONGER, "the data of run are not those", make=edited("three.csv", "four.csv")),
}

TABLE = {
    f"{kind}: {name}": bad
    for kind, group in (("config", CONFIG), ("tabular", TABULAR), ("image", IMAGE), ("text", TEXT), ("told", TOLD))
    for name, bad in group.items()
}


def contents(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Returns every file and folder below a folder with its mode, size and hash."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_size if path.is_file() else 0,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and path.stat().st_mode & 0o400 else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def told(dltrain, work):
    """Returns a function that gives a bad input to the command line: its code, its words, and nothing changed."""

    def run(bad: Bad) -> None:
        if bad.make is not None:
            bad.make(work)
        before, started = contents(work), time.monotonic()
        answer = dltrain(*shlex.split(bad.words))
        assert time.monotonic() - started < SECONDS
        assert answer.code == bad.code, answer
        for words in bad.says:
            assert words.replace("{folder}", str(work)) in answer.out + answer.err, answer
        assert contents(work) == before

    return run


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_input_is_told_and_changes_nothing(name, told):
    told(TABLE[name])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run of three classes and one of four, the tables of both beside them."""
    folder = tmp_path_factory.mktemp("trained")
    for run, name, classes in (("run", "three", "abc"), ("other", "four", "abcd")):
        rows = "".join(f"{i * 7 % 11},{i % 5},{classes[i % len(classes)]}\n" for i in range(60))
        (folder / f"{name}.csv").write_text(f"x,z,y\n{rows}")
        words = ["data=csv", f"data.path={folder / name}.csv", "data.target=y", *QUICK[1:], "~callbacks.progress"]
        assert cli.run([*words, "callbacks.checkpoint.min_seconds=0", f"run_dir={folder / run}"]) == 0
    return folder


@pytest.mark.parametrize("name", CHECKPOINT)
def test_a_bad_checkpoint_is_told_and_the_run_stays_as_it_was(name, told, trained, work):
    for run in ("run", "other"):
        shutil.copytree(trained / run, work / run)
    told(CHECKPOINT[name])


# --- the machine ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mounts an empty file system of its own over a folder; skips the test where that may not be done."""
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def without_roots_rights() -> Iterator[None]:
    """Takes from this thread what lets root pass every permission (CAP_DAC_OVERRIDE and the like), for a time."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", 0x20080522, 0)  # the third version of the interface; this thread
    sets = ctypes.create_string_buffer(24)  # effective, permitted and inheritable, 32 bits of each, then 32 more
    if libc.capget(header, sets) != 0:
        pytest.skip("root keeps its rights here")
    before = sets.raw
    effective = struct.unpack_from("I", before)[0] & ~0b1111  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
    assert libc.capset(header, struct.pack("I", effective) + before[4:]) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


def machine(words: str, *says: str) -> Bad:
    return Bad(words, says, 5)


def test_cuda_that_is_not_there(told):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    told(machine("data=iris device=cuda", "device=cuda", "device=cpu"))


def test_a_folder_that_is_read_only(told, work):
    (work / "locked").mkdir()
    with mounted(work / "locked", "ro"):
        told(machine("data=iris run_dir=locked/run", "locked", "Read-only file system"))


def test_a_folder_without_permission(told, work):
    (work / "locked").mkdir(mode=0o500)
    with without_roots_rights():
        told(machine("data=iris run_dir=locked/run", "locked", "Permission denied"))


def test_a_file_without_permission(told, work):
    (work / "t.csv").write_text(GOOD)
    (work / "t.csv").chmod(0)
    with without_roots_rights():
        told(Bad(CSV, ("t.csv", "Permission denied"), 3))


def test_a_full_disk(told, work):
    (work / "full").mkdir()
    with mounted(work / "full", "size=64k"):
        (work / "full" / "filler").write_bytes(bytes(60_000))
        told(machine(shlex.join([*QUICK, "run_dir=full/run"]), "full", "MB"))


def test_a_port_in_use(told, trained, work):
    shutil.copytree(trained / "run", work / "runs" / "2026-01-01" / "run")
    curves = work / "runs" / "2026-01-01" / "run" / "tensorboard"
    curves.mkdir()
    (curves / "events.out.tfevents.1").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told(machine(f"board --port {port}", str(port), "in use", "Leave out --port"))


def test_a_folder_that_another_process_holds(told, trained, work):
    shutil.copytree(trained / "run", work / "run")
    with (work / "run" / "run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told(machine(LONGER, "run", "another process"))
