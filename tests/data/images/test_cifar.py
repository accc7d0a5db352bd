"""CIFAR-10's archives: read in memory, and without running what they hold."""

from __future__ import annotations

import gzip
import os
import pickle
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import BATCHES, cifar_batch, cifar_contents, pixels, tar_of, write_tar

from dltrain.data.images import cifar
from dltrain.errors import DataError

BATCH = "cifar-10-batches-py/data_batch_3"


def archive_with(tmp_path, name: str, content: object, *, binary: bool = False):
    return write_tar(tmp_path / "cifar.tar.gz", {**cifar_contents(4, binary=binary), name: content})


@pytest.mark.parametrize("binary", [True, False])
def test_both_archives_give_the_same_images(tmp_path, binary):
    path = write_tar(tmp_path / "cifar.tar.gz", cifar_contents(4, binary=binary))
    (images, labels), (test_images, test_labels) = cifar.read_archive(path)
    assert images.shape == (20, 3, 32, 32) and images.dtype == np.uint8
    assert np.array_equal(images[:4].reshape(4, -1), pixels(0, 4, 3072))
    assert labels.tolist() == [(seed + i) % 10 for seed in range(5) for i in range(4)]
    assert np.array_equal(test_images.reshape(4, -1), pixels(5, 4, 3072)) and test_labels.tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("byte_keys", [True, False])
def test_pickles_of_all_protocols_are_read(protocol, byte_keys):
    table = pixels(0, 4, 3072)
    batch = {"labels": [1, 2, 3, 4], "data": table}
    keyed = {name.encode(): value for name, value in batch.items()} if byte_keys else batch
    images, labels = cifar._records(pickle.dumps(keyed, protocol=protocol), "here", "data_batch_1")
    assert np.array_equal(images.reshape(4, -1), table) and labels.tolist() == [1, 2, 3, 4]


class Runs:
    """A pickle of this calls a function when it is read."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_a_pickle_that_runs_something_is_refused_and_runs_nothing(tmp_path):
    canary = tmp_path / "canary"
    for function, name in ((os.system, "posix.system"), (eval, "builtins.eval"), (exec, "builtins.exec")):
        for protocol in range(6):
            command = f"touch {canary}" if function is os.system else f"open({str(canary)!r}, 'w')"
            content = pickle.dumps({"labels": Runs(function, command)}, protocol=protocol)
            path = archive_with(tmp_path, BATCH, content)
            with pytest.raises(DataError) as caught:
                cifar.read_archive(path)
            asked = name if protocol > 2 else name.replace("builtins", "__builtin__")
            assert str(caught.value) == (
                f"{path}: data_batch_3: the pickle asks for {asked}, which no array needs. Do not trust this file"
            )
            assert not canary.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        # BUILD on what may only be called: would set its attributes
        (b"cnumpy\ndtype\n(dX\x01\x00\x00\x00aK\x01sb.", "the pickle changes what it may only call"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00rotX\x01\x00\x00\x00btR.", "the pickle calls encode"),
        (b"cnumpy\nndarray\n(tR.", "the pickle calls ndarray as no array needs it"),
        (b"cnumpy.core.multiarray\nscalar\n.", "asks for numpy.core.multiarray.scalar"),
        (b"\x82\x01.", "the pickle is damaged (KeyError: 130)"),
        (b"\x96\xff\xff\xff\xff\x0f\0\0\0.", "the pickle is damaged (KeyError: 150)"),  # would take 64 GB
        (b"r\xff\xff\xff\x7f.", "the pickle is damaged"),  # the reader in C would take 16 GB for this memo
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "the pickle is damaged"),
        (b"(" * 100_000, "the pickle is damaged"),
        (b"]" * 100_000 + b"a" * 99_999 + b".", "holds no batch of CIFAR-10"),
        (b"", "the pickle is damaged"),
        (pickle.dumps([1]), "holds no batch of CIFAR-10"),
        (pickle.dumps({"labels": [1]}), "has no 'data' or no 'labels', so it is no batch of CIFAR-10"),
        (pickle.dumps({"labels": [1, 2], "data": pixels(0, 1, 3072)}), "holds 2 labels for 1 images"),
        (pickle.dumps({"labels": ["1"], "data": pixels(0, 1, 3072)}), "not all of its labels are whole numbers"),
        (pickle.dumps({"labels": [10], "data": pixels(0, 1, 3072)}), "label 10 of image 0 is not in 0 to 9"),
        (pickle.dumps({"labels": [1], "data": pixels(0, 1, 3071)}), "'data' is not a table of 3072 bytes an image"),
        (pickle.dumps({"labels": [1], "data": np.zeros((1, 3072), "O")}), "'data' is not a table"),
        (pickle.dumps({"labels": [1], "data": np.zeros((1, 3072))}), "'data' is not a table"),
    ],
)
def test_a_strange_pickle_is_refused(tmp_path, content, problem):
    path = archive_with(tmp_path, BATCH, content)
    with pytest.raises(DataError) as caught:
        cifar.read_archive(path)
    assert str(caught.value).startswith(f"{path}: data_batch_3: ") and problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has 0 bytes, which is no whole number of images of 3073"),
        (bytes(3072), "has 3072 bytes, which is no whole number of images of 3073"),
        (bytes([10]) + bytes(3072), "label 10 of image 0 is not in 0 to 9"),
    ],
)
def test_a_strange_binary_batch_is_refused(tmp_path, content, problem):
    path = archive_with(tmp_path, "cifar-10-batches-bin/data_batch_2.bin", content, binary=True)
    with pytest.raises(DataError) as caught:
        cifar.read_archive(path)
    assert str(caught.value) == f"{path}: data_batch_2.bin: {problem}"


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (member("x/data_batch_1", tarfile.SYMTYPE, "/etc/passwd"), "x/data_batch_1 is a link or a device, not a file"),
        (member("x/data_batch_1", tarfile.LNKTYPE, "/etc/passwd"), "x/data_batch_1 is a link or a device, not a file"),
        (member("x/data_batch_1", tarfile.CHRTYPE), "x/data_batch_1 is a link or a device, not a file"),
        (member("../data_batch_1", tarfile.REGTYPE), "../data_batch_1 points outside of the archive"),
        (member("/tmp/data_batch_1", tarfile.REGTYPE), "/tmp/data_batch_1 points outside of the archive"),
    ],
)
def test_links_devices_and_paths_to_elsewhere_are_refused(tmp_path, made, problem):
    path = write_tar(tmp_path / "cifar.tar.gz", {made.name: made})
    with pytest.raises(DataError) as caught:
        cifar.read_archive(path)
    assert str(caught.value) == f"{path}: its member {problem}. Do not trust it"


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    path = tmp_path / "bomb.tar.gz"
    monkeypatch.setattr(cifar, "_MAX_ARCHIVE", 2**24)
    header = tarfile.TarInfo("other")
    header.size = 2**25
    path.write_bytes(gzip.compress(header.tobuf() + bytes(2**25)))
    with pytest.raises(DataError, match="unpacks to more than 16 MB, so it is not CIFAR-10"):
        cifar.read_archive(path)
    large = tarfile.TarInfo("x/data_batch_1")
    large.size = 2**33
    path.write_bytes(gzip.compress(large.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(DataError, match="its member x/data_batch_1 has 8192 MB, so it is not CIFAR-10"):
        cifar.read_archive(path)


def test_an_archive_without_batches_and_no_archive_at_all(tmp_path):
    path = write_tar(tmp_path / "cifar.tar.gz", {"readme.txt": b"hello"})
    with pytest.raises(DataError, match=r"has no data_batch_1, .*, test_batch, so it is no archive of CIFAR-10"):
        cifar.read_archive(path)
    with pytest.raises(DataError, match=r"nothing\.tar\.gz: there is no such file"):
        cifar.read_archive(tmp_path / "nothing.tar.gz")
    for content in (b"", b"hello", gzip.compress(b"hello" * 200), path.read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"the archive is damaged|it is no archive of CIFAR-10"):
            cifar.read_archive(path)


PICKLED = cifar_batch("data_batch_1", 1, 0, binary=False)
ARCHIVE = b"".join(tar_of(name, content) for name, content in cifar_contents(1, binary=True).items()) + bytes(1024)


@given(st.data())
def test_mutated_pickles_give_images_or_a_data_error(data):
    content = bytearray(PICKLED)
    structure = [place for place in range(len(content)) if place < 200 or place > len(content) - 200]
    for place in data.draw(st.lists(st.sampled_from(structure), min_size=1, max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    _accepts_or_refuses(bytes(content), "data_batch_1")


@given(st.binary(max_size=300))
def test_random_bytes_give_images_or_a_data_error(content):
    for name in BATCHES[:1]:
        _accepts_or_refuses(content, name)
        _accepts_or_refuses(content, f"{name}.bin")


@given(st.data())
def test_mutated_archives_give_images_or_a_data_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.tar"
    content = bytearray(ARCHIVE)
    for place in data.draw(st.lists(st.integers(0, 6 * 4096), min_size=1, max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        (images, _), _ = cifar.read_archive(path)
        assert images.shape[1:] == (3, 32, 32)
    except DataError as error:
        assert str(error).startswith(str(path))


def _accepts_or_refuses(content: bytes, name: str) -> None:
    try:
        images, labels = cifar._records(content, "here", name)
        assert images.shape == (len(labels), 3, 32, 32)
    except DataError as error:
        assert str(error).startswith("here: ")
