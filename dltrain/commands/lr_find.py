"""Finds a good learning rate: trains for a moment with rates from very small to very large, and takes it all back.

The data, the model, the optimizer and its groups are those of the settings; nothing is kept but the curve, as CSV and
SVG. The best rate is where the loss falls well: about a tenth of the rate at which it begins to climb again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import config_files
from dltrain.commands import train
from dltrain.errors import ConfigError, MachineError
from dltrain.run_folder import RUNS, RunFolder, make_folder, random_letters, write_file, write_json

if TYPE_CHECKING:
    from dltrain.assembly import Parts
    from dltrain.callbacks.lr_sweep import LRSweepSettings
    from dltrain.config import Config
    from dltrain.lr_sweep import Curve, Suggestion

_FLAGS = ("start", "end", "steps", "scale")
_PLAIN_SECONDS = 5.0
_LIVE_SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    train.add_config_arguments(parser)
    parser.add_argument("--start", metavar="RATE", help="first rate")
    parser.add_argument("--end", metavar="RATE", help="last rate, if the loss does not diverge before")
    parser.add_argument("--steps", metavar="N", help="updates from the first rate to the last")
    parser.add_argument("--scale", metavar="NAME", help="exponential or linear; without flags as in callbacks/lr_sweep")
    parser.add_argument("--output", metavar="DIR", help="folder of the curve; default: a new one under runs/lr-find/")


def run(arguments: argparse.Namespace) -> int:
    config, _ = train.load(arguments)
    settings = _settings(config, arguments)
    folder = _folder(config, arguments.output)

    from dltrain.callbacks.lr_sweep import found, title_of
    from dltrain.lr_sweep import drawing, suggest

    parts, curve, seconds = _sweep(config, settings)
    suggestions = suggest(curve)
    make_folder(folder.path)
    write_file(folder.lr_sweep_csv, drawing.csv(curve))
    write_file(folder.lr_sweep_svg, drawing.svg(curve, suggestions, settings.scale, title_of(config)))
    write_json(
        folder.lr_sweep_json,
        {"overrides": arguments.overrides, "sweep": asdict(settings), "found": found(curve, suggestions)},
    )
    print(f"{title_of(config)}: {len(curve.rates)} steps in {seconds}; {curve.ended}\n")
    width = min(100, shutil.get_terminal_size((80, 24)).columns)
    print(drawing.characters(curve, suggestions, settings.scale, width) + "\n")
    _print_table(suggestions)
    _print_note(config)
    print(f"\ncurve       {folder.lr_sweep_csv} and {folder.lr_sweep_svg.name}")
    _print_next(parts.config, arguments, suggestions)
    return 0


def _settings(config: Config, arguments: argparse.Namespace) -> LRSweepSettings:
    """Returns the settings of the sweep: of the config's callback, else of its YAML file, with the flags.

    Raises:
        ConfigError: a flag has a value that it cannot have.
    """
    from dltrain import config as checking
    from dltrain import registry

    own = [settings for settings in config.callbacks.values() if settings.name == "lr_sweep"]
    file = config_files.options("callbacks")["lr_sweep"]
    values = asdict(own[0]) if own else config_files.values(file)["callbacks"]["lr_sweep"]
    given = {name: getattr(arguments, name) for name in _FLAGS if getattr(arguments, name) is not None}
    values = {**values, **{name: _number(text) for name, text in given.items()}}
    problems: list[str] = []
    kind = registry.find("callbacks", "lr_sweep").settings
    settings: LRSweepSettings = checking.convert(values, kind, "lr_sweep", problems)
    if problems:
        raise ConfigError(*(problem.replace("lr_sweep.", "--", 1) for problem in problems))
    return settings


def _number(text: str) -> int | float | str:
    """Returns a flag's number, as a whole one where it is; else its text, which is told to be none."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _folder(config: Config, output: str | None) -> RunFolder:
    """Returns where the curve will be written; the folder is made when there is one.

    Raises:
        ConfigError: there is a curve already.
        MachineError: nothing can be written there, which should be known before the sweep.
    """
    if output is None:
        name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{config.data.name}-{config.model.name}-{random_letters()}"
        folder = RunFolder(RUNS / "lr-find" / name)
    else:
        folder = RunFolder(Path(output))
    if folder.lr_sweep_csv.exists():
        raise ConfigError(f"--output {output}: there is a sweep already. Name another folder")
    there = next(path for path in (folder.path.absolute(), *folder.path.absolute().parents) if path.exists())
    if not there.is_dir():
        raise MachineError(f"{folder.path} cannot be made: {there} is a file")
    if not os.access(there, os.W_OK):
        raise MachineError(f"{folder.path} cannot be written: no permission. Give --output DIR")
    return folder


def _sweep(config: Config, settings: LRSweepSettings) -> tuple[Parts, Curve, str]:
    """Builds what a training would, and sweeps; also returns how long the sweep took."""
    from dltrain import freezing, lr_sweep
    from dltrain.assembly import build, build_step, start_from
    from dltrain.console import duration
    from dltrain.guards import memory_errors

    with memory_errors(config):
        parts = build(config)
        reason = lr_sweep.refusal(parts.model, config.optimizer.name)
        if reason is not None:
            raise ConfigError(f"there is no learning rate to find: {reason}")
        start_from(parts)
        step = build_step(parts)
    started = time.monotonic()
    with memory_errors(config, len(parts.data.train)), _Progress(settings.steps) as progress:
        curve = lr_sweep.sweep(
            step,
            parts.split("train", shuffle=True),
            settings,
            learning_rate=config.optimizer.lr,
            accumulate=config.trainer.accumulate,
            freezing=freezing.build(parts.model, config.transfer, step.parameters),
            watch=progress.show,
        )
    return parts, curve, duration(time.monotonic() - started)


class _Progress:
    """A line on standard error: redrawn in a terminal, a new one now and then elsewhere."""

    def __init__(self, steps: int) -> None:
        from dltrain.console import is_live

        self._steps, self._live = steps, is_live()
        self._wait = _LIVE_SECONDS if self._live else _PLAIN_SECONDS
        self._next = time.monotonic() + self._wait

    def __enter__(self) -> _Progress:
        return self

    def show(self, curve: Curve) -> bool:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._wait
            text = f"step {len(curve.rates)}/{self._steps}  rate {curve.rates[-1]:.2g}  loss {curve.smoothed[-1]:.4g}"
            print(f"\r{text:<60}" if self._live else text, end="" if self._live else "\n", file=sys.stderr, flush=True)
        return False

    def __exit__(self, *_: object) -> None:
        if self._live:
            print(f"\r{'':<60}\r", end="", file=sys.stderr, flush=True)


def _print_table(suggestions: dict[str, Suggestion]) -> None:
    from rich.console import Console
    from rich.table import Table

    from dltrain.lr_sweep import drawing

    table = Table()
    for title in ("rule", "rate", "loss there", "meaning"):
        table.add_column(title, justify="right" if title in ("rate", "loss there") else "left")
    for rule, suggestion in suggestions.items():
        if suggestion.rate is None:
            table.add_row(rule, "none", "", suggestion.reason)
        else:
            table.add_row(rule, f"{suggestion.rate:g}", f"{suggestion.loss:.4g}", drawing.MEANINGS[rule])
    console = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    with console.capture() as captured:  # printed by rich, a pipe that is closed would end the process with 1
        console.print(table)
    print(captured.get(), end="")


def _print_note(config: Config) -> None:
    from dltrain.lr_sweep import note

    remark = note(config.optimizer.name)
    if remark is not None:
        print(f"note        {remark}")


def _print_next(config: Config, arguments: argparse.Namespace, suggestions: dict[str, Suggestion]) -> None:
    """Prints the command line that trains with a rate that was found, the valley's if there is one."""
    for rule in ("valley", "steepest", "tenth"):
        rate = suggestions[rule].rate
        if rate is not None:
            print(f"train       {training_command(config, arguments, rate)}")
            return


def training_command(config: Config, arguments: argparse.Namespace, rate: float) -> str:
    """Returns the user's own command line as that of a training with a rate, quoted for the shell."""
    rates = rate_overrides(config, rate)
    replaced = {override.partition("=")[0] for override in rates}
    words = [word for word in arguments.overrides if word.partition("=")[0].lstrip("+") not in replaced]
    flags = [word for folder in arguments.config_dir or [] for word in ("--config-dir", folder)]
    flags += ["--config", arguments.config] if arguments.config else []
    return shlex.join(["dltrain", *flags, *words, *rates])


def rate_overrides(config: Config, rate: float) -> list[str]:
    """Returns the overrides that set the rate, and those of the groups in their ratio to it as they were swept."""
    share = rate / config.optimizer.lr
    overrides = [f"optimizer.lr={rate:g}"]
    if getattr(config.optimizer, "adamw_lr", None) is not None:
        overrides.append(f"optimizer.adamw_lr={config.optimizer.adamw_lr * share:.4g}")
    groups = config.parameter_groups.groups
    if any(group.lr is not None for group in groups.values()):
        scaled = ", ".join(f"{pattern}: {{{_group(group, share)}}}" for pattern, group in groups.items())
        overrides.append(f"optimizer.groups={{{scaled}}}")
    return overrides


def _group(group: Any, share: float) -> str:
    values: dict[str, str | None] = {
        "lr": None if group.lr is None else f"{group.lr * share:.4g}",
        "weight_decay": None if group.weight_decay is None else f"{group.weight_decay:g}",
        "frozen": "true" if group.frozen else None,
    }
    return ", ".join(f"{name}: {value}" for name, value in values.items() if value is not None)
