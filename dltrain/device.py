"""The device, its threads and its number format."""

from __future__ import annotations

import contextlib
import ctypes
import math
import resource
from pathlib import Path
from typing import Any

import torch

from dltrain.config import DeviceSettings
from dltrain.errors import MachineError

# A step with fewer multiplications than this is over before a second thread would have been of use.
_WORTH_THREADS = 2_000_000

# With fewer bytes of addresses than this, freed blocks are given back: see ``keep_freed_memory``.
_MANY_ADDRESSES = 2**30

# As many as PyTorch would take, noted before anything changes it: the runs of a multirun share a process.
_ALL_THREADS = torch.get_num_threads()


def choose(settings: DeviceSettings) -> torch.device:
    """Returns the device to train on.

    Raises:
        MachineError: CUDA is asked for and cannot be used; the message says why.
    """
    if settings.name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if settings.name == "auto":
        return torch.device("cpu")
    if torch.version.cuda is None:
        reason = f"this PyTorch ({torch.__version__}) is built without CUDA: install a CUDA build of it"
    elif torch.cuda.device_count() == 0:
        reason = "PyTorch finds no NVIDIA GPU: look whether 'nvidia-smi' shows one and its driver is installed"
    else:
        reason = f"the driver does not fit this PyTorch, which needs CUDA {torch.version.cuda}: update the driver"
    raise MachineError(f"device=cuda: {reason}. Or train on the CPU with device=cpu")


def set_threads(threads: int | None, num_parameters: int, batch_size: int) -> int:
    """Sets the CPU threads of one operation and returns their number.

    Args:
        threads: as many as asked for; None takes one where a step is so small (parameters times samples) that
            handing parts of it to other threads costs more than it saves, and PyTorch's choice otherwise.
    """
    few = num_parameters * batch_size < _WORTH_THREADS
    torch.set_num_threads(threads or (1 if few else _ALL_THREADS))
    return torch.get_num_threads()


def keep_freed_memory() -> None:
    """Tells glibc's allocator to keep freed blocks for reuse.

    Every step frees its gradients and activations. By default glibc gives such large blocks back to the system,
    and the next step's first touch of each page faults: about a tenth of a small network's step. Elsewhere
    (musl, macOS) the allocator does not have this call, and nothing is changed.

    Where few addresses are left (``ulimit -v``), large blocks are all given back: those that are kept lie in pieces
    which the next one does not fit into, and up to three times what is needed was taken, by the chance of when.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        if addresses_left() < _MANY_ADDRESSES:
            library.mallopt(mmap_threshold, 128 << 10)
            return
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, -1)
        library.mallopt(top_pad, 64 << 20)


def addresses_left() -> float:
    """Returns how many bytes of addresses this process may still reserve (``ulimit -v``); infinity without a limit.

    Raises:
        OSError: the system does not say how many it has.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if soft == resource.RLIM_INFINITY else soft - addresses_taken()


def addresses_taken() -> int:
    """
    Raises:
        OSError: the system does not say.
    """
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def give_back_freed_memory() -> None:
    """Tells glibc's allocator to give freed blocks back to the system after all, for once."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any] | None:
    """Returns the context of the forward pass: bf16 where asked for, None for plain fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else None
