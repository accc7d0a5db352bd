"""Errors of the machine that PyTorch and Python raise in many shapes, as the one that says how to go on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator

from dltrain.config import Config
from dltrain.errors import MachineError, OutOfMemoryError
from dltrain.memory import is_out_of_memory
from dltrain.run_folder import RunFolder, free_megabytes


@contextlib.contextmanager
def memory_errors(
    config: Config, num_samples: int | None = None, advice: Callable[[BaseException], str | None] | None = None
) -> Iterator[None]:
    """
    Args:
        num_samples: of the training data, as soon as batches of it are computed.
        advice: returns what would fit, given the error; None where it cannot be told.

    Raises:
        OutOfMemoryError: instead of what PyTorch or Python raise when memory runs out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        what = str(error).splitlines()[0].rstrip(".") if str(error) else "no more is to be had"
        if num_samples is None:
            raise OutOfMemoryError(f"out of memory: {what}. Take a smaller model, or less data") from error
        size = min(config.trainer.batch_size, num_samples)  # which may be given as larger than any data
        advised = advice(error) if advice is not None else None
        if advised is not None:
            raise OutOfMemoryError(f"out of memory with trainer.batch_size={size}: {what}. {advised}") from error
        raise OutOfMemoryError(
            f"out of memory with trainer.batch_size={size}: {what}. Take a smaller model, or a smaller batch, and keep "
            f"the result with trainer.accumulate: trainer.batch_size={-(-size // 2)} "
            f"trainer.accumulate={2 * config.trainer.accumulate}"
        ) from error


@contextlib.contextmanager
def disk_errors(folder: RunFolder) -> Iterator[None]:
    """
    Raises:
        MachineError: instead of the system's error, where the disk is full; checkpoints stay as they are.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise MachineError(
            f"{folder.path}: the disk is full: {free_megabytes(folder.path):.1f} MB are free. Make room, then go on "
            f"with: dltrain resume {folder.path}"
        ) from error
