"""Mistakes in modules of the user's own: whose they are and on which lines, without the lines of dltrain around them.

Nothing here imports PyTorch: the command line asks when something unexpected was raised.
"""

from __future__ import annotations

import inspect
import linecache
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_DLTRAIN = Path(__file__).parent


def told(error: BaseException) -> str | None:
    """Returns what a person needs to mend a mistake in a module of theirs; None where none of theirs was at work."""
    frames = list(_own_frames(error))
    what = traceback.format_exception_only(type(error), error)[-1].strip()
    if not frames:
        saved = re.match(r"callbacks/([^/:]+).* cannot stand in a checkpoint", str(error))  # packing knows no more
        return f"callbacks.{saved[1]}, state_dict: {what}" if saved else None
    lines = [f"  {frame.f_code.co_filename}:{number}: {_source(frame, number)}" for frame, number in frames]
    last = "This is a mistake in a module of yours; DLTRAIN_TRACEBACK=1 shows how dltrain came there"
    return "\n".join([f"{_whose(frames)}: {what}", *lines, last])


def was_at_work(error: BaseException) -> bool:
    """Tells whether an error came up in a module of the user's, or in what it called."""
    return any(True for _ in _own_frames(error))


def place(definition: Any) -> str:
    """Returns the file and the line of a function or a class, such as " (my_callbacks.py:12)"; "" if unknown."""
    try:
        file, line = inspect.getsourcefile(definition), inspect.getsourcelines(definition)[1]
    except (TypeError, OSError):
        return ""
    return f" ({file}:{line})"


def _own_frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yields each call that is in a module of the user's with the line that it had come to, the outermost first."""
    paths = sysconfig.get_paths()
    installed = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed += [str(_DLTRAIN), *site.getsitepackages(), site.getusersitepackages()]
    for frame, number in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if not name.startswith("<") and not any(Path(name).is_relative_to(folder) for folder in installed):
            yield frame, number


def _whose(frames: list[tuple[FrameType, int]]) -> str:
    """Returns whose mistake it is: the hook of a callback where there is one, else the function."""
    contract = sys.modules.get("dltrain.callbacks.base")
    for frame, _ in frames:
        own = frame.f_locals.get("self")
        if contract is not None and isinstance(own, contract.Callback):
            settings = getattr(own, "settings", frame.f_locals.get("settings"))  # not there in __init__ yet
            return f"callbacks.{getattr(settings, 'name', type(own).__name__)}, {frame.f_code.co_name}"
    return f"{Path(frames[-1][0].f_code.co_filename).name}, {frames[-1][0].f_code.co_name}"


def _source(frame: FrameType, number: int) -> str:
    return linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
