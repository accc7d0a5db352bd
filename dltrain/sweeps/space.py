"""What a sweep searches: a dimension for each key, each of which gives a trial its value.

A value is text that stands after ``key=`` on a command line. Where a sampler draws it, it comes from Optuna's
``trial.suggest_...`` under the dimension's own names, so that a trial that was interrupted gets the same again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dltrain.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    texts: tuple[str, ...]

    def listed(self) -> tuple[str, ...] | None:
        """Returns all values, for a grid to run through; None where they cannot be listed."""
        return self.texts

    def suggest(self, trial: BaseTrial, name: str) -> str:
        return str(trial.suggest_categorical(name, list(self.texts)))

    def examples(self) -> Iterator[str]:
        """Yields the values whose mistakes are looked for before the first trial."""
        yield from self.texts


@dataclass(frozen=True)
class Interval:
    """A number from ``low`` to ``high``, both included.

    Attributes:
        is_whole: whether it is a whole number.
        is_log: whether its logarithm is drawn evenly.
    """

    low: float
    high: float
    is_whole: bool = False
    is_log: bool = False

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigError: nothing lies in it.
        """
        text = f"interval({self.low:g}, {self.high:g})"
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ConfigError(f"{text}: both ends must be numbers, and finite")
        if not self.low < self.high:
            raise ConfigError(f"{text} is empty: the first number must be less than the second")
        if self.is_log and self.low <= 0:
            raise ConfigError(f"tag(log, {text}): a logarithm needs numbers above 0")

    def listed(self) -> None:
        return None

    def suggest(self, trial: BaseTrial, name: str) -> str:
        if self.is_whole:
            return str(trial.suggest_int(name, int(self.low), int(self.high), log=self.is_log))
        return self._text(trial.suggest_float(name, self.low, self.high, log=self.is_log))

    def _text(self, value: float) -> str:
        """Returns a number with as few digits as tell it from its neighbours, four at least, within the interval."""
        for digits in range(4, 17):
            text = f"{value:.{digits}g}"
            if self.low <= float(text) <= self.high and abs(float(text) - value) <= (self.high - self.low) / 1000:
                return text
        return repr(value)

    def examples(self) -> Iterator[str]:
        if self.is_whole:
            yield from (str(int(self.low)), str(int(self.high)))
        else:  # the middle too: where only whole numbers fit, both ends may be some
            yield from map(self._text, (self.low, self.high, self.low + 0.503 * (self.high - self.low)))


@dataclass(frozen=True)
class Steps:
    """Whole numbers at one distance: a grid runs through them, and a sampler knows that they are in order."""

    first: int
    last: int
    step: int

    def listed(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.first, self.last + 1, self.step)))

    def suggest(self, trial: BaseTrial, name: str) -> str:
        return str(trial.suggest_int(name, self.first, self.last, step=self.step))

    def examples(self) -> Iterator[str]:
        yield from self.listed()


Single = Choice | Interval | Steps


@dataclass(frozen=True)
class ListOf:
    """A list whose length is searched, and its values: one for all places, or one for each.

    A place beyond the length has no value, so that a sampler learns nothing from what was not used.
    """

    length: Single
    value: Single
    is_shared: bool

    def listed(self) -> None:
        return None

    def suggest(self, trial: BaseTrial, name: str) -> str:
        length = int(self.length.suggest(trial, f"{name}.length"))
        if self.is_shared:
            value = self.value.suggest(trial, f"{name}.all") if length else ""
            return f"[{','.join([value] * length)}]"
        return f"[{','.join(self.value.suggest(trial, f'{name}.{place}') for place in range(length))}]"

    def examples(self) -> Iterator[str]:
        for length in self.length.examples():
            for value in self.value.examples():
                yield f"[{','.join([value] * int(length))}]"


@dataclass(frozen=True)
class Condition:
    """That another key has one of these values."""

    key: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Dimension:
    """What is searched for one key.

    Attributes:
        when: the key has a value of the sweep only then; None for always.
    """

    key: str
    values: Single | ListOf
    when: Condition | None = None


@dataclass(frozen=True)
class Space:
    """All dimensions, each after those that its condition names."""

    dimensions: tuple[Dimension, ...]

    def size(self) -> int | None:
        """Returns how many combinations there are; None where not every value can be listed."""
        listed = [dimension.values.listed() for dimension in self.dimensions if dimension.when is None]
        if None in listed or len(listed) < len(self.dimensions):
            return None
        return math.prod(len(texts) for texts in listed if texts is not None)

    def grid(self) -> list[dict[str, str]] | None:
        """Returns every combination, the last dimension fastest; None where not every value can be listed."""
        if self.size() is None:
            return None
        listed = [dimension.values.listed() for dimension in self.dimensions]
        keys = [dimension.key for dimension in self.dimensions]
        return [dict(zip(keys, texts, strict=True)) for texts in itertools.product(*filter(None, listed))]

    def suggest(self, trial: BaseTrial) -> dict[str, str]:
        """Returns the trial's values by key."""
        values: dict[str, str] = {}
        for dimension in self.dimensions:
            when = dimension.when
            if when is None or values.get(when.key) in when.texts:
                values[dimension.key] = dimension.values.suggest(trial, dimension.key)
        return values

    def variants(self) -> Iterator[dict[str, str]]:
        """Yields points that together have each example of each dimension at least once, the first ones in front."""
        first: dict[str, str] = {}
        for dimension in self.dimensions:
            if dimension.when is None:
                first[dimension.key] = next(dimension.values.examples())
        yield first
        for dimension in self.dimensions:
            needed = {} if dimension.when is None else {dimension.when.key: dimension.when.texts[0]}
            for text in dimension.values.examples():
                if first.get(dimension.key) != text:
                    yield {**first, **needed, dimension.key: text}
