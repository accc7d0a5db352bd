"""What was made once is found again, whole or not at all."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from dltrain.data.cache import cached, content_key, read_arrays

ARRAYS = {
    "images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "offsets": np.array([0, 5, 9], dtype=np.int64),
    "nothing": np.empty((0, 7), dtype=np.float32),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def build():
    """Returns a function that counts how often it was called."""

    def make():
        make.calls += 1
        return ARRAYS

    make.calls = 0
    return make


def equal(found, expected) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array) for name, array in expected.items()
    )


def test_arrays_are_made_once(cache, build):
    for _ in range(3):
        assert equal(cached(["a", "b"], build, "the arrays"), ARRAYS)
    assert build.calls == 1
    assert sorted(path.suffix for path in (cache / "data").iterdir()) == [".json", ".safetensors"]


def test_another_key_is_another_set(cache, build):
    for key in (["a", "b"], ["ab"], ["a", "b", ""]):
        cached(key, build, "the arrays")
    assert build.calls == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "manifest", "no manifest"])
def test_a_damaged_set_is_made_again(cache, build, damage):
    cached(["a"], build, "the arrays")
    (path,) = (cache / "data").glob("*.safetensors")
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "manifest":
        path.with_suffix(".json").write_text("[")
    else:
        path.with_suffix(".json").unlink()
    assert read_arrays(path) is None
    assert equal(cached(["a"], build, "the arrays"), ARRAYS)
    assert build.calls == 2 and equal(read_arrays(path), ARRAYS)


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path, monkeypatch, build, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "file"))
    logging.getLogger("dltrain").propagate = True
    with caplog.at_level(logging.WARNING):
        assert equal(cached(["a"], build, "the arrays"), ARRAYS)
    logging.getLogger("dltrain").propagate = False
    assert f"the arrays cannot be kept in {tmp_path / 'file' / 'data'} (Not a directory): the next run makes it " in (
        caplog.text
    )


def test_nothing_is_left_of_a_write_that_failed(cache, monkeypatch, build):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dltrain.data.cache._sha256", full)
    cached(["a"], build, "the arrays")
    assert list((cache / "data").iterdir()) == []


def test_what_a_killed_writer_left_is_swept_a_day_later(cache, build):
    (cache / "data").mkdir(parents=True)
    old, young = cache / "data" / "a.safetensors.1.tmp", cache / "data" / "b.safetensors.2.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cached(["a"], build, "the arrays")
    assert not old.exists() and young.exists()


def test_the_key_of_files_is_their_content_in_order(tmp_path):
    one, two, copy = (tmp_path / name for name in ("one", "two", "copy"))
    one.write_bytes(b"1" * 3_000_000)
    two.write_bytes(b"2")
    copy.write_bytes(one.read_bytes())
    os.utime(copy, (0, 0))
    assert content_key([one, two]) == content_key([copy, two])
    assert len({content_key(paths) for paths in ([one, two], [two, one], [one], [])}) == 4
