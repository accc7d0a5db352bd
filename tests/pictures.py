"""Small image files and archives, as other programs would write them."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

MNIST_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def pixels(seed: int, *shape: int) -> np.ndarray:
    """Returns random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """Returns an (H, W) or (H, W, 3) image as a file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Returns a PNG of a few bytes whose header promises so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def write_folder(root: Path, classes: dict[str, int], *, size: tuple[int, ...] = (6, 5, 3), seed: int = 0) -> Path:
    """Writes so many PNG images into a folder for each class."""
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i:02d}.png").write_bytes(encoded(pixels(seed + 100 * number + i, *size)))
    return root


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """Returns an array of bytes in the IDX format."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(root: Path, train: int = 60, test: int = 20, size: tuple[int, int] = (7, 7)) -> Path:
    """Writes the four files of MNIST, of fewer and smaller images; the labels go round."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, (names, count) in enumerate(((MNIST_FILES, train), (TEST_FILES, test))):
        (root / names[0]).write_bytes(gzip.compress(idx(pixels(seed, count, *size)), 1))
        (root / names[1]).write_bytes(gzip.compress(idx(np.arange(count, dtype=np.uint8) % 10), 1))
    return root


def cifar_batch(name: str, count: int, seed: int, *, binary: bool) -> bytes:
    """Returns a batch of CIFAR-10 of so many images, binary or pickled as Python 2 would."""
    table, labels = pixels(seed, count, 3072), [(seed + i) % 10 for i in range(count)]
    if binary:
        return np.concatenate([np.array(labels, dtype=np.uint8)[:, None], table], axis=1).tobytes()
    return pickle.dumps({b"batch_label": name, b"labels": labels, b"data": table, b"filenames": ["x.png"]}, protocol=2)


def write_tar(path: Path, contents: dict[str, bytes | tarfile.TarInfo]) -> Path:
    """Writes a .tar.gz of files, or of other members that are given whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in contents.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def tar_of(name: str, content: bytes) -> bytes:
    """Returns a member of a tar file: its header, its content, and zeros up to the next block."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member.tobuf() + content + bytes(-len(content) % 512)


def cifar_contents(count: int = 10, *, binary: bool) -> dict[str, bytes | tarfile.TarInfo]:
    """Returns the members of a small archive of CIFAR-10."""
    folder, end = ("cifar-10-batches-bin", ".bin") if binary else ("cifar-10-batches-py", "")
    return {f"{folder}/{name}{end}": cifar_batch(name, count, seed, binary=binary) for seed, name in enumerate(BATCHES)}


def write_cifar(root: Path, count: int = 10, *, binary: bool) -> Path:
    """Writes an archive of CIFAR-10 with fewer images."""
    name = f"cifar-10-{'binary' if binary else 'python'}.tar.gz"
    write_tar(root / name, cifar_contents(count, binary=binary))
    return root
