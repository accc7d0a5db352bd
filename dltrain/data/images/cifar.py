"""CIFAR-10's two archives, the binary and the pickled one, read in memory and without running what they hold.

Nothing is unpacked to disk, and of the archive's members only those with the names of the data set are looked at. The
pickles are read by an interpreter that knows how to put together a numpy array and nothing else: what a pickle asks
to call is looked up in a table of four names, each of which stands for a harmless object of this file.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from dltrain.errors import DataError

SHAPE = (3, 32, 32)
TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
_IMAGE_BYTES = 3 * 32 * 32
_RECORD_BYTES = 1 + _IMAGE_BYTES

# The published batches have 31 MB, the archives 184 MB unpacked.
_MAX_MEMBER = 64 * 2**20
_MAX_ARCHIVE = 512 * 2**20

Records = tuple[NDArray[np.uint8], NDArray[np.int64]]


def read_archive(path: Path) -> tuple[Records, Records]:
    """Returns images (N, 3, 32, 32) and classes (N,) of training and of test.

    Raises:
        DataError: the archive is missing, damaged, too large, or holds something else.
    """
    batches = {name: _records(content, f"{path}: {name}", name) for name, content in _members(path).items()}
    missing = [name for name in (*TRAINING, TEST) if not any(_stem(found) == name for found in batches)]
    if missing:
        raise DataError(f"{path}: has no {', '.join(missing)}, so it is no archive of CIFAR-10")
    by_stem = {_stem(name): records for name, records in batches.items()}
    return _joined([by_stem[name] for name in TRAINING]), _joined([by_stem[TEST]])


def _joined(parts: list[Records]) -> Records:
    """Returns the parts as one, in memory of its own."""
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _stem(name: str) -> str:
    return name.removesuffix(".bin")


# --- the archive ------------------------------------------------------------------------------------------


class _Limited(io.RawIOBase):
    """A stream that gives so many bytes and then refuses: a small archive can unpack to any size."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path, self._left = stream, path, _MAX_ARCHIVE

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(piece)
        if self._left < 0:
            raise DataError(f"{self._path}: unpacks to more than {_MAX_ARCHIVE >> 20} MB, so it is not CIFAR-10")
        return piece


def _members(path: Path) -> dict[str, bytes]:
    """Returns the content of the members with the names of batches, of a tar file that is gzipped or not."""
    wanted = {f"{name}{end}" for name in (*TRAINING, TEST) for end in ("", ".bin")}
    contents: dict[str, bytes] = {}
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            plain = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if zipped else file
            with tarfile.open(fileobj=cast("IO[bytes]", _Limited(plain, path)), mode="r|") as archive:
                for member in archive:
                    folder, _, name = member.name.rpartition("/")
                    if name not in wanted:
                        continue
                    _check(member, folder, path)
                    extracted = archive.extractfile(member)
                    assert extracted is not None  # _check lets only plain files pass
                    contents[name] = extracted.read()
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise DataError(f"{path}: the archive is damaged ({error}). Fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return contents


def _check(member: tarfile.TarInfo, folder: str, path: Path) -> None:
    """
    Raises:
        DataError: a member with the name of a batch is not a plain file of a fitting size in a plain folder.
    """
    if not member.isreg():
        raise DataError(f"{path}: its member {member.name} is a link or a device, not a file. Do not trust it")
    if folder.startswith("/") or ".." in folder.split("/"):
        raise DataError(f"{path}: its member {member.name} points outside of the archive. Do not trust it")
    if member.size > _MAX_MEMBER:
        raise DataError(f"{path}: its member {member.name} has {member.size >> 20} MB, so it is not CIFAR-10")


# --- a batch ----------------------------------------------------------------------------------------------


def _records(content: bytes, where: str, name: str) -> Records:
    images, labels = _from_binary(content, where) if name.endswith(".bin") else _from_pickle(content, where)
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if len(wrong):
        raise DataError(f"{where}: label {labels[wrong[0]]} of image {wrong[0]} is not in 0 to 9")
    return images.reshape(-1, *SHAPE), labels


def _from_binary(content: bytes, where: str) -> Records:
    """Reads records of a label and 3,072 pixels."""
    if not content or len(content) % _RECORD_BYTES:
        raise DataError(f"{where}: has {len(content)} bytes, which is no whole number of images of {_RECORD_BYTES}")
    table = np.frombuffer(content, dtype=np.uint8).reshape(-1, _RECORD_BYTES)
    return table[:, 1:], table[:, 0].astype(np.int64)


def _from_pickle(content: bytes, where: str) -> Records:
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except Exception as error:  # what a damaged pickle makes its interpreter do has no end
        raise DataError(f"{where}: the pickle is damaged ({type(error).__name__}: {error}). Fetch it again") from error
    if not isinstance(batch, dict):
        raise DataError(f"{where}: holds no batch of CIFAR-10")
    pixels = batch.get(b"data", batch.get("data"))
    labels = batch.get(b"labels", batch.get("labels"))
    if not isinstance(pixels, _Array) or not isinstance(labels, list):
        raise DataError(f"{where}: has no 'data' or no 'labels', so it is no batch of CIFAR-10")
    if any(type(label) is not int or not 0 <= label < 256 for label in labels):
        raise DataError(f"{where}: not all of its labels are whole numbers from 0 to 9")
    images = pixels.as_images(where)
    if len(labels) != len(images):
        raise DataError(f"{where}: holds {len(labels)} labels for {len(images)} images")
    return images, np.array(labels, dtype=np.int64)


class _Array:
    """What a pickle says of an array, as it says it; nothing of numpy runs."""

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def as_images(self, where: str) -> NDArray[np.uint8]:
        """Returns (N, 3072) bytes, from numpy's own state: version, shape, type, column order, content."""
        state = self.state
        fits = (
            isinstance(state, tuple)
            and len(state) == 5
            and isinstance(state[2], _Type)
            and state[2].code in ("u1", b"u1", "|u1", b"|u1")
            and not state[3]
            and isinstance(state[4], bytes)
            and isinstance(state[1], tuple)
            and len(state[1]) == 2
            and state[1][1] == _IMAGE_BYTES
            and state[1][0] * _IMAGE_BYTES == len(state[4])
        )
        if not fits or not state[4]:
            raise DataError(f"{where}: 'data' is not a table of {_IMAGE_BYTES} bytes an image")
        return np.frombuffer(state[4], dtype=np.uint8).reshape(-1, _IMAGE_BYTES)


class _Type:
    """What a pickle says of a numpy type."""

    def __init__(self, code: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like, which bytes have not."""


class _Callable:
    """A name that a pickle may call."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *arguments: Any) -> Any:
        if self._name == "_reconstruct":
            return _Array()
        if self._name == "dtype" and arguments:
            return _Type(arguments[0])
        if self._name == "encode" and len(arguments) == 2 and isinstance(arguments[0], str):
            return arguments[0].encode("latin1")  # how Python 3 writes bytes in the old protocol
        raise DataError(f"the pickle calls {self._name} as no array needs it. Do not trust this file")

    def __setstate__(self, state: Any) -> None:
        raise DataError("the pickle changes what it may only call. Do not trust this file")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Callable("_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): _Callable("_reconstruct"),
    ("numpy", "ndarray"): _Callable("ndarray"),
    ("numpy", "dtype"): _Callable("dtype"),
    ("_codecs", "encode"): _Callable("encode"),
}


# Codes that no array needs: makers of objects other than by a call, other files, buffers (one of which takes as much
# memory as a file claims to need).
_UNUSED = frozenset(
    (
        pickle.PERSID,
        pickle.BINPERSID,
        pickle.INST,
        pickle.OBJ,
        pickle.NEWOBJ,
        pickle.NEWOBJ_EX,
        pickle.EXT1,
        pickle.EXT2,
        pickle.EXT4,
        pickle.BYTEARRAY8,
        pickle.NEXT_BUFFER,
        pickle.READONLY_BUFFER,
    )
)


class _Reader(pickle._Unpickler):
    """An unpickler that finds nothing but the parts of an array.

    It is the one that is written in Python: the one in C takes memory for as many entries as a file claims to have.
    """

    dispatch = {code: read for code, read in pickle._Unpickler.dispatch.items() if bytes([code]) not in _UNUSED}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"the pickle asks for {module}.{name}, which no array needs. Do not trust this file"
            ) from None
