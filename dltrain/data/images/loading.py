"""Image files to one array, with a progress bar where it takes long.

Each file is read and decoded once. Pillow lets other threads run while it decodes, so large files are decoded by
several threads; of small ones most of the time is Python's own, and threads would only take turns.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dltrain import console
from dltrain.data.images.decoding import MAX_FILE, BadImageError, Form, decode, opened, orientation
from dltrain.errors import DataError

# Files that are decoded as one piece of work, and the bytes from which on a file is worth a thread.
_CHUNK = 64
_LARGE_FILE = 24 * 1024


@dataclass(frozen=True)
class Decoded:
    """Images that were decoded.

    Attributes:
        images: (N, C, H, W) uint8.
        kept: (N,) the place of each in the list of paths.
        skipped: what was wrong with the others.
        content: SHA-256 of all files.
    """

    images: NDArray[np.uint8]
    kept: NDArray[np.int64]
    skipped: list[str]
    content: str


def decode_all(paths: list[Path], form: Form, *, skip_bad: bool) -> Decoded:
    """Reads and decodes files, with a progress bar where it takes long.

    Raises:
        DataError: a file is no image (unless ``skip_bad``), or sizes differ and ``form`` does not say which to take.
    """
    images: NDArray[np.uint8] | None = None
    kept: list[int] = []
    skipped: list[str] = []
    digest = hashlib.sha256()
    with contextlib.closing(_decoded(paths, form)) as results:
        for place, result in enumerate(results):
            digest.update(result.digest)
            if result.image is None:
                if not skip_bad:
                    raise DataError(
                        f"{paths[place]}: {result.problem}. Mend or remove it, or leave such files out with "
                        "data.bad_images=skip"
                    )
                skipped.append(f"{paths[place]}: {result.problem}")
                continue
            images = _room_for(result.image, images, len(paths), paths[place], form, paths)
            images[len(kept)] = result.image  # a grey image fills all channels
            kept.append(place)
    if images is None:
        reason = f": {skipped[0]}" if skipped else ""
        raise DataError(f"none of {len(paths)} images can be read{reason}")
    return Decoded(images[: len(kept)], np.array(kept, dtype=np.int64), skipped, digest.hexdigest())


def _room_for(
    image: NDArray[np.uint8],
    images: NDArray[np.uint8] | None,
    count: int,
    path: Path,
    form: Form,
    paths: list[Path],
) -> NDArray[np.uint8]:
    """Returns the array for all images, made for the first one and widened at the first one in colour."""
    if images is None:
        return np.empty((count, *image.shape), dtype=np.uint8)
    if image.shape[1:] != images.shape[2:]:
        raise DataError(_different_sizes(paths, path))
    if image.shape[0] > images.shape[1]:
        return np.repeat(images, image.shape[0], axis=1)
    return images


def _different_sizes(paths: list[Path], culprit: Path) -> str:
    """Says which sizes there are, from the headers of the first thousand images and the one that differs."""
    sizes: Counter[str] = Counter()
    example: dict[str, Path] = {}
    for path in [*paths[:1000], culprit]:
        with contextlib.suppress(BadImageError, OSError), quiet(), opened(path.read_bytes()) as image:
            turned = orientation(image) >= 5
            width, height = reversed(image.size) if turned else image.size
            name = f"{height}x{width}"
            sizes[name] += 1
            example.setdefault(name, path)
    several = ", ".join(f"{name} ({example[name].name})" for name, _ in sizes.most_common(4))
    more = f" and {len(sizes) - 4} more" if len(sizes) > 4 else ""
    return (
        f"the images have different sizes (height x width): {several}{more}. Give the one that all shall have, "
        f"such as data.size={sizes.most_common(1)[0][0].partition('x')[0]} or 'data.size=[H, W]'"
    )


# --- reading, in parallel -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Result:
    digest: bytes
    image: NDArray[np.uint8] | None = None
    problem: str = ""


def _decoded(paths: list[Path], form: Form) -> Generator[_Result, None, None]:
    """Yields what came of each file, in their order, a few chunks ahead of the caller."""
    chunks = [paths[first : first + _CHUNK] for first in range(0, len(paths), _CHUNK)]
    probe = [path.stat().st_size for path in paths[:: max(1, len(paths) // 50)] if path.exists()]
    threads = os.cpu_count() or 1 if sum(probe) >= _LARGE_FILE * len(probe) else 1
    with quiet(), _progress(len(paths)) as advance:
        if threads == 1:
            for chunk in chunks:
                yield from _read_chunk(chunk, form)
                advance(len(chunk))
            return
        pool = ThreadPoolExecutor(threads)
        try:
            ahead = [pool.submit(_read_chunk, chunk, form) for chunk in chunks[: 2 * threads]]
            for number, chunk in enumerate(chunks):
                results = ahead.pop(0).result()
                if number + 2 * threads < len(chunks):
                    ahead.append(pool.submit(_read_chunk, chunks[number + 2 * threads], form))
                yield from results
                advance(len(chunk))
        finally:
            pool.shutdown(cancel_futures=True)


def _read_chunk(paths: list[Path], form: Form) -> list[_Result]:
    return [_read(path, form) for path in paths]


def _read(path: Path, form: Form) -> _Result:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return _Result(b"missing", problem="there is no such file")
    except OSError as error:
        return _Result(b"unreadable", problem=f"it cannot be read: {error.strerror}")
    digest = hashlib.sha256(content).digest()
    try:
        return _Result(digest, decode(content, form))
    except BadImageError as error:
        return _Result(digest, problem=str(error))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's warnings about odd but readable files from the user; ``MAX_PIXELS`` holds the limit."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
        yield


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Any]:
    if not console.is_live() or total < 2 * _CHUNK:
        yield lambda count: None
        return
    from rich.progress import Progress

    with Progress(console=console.error_console(), transient=True) as progress:
        task = progress.add_task("decoding images", total=total)
        yield lambda count: progress.advance(task, count)
