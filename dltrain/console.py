"""What a person sees: log lines and a live display that never mix, and plain lines where there is no terminal.

Everything but a verb's own answer goes to standard error, so that a pipe gets the answer alone.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain.redaction import redacted

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger("dltrain")


def _redact(record: logging.LogRecord) -> bool:
    """Takes values of the environment out of a line before any handler sees it."""
    record.msg, record.args = redacted(record.getMessage()), ()
    return True


log.addFilter(_redact)

_error_console: Console | None = None


def error_console() -> Console:
    """Returns the one rich console of standard error; a live display and the log lines share it."""
    global _error_console
    from rich.console import Console

    stderr = getattr(sys.stderr, "rich_proxied_file", sys.stderr)  # a live display stands in for sys.stderr
    if _error_console is None or _error_console.file is not stderr:
        _error_console = Console(stderr=True, highlight=False)
    return _error_console


class _Lasting(io.FileIO):
    """A standard output that writes into nothing once the terminal is closed, or the reader of a pipe is gone."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EPIPE):
                raise
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())  # whatever else writes there
            os.close(nothing)
            return memoryview(content).nbytes


def outlive_terminal() -> None:
    """Lets nothing that is written from here on end the process because nobody is there to read it.

    A training goes on, or saves its state and stops, when its terminal is closed.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        raw = getattr(stream.buffer, "raw", stream.buffer) if isinstance(stream, io.TextIOWrapper) else None
        if isinstance(raw, io.FileIO):
            stream.flush()
            lasting: Any = _Lasting(raw.fileno(), "w", closefd=False)
            if stream.buffer is not raw:  # else PYTHONUNBUFFERED is set
                lasting = io.BufferedWriter(lasting)
            how = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            setattr(sys, name, io.TextIOWrapper(lasting, stream.encoding, stream.errors, **how))


def is_live() -> bool:
    """Tells whether a display may redraw itself: a terminal on both outputs, no CI, no dumb terminal."""
    return (
        not _is_quiet
        and all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))
        and not os.environ.get("CI")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


_is_quiet = False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Shows nothing of what a run has to say; its log has it. A sweep tells of its trials in a way of its own."""
    global _is_quiet
    before, _is_quiet = _is_quiet, True
    try:
        yield
    finally:
        _is_quiet = before


class ConsoleHandler(logging.Handler):
    """Writes log lines to standard error as it is at that moment, above a live display where one is running."""

    def emit(self, record: logging.LogRecord) -> None:
        if _is_quiet:
            return
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        if is_live():
            style = "yellow" if record.levelno >= logging.WARNING else None
            error_console().print(text, style=style, markup=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


class NotebookHandler(ConsoleHandler):
    """Writes log lines to the output of a notebook's cell; what goes to standard error stands on red there."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or not is_notebook():
            super().emit(record)
        elif not _is_quiet:
            print(record.getMessage(), flush=True)


def is_notebook() -> bool:
    """Tells whether standard output is a cell of a notebook."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


_lending = threading.Lock()
_borrowers = 0
_before: tuple[Any, ...] = ()


@contextlib.contextmanager
def lent(level: int) -> Iterator[None]:
    """Shows log lines until the block ends; logging and Python's warnings are then as they were before.

    Of several blocks at once, as of a prediction beside a training in another thread, the first says what is shown, and
    the last one gives back.

    Args:
        level: of the lines that are shown, at least: logging.INFO, or logging.WARNING for those alone.
    """
    global _borrowers, _before
    with _lending:
        _borrowers += 1
        if _borrowers == 1:
            _before = (log.level, log.propagate, list(log.handlers), warnings.showwarning)
            log.handlers = [handler for handler in log.handlers if not isinstance(handler, ConsoleHandler)]
            log.addHandler(NotebookHandler(level))
            log.setLevel(logging.INFO)
            log.propagate = False
    try:
        yield
    finally:
        with _lending:
            _borrowers -= 1
            if _borrowers == 0:
                log.setLevel(_before[0])
                log.propagate, log.handlers, warnings.showwarning = _before[1:]


class LogFile(logging.FileHandler):
    """A log file that a full disk does not stop: its lines are on the console too."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def log_to(path: Path | None) -> logging.Handler | None:
    """Sends dltrain's log lines, and Python's warnings, to the console and (with times) to a file.

    Returns:
        The file's handler, to be given to ``stop_logging``.
    """
    log.setLevel(logging.INFO)
    log.propagate = False
    if not any(isinstance(handler, ConsoleHandler) for handler in log.handlers):
        log.addHandler(ConsoleHandler())
    if path is None:
        return None
    handler = LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    warnings.showwarning = _log_warning
    return handler


def stop_logging(handler: logging.Handler | None) -> None:
    """Closes the log file of a run."""
    if handler is not None:
        log.removeHandler(handler)
        handler.close()


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    log.warning("%s: %s (%s:%s)", category.__name__, message, filename, lineno)


def duration(seconds: float) -> str:
    """Returns a time as a person writes it: 0.42 s, 12 s, 3:05, 2:10:00."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def figures(row: dict[str, object], prefixes: tuple[str, ...] = ("train/", "val/", "val_to_train/")) -> str:
    """Returns a row of figures on one line, the loss of each split and its first metric."""
    shown = []
    for prefix in prefixes:
        names = [name for name in row if name.startswith(prefix)][:2]
        shown += [f"{name} {number(row[name])}" for name in names]
    return "  ".join(shown)


def number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) and 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
