"""Writes one HTML page about a run or a sweep, which needs neither a network nor dltrain to be read.

Of a run: the curves, the evaluation, the worst errors with their images or texts, the model, the config and how to
repeat it; of a sweep what was found, all trials and three plots. A training writes it at its end unless report=false;
this one looks at all samples, and tells intervals of the figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dltrain.commands import one_run
from dltrain.errors import ConfigError
from dltrain.sweeps.folder import SweepFolder, find_sweep

if TYPE_CHECKING:
    from dltrain.report.subject import Looking

_WORST = 20
_MOST_WORST = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write there, an .html file, not to report.html in the folder"
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="which samples are looked at; default: test where the data has one, else validation",
    )
    parser.add_argument("--checkpoint", metavar="NAME", help="best (default), last, or as for 'dltrain evaluate'")
    parser.add_argument("--worst", type=int, default=None, metavar="N", help=f"how many errors are shown ({_WORST})")
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def run(arguments: argparse.Namespace) -> int:
    path = None if arguments.output is None else Path(arguments.output)
    if arguments.worst is not None and not 0 <= arguments.worst <= _MOST_WORST:
        raise ConfigError(f"--worst {arguments.worst}: needs a whole number from 0 to {_MOST_WORST}")
    if path is not None:
        _check_place(path)
    sweep = find_sweep(arguments.run)
    written = _of_run(arguments, path) if sweep is None else _of_sweep(sweep, arguments, path)
    print(written)
    if arguments.open:
        _open(written)
    return 0


def _check_place(path: Path) -> None:
    """Makes the folder of the page, before what takes a while.

    Raises:
        ConfigError: a folder is named where a file is to be, or a file that is no page, which would be lost.
        MachineError: the folder cannot be made.
    """
    from dltrain.run_folder import make_folder

    if path.is_dir():
        raise ConfigError(f"-o {path}: is a folder. Name the file: -o {path / 'report.html'}")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"-o {path}: the page is HTML, so the name must end in .html. Try -o {path.with_suffix('.html')}"
        )
    make_folder(path.parent, what="report", hint="Name another file with -o FILE")


def _of_run(arguments: argparse.Namespace, path: Path | None) -> Path:
    folder = one_run.find(arguments.run)

    from dltrain import console
    from dltrain.report import loading
    from dltrain.report import run as report

    console.log_to(None)
    subject = loading.load(folder, _looking(arguments), arguments.checkpoint, arguments.config_dir)
    if subject.missing:
        print(f"the page holds what the run's folder tells: {subject.missing}", file=sys.stderr)
    return report.write(subject, path)


def _looking(arguments: argparse.Namespace) -> Looking:
    from dltrain.report.subject import Looking

    return Looking(split=arguments.split, worst=_WORST if arguments.worst is None else arguments.worst)


def _of_sweep(sweep: SweepFolder, arguments: argparse.Namespace, path: Path | None) -> Path:
    """
    Raises:
        ConfigError: something is asked for that one run has and a sweep has not.
    """
    for name in ("split", "checkpoint", "worst"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name}: {arguments.run} is a sweep. Name one of its runs: {sweep.best}")
    from dltrain.sweeps import leaderboard, report
    from dltrain.sweeps.ledger import Ledger

    plan, ledger = sweep.read_plan(), Ledger(sweep.journal)
    places = leaderboard.ranked(sweep)
    return report.write(sweep, places, ledger.study, plan.metric, ledger.higher_is_better, path)


def _open(path: Path) -> None:
    """Opens the browser, or says why not."""
    import webbrowser

    from dltrain.board_server import has_display

    if not has_display() or not webbrowser.open(path.absolute().as_uri()):
        print("there is no browser to open it in: open the file yourself", file=sys.stderr)
