"""Data sets: what there is, getting one, and looking at what a model will see of it.

dltrain data list                       every data set by name: its task, size, rights, and whether it is here
dltrain data prepare NAME ...           fetch data sets, and read them once so that the next start is quick ('all')
dltrain data prepare key=value ...      the same for one with settings, as for training
dltrain data show NAME [key=value ...]  a sample of what the model will see; of images also a picture
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import catalog, config_files, files
from dltrain.catalog import DATASETS, Dataset
from dltrain.commands import train
from dltrain.errors import ConfigError, DltrainError, did_you_mean

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.data import Data

ACTIONS = ("list", "prepare", "show")
SPLITS = ("train", "validation", "test")

# The flags that one action alone has, with what they are when they are not given.
_OWN_FLAGS: dict[str, dict[str, object]] = {"list": {"json": False}, "show": {"rows": None, "split": None}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(overrides_between_flags=True, print_help=parser.print_help)
    parser.add_argument("action", nargs="?", metavar="|".join(ACTIONS))
    parser.add_argument("words", nargs="*", metavar="NAME|key=value", help="a data set, and settings as for training")
    parser.add_argument("--json", action="store_true", help="list: as JSON")
    parser.add_argument("--rows", type=int, metavar="N", help="show: so many samples, or images of a class (default 5)")
    parser.add_argument("--split", metavar="NAME", help=f"show: {', '.join(SPLITS)} (default train)")
    parser.add_argument("--config-dir", "-cd", action="append", metavar="DIR", help="a folder of your own YAML files")
    parser.add_argument("--config", metavar="FILE", help="a run's config.yaml to start from")


def run(arguments: argparse.Namespace) -> int:
    action = arguments.action
    if action is None:
        arguments.print_help()
        return 0
    if action not in ACTIONS:
        raise ConfigError(f"no 'dltrain data {action}'.{did_you_mean(action, ACTIONS)}")
    for owner, flags in _OWN_FLAGS.items():
        for flag, absent in flags.items():
            if owner != action and getattr(arguments, flag) != absent:
                raise ConfigError(f"--{flag} belongs to 'dltrain data {owner}'")
    return {"list": _list, "prepare": _prepare, "show": _show}[action](arguments)


# --- list -------------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    if arguments.words:
        raise ConfigError(f"'dltrain data list' takes no names, and '{arguments.words[0]}' is one")
    named = os.environ.get("DLTRAIN_DATA")
    if named and not Path(named).expanduser().is_dir():
        print(f"DLTRAIN_DATA={named} is no folder", file=sys.stderr)
    if arguments.json:
        print(json.dumps([_as_json(dataset) for dataset in DATASETS.values()], indent=2, ensure_ascii=False))
        return 0
    rows = [(d.name, ", also as ".join((d.task, *d.also)), d.shape, d.rights, _where(d)) for d in DATASETS.values()]
    _print_table(("name", "task", "size", "rights", "here"), rows)
    known = {name for dataset in DATASETS.values() for name in (dataset.name, *dataset.also)}
    own = [name for name in config_files.options("data") if name not in known]
    if own:
        told = f"for files of your own: {', '.join(own)} ('dltrain list data' says more)"
        print(textwrap.fill(told, shutil.get_terminal_size().columns) if sys.stdout.isatty() else told)
    return 0


def _folder_of(dataset: Dataset) -> str | None:
    found = files.find(dataset) if dataset.choices else None
    return None if not found else str(next(iter(found.values())).parent)


def _where(dataset: Dataset) -> str:
    if dataset.origin != "files":
        return "yes"
    folder = _folder_of(dataset)
    if folder is not None:
        return f"yes: {folder}"
    if dataset.can_download:
        return f"no: download {files.megabytes(dataset.download_size)}"
    return "no: bring the folders" if dataset.choices[0][0].is_folder else "no: bring the file"


def _as_json(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "also": list(dataset.also),
        "task": dataset.task,
        "size": dataset.shape,
        "rights": dataset.rights,
        "homepage": dataset.homepage,
        "origin": dataset.origin,
        "here": dataset.origin != "files" or _folder_of(dataset) is not None,
        "folder": _folder_of(dataset),
        "download_bytes": dataset.download_size or None,
        "files": [[file.name for file in choice] for choice in dataset.choices],
    }


def _print_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Prints rows folded to the terminal, or a line each where the output is no terminal."""
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
        for row in (titles, *rows):
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles)
    table.columns[0].no_wrap = True
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table, markup=False)


# --- prepare ----------------------------------------------------------------------------------------------


def _prepare(arguments: argparse.Namespace) -> int:
    if not arguments.words and not arguments.config:
        raise ConfigError(f"name a data set: {', '.join(DATASETS)}, or all; or give key=value as for training")
    names = [word for word in arguments.words if "=" not in word]
    if "all" in names:
        if arguments.words != ["all"]:
            raise ConfigError("'all' stands alone")
        return _prepare_all(arguments)
    settings = [word for word in arguments.words if "=" in word]
    if len(names) > 1 and settings:
        raise ConfigError(f"'{settings[0]}' goes with one data set, and {len(names)} are named")
    for name in names or [None]:
        _prepare_one(arguments, [*([f"data={name}"] if name else []), *settings])
    return 0


def _prepare_all(arguments: argparse.Namespace) -> int:
    """Prepares what can be had; returns the exit code of the first data set that cannot."""
    code = 0
    for name in DATASETS:
        try:
            _prepare_one(arguments, [f"data={name}"])
        except DltrainError as error:
            if error.exit_code > 128:
                raise
            print(f"error: {error}", file=sys.stderr)
            code = code or error.exit_code
    return code


def _prepare_one(arguments: argparse.Namespace, overrides: list[str]) -> None:
    config, data = _build(arguments, overrides)

    from dltrain.callbacks.summary import describe_splits, describe_task

    print(f"{config.data.name}: {describe_task(data.task)}; {describe_splits(data)}")
    for note in data.notes:
        print(f"  {note}")
    if config.data.name in DATASETS and getattr(config.data, "root", None) is None:
        folder = _folder_of(catalog.find(config.data.name))
        if folder is not None:
            print(f"  its files lie in {folder}")


def _build(arguments: argparse.Namespace, overrides: list[str]) -> tuple[Config, Data]:
    """Composes a config as for training, and builds its data alone."""
    parsed = argparse.Namespace(overrides=overrides, config_dir=arguments.config_dir, config=arguments.config)
    config, _ = train.load(parsed)

    from dltrain import registry
    from dltrain.console import log_to
    from dltrain.guards import memory_errors

    log_to(None)
    with memory_errors(config):
        return config, registry.build("data", config.data)


# --- show -------------------------------------------------------------------------------------------------


def _show(arguments: argparse.Namespace) -> int:
    rows, split = 5 if arguments.rows is None else arguments.rows, arguments.split or "train"
    if rows < 1:
        raise ConfigError(f"--rows {rows}: must be at least 1")
    if split not in SPLITS:
        raise ConfigError(f"--split {split}: there is no such split.{did_you_mean(split, SPLITS)}")
    names = [word for word in arguments.words if "=" not in word]
    if len(names) > 1:
        raise ConfigError(f"'dltrain data show' shows one data set, and {len(names)} are named: {', '.join(names)}")
    overrides = [*(f"data={name}" for name in names), *(word for word in arguments.words if "=" in word)]
    if not overrides and not arguments.config:
        raise ConfigError(f"name a data set: {', '.join(DATASETS)}; or give key=value as for training")
    config, data = _build(arguments, overrides)
    if split not in data.splits:
        raise ConfigError(f"--split {split}: this data has none, only {' and '.join(data.splits)}")

    from dltrain import pictures, preview
    from dltrain.callbacks.summary import describe_splits, describe_task

    print(f"{config.data.name}: {describe_task(data.task)}; {describe_splits(data)}")
    for note in data.notes:
        print(f"  {note}")
    for line in preview.lines(data, split, rows):
        print(line)
    if pictures.are_images(data):
        path = Path(f"dltrain-show-{config.data.name}.png")
        print("\n" + pictures.write_grid(data, split, rows, config.seed, path))
    return 0
