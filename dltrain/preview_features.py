"""Names and units of the numbers of a sample, from what a data set keeps of its preprocessing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dltrain.console import number
from dltrain.data import Data
from dltrain.data.tables.preprocessing import TablePreprocessing

_ANY_OTHER = "any other"


@dataclass(frozen=True)
class Feature:
    """One number of an input: its name, and what turns it back into the cell that it was made of."""

    name: str
    shift: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()

    def text(self, value: float) -> str:
        if self.categories:
            return f"{value:.0f} ({self.categories[int(value)]})"
        return f"{number(value)} ({unscaled(value, self.shift, self.scale)})" if self.is_scaled else number(value)

    @property
    def is_scaled(self) -> bool:
        return (self.shift, self.scale) != (0, 1)


def unscaled(value: float, shift: float, scale: float) -> str:
    """Returns a scaled value in its own unit, without the digits that are float32's rounding."""
    digits = 5 - math.floor(math.log10(abs(scale))) if scale else 0
    return f"{round(value * scale + shift, max(0, digits)) + 0.0:.7g}"  # + 0.0 makes -0 a 0


def features_of(data: Data, name: str, count: int) -> list[Feature]:
    """Returns what is known of each of the numbers of an input."""
    kept = data.preprocessing
    if isinstance(kept.get("table"), dict):
        found = _table_features(TablePreprocessing.from_dict(kept["table"]), name)
        if len(found) == count:
            return found
    if isinstance(kept.get("numbers"), list):
        found = _streamed_features(kept)
        if len(found) == count:
            return found
    shift, scale = kept.get("shift"), kept.get("scale")
    if not (isinstance(shift, list) and isinstance(scale, list) and len(shift) == len(scale) == count):
        shift, scale = [0.0] * count, [1.0] * count
    return [Feature(f"feature {place + 1}", *pair) for place, pair in enumerate(zip(shift, scale, strict=True))]


def _table_features(table: TablePreprocessing, name: str) -> list[Feature]:
    columns = [table.features[column] for column in table.groups.get(name, ())]
    if table.embeds:
        columns.sort(key=lambda column: column.kind == "category")  # stable
    found = []
    for column in columns:
        if column.kind != "category":
            found.append(Feature(column.name, column.shift, column.scale))
        elif table.embeds:
            found.append(Feature(column.name, categories=(_ANY_OTHER, *column.categories)))
        else:
            found += [Feature(f"{column.name}={category}") for category in column.categories]
    return found


def _streamed_features(kept: dict[str, Any]) -> list[Feature]:
    """Returns the features of a table that is streamed: the numbers, then the categories."""
    found = [Feature(column["name"], column["shift"], column["scale"]) for column in kept["numbers"]]
    for column in kept["categories"]:
        words = (_ANY_OTHER, *column["words"])
        if kept["one_hot"]:
            found += [Feature(f"{column['name']}={word}") for word in words]
        else:
            found.append(Feature(column["name"], categories=words))
    return found
