"""Which runs are meant: words of their names, and comparisons such as ``model=lstm`` or ``val/accuracy>0.9``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dltrain import durations
from dltrain.errors import ConfigError, did_you_mean
from dltrain.results.keys import Keys, spelled
from dltrain.results.record import MISSING, Run

FORMS = "key=value, !=, >, >=, <, <=, or key~part of the text"

_COMPARISON = re.compile(r"(?P<key>[^=<>!~\s]+)\s*(?P<sign>>=|<=|!=|==|=|>|<|~)(?P<value>.*)", re.DOTALL)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_SIZES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)


@dataclass(frozen=True)
class Filter:
    """One comparison that a run must pass.

    Attributes:
        typed: as it was written.
        key: what is compared, a name that some run has.
        sign: =, !=, >, >=, <, <= or ~.
        texts: what it is compared with; of several, which = and != take, any.
        number: the same as a number; NaN where it is none.
    """

    typed: str
    key: str
    sign: str
    texts: tuple[str, ...]
    number: float

    def fits(self, run: Run) -> bool:
        """Tells whether a run passes; one that lacks the key does not."""
        value = run.value(self.key)
        if value is MISSING:
            return False
        if self.sign in _ORDER:
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return is_number and _ORDER[self.sign](value, self.number)
        if self.sign == "~":
            return contains(spelled(value), self.texts[0])
        return any(_is_same(value, text) for text in self.texts) == (self.sign == "=")


def is_comparison(word: str) -> bool:
    return _COMPARISON.fullmatch(word) is not None


def parse(words: Sequence[str], keys: Keys) -> list[Filter]:
    """Returns comparisons, checked against the keys that there are.

    Raises:
        ConfigError: a key that no run has, or a value that cannot be compared so; all such mistakes together.
    """
    found, problems = [], []
    for word in words:
        try:
            found.append(_parsed(word, keys))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return found


def _parsed(word: str, keys: Keys) -> Filter:
    match = _COMPARISON.fullmatch(word)
    if match is None:
        raise ConfigError(f"'{word}' is no comparison. Write {FORMS}")
    key, sign, text = keys.find(match["key"]), match["sign"].replace("==", "="), match["value"].strip()
    if not text or text[0] in "=<>!":
        turned = f"{match['key']}{text[0]}={text[1:].strip()}" if sign == "=" and text[:1] in ("<", ">") else ""
        meant = f". Did you mean '{turned}'?" if turned else ""
        raise ConfigError(f"'{word}' compares with nothing. Write {FORMS}{meant}")
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    if sign == "~":
        return Filter(word, key, sign, (text,), float("nan"))
    if sign not in _ORDER:
        return Filter(word, key, sign, tuple(one.strip() for one in _listed(text)), float("nan"))
    return Filter(word, key, sign, (text,), _number(word, key, text))


def _number(word: str, key: str, text: str) -> float:
    try:
        if key in ("age", "time"):
            return durations.seconds_of(text)
        size = _SIZE.fullmatch(text) if key == "size" else None
        return float(text) if size is None else float(size[1]) * _SIZES[size[2].lower()]
    except ValueError as error:
        why = str(error) if key in ("age", "time") else f"'{text}' is no number"
        raise ConfigError(f"'{word}': {why}") from None


def _listed(text: str) -> list[str]:
    """Splits at commas that stand in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        if letter == "," and depth == 0:
            parts.append("")
            continue
        depth += (letter in "[{(") - (letter in ")}]")
        parts[-1] += letter
    return parts


def _is_same(value: Any, text: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    told = spelled(value)
    return told == text or (isinstance(value, (list, dict)) and told == re.sub(r"\s+|['\"]", "", text))


def contains(text: str, part: str) -> bool:
    """Tells whether a text holds a part, upper and lower case alike; with * or ? the part is a pattern of the whole."""
    if not is_pattern(part):
        return part.casefold() in text.casefold()
    pattern = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in part)
    return re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL) is not None


def is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def without_match(filters: Sequence[Filter], runs: Sequence[Run], keys: Keys) -> str:
    """Returns why no run passes: the first comparison that none passes by itself, with what there is."""
    for one in filters:
        if any(one.fits(run) for run in runs):
            continue
        if one.sign == "=" and one.key in ("status", "metric"):
            known = {run.value(one.key) for run in runs} - {MISSING}
            return f"no run has {one.typed}. There is: {', '.join(sorted(known))}."
        if one.sign == "=":
            return f"no run has {one.typed}.{did_you_mean(one.texts[0], keys.values(one.key))}"
        return f"no run has {one.typed}"
    return f"no run has all of {', '.join(one.typed for one in filters)}"
