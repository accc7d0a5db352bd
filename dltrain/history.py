"""``metrics.jsonl``: a line of figures for each evaluation, appended as it comes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dltrain.console import log
from dltrain.errors import MachineError
from dltrain.run_folder import free_megabytes, json_text, sync_folder, write_file

Row = dict[str, Any]


class History:
    """The rows of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name_is_durable = False

    def append(self, row: Row) -> None:
        """Adds a row. It outlives the process at once, and the machine from the next ``sync`` on.

        Raises:
            MachineError: the disk is full.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json_text(row) + "\n")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise MachineError(
                f"{self.path}: the disk is full: needs 0.1 MB, {free_megabytes(self.path):.1f} MB are "
                f"free. Make room, then go on with: dltrain resume {self.path.parent}"
            ) from error

    def sync(self) -> None:
        """Makes all rows durable; called before a checkpoint that counts on them."""
        if self.path.exists():
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if not self._name_is_durable:
                sync_folder(self.path.parent)
                self._name_is_durable = True

    def rows(self) -> Iterator[Row]:
        """Yields the rows; a last line that a killed process left unfinished is passed over.

        So is a line that is damaged in some other way, which is told: the rows behind it are none the worse.
        """
        if not self.path.exists():
            return
        *lines, last = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines, 1):
            row = _parsed(line)
            if row is None:
                log.warning("%s: line %d is damaged, and is passed over", self.path, number)
            else:
                yield row
        if (row := _parsed(last)) is not None:
            yield row

    def cut(self, step: int) -> None:
        """Removes the rows that a resumed run will write again: those after ``step``, and a row that was due
        only because the training ended there."""
        kept = [row for row in self.rows() if row["step"] <= step and not row.get("partial")]
        write_file(self.path, "".join(json_text(row) + "\n" for row in kept))


def _parsed(line: str) -> Row | None:
    """Returns a row; None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
