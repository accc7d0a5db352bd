"""What is called from a program of somebody else's leaves its process as it found it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from dltrain import seed


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Gives back at the end of the block the random number generators and the number of threads."""
    generators, threads = seed.generator_states(), torch.get_num_threads()
    try:
        yield
    finally:
        seed.restore_generators(generators)
        torch.set_num_threads(threads)
