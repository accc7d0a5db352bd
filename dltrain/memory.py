"""How many samples fit into memory at once: batches are really computed, until one goes through."""

from __future__ import annotations

import contextlib
import gc
import resource
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dltrain import device, evaluate, optimizers, steps, trial
from dltrain.data import Batch, Source
from dltrain.data.text.ragged import RaggedSamples
from dltrain.errors import ConfigError, OutOfMemoryError
from dltrain.models import count_parameters
from dltrain.rewind import rewound

if TYPE_CHECKING:
    from dltrain.assembly import Parts

# Of the memory that is free, so much may be filled: what is freed in between lies in pieces, and others need some too.
_SHARE = 0.75

# Copies of the weights that a training has besides those of a step: a checkpoint that is being written, with what the
# optimizer has gathered, one that is read, and the best weights.
_COPIES = 6


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether PyTorch or Python ran out of memory, on the device or on the machine."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    told = ("can't allocate memory", "can't start new thread")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in told)


# --- trials -----------------------------------------------------------------------------------------------


def goes_through(work: Callable[[], Any]) -> bool:
    """Does something, and tells whether memory was enough for it."""
    try:
        work()
        return True
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        release(error)
    return False


def release(error: BaseException) -> None:
    """Lets go of what the functions that an error went through still hold."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    device.give_back_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def largest_batch(source: Source, count: int, target: torch.device) -> Batch:
    """Returns so many samples of a split that take as much memory as any: the longest ones, where lengths differ."""
    places = torch.arange(count) % len(source)
    if isinstance(source, RaggedSamples):
        lengths = torch.stack([sequence.lengths for sequence in source.sequences]).sum(dim=0)
        places = lengths.argsort(descending=True)[places]
        batch = source.batch(places, [sequence.longest for sequence in source.sequences], None)
    else:
        head = source.head(min(count, len(source)))
        batch = head.map(lambda tensor: tensor[places])
    return batch.map(lambda tensor: tensor.to(target))


def trains(parts: Parts, step: steps.Step, count: int, accumulates: bool) -> bool:
    """Makes updates with batches of so many samples, and tells whether memory was enough.

    The second one has all in memory that a training has: what the optimizer gathers comes with the first. Weights and
    optimizer are changed by it.
    """

    def work() -> None:
        batch = largest_batch(parts.data.train, count, parts.device)
        step.model.train()
        for _ in range(2):
            if accumulates:
                step(batch, 0.5, False)
            step(batch, 0.5 if accumulates else 1.0, True)

    fits = goes_through(work)
    step.clear_gradients()
    return fits


def evaluates(parts: Parts, step: steps.Step, name: str, count: int) -> bool:
    """Computes a batch of so many samples of a split in evaluation, and tells whether memory was enough."""

    def work() -> None:
        batch = largest_batch(parts.data.splits[name], count, parts.device)
        step.model.eval()
        with torch.inference_mode():
            step.loss(evaluate.outputs_of(step.model, batch.inputs, step.autocast), batch.targets)

    return goes_through(work)


def parts_of(total: int) -> list[int]:
    """Returns divisors of a batch size, the size itself first, each at most half of the one before.

    With so many times more batches to an update, each update sees the same samples.
    """
    sizes = [total]
    while sizes[-1] > 1:
        sizes.append(next(size for size in range(sizes[-1] // 2, 0, -1) if total % size == 0))
    return sizes


def halves_of(total: int) -> list[int]:
    """Returns a size, and half of it, and so on down to 1."""
    sizes = [total]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def first_that(fits: Callable[[int], bool], sizes: Iterable[int]) -> int | None:
    return next((size for size in sizes if fits(size)), None)


# --- after memory ran out ---------------------------------------------------------------------------------


def advice(error: BaseException, parts: Parts, step: steps.Step, folder: Path) -> str | None:
    """Returns what would fit, after memory ran out in a training that ends; None where it was no batch's fault.

    Args:
        error: what was raised; what it holds is let go.
        step: of the training, which is of no use afterwards.
        folder: of the run.
    """
    functions = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    release(error)
    step.clear_gradients()
    with within_free_memory(parts.device, step):
        if any(Path(code.co_filename) == Path(evaluate.__file__) for code in functions):
            return _evaluation_advice(parts, step, folder)
        if any(code.co_name == "__call__" and Path(code.co_filename) == Path(steps.__file__) for code in functions):
            return _training_advice(parts, step)
    return None


def _training_advice(parts: Parts, step: steps.Step) -> str:
    settings = parts.config.trainer
    size = min(settings.batch_size, len(parts.data.train))
    accumulates = isinstance(step, steps.EagerStep)
    sizes = (parts_of(size) if accumulates else halves_of(size))[1:]
    fitting = first_that(lambda count: trains(parts, step, count, accumulates), _usable(parts, sizes))
    if fitting is None:
        return _too_large(parts, step)
    if not accumulates:
        return f"A batch of {fitting} fits: trainer.batch_size={fitting}"
    return (
        f"A batch of {fitting} fits, and the result stays with trainer.accumulate: trainer.batch_size={fitting} "
        f"trainer.accumulate={settings.accumulate * size // fitting}"
    )


def _evaluation_advice(parts: Parts, step: steps.Step, folder: Path) -> str:
    size = parts.config.trainer.evaluation_batch_size
    fitting = first_that(lambda count: _evaluates_all(parts, step, count), halves_of(size)[1:])
    if fitting is None:
        return _too_large(parts, step)
    fitting = max(1, fitting // 2)  # the process that goes on reads a checkpoint besides, and may find less room
    return (
        f"It was in an evaluation, for which {fitting} samples at once fit. Go on with: dltrain resume {folder} "
        f"trainer.evaluation_batch_size={fitting}"
    )


def _evaluates_all(parts: Parts, step: steps.Step, count: int) -> bool:
    names = [name for name in parts.data.splits if name != "train"]
    return all(evaluates(parts, step, name, min(count, len(parts.data.splits[name]))) for name in names)


def _too_large(parts: Parts, step: steps.Step) -> str:
    megabytes = sum(parameter.nbytes for parameter in step.model.parameters()) / 2**20
    return (
        f"Not even one sample fits. model={parts.config.model.name} has {count_parameters(step.model):,} parameters of "
        f"{megabytes:.1f} MB; their gradients take as much, and what {type(step.optimizer).__name__} gathers comes on "
        "top. Take a smaller model"
    )


def _usable(parts: Parts, sizes: list[int]) -> list[int]:
    """Leaves out sizes whose last batch would be a single sample, where batch normalisation needs two."""
    few = parts.data.train.head(2).map(lambda tensor: tensor.to(parts.device)).inputs
    count = len(parts.data.train)
    return [size for size in sizes if not trial.single_sample_batch(parts.model, few, count, size)]


# --- trainer.auto_batch_size ------------------------------------------------------------------------------


def fitted(parts: Parts, step: steps.Step, container: dict[str, Any]) -> tuple[Parts, dict[str, Any], list[str]]:
    """Finds the largest batch sizes not above those of the config that fit, and leaves model and chance as they were.

    Args:
        container: the config as plain values.

    Returns:
        Parts and container with these sizes, which need no further trial, and notes for the log.

    Raises:
        ConfigError: the optimizer cannot make an update of several batches.
        OutOfMemoryError: not even one sample fits.
    """
    settings, data = parts.config.trainer, parts.data
    if optimizers.needs_closure(step.optimizer):
        raise ConfigError(
            "trainer.auto_batch_size = true: optimizer=lbfgs cannot accumulate, so that a smaller batch would give "
            "another result. Leave it out"
        )
    size = min(settings.batch_size, len(data.train))
    with rewound(step), within_free_memory(parts.device, step):
        sizes = [size, *_usable(parts, parts_of(size)[1:])]
        batch = first_that(lambda count: trains(parts, step, count, settings.accumulate > 1 or count < size), sizes)
        if batch is None:
            raise OutOfMemoryError(f"out of memory. {_too_large(parts, step)}")
        at_once = first_that(
            lambda count: _evaluates_all(parts, step, count), halves_of(settings.evaluation_batch_size)
        )
        if at_once is None:
            raise OutOfMemoryError(f"out of memory. {_too_large(parts, step)}")
    found: dict[str, Any] = {
        "batch_size": settings.batch_size if batch == size else batch,
        "accumulate": settings.accumulate * (size // batch),
        "evaluation_batch_size": at_once,
        "auto_batch_size": False,
    }
    changed = [f"trainer.{name}={value}" for name, value in found.items() if getattr(settings, name) != value]
    note = "trainer.auto_batch_size: the batches of the config fit"
    if len(changed) > 1:
        note = f"trainer.auto_batch_size: what fits is {' '.join(changed[:-1])}"
    config = replace(parts.config, trainer=replace(settings, **found))
    device.set_threads(config.device.threads, count_parameters(parts.model), batch)  # as a resume will
    return replace(parts, config=config), {**container, "trainer": {**container["trainer"], **found}}, [note]


@contextlib.contextmanager
def within_free_memory(target: torch.device, step: steps.Step) -> Iterator[None]:
    """Lets an allocation on the CPU fail where the machine has no more to give, and leaves a training some.

    Linux promises more memory than there is, and kills the process that takes it at its word.
    """
    free = _free_bytes() if target.type == "cpu" else None
    if free is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    share = int(_SHARE * min(free, device.addresses_left()))
    copies = _COPIES * sum(parameter.nbytes for parameter in step.parameters)
    limit = device.addresses_taken() + max(0, share - copies)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        device.give_back_freed_memory()


def _free_bytes() -> int | None:
    """Returns how much memory the machine, or the container, has left; None where it does not say."""
    free = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        most, used = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        files = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        free.append(most - used + sum(int(line.split()[1]) for line in files if line.startswith("inactive_file ")))
    return min(free, default=None)
