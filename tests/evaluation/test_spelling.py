"""What steps spell, and how far that is from the truth."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from dltrain.evaluation.spelling import decoded, edit_distance


@pytest.mark.parametrize(
    ("steps", "expected"),
    [([], []), ([0, 0], []), ([1, 1, 2], [1, 2]), ([1, 0, 1], [1, 1]), ([0, 3, 3, 0, 3, 1, 0], [3, 3, 1])],
)
def test_equal_neighbours_are_one_label_and_blanks_none(steps, expected):
    assert decoded(steps, blank=0) == expected


def by_definition(one, other):
    @functools.cache
    def of(i, j):
        if not i or not j:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    return of(len(one), len(other))


def test_the_distance_is_that_of_the_definition():
    generator = np.random.default_rng(0)
    for _ in range(200):
        one, other = (generator.integers(3, size=generator.integers(9)).tolist() for _ in range(2))
        assert edit_distance(one, other) == by_definition(one, other)


def test_known_words():
    assert edit_distance([*map(ord, "kitten")], [*map(ord, "sitting")]) == 3
    assert edit_distance([*map(ord, "말이")], [*map(ord, "말이")]) == 0
