"""The space around the best region of a search, for a search that goes on there."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from typing import Any

from dltrain.errors import ConfigError
from dltrain.overrides import value_of
from dltrain.sweeps.ledger import Trial
from dltrain.sweeps.parsing import space_of
from dltrain.sweeps.space import Choice, Interval, ListOf, Single, Steps

# The best trials are one of so many that are done, and at least three.
_ONE_OF, _FEWEST = 5, 3

# How far the region goes beyond the best values on each side: this part of their own range, or, where all are equal,
# this part of the old one.
_MARGIN, _MARGIN_WHERE_EQUAL = 1 / 4, 1 / 8


def narrowed(texts: dict[str, Any], trials: list[Trial], higher_is_better: bool) -> dict[str, Any]:
    """Returns the texts of a space around the best region of a search: the best fifth of the trials that are done.

    Numbers go from the least to the largest value of these trials and a quarter of that range beyond, in the logarithm
    where it was searched, but never out of the old space; lists so in their length and their values. Of choices those
    stay which occur. What no best trial has because of its condition stays as it was, and goes where the condition can
    no longer hold.

    Args:
        texts: by key, as ``parsing.space_of`` reads them.
        higher_is_better: which end of the objectives is the best.

    Raises:
        ConfigError: fewer than three trials are done, or they are not those of this space.
    """
    best = _best(trials, higher_is_better)
    dimensions = {dimension.key: dimension for dimension in space_of(texts).dimensions}
    around: dict[str, Single | ListOf] = {}
    for key, dimension in dimensions.items():
        seen = [trial.values[key] for trial in best if key in trial.values]
        if not seen and dimension.when is None:
            raise ConfigError(f"{key}: none of the best trials has a value of it, so its space cannot be narrowed")
        try:
            around[key] = _around(dimension.values, seen) if seen else dimension.values
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from error
    new = {}
    for key, given in texts.items():
        when, old = dimensions[key].when, dimensions[key].values
        if when is None:
            new[key] = _text(around[key], old, given)
        elif left := _possible(when.texts, around[when.key]):
            new[key] = {
                "values": _text(around[key], old, given["values"]),
                "when": given["when"] if left == when.texts else f"{when.key}={', '.join(left)}",
            }
    return new


def _best(trials: list[Trial], higher_is_better: bool) -> list[Trial]:
    done = [
        (-trial.objective if higher_is_better else trial.objective, trial.number, trial)
        for trial in trials
        if trial.status == "done" and trial.objective is not None and math.isfinite(trial.objective)
    ]
    if len(done) < _FEWEST:
        raise ConfigError(f"a space is narrowed to the best of at least {_FEWEST} trials; {len(done)} are done")
    return [trial for *_, trial in sorted(done)[: max(_FEWEST, len(done) // _ONE_OF)]]


def _around(values: Single | ListOf, seen: list[str]) -> Any:
    """Returns what is searched around values that were seen.

    Raises:
        ConfigError: they are no values of it.
    """
    if isinstance(values, ListOf):
        lists = [_members(text, values.value) for text in seen]
        members = [member for members in lists for member in members]
        length = _around(values.length, [str(len(members)) for members in lists])
        return ListOf(length, _around(values.value, members) if members else values.value, values.is_shared)
    if isinstance(values, Choice):
        left = tuple(text for text in values.texts if text in seen)
        if not left:
            raise ConfigError(f"{', '.join(seen)} are no values of it")
        return Choice(left)
    numbers = [_number(text) for text in seen]
    if isinstance(values, Steps):
        places = [(number - values.first) / values.step for number in numbers]
        start, end = _region(places, 0, (values.last - values.first) // values.step)
        first, last = (values.first + values.step * place for place in (math.floor(start), math.ceil(end)))
        return Steps(first, last, values.step)
    low, high = _rounded(values, *_region(numbers, values.low, values.high, values.is_log))
    if not low < high:  # so close to each other that the digits of the values cannot tell them apart
        return values
    return Interval(low, high, values.is_whole, values.is_log)


def _region(numbers: list[float], low: float, high: float, is_log: bool = False) -> tuple[float, float]:
    """Returns the ends of the region around numbers, within ``low`` and ``high``."""
    place: Callable[[float], float] = math.log if is_log else float
    back: Callable[[float], float] = math.exp if is_log else float
    places = [place(min(high, max(low, number))) for number in numbers]  # a value has been rounded to 4 digits
    margin = _MARGIN * (max(places) - min(places)) or _MARGIN_WHERE_EQUAL * (place(high) - place(low))
    start, end = min(places) - margin, max(places) + margin
    return low if start <= place(low) else back(start), high if end >= place(high) else back(end)


def _rounded(old: Interval, start: float, end: float) -> tuple[float, float]:
    """Returns the ends with as many digits as values have, none of them beyond the old ones."""
    if old.is_whole:
        return max(int(old.low), math.floor(start)), min(int(old.high), math.ceil(end))
    ends = []
    for exact in (start, end):
        rounded = float(f"{exact:.4g}")
        ends.append(rounded if exact not in (old.low, old.high) and old.low <= rounded <= old.high else exact)
    return ends[0], ends[1]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{text} is no number")
    return number


def _members(text: str, value: Single) -> list[str]:
    """Returns the values of a list, which may have commas of their own where they are choices."""
    inner = text.removeprefix("[").removesuffix("]")
    if isinstance(value, Choice):
        known = sorted(map(re.escape, value.texts), key=len, reverse=True)
        return re.findall(rf"({'|'.join(known)})(?:,|$)", inner)
    return inner.split(",") if inner else []


def _possible(texts: tuple[str, ...], values: Single | ListOf) -> tuple[str, ...]:
    """Returns those texts that can still be drawn."""
    if isinstance(values, Interval):
        return tuple(text for text in texts if _lies_in(values, text))
    listed = values.listed()
    return texts if listed is None else tuple(text for text in texts if text in listed)


def _lies_in(interval: Interval, text: str) -> bool:
    with contextlib.suppress(ConfigError):
        return interval.low <= _number(text) <= interval.high
    return False


def _text(values: Single | ListOf, old: Single | ListOf, given: Any) -> Any:
    """Returns values as ``parsing.space_of`` reads them; as they were given where they are the old ones."""
    if values == old:
        return given
    if isinstance(values, ListOf):
        assert isinstance(old, ListOf)
        value = "all" if values.is_shared else "each"
        return {
            "length": _text(values.length, old.length, given["length"]),
            value: _text(values.value, old.value, given[value]),
        }
    if isinstance(values, Choice):
        return [value_of(text) for text in values.texts]
    if isinstance(values, Steps):
        return f"range({values.first},{values.last + 1},{values.step})"
    text = f"interval({values.low!r},{values.high!r})"
    text = f"int({text})" if values.is_whole else text
    return f"tag(log,{text})" if values.is_log else text
