"""Scalars out of the files that TensorBoard reads, without loading the histograms and pictures beside them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

# Of a record: its length in 8 bytes and a checksum of these in 4, then the content and its checksum in 4.
_HEAD, _TAIL = 12, 4

# A scalar's record is small; what is larger is read past.
_LARGEST = 4096


def scalars(folder: Path, beginning: str) -> dict[str, list[tuple[float, float]]]:
    """Returns (step, value) of all scalars whose tags begin so, by the rest of the tag.

    Of a run that was resumed, what was written again takes the place of what it had before. A file that is damaged is
    read as far as it is whole.
    """
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]

    found: dict[str, dict[float, float]] = {}
    for path in sorted(path for path in folder.glob("events.out.tfevents.*") if path.is_file()):
        for content in _records(path, beginning.encode()):
            event = Event()
            try:
                event.ParseFromString(content)
            except Exception:  # google.protobuf's DecodeError; a record that only looks like one
                continue
            for value in event.summary.value:
                if value.tag.startswith(beginning):
                    own = found.setdefault(value.tag.removeprefix(beginning), {})
                    own[float(event.step)] = value.simple_value
    return {name: sorted(points.items()) for name, points in found.items()}


def _records(path: Path, part: bytes) -> Iterator[bytes]:
    """Yields the small records of a file that hold ``part``."""
    with path.open("rb") as file:
        size = path.stat().st_size
        while len(head := file.read(_HEAD)) == _HEAD:
            (length,) = struct.unpack("<Q", head[:8])
            if length > size - file.tell():
                return
            if length > _LARGEST:
                file.seek(length + _TAIL, 1)
                continue
            content = file.read(length)
            file.seek(_TAIL, 1)
            if part in content:
                yield content
