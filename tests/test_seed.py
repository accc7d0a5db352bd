"""Seeding every generator, and putting their states back."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from dltrain import seed
from dltrain.checkpoint import pack, unpack


@pytest.fixture(autouse=True)
def _restored():
    states = seed.generator_states()
    yield
    seed.restore_generators(states)


def draw() -> list[float]:
    """Returns draws of every generator, also of normal distributions, which keep a second draw in store."""
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.random(),
        np.random.standard_normal(),
        *torch.rand(2).tolist(),
        *torch.randn(3).tolist(),
    ]


@pytest.mark.parametrize("value", [0, 1, 2**32, 2**63 - 1])
def test_a_seed_sets_every_generator(value):
    seed.seed_everything(value)
    first = draw()
    draw()
    seed.seed_everything(value)
    assert draw() == first


def test_every_generator_depends_on_the_seed():
    seed.seed_everything(0)
    first = draw()
    seed.seed_everything(1)
    assert all(a != b for a, b in zip(first, draw(), strict=True))


def test_the_states_survive_a_checkpoint():
    seed.seed_everything(5)
    draw()  # leaves the second half of a pair of normal draws in store
    content = pack(seed.generator_states())
    expected = [draw() for _ in range(3)]
    seed.seed_everything(6)
    seed.restore_generators(unpack(content, Path("states")))
    assert [draw() for _ in range(3)] == expected


def test_taking_the_states_changes_none():
    seed.seed_everything(5)
    expected = draw()
    seed.seed_everything(5)
    seed.generator_states()
    assert draw() == expected
