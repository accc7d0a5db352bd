"""Arrays that took long to make, kept on disk for the next run.

A cached set is a safetensors file named by the SHA-256 of all that decided its content, and a small JSON file beside
it with the SHA-256 of the file itself, written last: a damaged file is made again. Everything here may be deleted at
any time. Where the folder cannot be written, nothing but the time is lost.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dltrain import __version__
from dltrain.console import log
from dltrain.files import cache_folder

Arrays = dict[str, NDArray[Any]]

# Another version of dltrain may make other arrays of the same key.
_VERSION = __version__

# A temporary file that is older has no writer any more.
_STRAY_SECONDS = 24 * 3600


def content_key(paths: Iterable[Path]) -> str:
    """Returns the SHA-256 of the contents of files, in their order.

    Raises:
        OSError: one cannot be read, or has no end.
    """
    digest = hashlib.sha256()
    for path in paths:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "no ordinary file", str(path))
        digest.update(_sha256(path).encode())
    return digest.hexdigest()


def cached(key: list[str], build: Callable[[], Arrays], what: str) -> Arrays:
    """Returns the arrays of ``key``, from the cache or else from ``build``.

    Args:
        key: all that decides the arrays: the kind, its settings, the content of its files.
        what: the arrays' name in messages, such as "the tokens of reviews.txt".

    Returns:
        The arrays; from the cache they are mapped into memory and read when they are touched.
    """
    path = cache_folder() / "data" / f"{hashlib.sha256(json.dumps([_VERSION, *key]).encode()).hexdigest()}.safetensors"
    found = read_arrays(path)
    if found is not None:
        return found
    arrays = build()
    try:
        write_arrays(path, arrays)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        log.warning("%s cannot be kept in %s (%s): the next run makes it again", what, path.parent, reason)
    return arrays


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Writes arrays so that they are either there as a whole or not at all.

    Raises:
        OSError, SafetensorError: they cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    manifest = _manifest(path)
    noted = manifest.with_name(f"{manifest.name}.{os.getpid()}.tmp")
    try:
        save_file({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, temporary)
        noted.write_text(json.dumps({"sha256": _sha256(temporary)}), encoding="utf-8")
        temporary.replace(path)
        noted.replace(manifest)
    finally:
        temporary.unlink(missing_ok=True)
        noted.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Removes what a writer that was killed has left."""
    for stray in folder.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - stray.stat().st_mtime > _STRAY_SECONDS:
                stray.unlink()


def read_arrays(path: Path) -> Arrays | None:
    """Returns the arrays of a file, or None where it is missing or damaged."""
    try:
        noted = json.loads(_manifest(path).read_text(encoding="utf-8"))["sha256"]
        if noted != _sha256(path):
            return None
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _manifest(path: Path) -> Path:
    return path.with_suffix(".json")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
