"""What a user can cause, each kind with its exit code.

A message says what is wrong, where, why and how to mend it. The command line prints it without a traceback
(``DLTRAIN_TRACEBACK=1`` shows one); code that calls dltrain from Python catches ``DltrainError``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from dltrain.redaction import redacted

# Of more names than these a message gives only so many.
_MANY, _FEW = 60, 10


class DltrainError(Exception):
    """Base of all errors that a user can cause or mend."""

    exit_code = 1

    def __str__(self) -> str:
        return redacted(super().__str__())


class ConfigError(DltrainError):
    """Settings, names or a command line that cannot be used: one mistake, or all that were found.

    Attributes:
        problems: a line for each mistake.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
        several = "\n".join([f"{len(problems)} mistakes in the config:", *lines])
        super().__init__(problems[0] if len(problems) == 1 else several)


class DataError(DltrainError):
    """A data file or a data set that cannot be used."""

    exit_code = 3


class CheckpointError(DltrainError):
    """A checkpoint that is missing, damaged or made for something else."""

    exit_code = 4


class MachineError(DltrainError):
    """The machine cannot do it: device, disk, permission, lock, port."""

    exit_code = 5


class DivergedError(DltrainError):
    """The loss became NaN or infinite."""

    exit_code = 6


class OutOfMemoryError(DltrainError):
    """The device or the machine has too little memory."""

    exit_code = 7


class Stopped(DltrainError):
    """The run was asked to end before its time, and saved its state."""


class TimeUp(Stopped):
    """The run has used up its ``trainer.max_time``; the exit code is that of timeout(1)."""

    exit_code = 124


class Interrupted(Stopped):
    """A signal ended the run after it saved its state.

    Args:
        signal_number: the signal, so that the exit code is 128 + its number as shells expect.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Returns the one of ``allowed`` that a person most likely meant by ``name``, or None."""
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?", or the allowed names when none is near, or nothing when there are none.

    Of very many names, as those of a deep model's parameters, the first are given.
    """
    names = sorted(allowed)
    close = nearest(name, names)
    if close is not None:
        return f" Did you mean '{close}'?"
    more = f" and {len(names) - _FEW} more" if len(names) > _MANY else ""
    return f" There is: {', '.join(names[:_FEW] if more else names)}{more}." if names else ""
