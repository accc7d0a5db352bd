"""Files that changed are told from those that did not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dltrain.data.streams import content
from dltrain.errors import DataError


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    paths = []
    for number, size in enumerate((300_000, 10, 0, 150_000)):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes((place * 7 + number) % 251 for place in range(size)))
        paths.append(str(path))
    return paths


def changed(path: str, place: int) -> None:
    """Changes one byte, and the time as a write does."""
    data = bytearray(Path(path).read_bytes())
    data[place] ^= 1
    Path(path).write_bytes(data)
    stat = Path(path).stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


@pytest.mark.parametrize(("number", "place"), [(0, 0), (0, 65_536), (0, 299_999), (1, 9), (3, 80_000)])
def test_any_changed_byte_of_small_files_is_noticed(shards, number, place):
    before, key = content.fingerprint(shards), content.cache_key(shards)
    changed(shards[number], place)
    assert content.fingerprint(shards) != before and content.cache_key(shards) != key


def test_a_copy_has_the_same_fingerprint(shards, tmp_path):
    copies = []
    for path in shards:
        copy = tmp_path / "copies" / Path(path).name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(Path(path).read_bytes())
        os.utime(copy, (0, 0))
        copies.append(str(copy))
    assert content.fingerprint(copies) == content.fingerprint(shards)


def test_of_large_files_a_sample_is_read_and_times_count_for_what_was_learned(shards, monkeypatch):
    monkeypatch.setattr(content, "_BUDGET", 130_000)
    monkeypatch.setattr(content, "_PIECE", 1_000)
    content._sampled.cache_clear()
    read = []
    add = content._add_pieces
    monkeypatch.setattr(
        content, "_add_pieces", lambda digest, path, starts: (read.extend(starts), add(digest, path, starts))
    )
    before, key = content.fingerprint(shards), content.cache_key(shards)
    assert 100 <= len(read) <= 130 and max(read) > 290_000
    changed(shards[0], 2_500)  # between two pieces
    assert content.fingerprint(shards) == before and content.cache_key(shards) != key
    changed(shards[0], 4_000)
    assert content.fingerprint(shards) != before


def test_a_file_that_is_gone_is_named(shards):
    Path(shards[1]).unlink()
    with pytest.raises(DataError, match=rf"^{shards[1]}: cannot be read: No such file or directory$"):
        content.fingerprint(shards)
