"""Chance without a state: numbers that depend on a key, a sample and a slot alone.

A generator gives its next number, so what a sample gets would depend on which samples came before it. Here each number
is a hash of where it is used (SplitMix64's mixing function, Steele, Lea and Flood 2014, figure 15), so that batches of
any size, in any order, on any device, and after a resume get the same.
"""

from __future__ import annotations

import torch

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def key_of(*numbers: int) -> int:
    """Returns one number from 0 to 2**64 - 1 that stands for several, such as a seed and an epoch."""
    key = 0
    for number in numbers:
        key = _mixed((key + _GOLDEN + number) & _MASK)
    return key


def hashes(key: int, samples: torch.Tensor, slots: int) -> torch.Tensor:
    """Returns 64 random bits for each sample and slot.

    Args:
        key: from ``key_of``.
        samples: (B,) int64.
        slots: S, how many independent numbers a sample needs.

    Returns:
        (B, S) int64 on the samples' device.
    """
    of_samples = _mixed_tensor(samples * _signed(_GOLDEN) + _signed(key))
    of_slots = torch.arange(1, slots + 1, device=samples.device) * _signed(_GOLDEN)
    return _mixed_tensor(of_samples[:, None] + of_slots)


def below(bits: torch.Tensor, limit: int) -> torch.Tensor:
    """Turns hashes into whole numbers from 0 to ``limit`` - 1 (at most 2**31), int64 of the same shape."""
    return (_shifted(bits, 33) * limit) >> 31


def uniforms(bits: torch.Tensor) -> torch.Tensor:
    """Turns hashes into numbers from 0 to below 1, float32 of the same shape, exact multiples of 2**-24."""
    return _shifted(bits, 40).to(torch.float32) * 2.0**-24


def _mixed(number: int) -> int:
    number = ((number ^ (number >> 30)) * _FIRST) & _MASK
    number = ((number ^ (number >> 27)) * _SECOND) & _MASK
    return number ^ (number >> 31)


def _mixed_tensor(numbers: torch.Tensor) -> torch.Tensor:
    numbers = (numbers ^ _shifted(numbers, 30)) * _signed(_FIRST)  # int64 products wrap, as SplitMix64 wants them
    numbers = (numbers ^ _shifted(numbers, 27)) * _signed(_SECOND)
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: torch.Tensor, places: int) -> torch.Tensor:
    """Shifts to the right as if the numbers had no sign."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    """Returns the int64 with the same bits."""
    return number - 2**64 if number >= 2**63 else number
