"""Pictures of confusion matrices, pixel by pixel where it matters."""

from __future__ import annotations

import numpy as np
import pytest

from dltrain.confusion_picture import draw, most_confused


def counts_of(size: int) -> np.ndarray:
    counts = np.eye(size, dtype=np.int64) * 40
    counts[0, 1] = 10
    return counts


def colours(picture) -> set[str]:
    """Returns which of blue and red the picture has."""
    pixels = np.asarray(picture).reshape(-1, 3).astype(int)
    blue = (pixels[:, 2] - pixels[:, 0] > 40).any()
    red = (pixels[:, 0] - pixels[:, 2] > 40).any()
    return {name for name, there in (("blue", blue), ("red", red)) if there}


@pytest.mark.parametrize("size", [2, 10, 25, 26, 100, 1000])
def test_any_number_of_classes_has_a_picture_of_a_size_to_look_at(size):
    picture = draw(counts_of(size), [f"class {place}" for place in range(size)], "epoch 1")
    assert 100 < picture.width < 1600 and 100 < picture.height < 1200
    assert colours(picture) == {"blue", "red"}


def test_a_matrix_without_mistakes_has_no_red_and_an_empty_one_no_colour():
    names = ["yes", "no"]
    assert colours(draw(np.eye(2, dtype=np.int64), names, "")) == {"blue"}
    assert colours(draw(np.zeros((2, 2), dtype=np.int64), names, "")) == set()


def test_the_commonest_mistakes_come_first():
    counts = np.array([[5, 3, 0], [1, 9, 0], [0, 3, 1]])
    assert most_confused(counts, 9) == [(0, 1, 3, 3 / 8), (2, 1, 3, 3 / 4), (1, 0, 1, 0.1)]
    assert most_confused(counts, 1) == [(0, 1, 3, 3 / 8)]
    assert most_confused(np.eye(3, dtype=np.int64), 9) == []


def test_a_very_long_name_does_not_make_the_picture_wide():
    picture = draw(counts_of(2), ["x" * 300, "y"], "")
    assert picture.width < 500
