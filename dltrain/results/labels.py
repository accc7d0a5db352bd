"""What to call runs that are compared: by the settings in which they differ, rather than by their folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dltrain.results.keys import differing_in, spelled

# Groups that say how a training was watched and where it ran come last.
_LAST = ("callbacks", "device", "sweep", "imports")


def labels(configs: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Returns a text for each config with as few of its settings as tell it from the others: "model=mlp lr=0.01".

    Args:
        configs: settings by their full keys.
        names: what tells those apart whose settings are the same.
    """
    if len(configs) == 1:
        return list(names)
    keys = telling(configs)
    short = _short(keys)
    found = [" ".join(_told(key, short[key], config) for key in keys if key in config) for config in configs]
    return [
        label if found.count(label) == 1 else f"{label} {name}".strip()
        for label, name in zip(found, names, strict=True)
    ]


def telling(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns as few settings as tell configs apart, as far as they can be: choices first, then what varies most."""
    ranked = sorted(differing_in(configs), key=lambda key: _rank(key, configs))
    chosen: list[str] = []
    apart = 1
    for key in ranked:
        if apart == len(configs):
            break
        tried = len({tuple(_value(config, each) for each in [*chosen, key]) for config in configs})
        if tried > apart:
            chosen.append(key)
            apart = tried
    return chosen


def _rank(key: str, configs: Sequence[dict[str, Any]]) -> tuple[bool, bool, bool, bool, int]:
    group = key.partition(".")[0]
    lacking = any(key not in config for config in configs)
    is_choice = key.endswith(".name") and group != "callbacks"
    return group in _LAST, key == "seed", not is_choice, lacking, -len({_value(config, key) for config in configs})


def _value(config: dict[str, Any], key: str) -> str | None:
    return spelled(config[key]) if key in config else None


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Returns the last part of each key, or the whole where that could be another's; model.name is the model."""
    parts = {key: key.removesuffix(".name").rpartition(".")[2] for key in keys}
    counts = list(parts.values())
    return {key: part if counts.count(part) == 1 else key for key, part in parts.items()}


def _told(key: str, short: str, config: dict[str, Any]) -> str:
    """Returns a setting as a label has it: a choice by its value alone."""
    value = spelled(config[key])
    return value if key in ("model.name", "data.name", "optimizer.name") else f"{short}={value}"
