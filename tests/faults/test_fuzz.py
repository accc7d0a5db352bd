"""R14: mutated command lines, YAML files and data files end with a message and exit code 2 or 3, or are taken."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pictures import cifar_contents, encoded, idx, pixels, write_folder, write_tar
from shards import write_parquet, write_tars

from dltrain import cli, config_files

pytestmark = pytest.mark.faults

SECONDS = 10
# 6: a mutated number or rate makes the loss of the one batch infinite. 7: what a size asks for does not fit in memory.
ALLOWED = {0, 2, 3}
HONEST = {6, 7}


class Hung(BaseException):
    """It took longer than it may."""


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Ends what computes for longer than this, or waits for six times as long; the machine may be busy with others."""

    def ring(*_: object) -> None:
        raise Hung

    before = [(number, signal.signal(number, ring)) for number in (signal.SIGALRM, signal.SIGPROF)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 6 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)


@pytest.fixture(scope="module", autouse=True)
def _all_imported():
    """Imports what each command would, so that none is charged for it."""
    import torch  # noqa: F401

    import dltrain.commands.check
    import dltrain.run  # noqa: F401


def run(arguments: list[str]) -> tuple[int, str]:
    """Runs a command line in this process; returns its exit code and all that it printed."""
    path, output = [*sys.path], io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), within(SECONDS):
            code = cli.run(arguments)
    finally:
        sys.path[:] = path
    return code, output.getvalue()


def survives(arguments: list[str], told: str = "") -> int:
    """Runs a command line and checks what is promised of any.

    Args:
        told: what it is, for who reads that it failed.
    """
    try:
        code, text = run(arguments)
    except Hung:
        pytest.fail(f"took more than {SECONDS} s: {arguments} {told}")
    assert "Traceback" not in text, f"{arguments} {told}\n{text}"
    assert code in ALLOWED | HONEST, f"{arguments} {told}\n{code} {text}"
    return code


def share(full_size: bool, ci: int) -> int:
    """Returns how many of a kind are tried: 2,000 of all kinds together, or ten times as many."""
    return ci * 10 if full_size else ci


# --- command lines ----------------------------------------------------------------------------------------

QUICK = ("check", "data=gate", "model=mlp", "~callbacks.tensorboard")
ODD = [
    *("null", "true", "-1", "0", "1e400", "-1e-400", "nan", "-inf", "1e18", "9223372036854775808", "1" * 400, "0x10"),
    *("[]", "{}", "[[[[]]]]", "[1,2", "{a:1", "{a: {b: [c]}}", "[1,,2]", "''", '""', "' '", "\\", "\\\\'", "'", '"'),
    *("${", "${}", "${seed}", "${nowhere}", "${oc.env:HOME}", "${oc.env:NO_SUCH}", "${oc.decode:}", "${a.${b}}"),
    *("한글", "가", "e\u0301", "\u202e", "🙂", "\ud7a3" * 50, "a" * 5000, "..", "/", "~", "*", "%s", "{0}", "\t", "\n"),
    *(
        "choice(1,2)",
        "range(1,3)",
        "interval(0,1)",
        "glob(*)",
        "int(3)",
        "sort(3,1)",
        "1,2",
        ",",
        "a=b",
        "=",
        "@",
        "+1",
    ),
    *("-0.0", "0.1.2", "1_000", "1e-3", "???", "True", "None", "no", "2026-01-01", "12:30:45", "!!int 3", "&a", "*a"),
]
KEYS = [*config_files.flatten(config_files.entry_values()), "model", "optimizer", "loss", "scheduler", "callbacks"]


def known_keys() -> list[str]:
    """Returns every key of what ``QUICK`` composes."""
    from dltrain import compose

    return sorted(config_files.flatten(compose.compose([*QUICK[1:]]).container))


def command_line(source: random.Random, keys: list[str]) -> list[str]:
    """Returns one to three overrides: real keys, near ones and nonsense, with odd values."""
    words = []
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        key = source.choice(keys)
        kind = source.random()
        if kind < 0.1:
            place = source.randrange(len(key))
            key = key[:place] + source.choice("._-=@/~+:${}[]' \0가") + key[place + 1 :]
        elif kind < 0.15:
            key = source.choice(("+", "++", "~", "~~", "-", "--", "hydra.", "")) + key
        elif kind < 0.2:
            key += source.choice((".x", ".0", "[0]", ".", "@a", "@a.b", ":c"))
        value = source.choice(ODD)
        if source.random() < 0.2:
            value += source.choice(ODD)
        words.append(f"{key}={value}" if source.random() < 0.95 else source.choice((key, value, f"{key}=")))
    return words


# --- bytes ------------------------------------------------------------------------------------------------


def mutated(content: bytes, source: random.Random) -> bytes:
    """Returns a file with one to three damages: bytes changed, cut, doubled, moved, zeroed, or put in."""
    data = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 3))):
        place = source.randrange(len(data) + 1)
        length = min(source.choice((1, 1, 2, 8, 64, 1000)), len(data) - place)
        kind = source.randrange(9)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << source.randrange(8)
        elif kind == 1:
            data[place : place + length] = bytes(source.randrange(256) for _ in range(length))
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length] * source.choice((1, 2, 50))
        elif kind == 5:
            data[place : place + length] = bytes(length)
        elif kind == 6:
            data[place : place + length] = b"\xff" * length
        elif kind == 7:
            texts = (
                b"\n",
                b"\r",
                b",",
                b'"',
                b"\t",
                b"nan",
                b"-1",
                b"1e999",
                b"\0",
                b"\xff\xfe",
                b"\xef\xbb\xbf",
                b":",
            )
            data[place:place] = source.choice(texts)
        else:
            other = source.randrange(len(data) + 1)
            data[place:place] = data[other : other + length]
    return bytes(data)


TABLE = "x,k,when,y\n" + "".join(
    f"{i * 7 % 11}.5,{'가나다'[i % 3]},2026-01-{i % 28 + 1:02d},{'ab'[i % 2]}\n" for i in range(40)
)
TEXT = "text,label\n" + "".join(f"낱말{i % 5} word{i % 3},{'ab'[i % 2]}\n" for i in range(40))
SERIES = "date,a,b\n" + "".join(
    f"2026-01-{i // 24 + 1:02d} {i % 24:02d}:00,{i * 7 % 11},{i % 5}.25\n" for i in range(80)
)
PAIRS = "source,target\n" + "".join(f"안녕 {i % 7},hello {i % 7}\n" for i in range(40))
SMALL = ("trainer.batch_size=8", "trainer.max_epochs=1")


def parquet(folder: Path) -> bytes:
    return next(write_parquet(folder, shards=1, rows=40, row_group=4).glob("*.parquet")).read_bytes()


def tar(folder: Path) -> bytes:
    return next(write_tars(folder, shards=1, samples=24).glob("*.tar")).read_bytes()


def cifar(folder: Path) -> bytes:
    return gzip.decompress((write_tar(folder / "c.tar.gz", cifar_contents(3, binary=False))).read_bytes())


Files = dict[str, tuple[str, Callable[[Path], bytes], tuple[str, ...]]]
# Name -> where the mutated file lies, what it is, and the words that read it.
FILES: Files = {
    "csv": ("t.csv", lambda _: TABLE.encode(), ("data=csv", "data.path=t.csv", "data.target=y")),
    "csv of CP949": ("t.csv", lambda _: TABLE.encode("cp949"), ("data=csv", "data.path=t.csv", "data.target=-1")),
    "tsv, gzipped": (
        "t.tsv.gz",
        lambda _: gzip.compress(TABLE.replace(",", "\t").encode(), mtime=0),
        ("data=csv", "data.path=t.tsv.gz", "data.target=y"),
    ),
    "parquet": ("t.parquet", parquet, ("data=csv", "data.path=t.parquet", "data.target=y")),
    "parquet shards": (
        "s/t.parquet",
        parquet,
        ("data=parquet_shards", "data.path=s", "data.target=y", "data.workers=0", "model=linear"),
    ),
    "tar shards": ("s/t.tar", tar, ("data=tar_shards", "data.path=s", "data.workers=0", "model=mlp")),
    "texts": ("t.csv", lambda _: TEXT.encode(), ("data=text_csv", "data.path=t.csv", "model=textfnn")),
    "text": ("t.txt", lambda _: TEXT.encode(), ("data=text", "data.path=t.txt", "data.window=4", "model=gru")),
    "pairs": ("t.csv", lambda _: PAIRS.encode(), ("data=pairs_csv", "data.path=t.csv", "model=seq2seq")),
    "series": (
        "t.csv",
        lambda _: SERIES.encode(),
        ("data=series_csv", "data.path=t.csv", "data.target=a", "data.window=4", "model=mlp"),
    ),
    "images": (
        "m/train-images-idx3-ubyte.gz",
        lambda _: idx(pixels(0, 20, 7, 7)),
        ("data=mnist", "data.root=m", "model=linear"),
    ),
    "labels": (
        "m/train-labels-idx1-ubyte.gz",
        lambda _: gzip.compress(idx(pixels(0, 20) % 10), mtime=0),
        ("data=mnist", "data.root=m", "model=linear"),
    ),
    "cifar": ("c/cifar-10-python.tar.gz", cifar, ("data=cifar10", "data.root=c", "model=linear")),
    "png": ("p/cat/x.png", lambda _: encoded(pixels(0, 6, 5, 3)), ("data=image_folder", "data.path=p", "model=mlp")),
    "jpeg": (
        "p/cat/x.jpg",
        lambda _: encoded(pixels(0, 6, 5, 3), "JPEG"),
        ("data=image_folder", "data.path=p", "model=mlp"),
    ),
    "gif": (
        "p/cat/x.gif",
        lambda _: encoded(pixels(0, 6, 5, 3), "GIF"),
        ("data=image_list", "data.path=p", "data.workers=0", "data.size=[6,5]", "model=mlp"),
    ),
    "list of images": (
        "p/labels.csv",
        lambda _: b"path,label\n" + b"".join(b"cat/%02d.png,%d\n" % (i, i % 2) for i in range(12)),
        ("data=image_folder", "data.path=p", "data.labels=labels.csv", "model=mlp"),
    ),
}


def around(folder: Path) -> None:
    """Writes the good files that stand beside the mutated one."""
    from pictures import write_mnist

    write_mnist(folder / "m", train=20, test=20)
    write_folder(folder / "p", {"cat": 12, "dog": 12})
    (folder / "c").mkdir()
    (folder / "s").mkdir()


@pytest.mark.parametrize("name", FILES)
def test_mutated_data_files(name, work, tmp_path_factory, tally, full_size, monkeypatch):
    line = tally("R14", f"mutated data files: {name}")
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
    path, make, words = FILES[name]
    around(work)
    content, source = make(tmp_path_factory.mktemp("made")), random.Random(f"files {name}")
    taken = 0
    for number in range(share(full_size, 55)):
        (work / path).write_bytes(content if number == 0 else mutated(content, source))
        line.tried += 1
        code = survives(["check", *words, *SMALL], f"{name} {number}")
        assert code == 0 or number > 0, "the file is not good before it is mutated"
        taken += code == 0
        line.survived += 1
    assert 0 < taken < line.tried  # else nothing was mutated, or all is refused
    assert sorted(p.name for p in work.iterdir() if p.name not in path.split("/")) == sorted(
        n for n in ("m", "p", "c", "s") if n not in path.split("/")
    )


def test_mutated_command_lines(work, tally, full_size):
    line = tally("R14", "mutated command lines")
    keys, source = known_keys() + KEYS, random.Random("command lines")
    for _ in range(share(full_size, 600)):
        words = command_line(source, keys)
        line.tried += 1
        survives([*QUICK, *words])
        line.survived += 1
    assert not list(work.iterdir())


YAML = "\n".join(
    [
        "# @package _global_",
        "# A file of the user's own",
        "defaults:",
        "  - override /optimizer: sgd",
        "  - _self_",
        "model:",
        "  hidden: [4, 5]  # units",
        "  activation: relu",
        "trainer:",
        "  max_epochs: 3",
        "  batch_size: ${seed}",
        "optimizer:",
        "  lr: 1e-3",
        '  groups: {"*.bias": {lr: 0.1}}',
        "seed: &s 4",
        "",
    ]
)


def test_mutated_yaml_files(work, tally, full_size):
    line = tally("R14", "mutated YAML files of the user's own")
    source, path = random.Random("yaml"), work / "mine" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    taken = 0
    for number in range(share(full_size, 400)):
        path.write_bytes(YAML.encode() if number == 0 else mutated(YAML.encode(), source))
        line.tried += 1
        code = survives([*QUICK, "--config-dir", "mine", "experiment=mine"], f"YAML {number}: {path.read_bytes()!r}")
        assert code == 0 or number > 0
        taken += code == 0
        line.survived += 1
    assert 0 < taken < line.tried


def test_mutated_configs_of_runs(work, tally, full_size):
    line = tally("R14", "mutated configs of runs")
    from dltrain import compose
    from dltrain.run import dump_yaml

    content = dump_yaml(compose.compose(list(QUICK[1:])).container).encode()
    source, path = random.Random("runs"), work / "config.yaml"
    for number in range(share(full_size, 100)):
        path.write_bytes(mutated(content, source))
        line.tried += 1
        survives(["check", "--config", "config.yaml"], f"config {number}")
        line.survived += 1
