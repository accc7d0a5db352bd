"""Trains a run again from what its folder keeps, in a new folder, and says whether the figures agree.

On the same machine, with the same packages, code and data, they agree to the last bit. What is known to differ is said
before the training; --check says that alone. A run that went on with other settings is repeated with those of its end.

Exit codes: 0 where the figures agree, and where they do not but something was known to differ; 1 where they do not
though nothing was, or where there was nothing to compare. With --strict, 1 wherever they do not agree, and for --check
wherever something differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain.commands import one_run
from dltrain.commands.outcome import write_report
from dltrain.errors import ConfigError, DivergedError
from dltrain.run_folder import RunFolder
from dltrain.sweeps.folder import find_sweep

if TYPE_CHECKING:
    from dltrain.agreement import Agreement

_DISAGREE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="what is to be another: data.path=... where the data lie elsewhere",
    )
    parser.add_argument("--check", action="store_true", help="say what is no longer as it was, and train nothing")
    parser.add_argument("--with", dest="other", metavar="RUN2", help="train nothing: compare with this run")
    parser.add_argument("--strict", action="store_true", help="exit code 1 wherever anything differs")


def run(arguments: argparse.Namespace) -> int:
    folder = _found(arguments.run)
    if arguments.other is not None:
        return _compare_with(folder, _found(arguments.other), arguments)
    return _again(folder, arguments)


def _found(name: str) -> RunFolder:
    """
    Raises:
        ConfigError: it is no run.
    """
    sweep = find_sweep(name)
    if sweep is not None:
        raise ConfigError(
            f"{name} is a sweep: its trials are runs, and one of them can be repeated: dltrain rerun {sweep.best}"
        )
    return one_run.find(name)


def _compare_with(folder: RunFolder, other: RunFolder, arguments: argparse.Namespace) -> int:
    from dltrain import agreement, circumstances

    for flag, given in (("--check", arguments.check), ("key=value", arguments.overrides)):
        if given:
            raise ConfigError(f"{flag} goes with a training, and --with trains nothing: leave one out")
    known = circumstances.differences(circumstances.of_run(folder), circumstances.of_run(other))
    _warn(known)
    return _judge(folder, other, agreement.compare(folder, other), known, arguments.strict)


def _again(folder: RunFolder, arguments: argparse.Namespace) -> int:
    from dltrain import agreement, assembly, circumstances, rerun
    from dltrain.guards import memory_errors

    before = circumstances.of_run(folder)
    container = rerun.container(before.container, arguments.overrides)
    _check_place(container, folder)
    config = one_run.load_config(container, arguments, folder)
    shared = assembly.Shared()
    with memory_errors(config):
        hashes = assembly.build(config, shared).fingerprints
        data = shared.load(config.data)
    now = circumstances.of_now(folder, container, data, hashes)
    shared.environment.update(now.environment)
    known = circumstances.differences(before, now) + rerun.changed_on_the_way(folder, config)
    known += rerun.weights_changed(config, before.environment.get("started"))
    if arguments.check:
        print("\n".join(known) if known else f"nothing is known to differ from what {folder.path} was made with")
        return _DISAGREE if known and arguments.strict else 0
    _warn(known)
    repeated = rerun.repeat(folder, config, container, arguments.overrides, shared)
    if repeated.outcome is not None:
        write_report(repeated.outcome)
    found = agreement.compare(folder, repeated.folder)
    rerun.write_verdict(folder, repeated.folder, known, found)
    code = _judge(folder, repeated.folder, found, known, arguments.strict)
    if repeated.stopped_by is None or found.error is not None:
        return code
    if isinstance(repeated.stopped_by, DivergedError):
        raise repeated.stopped_by
    print(f"The new run has ended early: {repeated.stopped_by}")
    return code


def _check_place(container: dict[str, Any], folder: RunFolder) -> None:
    """
    Raises:
        ConfigError: the new run would go on in a folder that there is.
    """
    if container["resume"]:
        raise ConfigError("resume=true: a run that is repeated starts anew. Leave it out")
    place = container["run_dir"]
    if isinstance(place, str) and Path(place).resolve() == folder.path.resolve():
        raise ConfigError(f"run_dir={place} holds the run that is to be repeated. Name another folder")


def _warn(known: list[str]) -> None:
    from dltrain import console

    console.log_to(None)
    for text in known:
        console.log.warning("%s", text)


def _judge(old: RunFolder, new: RunFolder, found: Agreement, known: list[str], strict: bool) -> int:
    """Prints both runs' last figures and the verdict, and returns the exit code."""
    from dltrain import agreement

    _print_figures(agreement.last_figures(old), agreement.last_figures(new))
    print(f"old run {old.path}\nnew run {new.path}\n{agreement.told(found)}")
    if found.one_sided:
        print(f"not compared, for one run alone has it: {', '.join(found.one_sided)}")
    if found.agrees:
        return 0
    if known:
        listed = ", ".join(dict.fromkeys(text.partition(":")[0] for text in known))
        print(f"They need not agree, for something is known to differ: {listed}")
    elif found.discrepancies or not found.same_length:
        print("Nothing is known to differ between the runs that would explain it")
    return _DISAGREE if strict or not known else 0


def _print_figures(old: dict[str, Any], new: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from dltrain.console import number

    table = Table()
    table.add_column("at the end")
    for title in ("old run", "new run"):
        table.add_column(title, justify="right")
    names = list(dict.fromkeys([*old, *new]))
    for name in names:
        cells = [number(side[name]) if isinstance(side.get(name), (int, float)) else "" for side in (old, new)]
        table.add_row(name, *cells)
    if names:
        Console(highlight=False).print(table)
