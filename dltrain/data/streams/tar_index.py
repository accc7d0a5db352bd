"""Tar shards in the WebDataset convention: which samples they hold, and where each lies.

A sample is the members that share their name up to its first dot: ``000001.jpg`` and ``000001.cls``. The headers are
read once; with the index that is kept of them, any sample of an uncompressed tar can be read alone.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dltrain.data.cache import Arrays, cached
from dltrain.data.images.decoding import ENDINGS
from dltrain.errors import DataError

# What a compressed file begins with.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstandard", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}

# A longer member is no label.
_LONGEST_LABEL = 4096
_BLOCK = 512

_IN_ORDER = ". The members of a sample stand one after the other, as tar --sort=name writes them"


@dataclass(frozen=True)
class TarIndex:
    """The samples of a tar, in order.

    Attributes:
        offsets, sizes: (N,) of their images, in bytes.
        labels: (N,) as they are written.
    """

    offsets: np.ndarray[tuple[int], np.dtype[np.int64]]
    sizes: np.ndarray[tuple[int], np.dtype[np.int64]]
    labels: list[str]


@dataclass
class _Sample:
    name: str
    images: list[tuple[int, int]] = field(default_factory=list)
    label: str | None = None


def index_of(path: Path, target: str, target_key: str | None) -> TarIndex:
    """Returns a tar's index, from the cache if the file is as it was.

    Args:
        target: ending of the member with the label, such as "cls".
        target_key: the label's name in a .json member.

    Raises:
        DataError: it is no tar, it is damaged, or a sample lacks its image or its label.
    """
    try:
        stat = path.stat()
        with path.open("rb") as file:
            begin = file.read(6)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    for magic, name in _COMPRESSED.items():
        if begin.startswith(magic):
            raise DataError(
                f"{path}: the tar is compressed ({name}), so that a sample in it cannot be read alone. Unpack the "
                "shard to a plain .tar; its images are compressed as they are"
            )

    def build() -> Arrays:
        samples = list(_samples(path, target, target_key))
        images = np.array([sample.images[0] for sample in samples], dtype=np.int64).reshape(-1, 2)
        labels = json.dumps([sample.label for sample in samples]).encode()
        return {
            "offsets": images[:, 0].copy(),
            "sizes": images[:, 1].copy(),
            "labels": np.frombuffer(labels, dtype=np.uint8).copy(),
        }

    key = ["tar index", str(path.absolute()), str(stat.st_size), str(stat.st_mtime_ns), target, target_key or ""]
    arrays = cached(key, build, f"the index of {path.name}")
    return TarIndex(arrays["offsets"], arrays["sizes"], json.loads(arrays["labels"].tobytes()))


def _samples(path: Path, target: str, target_key: str | None) -> Iterator[_Sample]:
    """Yields the samples of a tar, each with one image and its label."""
    sample: _Sample | None = None
    seen: set[str] = set()
    with path.open("rb") as file:
        for member in _members(path):
            folder, _, base = member.name.rpartition("/")
            stem, _, ending = base.partition(".")
            if not stem:  # hidden files, such as those that a Mac adds
                continue
            name = f"{folder}/{stem}" if folder else stem
            if sample is None or sample.name != name:
                if sample is not None:
                    yield _checked(sample, path, target)
                if name in seen:
                    raise DataError(f"{path}: the members of sample '{name}' do not stand together{_IN_ORDER}")
                seen.add(name)
                sample = _Sample(name)
            if f".{ending.lower()}" in ENDINGS:
                sample.images.append((member.offset_data, member.size))
            elif ending.lower() == target:
                file.seek(member.offset_data)
                content = file.read(min(member.size, _LONGEST_LABEL + 1) if target_key is None else member.size)
                sample.label = _label(content, f"{path}, member '{member.name}'", target_key)
    if sample is not None:
        yield _checked(sample, path, target)


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """Yields the files in a tar.

    Raises:
        DataError: it is no tar, holds what is no file, or is cut off or damaged.
    """
    try:
        with tarfile.open(path, "r:", errorlevel=2) as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # which would grow with the tar
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise DataError(
                        f"{path}: member '{member.name}' is a link or a device, and samples are plain files"
                    )
                yield member
            end = tar.offset
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: this is no tar, or it is damaged: {error}") from error
    with path.open("rb") as file:
        file.seek(end)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise DataError(
                f"{path}: the tar is cut off or damaged at byte {end}: its end mark is missing. Was it written and "
                "copied to its end?"
            )


def _checked(sample: _Sample, path: Path, target: str) -> _Sample:
    if len(sample.images) != 1:
        count = "no image" if not sample.images else f"{len(sample.images)} images"
        endings = ", ".join(sorted(ending[1:] for ending in ENDINGS))
        raise DataError(
            f"{path}: sample '{sample.name}' has {count}, and needs one member that is an image ({endings})"
            f"{'' if sample.images else _IN_ORDER}"
        )
    if sample.label is None:
        raise DataError(
            f"{path}: sample '{sample.name}' has no label: there is no member '{sample.name}.{target}' (data.target)"
            f"{_IN_ORDER}"
        )
    return sample


def _label(content: bytes, where: str, target_key: str | None) -> str:
    try:
        text = content.decode("utf-8").strip()
        if target_key is not None:
            value = json.loads(text)[target_key]
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise DataError(
                    f"{where}: '{target_key}' is {json.dumps(value)[:60]}, and a label is a word or a number"
                )
            text = str(value).strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: the label is no text in UTF-8") from error
    except (ValueError, RecursionError) as error:  # also a number of more digits than Python reads
        raise DataError(f"{where}: this is no JSON: {error}") from error
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{where}: there is no '{target_key}' in it (data.target_key)") from error
    if not text or len(text) > _LONGEST_LABEL:
        raise DataError(f"{where}: the label is {'empty' if not text else 'no label: it is too long'}")
    return text
