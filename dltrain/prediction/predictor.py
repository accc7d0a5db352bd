"""New inputs, a trained model and the columns of its answers, row by row: as many out as in, and in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dltrain.console import log
from dltrain.data import Tensors
from dltrain.data.tables.spelling import composed
from dltrain.errors import ConfigError, DataError, did_you_mean
from dltrain.prediction.rows import Columns, Inputs, Rows

ERROR, NUMBER = "error", "row"

# Bad rows that are told one by one; of more there is a summary at the end.
_TOLD = 5

# Rows that are read at once: enough that what is done once for all of them costs nothing.
_MOST_ROWS = 4096

_NO_NUMBER = "the model's output is no number (NaN)"


@dataclass(frozen=True)
class Answerer:
    """What answers batches of inputs.

    Attributes:
        columns: their names in order; True for those that hold numbers.
        answer: returns the columns of a batch.
    """

    columns: dict[str, bool]
    answer: Callable[[Tensors], Columns]


@dataclass
class Predictor:
    """
    Attributes:
        batch_size: samples that are computed at once.
        keep: columns of the inputs that stand before the predictions; "all" for all.
        numbers: a column with each row's number comes first.
        errors: a column with the reason why a row has no prediction comes last.
        strict: the first bad row ends it.
        may_all_be_bad: it is no error if no row can be used.
        rows, bad: how many there were so far.
    """

    inputs: Inputs
    answerer: Answerer
    batch_size: int
    keep: Sequence[str] = ()
    numbers: bool = False
    errors: bool = True
    strict: bool = False
    may_all_be_bad: bool = False
    rows: int = 0
    bad: int = 0
    _first: str = field(default="", init=False)

    def predicted(self) -> Iterator[dict[str, Any]]:
        """Yields the columns of some rows, after some rows.

        Raises:
            ConfigError: a column that is to be kept is not there.
            DataError: the inputs cannot be read, no row of them can be used, or one cannot where that is an error.
        """
        try:
            yield from self._parts()
        finally:
            self.inputs.close()

    def _parts(self) -> Iterator[dict[str, Any]]:
        kept = self._kept()
        most = max(self.batch_size, _MOST_ROWS)
        for rows in self.inputs.rows(list(kept.values()), most):
            answers = self._answered(rows)
            columns: dict[str, Any] = {NUMBER: np.asarray(rows.numbers, dtype=object)} if self.numbers else {}
            columns.update({name: rows.cells[source] for name, source in kept.items()})
            columns.update(answers)
            self._tell(rows)
            if self.errors:
                columns[ERROR] = [rows.problems.get(place) for place in range(len(rows))]
            yield columns
        for note in self.inputs.notes():
            log.info("%s", note)
        if self.rows and self.bad == self.rows and not self.may_all_be_bad:
            if self.rows == 1:
                raise DataError(f"the only row cannot be predicted: {self._first}")
            raise DataError(f"none of the {self.rows:,} rows can be predicted. The first: {self._first}")
        if self.bad > _TOLD:
            log.warning("%s of %s rows have no prediction", f"{self.bad:,}", f"{self.rows:,}")

    def _kept(self) -> dict[str, str]:
        """Returns the columns of the inputs to keep, by what they are called beside the predictions."""
        there = self.inputs.columns
        wanted: list[str] = [] if self.keep else list(self.inputs.shown)
        for given in map(composed, self.keep):
            names = [given] if given in there else given.split(",")
            for name in names:
                if name == "all" and name not in there:
                    wanted += there
                elif name in there:
                    wanted.append(name)
                else:
                    raise ConfigError(
                        f"--keep {name}: {self.inputs.where} has no such column.{did_you_mean(name, there)}"
                    )
        own = {NUMBER, ERROR, *self.answerer.columns}
        return {f"{name} (input)" if name in own else name: name for name in dict.fromkeys(wanted)}

    def _answered(self, rows: Rows) -> Columns:
        count = len(rows)
        answers: Columns = {
            name: np.full(count, np.nan) if is_number else np.full(count, None, dtype=object)
            for name, is_number in self.answerer.columns.items()
        }
        for places, inputs in self.inputs.batches(rows, self.batch_size):
            for name, cells in self.answerer.answer(inputs).items():
                answers[name][places] = cells
                if not self.answerer.columns[name]:
                    missing = [int(place) for place, cell in zip(places, cells, strict=True) if cell is None]
                else:
                    missing = places[np.isnan(cells)].tolist()
                rows.problems.update(dict.fromkeys(missing, _NO_NUMBER))
        self.inputs.finish(rows, answers)
        return answers

    def _tell(self, rows: Rows) -> None:
        """
        Raises:
            DataError: a row is bad, and that is an error.
        """
        self.rows += len(rows)
        for place in sorted(rows.problems):
            name, where = self.inputs.name_of(rows, place), self.inputs.where
            told = f"{name if name == where else f'{name} of {where}'}: {rows.problems[place]}"
            if self.strict:
                raise DataError(told)
            self.bad += 1
            self._first = self._first or told
            if self.bad <= _TOLD:
                log.warning("%s", told)
