"""Patterns of parameter names, such as ``features.*`` or ``*.bias``, as the shell has them; a star takes dots as well.

Wherever settings go by pattern and one of them holds for a name, it is the last that fits: general ones stand first,
exceptions after them, and what the command line adds comes last.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from dltrain.errors import ConfigError, did_you_mean


def fitting(key: str, patterns: Iterable[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Returns, for each pattern, the names that it fits.

    Args:
        key: the setting that holds the patterns.

    Raises:
        ConfigError: a pattern fits none.
    """
    names = list(names)
    fits = {pattern: [name for name in names if fnmatchcase(name, pattern)] for pattern in patterns}
    problems = [
        f"{key}: no parameter fits '{pattern}'.{did_you_mean(pattern, names)}" for pattern in fits if not fits[pattern]
    ]
    if problems:
        raise ConfigError(*problems)
    return fits


def last_fitting(key: str, patterns: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Returns the pattern that holds for each name that some pattern fits: the last of those that do.

    Args:
        key: the setting that holds the patterns.

    Raises:
        ConfigError: a pattern fits none, or holds for none because others after it do.
    """
    fits = fitting(key, patterns, names)
    holding = {name: pattern for pattern, fitted in fits.items() for name in fitted}
    problems = [
        f"{key}: what '{pattern}' fits belongs to patterns after it, as {fitted[0]} to '{holding[fitted[0]]}'. "
        "The last that fits holds: put the narrower one last"
        for pattern, fitted in fits.items()
        if pattern not in holding.values()
    ]
    if problems:
        raise ConfigError(*problems)
    return holding
