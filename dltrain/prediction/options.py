"""How a person wants new inputs read, and what of it does not apply to those that a run takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dltrain.data.tables.sniffing import Format
from dltrain.errors import ConfigError
from dltrain.prediction.wanted import NewFormat

Family = Literal["table", "series", "images", "texts"]

_TAKES = {"table": "a table", "series": "a series, which is a table", "images": "images", "texts": "texts"}
_LISTS = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Reading:
    """How new inputs are to be read.

    Attributes:
        column: with the texts or the paths of images, in a table of them; None is the one of the training, or one that
            is called as paths are.
        as_lines: a text a line, whatever it looks like.
        invert: images whose black is to be white.
        given: of the settings of the data, such as "delimiter", those that were given for these inputs.
    """

    column: str | None = None
    as_lines: bool = False
    invert: bool = False
    given: frozenset[str] = frozenset()

    def check(self, family: Family, path: Path | None) -> None:
        """
        Args:
            path: of the inputs; None is standard input.

        Raises:
            ConfigError: something cannot be done with what the run takes, or two things exclude each other.
        """
        takes = f"this run's model takes {_TAKES[family]}"
        if self.column is not None and family in ("table", "series"):
            raise ConfigError(
                f"--column {self.column}: {takes} and finds every column by its name; --column names the one with "
                "texts, or with paths of images. Call the columns as in the training, and leave out --column"
            )
        if self.column is not None and family == "images" and not lists_files(path):
            source = "standard input" if path is None else str(path)
            raise ConfigError(
                f"--column {self.column}: {source} has no columns; --column names the one with the paths of images in "
                "a .csv, .tsv or .parquet. Give such a list, or leave out --column"
            )
        if self.as_lines and family != "texts":
            instead = "; paths from standard input are a line each anyway" if family == "images" else ""
            raise ConfigError(f"--lines: {takes}, and only texts can stand one a line{instead}. Leave out --lines")
        if self.as_lines and self.column is not None:
            raise ConfigError(
                f"--lines and --column {self.column}: a line is one text and has no columns. Give one of them"
            )
        if self.as_lines and "delimiter" in self.given:
            raise ConfigError("--lines and data.delimiter: a line is one text and is not cut. Give one of them")
        if self.invert and family != "images":
            raise ConfigError(f"--invert: {takes}, and only images have black and white to change. Leave out --invert")

    def form(self, known: Format) -> NewFormat:
        """Returns how files of the run are written, with what of it was given for these inputs."""
        given = frozenset(name for name in self.given if getattr(known, name) != "auto")
        return NewFormat(known.delimiter, known.encoding, known.header, known.decimal, known.empty_words, given)


def lists_files(path: Path | None) -> bool:
    """Tells by its name whether a file is a table that can list images."""
    return path is not None and not path.is_dir() and path.name.lower().removesuffix(".gz").endswith(_LISTS)


def refuse_probabilities(what: str) -> ConfigError:
    """
    Args:
        what: the model predicts instead of classes.
    """
    return ConfigError(
        f"--probabilities: this run's model predicts {what}, and only classes have probabilities. Leave out "
        "--probabilities"
    )
