"""How far what is spelled is from what is true: for outputs whose steps are not said to belong to labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def decoded(steps: Sequence[int], blank: int) -> list[int]:
    """Returns the labels that the likeliest class of each step spells: equal neighbours are one label, and blanks none
    (Graves et al. 2006, best path decoding).
    """
    changed = [step for place, step in enumerate(steps) if place == 0 or step != steps[place - 1]]
    return [step for step in changed if step != blank]


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Returns how many labels must be inserted, deleted or replaced at least to make one the other (Levenshtein 1966).

    A row of the table of distances is made of the one before at once: an insertion goes on along the row, so that it
    is the least of all that stand before, each with its distance.
    """
    columns = np.array(other, dtype=np.int64)
    steps = np.arange(len(columns) + 1)
    row = steps.copy()
    for label in one:
        without = row + 1
        without[1:] = np.minimum(without[1:], row[:-1] + (columns != label))
        row = np.minimum.accumulate(without - steps) + steps
    return int(row[-1])
