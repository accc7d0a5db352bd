"""How cells are spelled: numbers as spreadsheets write them, and letters in one of several Unicode forms."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TypeVar

Value = TypeVar("Value")

# What stands before or after a number and says only what it counts.
_BEFORE = r"(?:US\$|[$€£¥₩￦₹₽])"
_AFTER = r"(?:[%％$€£¥₩￦₹₽]|원|USD|EUR|KRW)"


def _pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Returns the pattern of numbers with a sign, thousands in groups, and a unit, each of which may be missing."""
    grouped = rf"[1-9]\d{{0,2}}(?P<group>{group})\d{{3}}(?:(?P=group)\d{{3}})*"
    return re.compile(
        rf"(?P<sign>[+−-]?)\s?(?P<before>{_BEFORE}?)\s?(?P<inner>[−-]?)"
        rf"(?P<number>(?:{grouped}|\d+)(?:{decimal}\d*)?|{decimal}\d+)\s?(?P<after>{_AFTER}?)"
    )


# By the decimal mark of the table; the marks of groups are those that it is not.
_PATTERNS = {
    ".": _pattern(r"\.", "[, '’\u00a0\u202f]"),
    ",": _pattern(",", "[. '’\u00a0\u202f]"),
}


def spelled(text: str, decimal: str | None) -> float | None:
    """Returns the number that a text is, or None.

    Args:
        decimal: the table's decimal mark; None, where it has no number with a fraction, is a point.
    """
    if decimal != "," or "." not in text:  # "1.234" among decimal commas is a thousand
        plain = _plain(text.replace(",", ".") if decimal == "," else text)
        if plain is not None:
            return plain
    match = _PATTERNS[decimal or "."].fullmatch(text)
    if match is None or (match["sign"] and match["inner"]):
        return _plain(text)
    digits = match["number"].replace(match["group"], "") if match["group"] else match["number"]
    value = float(digits.replace(",", "."))
    return -value if (match["sign"] + match["inner"]) in ("-", "−") else value


def _plain(text: str) -> float | None:
    if "_" in text:  # which Python takes inside a number
        return None
    try:
        return float(text)
    except ValueError:
        return None


def units(texts: Iterable[str], decimal: str | None) -> set[str]:
    """Returns what the numbers among the texts count, such as % or $; numbers alone count nothing."""
    found = (_PATTERNS[decimal or "."].fullmatch(text) for text in texts)
    return {match["before"] or match["after"] for match in found if match is not None} - {""}


def example(texts: Iterable[str], decimal: str | None) -> str:
    """Returns the first of the texts that is a number only as spreadsheets write it, with that number; "" for none."""
    for text in texts:
        number = spelled(text, decimal)
        if number is not None and _plain(text.replace(",", ".") if decimal == "," else text) != number:
            return f"'{text}' is {number:.15g}"
    return ""


def composed(value: Value) -> Value:
    """Returns a text, or the texts in lists and dicts, with each letter as one character (NFC).

    Some systems write a letter in parts (NFD): Hangul as jamo, an umlaut as a letter and dots. They look the same.
    """
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)  # type: ignore[return-value]
    if isinstance(value, list):
        return [composed(item) for item in value]  # type: ignore[return-value]
    if isinstance(value, dict):
        return {composed(name): composed(item) for name, item in value.items()}  # type: ignore[return-value]
    return value
