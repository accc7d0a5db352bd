"""What callbacks show of a model, in files of the run folder: pictures, texts and tables, each of a row of figures."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dltrain import sample_pictures
from dltrain.board import Board
from dltrain.console import log
from dltrain.data import Data
from dltrain.errors import MachineError
from dltrain.readable import Entry, table
from dltrain.run_folder import sweep_temporary_files, write_file
from dltrain.text_tables import markdown

if TYPE_CHECKING:
    from PIL.Image import Image

    from dltrain.trainer import Trainer


class Album:
    """A folder that a callback fills. One that cannot be written is said once and does not end the training."""

    def __init__(self, folder: Path, board: Board) -> None:
        self.folder, self.board = folder, board
        self._is_usable = True

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file whole or not at all, in place of an older one of that name."""
        if not self._is_usable:
            return
        try:
            self.folder.mkdir(exist_ok=True)
            write_file(self.folder / name, content)
        except (OSError, MachineError) as error:
            self._is_usable = False
            log.warning("nothing more is written to %s: %s. The training goes on without", self.folder, error)

    def picture(self, name: str, picture: Image) -> None:
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        self.write(f"{name}.png", stream.getvalue())

    def show(self, tag: str, picture: Image, step: int) -> None:
        """Shows a picture in TensorBoard, where the run has that."""
        self.board.image(tag, np.asarray(picture), step, layout="HWC")

    def table(self, name: str, rows: Iterable[Iterable[object]]) -> None:
        """Writes rows of cells as CSV, the names of the columns first."""
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(rows)
        self.write(f"{name}.csv", stream.getvalue())

    def samples(self, data: Data, entries: list[Entry], tag: str, heading: str, trainer: Trainer) -> None:
        """Writes and shows a picture of samples that are images; of others TensorBoard has a table."""
        step = trainer.row["step"]
        if entries[0].image is not None:
            picture = sample_pictures.draw(data, entries, heading)
            self.picture(file_name(trainer), picture)
            self.show(tag, picture, step)
        else:
            self.board.text(tag, markdown(*table(entries)), step)

    def begin(self, trainer: Trainer, every_epochs: int) -> None:
        """Removes what a resumed run will write again, and what it showed of its last row alone because it ended."""
        if not self.folder.is_dir():
            return
        sweep_temporary_files(self.folder)
        for path in self.folder.iterdir():
            found = re.match(r"epoch-(\d+)[.-]", path.name)
            epoch = int(found[1]) if found else 0
            if epoch > trainer.state.epoch or (epoch == trainer.state.epoch and epoch % every_epochs):
                path.unlink(missing_ok=True)


def is_due(trainer: Trainer, every_epochs: int) -> bool:
    """Tells whether a row of figures is one to show more of: that of an epoch's end, or the last where the training
    ends before one.
    """
    state = trainer.state
    return trainer.row.get("partial", False) or (state.batch == 0 and state.epoch % every_epochs == 0)


def file_name(trainer: Trainer) -> str:
    """Returns the name of what belongs to this row: the epoch that is over or, where one is under way, that one."""
    return f"epoch-{trainer.state.epoch + (trainer.state.batch > 0):04d}"


def title(trainer: Trainer) -> str:
    return f"epoch {trainer.row['epoch']}, step {trainer.row['step']}"
