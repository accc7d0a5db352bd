"""The IDX reader: strict, and nothing but arrays or a DataError whatever it is given."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import idx, pixels

from dltrain.data.images.idx import read_images, read_labels
from dltrain.errors import DataError

IMAGES = pixels(1, 3, 4, 5)


def test_images_and_labels_are_read_plain_and_zipped(tmp_path):
    labels = np.array([0, 9, 4], dtype=np.uint8)
    for name, pack in (("plain", bytes), ("zipped", gzip.compress)):
        (tmp_path / name).write_bytes(pack(idx(IMAGES)))
        assert np.array_equal(read_images(tmp_path / name), IMAGES)
        (tmp_path / name).write_bytes(pack(idx(labels)))
        found = read_labels(tmp_path / name, 3, 10)
        assert found.dtype == np.int64 and found.tolist() == [0, 9, 4]


def huge(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, so it is no IDX file of images"),
        (b"<html>", "begins with 3c 68 74 6d, so it is no IDX file of images"),
        (idx(IMAGES)[:9], "ends in its header. Fetch it again"),
        (idx(IMAGES.astype("i2"), 0x0B), "holds int16 values where images are uint8"),
        (idx(IMAGES[0]), "has 2 dimensions where images have 3. Is it the right file?"),
        (idx(IMAGES[:0]), "its header promises 0 x 4 x 5 values, which cannot be images"),
        (huge(2**32 - 1, 2**32 - 1, 9), "promises 4294967295 x 4294967295 x 9 values, which cannot be images"),
        (huge(60000, 28, 28), "is cut off: its header promises 47040000 values and 0 follow. Fetch it again"),
        (idx(IMAGES)[:-1], "is cut off: its header promises 60 values and 59 follow. Fetch it again"),
        (idx(IMAGES) + b"x", "has more than the 60 values that its header promises. Fetch it again"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], "the gzip file ends in its middle. Fetch it again"),
        (b"\x1f\x8b" + bytes(20), "the gzip file is damaged (Unknown compression method). Fetch it again"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_images(path)
    assert str(caught.value).startswith(f"{path}: ") and str(caught.value).endswith(message)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(DataError, match="images: there is no such file"):
        read_images(tmp_path / "images")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_images(tmp_path)


@given(st.data())
def test_mutated_files_give_an_array_or_a_data_error(tmp_path_factory, data):
    path = Path(tmp_path_factory.getbasetemp()) / "mutated"
    zipped = data.draw(st.booleans())
    content = bytearray(gzip.compress(idx(IMAGES), mtime=0) if zipped else idx(IMAGES))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content)[: data.draw(st.integers(0, len(content)))])
    try:
        assert read_images(path).dtype == np.uint8
    except DataError as error:
        assert str(error).startswith(str(path))
