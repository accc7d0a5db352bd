"""Puts runs side by side: the settings in which they differ, their figures, their curves, and tests over seeds.

  dltrain compare 15-01-00-iris-mlp-abcd 15-03-12     two runs, by parts of their names
  dltrain compare model=lstm status=done 'age<1d'     those that pass every comparison, as in 'dltrain runs'
  dltrain compare 2026-11-30_15-01-02-grid-igdr       the trials of a sweep; SWEEP/trials/3 is one
  dltrain compare '*iris*' --metric val/accuracy --x seconds -o compare.svg

Runs whose settings are the same but for the seed are a group: of each there are mean, deviation and interval, and
between groups Welch's t-test, the paired one where the seeds are the same, corrected by Holm where there are several.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument("words", nargs="+", metavar="RUN", help="a folder, part of a name, sweep, 'last' or comparison")
    parser.add_argument("--metric", metavar="NAME", help="of the curves and tests (default: what the runs keep best)")
    parser.add_argument("--x", choices=("epoch", "step", "seconds"), default="epoch", help="what the curves go by")
    parser.add_argument("--trials", action="store_true", help="comparisons choose among the trials of sweeps as well")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the curves: FILE.svg or FILE.png")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")


def run(arguments: argparse.Namespace) -> int:
    from dltrain.results import comparing, index, picture
    from dltrain.results.selection import select

    if arguments.output is not None:
        picture.check(arguments.output)
    with index.uncollected():
        selection = select(arguments.words, arguments.trials, newest_first=False)
        if selection.why_none:
            print(selection.why_none, file=sys.stderr)
        comparison = comparing.compare(selection.runs, arguments.metric, arguments.x)
        if arguments.output is not None:
            picture.write(arguments.output, comparison)
        if arguments.json:
            from dltrain.run_folder import json_text

            print(json_text(comparing.as_dict(comparison), indent=2))
        else:
            _print(comparison)
    if arguments.output is not None:
        sys.stdout.flush()
        print(f"curves: {arguments.output}", file=sys.stderr)
    return 0


def _print(comparison: object) -> None:
    from rich.console import Console

    from dltrain.results import shown
    from dltrain.results.comparing import Comparison

    assert isinstance(comparison, Comparison)
    console = Console(highlight=False)
    is_terminal = sys.stdout.isatty()
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    fine = is_terminal and not is_plain and sys.stdout.encoding.lower().startswith("utf")
    for line in shown.lines(comparison, console.width if is_terminal else None, fine):
        if is_terminal:
            console.print(line, soft_wrap=True)
        else:
            print(line.plain)
