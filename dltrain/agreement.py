"""Whether two runs came to the same figures: row by row, and at the end, to the last bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dltrain.history import History
from dltrain.run_folder import RunFolder

# Of a row, what the clock says, and what only says why there is a row.
_NO_FIGURES = ("epoch_seconds", "partial")
_COUNTERS = ("epoch", "step")


@dataclass(frozen=True)
class Discrepancy:
    """A figure that is not the same in both runs.

    Attributes:
        place: where, in words.
        old, new: the values; None stands for NaN and infinity.
    """

    place: str
    name: str
    old: Any
    new: Any

    @property
    def relative(self) -> float:
        """How far apart they are, as a share of the larger one; infinite where one is no number."""
        if not _is_number(self.old) or not _is_number(self.new):
            return math.inf
        return float(abs(self.old - self.new) / max(abs(self.old), abs(self.new), 1e-300))

    def __str__(self) -> str:
        return f"{self.name} {self.place} was {_shown(self.old)} and is {_shown(self.new)}"


@dataclass(frozen=True)
class Agreement:
    """What a comparison of two runs found.

    Attributes:
        rows: how many rows both have; they are told apart by the step.
        only_old, only_new: how many rows one of them has alone.
        at_end: whether the figures of the end could be compared: both ended at the same step.
        discrepancies: in the order in which they came up.
        one_sided: names of figures that only one of them has.
        cut: whether a signal, an error, ``max_time`` or a sweep ended one of them before its time.
        error: what ended both, at the same step and in the same words; None where nothing did.
    """

    rows: int
    only_old: int
    only_new: int
    at_end: bool
    discrepancies: list[Discrepancy]
    one_sided: list[str]
    cut: bool
    error: str | None

    @property
    def agrees(self) -> bool:
        """Whether all that both have is the same, to the length; False where there is nothing."""
        something = bool(self.rows or self.at_end or self.error)
        return something and not self.discrepancies and (self.same_length or self.cut)

    @property
    def same_length(self) -> bool:
        return self.only_old == self.only_new == 0

    @property
    def largest(self) -> Discrepancy:
        return max(self.discrepancies, key=lambda found: found.relative)


def compare(old: RunFolder, new: RunFolder) -> Agreement:
    """Compares the rows of two runs, and their figures of the test split and best value.

    Raises:
        CheckpointError: a file of one of them is damaged.
    """
    before, now = _rows(old), _rows(new)
    shared = [step for step in before if step in now]
    found: list[Discrepancy] = []
    alone: dict[str, None] = {}
    for step in shared:
        place = f"in epoch {before[step].get('epoch')} (step {step})"
        one, other = ({key: row[key] for key in row if key not in _COUNTERS} for row in (before[step], now[step]))
        found += _between(one, other, place, alone)
    ends = old.read_result(), new.read_result()
    finals = [_finals(result) for result in ends]
    at_end = all(finals) and ends[0].get("steps") == ends[1].get("steps")
    if at_end:
        found += _between(finals[0], finals[1], "at the end", alone)
    return Agreement(
        rows=len(shared),
        only_old=len(before) - len(shared),
        only_new=len(now) - len(shared),
        at_end=at_end,
        discrepancies=found,
        one_sided=list(alone),
        cut=any(result.get("status") != "done" or "pruned" in result for result in ends),
        error=_same_error(*ends),
    )


def _same_error(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Returns what ended both runs, where that is the same."""
    same = all(old.get(key) == new.get(key) for key in ("error", "steps"))
    return str(old["error"]) if same and old.get("error") else None


def _rows(folder: RunFolder) -> dict[int, dict[str, Any]]:
    """Returns the rows of a run by step, without what is no figure."""
    rows = {}
    for row in History(folder.metrics).rows():
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows[row["step"]] = {name: value for name, value in row.items() if name not in _NO_FIGURES}
    return rows


def _finals(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the figures of the test split, and the best value."""
    figures = dict(result.get("test") or {})
    best = result.get("best") or {}
    if best:
        figures |= {f"best {best.get('metric')}": best.get("value"), "epoch of the best": best.get("epoch")}
    return figures


def _between(old: dict[str, Any], new: dict[str, Any], place: str, alone: dict[str, None]) -> list[Discrepancy]:
    """Returns the figures that differ; adds to ``alone`` the names that only one side has."""
    alone.update(dict.fromkeys(name for name in {**old, **new} if (name in old) != (name in new)))
    return [
        Discrepancy(place, name, old[name], new[name])
        for name in old
        if name in new and repr(old[name]) != repr(new[name])
    ]


def last_figures(folder: RunFolder) -> dict[str, Any]:
    """Returns what a run came to: its last row, the best value, and the figures of the test split."""
    rows = _rows(folder)
    last = rows[max(rows)] if rows else {}
    return {**{name: value for name, value in last.items() if "/" in name}, **_finals(folder.read_result())}


def told(agreement: Agreement) -> str:
    """Returns the verdict in words."""
    rows = f"{agreement.rows} row{'' if agreement.rows == 1 else 's'}"
    if agreement.discrepancies:
        return _told_difference(agreement, rows)
    if agreement.error is not None:
        figures = f"the figures agree to the last bit ({rows}), and " if agreement.rows else ""
        return f"{figures}both runs ended at the same step, and of the same: {agreement.error}"
    if not agreement.rows and not agreement.at_end:
        if agreement.only_old and agreement.only_new:
            return "there is no figure to compare: the runs have no step in common at which both were evaluated"
        return "there is no figure to compare: one of the runs was stopped before its first row"
    if agreement.same_length:
        return f"the figures agree to the last bit ({rows}{', and those of the end' if agreement.at_end else ''})"
    more = [
        f"the {name} run has {count} more"
        for name, count in (("old", agreement.only_old), ("new", agreement.only_new))
        if count
    ]
    return f"the figures that both have agree to the last bit ({rows}); {' and '.join(more)}"


def _told_difference(agreement: Agreement, rows: str) -> str:
    first, largest, count = agreement.discrepancies[0], agreement.largest, len(agreement.discrepancies)
    text = f"the figures differ: {first}, {_apart(first)}"
    if count == 1:
        return f"{text}. It is the only one of {rows}"
    if largest is first:
        return f"{text}. That is the first of {count} that differ in {rows}, and the one that differs most"
    return f"{text}. That is the first of {count} that differ in {rows}; most of all {largest}, {_apart(largest)}"


def _apart(found: Discrepancy) -> str:
    if not math.isfinite(found.relative):
        return "which have no distance"
    return f"a relative difference of {found.relative:.2g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return "NaN or infinite" if value is None else repr(value)
