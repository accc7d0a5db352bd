"""The command line's ``key=value`` overrides: quoted where Hydra's grammar cannot read them, and parsed."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString, Transformer
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dltrain import config_files
from dltrain.errors import ConfigError


def quote(override: str) -> str:
    """Quotes a value that Hydra's grammar cannot read, so that ``data.path=한글 (1).txt`` needs no quotes.

    Values that are in quotes or brackets already, and those that parse, stay as they are. A group of names and
    values may bring names that the YAML file has not, as ``data.columns={zip: category}`` does: names that are no
    settings are found by the types.
    """
    key, equals, value = override.partition("=")
    if value.startswith("{") and key[:1] not in "+~":
        return f"++{override}"
    if not equals or not value or value[0] in "'\"[{":
        return override
    try:
        _parsed(override)
    except HydraException:
        return f"{key}={_in_quotes(value)}"
    return override


def _in_quotes(text: str) -> str:
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # a backslash is an escape before a quote alone
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{trailing * chr(92)}'"


def literal(value: Any) -> str:
    """Returns a value as text after ``key=`` that is read as this very value, and in one way only."""
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.12g}"  # a step of 0.1 from 0.1 leads to 0.30000000000000004
    if not isinstance(value, str):
        return str(value)
    try:
        override = _parsed(f"x={value}")
        is_same = not override.is_sweep_override() and override.value() == value
    except HydraException:
        is_same = False
    return value if is_same and value == value.strip() else _in_quotes(value)


def value_of(text: str) -> Any:
    """Returns the value that stands after ``key=``, a single one."""
    (override,) = parse([quote(f"x={text}").removeprefix("++")])
    return override.value()


def shown(text: str) -> str:
    """Returns text that stands after ``key=`` as a person reads it: without quotes around the whole."""
    if text[:1] not in ("'", '"'):
        return text
    return str(value_of(text))


def quote_each(override: str) -> str:
    """As ``quote``, for a multirun: of a comma list or a ``choice(...)`` that does not parse, each value by itself."""
    key, equals, value = override.partition("=")
    listed = re.fullmatch(r"choice\((.*)\)", value, re.DOTALL)
    values = split(listed[1] if listed else value)
    if not equals or value.startswith("{") or len(values) < 2 or quote(override) == override:
        return quote(override)
    quoted = ",".join(quote(f"={one.strip()}")[1:] for one in values)
    return f"{key}=choice({quoted})"


def swept_values(override: Override) -> list[str]:
    """Returns each value of a sweep as text that stands after ``key=``."""
    given: Any = override.value()
    if isinstance(given, Glob):
        return given.filter(list(config_files.options(override.key_or_group, config_files.user_dirs())))
    values = override.sweep_iterator(Transformer.identity)
    return [literal(_plain(value)) for value in values]


def _plain(value: Any) -> Any:
    """Returns a value without Hydra's marks of quotes."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return list(map(_plain, value))
    return {_plain(key): _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def split(text: str) -> list[str]:
    """Splits at commas that stand in no bracket and no quotes."""
    parts, depth, mark = [""], 0, ""
    for letter in text:
        if letter == "," and not depth and not mark:
            parts.append("")
            continue
        if letter in "'\"":
            mark = "" if letter == mark else mark or letter
        elif not mark:
            depth += (letter in "([{") - (letter in ")]}")
        parts[-1] += letter
    return parts


def parse(overrides: list[str]) -> list[Override]:
    """
    Raises:
        HydraException: one cannot be read.
    """
    return [copy.deepcopy(_parsed(override)) for override in overrides]


@functools.lru_cache(maxsize=1024)
def _parsed(override: str) -> Override:
    """Parses an override, which takes half a millisecond, once for all who ask; what is returned is not changed."""
    return OverridesParser.create().parse_override(override)


def apart(overrides: list[str]) -> tuple[list[tuple[str, Any]], list[str]]:
    """Takes out the lists and groups that YAML can read and Hydra's grammar cannot: ``data.columns={방수: skip}``.

    Returns:
        Their keys and values, and the other overrides.
    """
    groups, others = [], []
    for override in overrides:
        key, _, value = override.partition("=")
        if value[:1] in ("{", "[") and re.fullmatch(r"\+{0,2}[\w.]+", key):
            try:
                _parsed(override)
            except HydraException:
                with contextlib.suppress(YAMLError, OmegaConfBaseException):  # which reads 1e-4 as a number, too
                    groups.append((key.lstrip("+"), _with_spaces(OmegaConf.to_container(OmegaConf.create(value)))))
                    continue
        others.append(override)
    return groups, others


def _with_spaces(value: Any) -> Any:
    """Returns what YAML would read with a space after each colon: Hydra's grammar asks for none, as in {lr:0.1}."""
    if isinstance(value, list):
        return [_with_spaces(item) for item in value]
    if not isinstance(value, dict):
        return value
    read = {}
    for key, inner in value.items():
        name, colon, text = key.partition(":") if isinstance(key, str) and inner is None else (key, "", "")
        read[name] = OmegaConf.create(f"[{text}]")[0] if colon and text else _with_spaces(inner)
    return read


def put(container: dict[str, Any], path: list[str], value: Any) -> None:
    """Sets a nested value; of a group, it adds to the names that are there."""
    for name in path[:-1]:
        inner = container.setdefault(name, {})
        if not isinstance(inner, dict):
            inner = container[name] = {}
        container = inner
    there = container.get(path[-1])
    container[path[-1]] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value


def check_syntax(overrides: list[str]) -> None:
    problems = []
    for override in overrides:
        try:
            _parsed(override)
        except HydraException as error:
            if "=" in override:
                typed = override.removeprefix("++")  # which quote() adds
                problems.append(f"'{typed}' cannot be read: {first_line(error)}. Is a bracket or a quote left open?")
            else:
                problems.append(f"'{override}' is neither a verb nor key=value ('dltrain --help' lists both)")
    if problems:
        raise ConfigError(*problems)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error of Hydra's, without the place in its own configs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^In '[^']+': ", "", lines[0]) if lines else type(error).__name__
