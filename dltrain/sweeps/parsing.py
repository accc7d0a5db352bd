"""Spaces of sweeps from their text: Hydra's own syntax on the command line, and a mapping in ``sweep/*.yaml``."""

from __future__ import annotations

from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from dltrain.errors import ConfigError
from dltrain.overrides import (
    check_syntax,
    first_line,
    literal,
    parse,
    quote_each,
    shown,
    split,
    swept_values,
    value_of,
)
from dltrain.sweeps.space import Choice, Condition, Dimension, Interval, ListOf, Single, Space, Steps

_LIST_OF = ("length", "each", "all")


def swept(overrides: list[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the text of each key of a command line that has several values, and the other overrides.

    Raises:
        ConfigError: a key has several values and is given once more.
    """
    several, others, problems = dict[str, str](), list[str](), list[str]()
    for text, override in zip(overrides, _parsed(overrides), strict=True):
        key = override.get_key_element()
        if key in several or (override.is_sweep_override() and any(key == other.partition("=")[0] for other in others)):
            problems.append(f"{key} is given twice, of which once with several values. Give it once")
        elif override.is_sweep_override():
            several[key] = quote_each(text).partition("=")[2]
        else:
            others.append(text)
    if problems:
        raise ConfigError(*problems)
    return several, others


def space_of(texts: dict[str, Any]) -> Space:
    """Returns a space.

    Args:
        texts: by key, ``interval(1e-4, 1e-2)``, ``tag(log, ...)``, ``int(interval(1, 9))``, ``range(1, 9, 2)``,
            ``choice(a, b)``, a list of values, or a mapping: ``length`` with ``each`` or ``all`` for a list of searched
            length, ``values`` with ``when: key=value`` for what is searched only then.

    Raises:
        ConfigError: with each mistake.
    """
    dimensions, problems = [], []
    for key, given in texts.items():
        group = str(key).partition(".")[0].partition("/")[0]
        if group in ("hydra", "sweep"):
            of = "Hydra" if group == "hydra" else "the sweep itself"
            problems.append(f"{key}={given}: settings of {of} cannot be searched")
            continue
        try:
            dimensions.append(_dimension(str(key), given, texts))
        except ConfigError as error:
            problems += [f"{key}={given}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(*problems)
    return Space(tuple(sorted(dimensions, key=lambda dimension: dimension.when is not None)))


def _dimension(key: str, given: Any, texts: dict[str, Any]) -> Dimension:
    if isinstance(given, dict) and "when" in given:
        if set(given) != {"values", "when"}:
            raise ConfigError("with when stands values, and nothing else")
        other, equals, listed = str(given["when"]).partition("=")
        if not equals or other not in texts or (isinstance(texts[other], dict) and "when" in texts[other]):
            raise ConfigError("when needs key=value, with a key of the space that has no condition of its own")
        return Dimension(key, _values(key, given["values"]), Condition(other, _possible(other, texts[other], listed)))
    return Dimension(key, _values(key, given))


def _possible(other: str, given: Any, listed: str) -> tuple[str, ...]:
    """Returns the texts of another key's values that a condition names.

    Raises:
        ConfigError: the other key can never have one of them.
    """
    known = _values(other, given).listed()
    asked = [text.strip() for text in split(listed)]
    if known is None:
        return tuple(literal(value_of(text)) for text in asked)
    texts = []
    for text in asked:
        found = [one for one in known if _is_same(value_of(one), value_of(text))]
        if not found:
            raise ConfigError(f"when: {other} is never {text}. Its values are {', '.join(map(shown, known))}")
        texts += found
    return tuple(texts)


def _is_same(one: Any, other: Any) -> bool:
    """Tells whether two values are the same: true is no 1, and 'true' no true."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _values(key: str, given: Any) -> Single | ListOf:
    if isinstance(given, dict):
        if "length" not in given or len(given) != 2 or not set(given) <= set(_LIST_OF):
            raise ConfigError("give length, and each or all")
        shared = "all" in given
        length, value = _values(key, given["length"]), _values(key, given["all" if shared else "each"])
        if isinstance(length, ListOf) or isinstance(value, ListOf):
            raise ConfigError("length, each and all are single values")
        if isinstance(length, Interval) and not length.is_whole:
            raise ConfigError("length needs whole numbers, as int(interval(1, 3))")
        return ListOf(length, value, shared)
    if isinstance(given, list):
        if not given:
            raise ConfigError("there is no value in it")
        return Choice(tuple(dict.fromkeys(map(literal, given))))
    (override,) = _parsed([f"{key}={given}"])
    if not override.is_sweep_override():
        return Choice((str(given),))
    try:
        return _of(override)
    except (HydraException, ValueError, ArithmeticError) as error:  # as of a step of 0
        raise ConfigError(f"cannot be searched: {first_line(error)}") from error


def _of(override: Override) -> Single:
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        unknown = value.tags - {"log"}
        if unknown:
            raise ConfigError(f"no tag '{min(unknown)}'. There is: log")
        return Interval(value.start, value.end, whole, "log" in value.tags)
    numbers = value.range() if isinstance(value, RangeSweep) and not value.shuffle else None
    if isinstance(numbers, range) and len(numbers) > 1 and numbers.step > 0:
        return Steps(numbers[0], numbers[-1], numbers.step)
    texts = swept_values(override)
    if not texts:
        raise ConfigError("there is no value in it")
    return Choice(tuple(dict.fromkeys(texts)))


def _parsed(overrides: list[str]) -> list[Override]:
    quoted = list(map(quote_each, overrides))
    check_syntax(quoted)
    return parse(quoted)
