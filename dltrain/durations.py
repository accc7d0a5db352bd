"""Lengths of time as a person writes them: 90s, 30m, 1h30m, 2d, 1:30:00, or plain seconds."""

from __future__ import annotations

import math
import re

FORMS = "90s, 30m, 1h30m, 7d, 1:30:00 or a number of seconds"
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WITH_UNITS = re.compile("".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in _UNITS))
_WITH_COLONS = re.compile(r"(?:(?P<h>\d+):(?=\d\d:))?(?P<m>\d+):(?P<s>[0-5]\d)")


def seconds_of(length: str | float) -> float:
    """Returns a length of time in seconds.

    Args:
        length: as in ``FORMS``; of two numbers with a colon the first are minutes.

    Raises:
        ValueError: it cannot be read, or is no time at all.
    """
    seconds = _seconds(length.strip().lower()) if isinstance(length, str) else float(length)
    if seconds is None:
        raise ValueError(f"'{length}' is no length of time. Write {FORMS}")
    if not (0 < seconds < math.inf):
        shown = length if isinstance(length, str) else f"{length:g}"
        raise ValueError(f"{shown} is no time to work in. Write more than 0: {FORMS}")
    return seconds


def _seconds(text: str) -> float | None:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    match = _WITH_COLONS.fullmatch(text) or (_WITH_UNITS.fullmatch(text) if text else None)
    if match is None:
        return None
    parts = {unit: float(number) for unit, number in match.groupdict().items() if number is not None}
    if "h" in parts and match.re is _WITH_COLONS and parts["m"] >= 60:
        return None
    return sum(number * _UNITS[unit] for unit, number in parts.items())


def check(length: str | float | None) -> None:
    """
    Raises:
        ValueError: see ``seconds_of``; null is fine.
    """
    if length is not None:
        seconds_of(length)
