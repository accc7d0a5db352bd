"""Shards that are written for a test, and damages to them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np


def write_parquet(folder: Path, *, shards: int = 3, rows: int = 100, row_group: int = 20, columns: int = 2) -> Path:
    """Writes shards with the columns id (0, 1, 2, ... over all shards), x0, x1, ..., city and y."""
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for shard in range(shards):
        values = generator.normal(5, 3, (rows, columns))
        table = {
            "id": np.arange(shard * rows, (shard + 1) * rows),
            **{f"x{number}": values[:, number] for number in range(columns)},
            "city": generator.choice(["서울", "부산", "대구"], rows),
            "y": 2 * values[:, 0] + generator.normal(0, 0.1, rows),
        }
        parquet.write_table(pa.table(table), folder / f"part-{shard:03d}.parquet", row_group_size=row_group)
    return folder


def png(number: int, size: int = 8) -> bytes:
    """Returns a picture that tells its number: red and green are its two bytes, blue shows a pattern."""
    from PIL import Image

    pixels = np.zeros((size, size, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = divmod(number, 256)
    pixels[..., 2] = np.arange(size)[None] * (number % 7)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_tars(folder: Path, *, shards: int = 2, samples: int = 60, classes: int = 3) -> Path:
    """Writes shards of numbered pictures, sample after sample, the label in a .cls member."""
    for shard in range(shards):
        numbers = range(shard * samples, (shard + 1) * samples)
        members = [
            (f"{number:06d}.{ending}", content)
            for number in numbers
            for ending, content in (("png", png(number)), ("cls", str(number % classes).encode()))
        ]
        write_tar(folder / f"train-{shard}.tar", members)
    return folder
