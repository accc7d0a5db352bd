"""Plain values to settings classes: every mistake is noted, and the conversion goes on."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Literal

from dltrain import config_files, registry
from dltrain.config.schema import COMPONENTS, SHARED, SHARED_FIELDS, Config
from dltrain.config.settings import Limits, field_names
from dltrain.errors import ConfigError, did_you_mean

_WORDS: dict[type[Any], str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    dict: "a group of names and values",
}


def convert(value: Any, kind: Any, key: str, problems: list[str], limits: Limits | None = None) -> Any:
    """Returns ``value`` as ``kind``; appends a line to ``problems`` for each thing that does not fit."""
    limits = limits or Limits()
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(value, typing.cast("type[Any]", kind), key, problems)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, tuple):
        if not isinstance(value, list):
            return _wrong(value, kind, key, problems, limits)
        return [convert(item, arguments[0], f"{key}[{i}]", problems, limits) for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            return _wrong(value, kind, key, problems, limits)
        return {name: convert(item, arguments[1], f"{key}.{name}", problems, limits) for name, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        groups = [argument for argument in arguments if dataclasses.is_dataclass(argument)]
        if isinstance(value, dict) and len(groups) == 1:
            return convert(value, groups[0], key, problems)  # which tells what is wrong inside the group
        for argument in arguments:
            attempt: list[str] = []
            result = convert(value, argument, key, attempt, limits)
            if argument is not type(None) and not attempt:
                return result
            if typing.get_origin(argument) is dict and isinstance(value, dict):  # one of its values is the mistake
                problems += attempt
                return result
        return _wrong(value, kind, key, problems, limits)
    if not _fits(value, kind) or not (isinstance(value, bool) or limits.allow(value)):
        return _wrong(value, kind, key, problems, limits)
    if kind is float:
        return float(value)
    return int(value) if kind is int else value


def _fits(value: Any, kind: Any) -> bool:
    """Tells whether a YAML scalar can stand for ``kind`` without loss."""
    if kind is Any:
        return True
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False
    return math.isfinite(number) and (kind is float or (kind is int and number.is_integer()))


def _convert_dataclass(value: Any, kind: type[Any], key: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{key} = {shown(value)}: must be a group of settings ({', '.join(field_names(kind))})")
        return None
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        path = f"{key}.{field.name}" if key else field.name
        if kind is Config and field.name in SHARED_FIELDS:
            continue
        if field.name not in value:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append(f"{path}: no value. Set {path}=..., or give it in the YAML file")
            continue
        item = value[field.name]
        if kind is Config and field.name in COMPONENTS:
            arguments.update(_convert_with_shared(item, field.name, problems))
        elif kind is Config and field.name == "callbacks":
            arguments[field.name] = _convert_callbacks(item, problems)
        else:
            arguments[field.name] = _convert_field(item, hints[field.name], field, path, problems)
    for name in value:
        if name not in hints and key.endswith("]"):  # a group in a list, of which known_keys knows nothing
            problems.append(f"{key} has no setting '{name}'.{did_you_mean(str(name), hints)}")
        elif name not in hints or (kind is Config and name in SHARED_FIELDS):
            problems.append(unknown_key(f"{key}.{name}" if key else str(name)))
            if str(name).startswith("_") and str(name).endswith("_"):
                problems[-1] = f"{key}.{name}: is refused. A config names registered components (name: ...), never code"
    try:
        return kind(**arguments)
    except TypeError:  # a required field is missing, and reported above
        return None
    except ValueError as error:  # what a settings class checks itself in __post_init__
        problems.append(f"{key}: {error}")
        return None


def _convert_field(value: Any, kind: Any, field: dataclasses.Field[Any], key: str, problems: list[str]) -> Any:
    before = len(problems)
    converted = convert(value, kind, key, problems, field.metadata.get("limits"))
    check = field.metadata.get("check")
    if check is not None and len(problems) == before:
        try:
            check(converted)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    return converted


def _convert_with_shared(value: Any, kind: str, problems: list[str]) -> dict[str, Any]:
    """Converts a component of Config, and what every component of its kind has besides, to fields of Config."""
    if kind not in SHARED or not isinstance(value, dict):
        return {kind: _convert_component(value, kind, kind, problems)}
    field, settings = SHARED[kind]
    shared = _shared_values(kind)
    own = {name: item for name, item in value.items() if name not in shared}
    shared |= {name: item for name, item in value.items() if name in shared}
    return {
        kind: _convert_component(own, kind, kind, problems),
        field: _convert_dataclass(shared, settings, kind, problems),
    }


def _shared_values(kind: str) -> dict[str, Any]:
    """Returns what train.yaml says of every component of a kind; a run of 0.1 has no such settings in its config."""
    return dict(config_files.entry_values()[kind])


def _convert_component(value: Any, kind: str, key: str, problems: list[str]) -> Any:
    """Converts ``{name: ..., its own arguments}`` to the settings of the component that it names."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        problems.append(f"{key} = {shown(value)}: needs a name. {_names_of(kind)}")
        return None
    try:
        entry = registry.find(kind, value["name"])
    except ConfigError as error:
        problems.append(f"{key}.name = {shown(value['name'])}: {error}")
        return None
    return _convert_dataclass(value, entry.settings, key, problems)


def _names_of(kind: str) -> str:
    return f"There is: {', '.join(registry.names(kind))}."


def _convert_callbacks(value: Any, problems: list[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.append(f"callbacks = {shown(value)}: must be a group of callbacks. {_names_of('callbacks')}")
        return {}
    return {
        name: _convert_component(item, "callbacks", f"callbacks.{name}", problems)
        for name, item in value.items()
        if item is not None
    }


def shown(value: Any) -> str:
    """Returns a value as a message shows it: short, strings in quotes."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(value: Any, kind: Any, key: str, problems: list[str], limits: Limits) -> None:
    hint = ""
    allowed = typing.get_args(kind) if typing.get_origin(kind) is Literal else limits.choices
    if isinstance(value, str) and allowed:
        hint = did_you_mean(value, [str(word) for word in allowed]).partition(" There is:")[0]
    finite = "finite and " if isinstance(value, float) and not math.isfinite(value) else ""
    problems.append(f"{key} = {shown(value)}: must be {finite}{described(kind, limits)}.{hint}")


def described(kind: Any, limits: Limits | None = None) -> str:
    """Returns a type with its range in words, such as "a number above 0 or null"."""
    limits = limits or Limits()
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is list:
        return f"a list, each {described(arguments[0], limits)}"
    if origin is dict:
        return _WORDS[dict]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(
            described(argument, limits if argument is not type(None) else None) for argument in arguments
        )
    if kind is str and limits.choices:
        return str(limits)
    if dataclasses.is_dataclass(kind):
        return "a group of settings"
    word = _WORDS.get(kind, getattr(kind, "__name__", "a value"))
    return f"{word} {limits}".strip() if kind in (int, float) else word


def described_each(kind: Any, limits: Limits | None) -> str | None:
    """Returns the type of the values of a group of names and values, or of the one that a union allows."""
    for option in (kind, *typing.get_args(kind)):
        if typing.get_origin(option) is dict:
            return described(typing.get_args(option)[1], limits)
    return None


def unknown_key(key: str) -> str:
    return f"no setting '{key}'."
