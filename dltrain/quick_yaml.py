"""YAML read fast where that is safe: thousands of configs for a table, and those of strangers among them."""

from __future__ import annotations

from typing import Any

# Characters. What PyYAML has in C is eight times as fast, but crashes where brackets are nested ten thousand deep.
_LONGEST_IN_C = 8192


def load(text: str | bytes) -> Any:
    """Returns what a text says, as plain values.

    Raises:
        yaml.YAMLError, ValueError: it is no YAML, or a value in it is none.
        RecursionError: it is nested too deep.
    """
    import yaml  # here, because whoever has an index hardly ever reads one

    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=fast if len(text) <= _LONGEST_IN_C else yaml.SafeLoader)
