"""What is called from a program of somebody else's leaves its process as it found it, and finds it as it needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from dltrain import seed


@contextlib.contextmanager
def restored(*, draws: bool = True) -> Iterator[None]:
    """Gives back at the end of the block the random number generators, the number of threads and PyTorch's defaults.

    In the block gradients are computed, and tensors are made as float32 on the CPU unless something else is said.

    Args:
        draws: whether the block draws random numbers; else the generators are left alone, for a training in another
            thread may be drawing.
    """
    generators, threads = seed.generator_states() if draws else None, torch.get_num_threads()
    kind = torch.get_default_dtype()
    # Only where it is needed: a device that is said so slows each call of PyTorch down.
    place = contextlib.nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad(), place:
            yield
    finally:
        torch.set_default_dtype(kind)
        if generators is not None:
            seed.restore_generators(generators)
        torch.set_num_threads(threads)
