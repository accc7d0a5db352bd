"""Values of the environment that a config names, and which stand in nothing that a run writes or says.

A config keeps them as ``${oc.env:NAME}``; ``config.load`` reads them. What a message or a log line would say of them is
said as ``${oc.env:NAME}`` as well.
"""

from __future__ import annotations

import re
from typing import Any

MARK = "oc.env:"

# Who and where somebody is, and what a cluster counts, are no secrets.
_PUBLIC = re.compile(r"HOME|USER|LOGNAME|PWD|HOSTNAME|TMPDIR|LANG|SHELL|(DLTRAIN|SLURM|PBS|LSB|CUDA|OMP|XDG)_\w+")

# Shorter ones would be found in words that have nothing to do with them.
_SHORTEST = 5

_known: dict[str, str] = {}  # value -> name, of what the configs of this process have read


def note(name: str, value: str) -> None:
    """Notes a value of the environment that a config has read."""
    plain = value.strip()
    is_number = re.fullmatch(r"[-+.\d]+(e[-+]?\d+)?", plain, re.IGNORECASE)
    if len(plain) >= _SHORTEST and not is_number and plain.lower() != "false" and not _PUBLIC.fullmatch(name):
        _known[plain] = name


def redacted(text: str) -> str:
    """Returns a text with each value of the environment replaced by its name."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, f"${{{MARK}{_known[value]}}}")
    return text


def redacted_values(value: Any) -> Any:
    """Returns nested values with each text redacted."""
    if isinstance(value, dict):
        return {name: redacted_values(item) for name, item in value.items()}
    if isinstance(value, list):
        return [redacted_values(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def holds_environment(value: Any) -> bool:
    """Tells whether a value, or one below it, is to be read from the environment."""
    if isinstance(value, dict):
        return any(map(holds_environment, value.values()))
    if isinstance(value, list):
        return any(map(holds_environment, value))
    return isinstance(value, str) and MARK in value and "${" in value
