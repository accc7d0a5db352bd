"""Opens TensorBoard on runs, on this machine only (127.0.0.1); Ctrl-C ends it.

Each run is called by what differs among them, such as 'lstm lr=0.01 · abcd'. Of a sweep it shows the curves of all
trials, and their hyper-parameters side by side in the tab HParams. Runs that begin while it is open are added.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from dltrain import run_folder
from dltrain.errors import ConfigError

if TYPE_CHECKING:
    from dltrain.board_links import Links

_LOOK_EVERY_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from dltrain import board_links, board_server

    newest, named, first = board_links.MOST_NEWEST, board_links.MOST_NAMED, board_server.FIRST_PORT
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help=f"runs or sweeps to show (default: the newest {newest} under runs/)"
    )
    parser.add_argument(
        "-a", "--all", action="store_true", help=f"show all, not only the newest {newest}, or {named} of those named"
    )
    parser.add_argument("--port", type=int, help=f"default: the first free one from {first} on")
    parser.add_argument("-o", "--open", action="store_true", help="open it in the browser")


def run(arguments: argparse.Namespace) -> int:
    from dltrain.board_server import BoardServer

    if arguments.port is not None and not 0 < arguments.port < 2**16:
        raise ConfigError(f"--port {arguments.port}: give a number from 1 to 65535, or leave it out for a free one")
    for number in (signal.SIGTERM, signal.SIGHUP):  # or TensorBoard would stay
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with _links(arguments) as links, BoardServer(links.folder, arguments.port) as server:
            _tell(links)
            server.wait_until_it_answers()
            print(f"TensorBoard: {server.url}   (Ctrl-C ends it)", flush=True)
            if arguments.open:
                _open(server.url)
            server.wait(_LOOK_EVERY_SECONDS, links.refresh)
    except KeyboardInterrupt:
        pass
    return 0


def _links(arguments: argparse.Namespace) -> Links:
    """
    Raises:
        ConfigError: there are no runs with curves, or a name means none.
    """
    from dltrain import board_links

    if arguments.runs:
        return board_links.Links(board_links.named(arguments.runs), None if arguments.all else board_links.MOST_NAMED)
    if not board_links.newest():
        runs = run_folder.all_runs()
        where = run_folder.RUNS.absolute()
        if not runs:
            raise ConfigError(f"there are no runs in {where}. Train one first")
        if len(runs) == 1:
            raise ConfigError(f"the run in {where} has no curves: it was trained without callbacks.tensorboard")
        raise ConfigError(
            f"none of the {len(runs):,} runs in {where} has curves: they were trained without callbacks.tensorboard"
        )
    return board_links.Links(board_links.newest, None if arguments.all else board_links.MOST_NEWEST)


def _tell(links: Links) -> None:
    """Says which runs are shown, and how to get those that are not."""
    names = links.names
    if links.left_out:
        print(f"the newest {len(names)} of {len(names) + links.left_out:,} runs; --all shows all", file=sys.stderr)
    elif len(names) == 1:
        print(f"showing {names[0]}", file=sys.stderr)
    else:
        print(f"showing {len(names)} runs", file=sys.stderr)


def _open(url: str) -> None:
    """Opens the browser, or says why not."""
    import webbrowser

    from dltrain.board_server import has_display

    if not has_display():
        print("--open: this machine has no display. Open the address in a browser yourself", file=sys.stderr)
    elif not webbrowser.open(url):
        print("--open: no browser was found. Open the address yourself", file=sys.stderr)
