"""A table of runs: how each ended, its best figure, and the settings that tell the runs apart.

  dltrain runs                                        the last ones
  dltrain runs model=lstm 'val/accuracy>0.9'          those that pass every comparison (quotes for > and <)
  dltrain runs status=failed,killed 'age<7d' name~korean
  dltrain runs --sort val/accuracy --limit 5          the best five
  dltrain runs 2026-11-30_15-01-02-grid-igdr          the trials of a sweep
  dltrain runs prune status=failed 'age>30d'          remove some: lists them, then asks

A word is a folder, a part of a name, a pattern such as '*lstm*', or 'last'. A comparison takes a setting (model,
optimizer.lr), a figure (val/loss, test/accuracy), or one of name, status, best, metric, epochs, steps, age, time and
size. A figure is that of the test, or the best value of what the run kept its weights by, else the last one.
"""

from __future__ import annotations

import argparse
import sys

from dltrain.errors import ConfigError

_PRUNE = ("yes", "keep_best", "by", "checkpoints_only")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument("words", nargs="*", metavar="WORD", help="which runs (default: all that are no trials)")
    parser.add_argument("--trials", action="store_true", help="the trials of sweeps as well")
    parser.add_argument("--sort", metavar="KEY", help="of a figure the best first; --sort=-KEY turns it round")
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--limit", type=_count, metavar="N", help="at most N, 0 for all (default in a terminal: 30)")
    parser.add_argument("--keys", metavar="A,B", help="show these settings and figures")
    parser.add_argument("--all-keys", action="store_true", help="show all figures, and all settings that differ")
    parser.add_argument("--size", action="store_true", help="show what each takes on the disk, however many they are")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print all that is known as JSON")
    output.add_argument("--csv", action="store_true", help="print all that is known as CSV")
    prune = parser.add_argument_group("for 'runs prune'")
    prune.add_argument("--yes", action="store_true", help="remove without asking")
    prune.add_argument("--keep-best", type=_count, metavar="N", help="keep the best N of those selected")
    prune.add_argument("--by", metavar="KEY", help="the figure that decides which are best (default: best)")
    prune.add_argument("--checkpoints-only", action="store_true", help="remove their checkpoints and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from dltrain.results import index

    with index.uncollected():
        return _prune(arguments) if arguments.words[:1] == ["prune"] else _show(arguments)


def _show(arguments: argparse.Namespace) -> int:
    from dltrain.results import listing
    from dltrain.results.selection import select

    _refuse(arguments, _PRUNE, "is for 'dltrain runs prune'")
    wish = listing.Wish(
        arguments.sort,
        arguments.reverse,
        arguments.limit,
        _names(arguments.keys),
        arguments.all_keys,
        arguments.size,
    )
    selection = select(arguments.words, arguments.trials)
    if arguments.json or arguments.csv:
        print((listing.as_json if arguments.json else listing.as_csv)(selection, wish), end="")
        return 0
    width = _width() if sys.stdout.isatty() else None
    text, columns, notes = listing.table(selection, wish, width)
    print(text, end="")
    if columns:
        listing.show(columns)
    sys.stdout.flush()
    for note in notes:
        print(note, file=sys.stderr)
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from dltrain.results import prune

    _refuse(arguments, ("sort", "reverse", "limit", "keys", "all_keys", "size", "json", "csv"), "is not for 'prune'")
    if arguments.by is not None and arguments.keep_best is None:
        raise ConfigError("--by says what --keep-best N goes by: give that as well")
    rule = prune.Rule(
        arguments.words[1:],
        arguments.trials,
        arguments.keep_best,
        arguments.by or "best",
        arguments.checkpoints_only,
    )
    return prune.run(rule, arguments.yes)


def _refuse(arguments: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """
    Raises:
        ConfigError: one of the flags was given.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) not in (None, False)]
    if given:
        raise ConfigError(f"{', '.join(given)} {why}")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0")
    return int(text)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _width() -> int:
    from rich.console import Console

    return Console().width
