"""Windows over a series: where they lie, what is predicted from each, and the series kept once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain.data.batching import ResidentSplit, Samples
from dltrain.data.contract import Batch, Source
from dltrain.errors import DataError

if TYPE_CHECKING:
    from dltrain.data.series.dataset import SeriesSettings
    from dltrain.data.series.reader import Series

Floats = NDArray[np.float64]


class Windows(Source):
    """The windows of a part of a series.

    The series is kept once: its windows are a view in which the same rows stand many times. Taking random windows out
    of that view is as quick as out of a copy of them all.
    """

    def __init__(
        self,
        series: torch.Tensor,
        targets: torch.Tensor,
        window: int,
        stride: int,
        *,
        usable: NDArray[np.bool_],
        binary: bool = False,
    ) -> None:
        """
        Args:
            series: (R, D) float32.
            targets: of the windows from row 0, ``stride``, 2 ``stride``, ... on: (N, outputs) float32 values, or (N,)
                int64 classes, -1 for a window that is left out.
            usable: (N,) which windows are not left out.
            binary: the classes are 0 and 1, and become (N, 1) float32.
        """
        self.series, self.window, self.stride = series, window, stride
        self.num_windows = len(targets)
        self.kept: torch.Tensor | None = None
        keep = torch.from_numpy(usable)
        if not targets.is_floating_point():
            keep = keep & (targets >= 0)
        if not keep.all():
            self.kept = torch.nonzero(keep)[:, 0]
            targets = targets[self.kept]
        self.targets = targets.float()[:, None] if binary else targets

    def __len__(self) -> int:
        return len(self.targets)

    def samples(self, device: torch.device | str = "cpu") -> Samples:
        """Returns the windows as they would be if each were kept; on the CPU they take no memory."""
        if not self.num_windows:
            return Samples(self.series.new_empty((0, self.window, self.series.shape[1])), self.targets)
        view = self.series.to(device).unfold(0, self.window, self.stride)[: self.num_windows].transpose(1, 2)
        return Samples(view if self.kept is None else view[self.kept.to(device)], self.targets.to(device))

    def split(self, *, batch_size: int, seed: int | None, device: torch.device | str) -> ResidentSplit:
        return self.samples(device).split(batch_size=batch_size, seed=seed, device=device)

    def head(self, count: int) -> Batch:
        return self.samples().head(count)

    def content(self) -> Iterator[bytes | memoryview]:
        yield f"{tuple(self.series.shape)} {self.window} {self.stride}".encode()
        yield self.series.contiguous().numpy().data
        yield self.targets.contiguous().numpy().data


@dataclass(frozen=True)
class Cut:
    """Where windows and what is predicted from them lie in a part of a series.

    Attributes:
        horizon, skip: 0 where the class of the window's last row is predicted.
    """

    window: int
    horizon: int
    skip: int
    stride: int
    differences: bool

    @classmethod
    def of(cls, settings: SeriesSettings) -> Cut:
        own_class = settings.task == "classification" and settings.label != "rise"
        return cls(
            settings.window,
            0 if own_class else settings.horizon,
            0 if own_class else settings.skip,
            settings.stride,
            settings.differences,
        )

    @property
    def needed(self) -> int:
        """Rows that one window takes with what is predicted from it."""
        return self.differences + self.window + self.skip + self.horizon

    def seen(self, values: Floats) -> Floats:
        """Returns (R, D) rows as windows see them: changes have one row less, for the first has none before it."""
        return np.diff(values, axis=0) if self.differences and len(values) else values

    def ends(self, num_rows: int) -> NDArray[np.int64]:
        """Returns the last row of each window of a part."""
        first = self.differences + self.window - 1
        return np.arange(first, num_rows - self.skip - self.horizon, self.stride)

    def usable(self, inputs: Floats, outputs: Floats, empty: str) -> NDArray[np.bool_]:
        """Returns which windows know nothing of what comes after them, and predict what was measured: (N,).

        A cell in a window is filled from cells outside of it only where the window ends with empty ones. What is
        predicted must not be filled at all.

        Args:
            inputs, outputs: (R, D) rows of a part as they were read, NaN where a cell is empty.
            empty: how empty cells are filled.
        """
        known: NDArray[np.bool_] = np.logical_not(np.isnan(inputs))
        if empty == "previous":
            known = np.asarray(np.logical_or.accumulate(known, axis=0))
        measured: NDArray[np.bool_] = np.logical_not(np.isnan(outputs).any(axis=1))
        ends = self.ends(len(inputs))
        usable: NDArray[np.bool_] = np.asarray(known[ends].all(axis=1))
        if self.horizon:
            steps = np.arange(1, self.horizon + 1) + self.skip
            usable = usable & measured[ends[:, None] + steps].all(axis=1) & (measured[ends] | (not self.differences))
        return usable

    def values(self, outputs: Floats) -> Floats:
        """Returns what is predicted, (N, H * D), step after step: values, or changes from the window's last row."""
        ends = self.ends(len(outputs))
        steps = np.arange(1, self.horizon + 1) + self.skip
        values: Floats = outputs[ends[:, None] + steps]  # (N, H, D)
        if self.differences:
            values = values - outputs[ends][:, None]
        return values.reshape(len(ends), self.horizon * outputs.shape[1])

    def last(self, outputs: Floats) -> Floats:
        """Returns the window's last value as a guess of each step, (N, H * D)."""
        last: Floats = outputs[self.ends(len(outputs))]
        return np.tile(last, (1, self.horizon))

    def rises(self, outputs: Floats) -> NDArray[np.int64]:
        """Returns (N,) whether the first column is higher ``skip + horizon`` rows after each window's last row."""
        ends = self.ends(len(outputs))
        later: Floats = outputs[ends + self.skip + self.horizon, 0]
        now: Floats = outputs[ends, 0]
        return np.greater(later, now).astype(np.int64)

    def at_last(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns (N,) the labels of the windows' last rows."""
        last: NDArray[np.int64] = labels[self.ends(len(labels))]
        return last


def fill(values: Floats, how: str, series: Series, first: int, end: int) -> Floats:
    """Returns the rows of a part with its empty cells filled, from cells of the same part alone.

    Raises:
        DataError: a column has no value to begin with.
    """
    if how == "error" or not np.isnan(values).any():
        return values
    filled = values.copy()
    rows = np.arange(len(values))
    for place, column in enumerate(filled.T):
        known = np.flatnonzero(~np.isnan(column))
        if not len(known):
            raise DataError(
                f"{series.where}: a column has no value in rows {series.row_number(first)} to "
                f"{series.row_number(end - 1)}, which are one part of the series. Leave it out of data.columns, or "
                "change data.validation_fraction and data.test_fraction"
            )
        if how == "interpolate":
            filled[:, place] = np.interp(rows, known, column[known])
        else:
            before = np.searchsorted(known, rows, side="right") - 1
            filled[:, place] = column[known[before.clip(min=0)]]
    return filled
