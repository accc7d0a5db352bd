"""IDX, the format of MNIST: a magic number, the dimensions, then the values as plain bytes; gzip or not.

The magic number is 0, 0, the type of the values (8 is unsigned byte, the only one that is read here) and the number of
dimensions; each dimension is a big-endian 32-bit number (LeCun, Cortes and Burges, the MNIST database).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dltrain.data.unpacking import unpacked
from dltrain.errors import DataError

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}

# Larger files are taken for damaged ones; MNIST's largest has 47 MB.
MAX_BYTES = 2**32
_PIECE = 2**22


def read_images(path: Path) -> NDArray[np.uint8]:
    """Returns (N, H, W) grey values.

    Raises:
        DataError: the file is missing or damaged, or holds something else.
    """
    return _read(path, 3, "images")


def read_labels(path: Path, num_images: int, num_classes: int) -> NDArray[np.int64]:
    """Returns (N,) classes.

    Raises:
        DataError: the file is missing or damaged, has another number of labels, or a label beyond the classes.
    """
    labels = _read(path, 1, "labels").astype(np.int64)
    if len(labels) != num_images:
        raise DataError(f"{path}: holds {len(labels)} labels for {num_images} images. Take both files from one source")
    wrong = np.flatnonzero(labels >= num_classes)
    if len(wrong):
        raise DataError(f"{path}: label {labels[wrong[0]]} of image {wrong[0]} is not in 0 to {num_classes - 1}")
    return labels


def _read(path: Path, dimensions: int, what: str) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _values(unpacked(file) if zipped else file, path, dimensions, what)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except EOFError as error:
        raise DataError(f"{path}: the gzip file ends in its middle. Fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error}). Fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _values(stream: BinaryIO, path: Path, dimensions: int, what: str) -> NDArray[np.uint8]:
    header = stream.read(4)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in _TYPES:
        raise DataError(f"{path}: begins with {header.hex(' ') or 'nothing'}, so it is no IDX file of {what}")
    if header[2] != 0x08:
        raise DataError(f"{path}: holds {_TYPES[header[2]]} values where {what} are uint8")
    if header[3] != dimensions:
        raise DataError(f"{path}: has {header[3]} dimensions where {what} have {dimensions}. Is it the right file?")
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path}: ends in its header. Fetch it again")
    shape = struct.unpack(f">{dimensions}I", sizes)
    size = math.prod(shape)
    if size == 0 or size > MAX_BYTES:
        raise DataError(f"{path}: its header promises {' x '.join(map(str, shape))} values, which cannot be {what}")
    return _exactly(stream, size, path).reshape(shape)


def _exactly(stream: BinaryIO, size: int, path: Path) -> NDArray[np.uint8]:
    """Returns the next ``size`` bytes, which must be the last ones; takes no more memory than there are."""
    content = bytearray()
    while len(content) < size and (piece := stream.read(min(_PIECE, size - len(content)))):
        content += piece
    if len(content) < size:
        raise DataError(
            f"{path}: is cut off: its header promises {size} values and {len(content)} follow. Fetch it again"
        )
    if stream.read(1):
        raise DataError(f"{path}: has more than the {size} values that its header promises. Fetch it again")
    return np.frombuffer(content, dtype=np.uint8)
