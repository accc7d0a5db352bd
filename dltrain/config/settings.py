"""How a settings class declares what may stand in YAML: a meaning and limits for each field, never a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """The range of a number, of the numbers in a list, or the allowed words."""

    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] | None = None

    def allow(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        return (
            (self.min is None or value >= self.min)
            and (self.max is None or value <= self.max)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.choices is not None:
            return "one of " + ", ".join(self.choices)
        parts = [
            f"{word} {limit}"
            for word, limit in (
                ("at least", self.min),
                ("above", self.above),
                ("at most", self.max),
                ("below", self.below),
            )
            if limit is not None
        ]
        return " and ".join(parts)


def setting(
    meaning: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    path: bool = False,
    check: Callable[[Any], None] | None = None,
) -> Any:
    """Declares a field of a settings dataclass: what it means and which values it takes.

    The limits hold for a number, for each number of a list, or (``choices``) for a word. ``path`` marks text that
    names a file or a folder: a run keeps it absolute, so that it can be used from another folder. ``check`` is
    called with a value of the right type, and raises ValueError where it is no good.
    """
    limits = Limits(min, max, above, below, choices)
    return dataclasses.field(metadata={"meaning": meaning, "limits": limits, "path": path, "check": check})


def field_names(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]
