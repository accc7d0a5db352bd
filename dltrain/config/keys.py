"""The keys that a config can have, what they mean, and the nearest one to a key that it cannot."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dltrain import registry
from dltrain.config.conversion import described, described_each
from dltrain.config.schema import COMPONENTS, SHARED, SHARED_FIELDS, Config, GroupSettings
from dltrain.errors import did_you_mean


def suggestion(key: str, known: list[str]) -> str:
    """Returns " Did you mean 'x'?" for an unknown key, or the keys that stand beside it."""
    parents = {".".join(name.split(".")[:length]) for name in known for length in range(1, name.count(".") + 1)}
    parent, _, leaf = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    if parent and beside:  # of the same group, the last part alone decides
        hint = did_you_mean(leaf, [name.rpartition(".")[2] for name in beside])
        hint = hint.replace("Did you mean '", f"Did you mean '{parent}.")
    else:
        same_name = [name for name in known if name.rpartition(".")[2] == key]
        hint = f" Did you mean '{same_name[0]}'?" if same_name else did_you_mean(key, {*known, *parents})
    if " Did you mean" in hint or not beside:
        return hint if " Did you mean" in hint else " 'dltrain explain' lists the settings."
    names = ", ".join(name.rpartition(".")[2] for name in beside)
    return f" {parent or 'The top level'} has: {names}."


@dataclass(frozen=True)
class Setting:
    """What ``explain`` tells of a key.

    Attributes:
        of_each: the type of each value where the setting may be a group of names of the user's own; else None.
    """

    meaning: str
    type: str
    of_each: str | None = None


def known_keys(container: dict[str, Any]) -> Iterator[tuple[str, Setting]]:
    """Yields each key that a config with these components can have, with what it means."""
    for name, described_field in _settings_of(Config):
        if name in SHARED_FIELDS:
            continue
        yield name, described_field
        value = container.get(name)
        if name in COMPONENTS:
            yield from _component_keys(name, value, name)
        elif name == "callbacks" and isinstance(value, dict):
            for key, item in value.items():
                yield f"callbacks.{key}", described_field
                yield from _component_keys("callbacks", item, f"callbacks.{key}")
        elif name in ("device", "trainer", "sweep"):
            for inner, setting_of in _settings_of(typing.get_type_hints(Config)[name]):
                yield f"{name}.{inner}", setting_of


def _component_keys(kind: str, value: Any, key: str) -> Iterator[tuple[str, Setting]]:
    if not isinstance(value, dict) or value.get("name") not in registry.names(kind):
        return
    shared = _settings_of(SHARED[kind][1]) if kind in SHARED else ()
    for name, described_field in [*_settings_of(registry.find(kind, value["name"]).settings), *shared]:
        yield f"{key}.{name}", described_field
        inner = value.get(name)
        if isinstance(inner, dict) and described_field.of_each is not None:  # names of the user's own
            for own in inner:
                yield f"{key}.{name}.{own}", Setting(described_field.meaning, described_field.of_each)
                if (kind, name) == ("optimizer", "groups"):
                    yield from ((f"{key}.{name}.{own}.{field}", of) for field, of in _settings_of(GroupSettings))


def _settings_of(kind: type[Any]) -> Iterator[tuple[str, Setting]]:
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        limits, hint = field.metadata.get("limits"), hints[field.name]
        yield (
            field.name,
            Setting(field.metadata.get("meaning", ""), described(hint, limits), described_each(hint, limits)),
        )
        if kind is not Config and dataclasses.is_dataclass(hint):  # of Config, the groups are walked by known_keys
            for inner, setting_of in _settings_of(typing.cast("type[Any]", hint)):
                yield f"{field.name}.{inner}", setting_of
