"""Random numbers that depend on where they are used alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dltrain.data.images import hashing

MASK = 2**64 - 1


def splitmix(number: int) -> int:
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


@given(st.integers(0, MASK), st.lists(st.integers(0, 2**40), min_size=1, max_size=5), st.integers(1, 4))
def test_hashes_are_those_of_unsigned_arithmetic(key, samples, slots):
    golden = 0x9E3779B97F4A7C15
    bits = hashing.hashes(key, torch.tensor(samples), slots)
    for row, sample in zip(bits.tolist(), samples, strict=True):
        of_sample = splitmix((sample * golden + key) & MASK)
        assert [value & MASK for value in row] == [
            splitmix((of_sample + (slot + 1) * golden) & MASK) for slot in range(slots)
        ]


def test_hashes_are_these_for_ever():
    # A run that is resumed by a later version must augment as it began.
    assert hashing.key_of(3, 5) == 0x57A2D2CEF1214168
    assert hashing.hashes(hashing.key_of(3, 5), torch.tensor([0, 7]), 2).tolist() == [
        [1051978319511316597, 66309088577600061],
        [9021378303016136492, 5129302871743214979],
    ]


@given(st.integers(0, MASK), st.integers(1, 2**31))
def test_whole_numbers_stay_below_their_limit(key, limit):
    numbers = hashing.below(hashing.hashes(key, torch.arange(50), 2), limit)
    assert int(numbers.min()) >= 0 and int(numbers.max()) < limit


def test_numbers_are_even_and_independent():
    bits = hashing.hashes(hashing.key_of(0, 0), torch.arange(20_000), 2)
    shares = hashing.uniforms(bits)
    assert shares.dtype == torch.float32 and float(shares.min()) >= 0 and float(shares.max()) < 1
    assert torch.allclose(shares.mean(0), torch.tensor([0.5, 0.5]), atol=0.01)
    assert abs(float(torch.corrcoef(shares.T)[0, 1])) < 0.02
    counts = torch.bincount(hashing.below(bits[:, 0], 10), minlength=10)
    assert int(counts.min()) > 1850 and int(counts.max()) < 2150


def test_seeds_epochs_and_samples_differ():
    keys = {hashing.key_of(seed, epoch) for seed in range(30) for epoch in range(30)}
    assert len(keys) == 900
    neighbours = [hashing.uniforms(hashing.hashes(hashing.key_of(0, epoch), torch.arange(9), 3)) for epoch in (0, 1)]
    assert float((neighbours[0] - neighbours[1]).abs().min()) > 0
