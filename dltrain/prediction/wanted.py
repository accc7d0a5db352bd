"""What is looked for in a new table, how it is written, and the contract of what gives its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dltrain.data.tables.columns import near
from dltrain.data.tables.sniffing import Format
from dltrain.errors import ConfigError, DataError
from dltrain.prediction.rows import Rows

EMPTY_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "?")


@dataclass(frozen=True)
class NewFormat(Format):
    """How a new table is written.

    Attributes:
        given: names of the attributes that were given for this very file, "auto" aside. They hold; what stands in the
            settings of the training is only tried first, for the new file may be another.
    """

    given: frozenset[str] = frozenset()

    @property
    def told(self) -> str:
        """What was given, as a sentence for messages on what came of it; "" where nothing was."""
        if not self.given:
            return ""
        values = " ".join(f"data.{name}={getattr(self, name)!r}" for name in sorted(self.given))
        return f". It is read with {values}, as was given: leave that out, and it is told from the file"

    def refuse_given(self, where: str) -> None:
        """
        Raises:
            ConfigError: something was given, and the file is Parquet.
        """
        if self.given:
            name = min(self.given)
            raise ConfigError(
                f"data.{name}={getattr(self, name)!r}: {where} is Parquet, which has no {name} to be told. Leave out "
                f"data.{name}"
            )


ANY_FORMAT = NewFormat("auto", "auto", "auto", "auto", EMPTY_WORDS)


@dataclass(frozen=True)
class Wanted:
    """What is looked for in a table, which tells its header and its delimiter.

    Attributes:
        columns: names of the columns.
        by_place: of a table without a header, its first columns are these.
        alias: turns a name in the header into the one that is meant.
        quoting: quotes hold a cell of a text table together.
        hint: what to do where a column is missing, as the end of a message.
        option: of the command line that names the one column; "" where the model needs it.
    """

    columns: Sequence[str]
    by_place: bool = False
    alias: Callable[[str], str] = str
    quoting: bool = True
    hint: str = ""
    option: str = ""

    @property
    def are_places(self) -> bool:
        """Tells whether the names are those that a table without a header is given."""
        return bool(self.columns) and all(name.startswith("column_") for name in self.columns)


class NewTable(ABC):
    """A table that is read from its beginning to its end, once.

    Attributes:
        where: what it is called in messages.
        names: of its columns.
        decimal: the decimal mark of its numbers; None where it is not known.
        notes: what a person should know of how it is read.
        is_typed: a text in it is meant as it stands, white space and words such as NA included.
    """

    where: str
    names: list[str]
    decimal: str | None = None
    notes: list[str]
    is_typed = False

    @abstractmethod
    def rows(self, columns: Sequence[str], most: int) -> Iterator[Rows]:
        """Yields all rows with these columns, as Arrow arrays, null where a cell is empty."""

    def close(self) -> None:  # noqa: B027 - only text is kept open
        """Closes what is read."""

    def name_of(self, number: int) -> str:
        """Returns what a person calls the row with this number."""
        return f"row {number}"

    def require(self, columns: Sequence[str], hint: str = "") -> None:
        """
        Args:
            hint: what to add to the message.

        Raises:
            DataError: there is no such column; the message gives the nearest.
        """
        missing = [name for name in columns if name not in self.names]
        if missing:
            more = f" (and {len(missing) - 1} more that the model needs)" if len(missing) > 1 else ""
            raise DataError(
                f"{self.where}: there is no column '{missing[0]}'{more}.{near(missing[0], self.names)}{hint}"
            )
