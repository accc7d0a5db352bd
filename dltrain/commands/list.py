"""Lists what there is: all groups, or one with a line about each of its options."""

from __future__ import annotations

import argparse

from dltrain import config_files
from dltrain.errors import ConfigError, did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(config_files.GROUPS)}")


def run(arguments: argparse.Namespace) -> int:
    kind = arguments.kind
    if kind is not None and kind not in config_files.GROUPS:
        plural = kind[:-1] if kind.endswith("s") else f"{kind}s"
        if plural not in config_files.GROUPS:
            raise ConfigError(f"no kind '{kind}'.{did_you_mean(kind, config_files.GROUPS)}")
        kind = plural
    groups = [kind] if kind else list(config_files.GROUPS)
    width = max((len(group) + len(name) for group in groups for name in config_files.options(group)), default=0) + 1
    for group in groups:
        files = config_files.options(group)
        print(f"{group}: {config_files.GROUPS[group]}")
        for name, path in files.items():
            print(f"  {f'{group}={name}':<{width}}  {config_files.description(path)}")
        if not files:
            print("  none yet")
    return 0
