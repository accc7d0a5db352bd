"""The one registry: every data set, model, loss, optimizer, scheduler and callback by kind and name.

A component is a settings dataclass (what may stand in YAML) and a factory that takes the settings and, as
keyword arguments, what is known only at run time (the task, the parameters, ...). YAML can name nothing else:
the registry is the white list of what a config can build.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeVar

from dltrain.errors import ConfigError, did_you_mean

# Kind -> the module or package that registers the built-in components of that kind.
BUILT_IN = {
    "data": "dltrain.data",
    "model": "dltrain.models",
    "loss": "dltrain.losses",
    "optimizer": "dltrain.optimizers",
    "scheduler": "dltrain.schedulers",
    "callbacks": "dltrain.callbacks",
}

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered component."""

    kind: str
    name: str
    settings: type[Any]
    factory: Callable[..., Any]


_entries: dict[tuple[str, str], Entry] = {}
_loaded: set[str] = set()


def register(kind: str, name: str, settings: type[Any]) -> Callable[[Factory], Factory]:
    """Registers the decorated class or function as ``kind``/``name``, built from a ``settings`` dataclass.

    Raises:
        ValueError: the kind is unknown, the settings are no dataclass, or the name is taken.
    """
    if kind not in BUILT_IN:
        raise ValueError(f"no kind of component '{kind}'.{did_you_mean(kind, BUILT_IN)}")
    if not is_dataclass(settings):
        raise ValueError(f"{kind}/{name}: {settings.__name__} must be a dataclass")

    def add(factory: Factory) -> Factory:
        if not f"{factory.__module__}.".startswith(f"{BUILT_IN[kind]}."):
            _load(kind)  # first, so that it is the user's component that meets a name that is taken
        known = _entries.get((kind, name))
        if known is not None and known.factory.__module__ != factory.__module__:
            raise ValueError(f"{kind}/{name} is registered by {known.factory.__module__} already")
        _entries[kind, name] = Entry(kind, name, settings, factory)
        return factory

    return add


def names(kind: str) -> list[str]:
    """Returns the registered names of a kind, sorted."""
    _load(kind)
    return sorted(name for entry_kind, name in _entries if entry_kind == kind)


def find(kind: str, name: str) -> Entry:
    """Returns the entry of ``kind``/``name``.

    Raises:
        ConfigError: there is none; the message gives the nearest name.
    """
    _load(kind)
    entry = _entries.get((kind, name))
    if entry is None:
        raise ConfigError(f"no {kind} named '{name}'.{did_you_mean(name, names(kind))}")
    return entry


def build(kind: str, settings: Any, **runtime: Any) -> Any:
    """Builds the component that ``settings.name`` names, with what is known only at run time."""
    return find(kind, settings.name).factory(settings, **runtime)


def _load(kind: str) -> None:
    """Imports the built-in modules of a kind once, so that they register themselves."""
    if kind in _loaded:
        return
    package = importlib.import_module(BUILT_IN[kind])
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
        importlib.import_module(module.name)
    _loaded.add(kind)
