"""Goes on with a run from its newest checkpoint: after a stop or a crash, or longer than before.

RUN is a folder, a unique part of its name, or 'last'. What may change: the limits and the evaluation of the
trainer, the callbacks, the device, the learning rate, and where the data lie. RUN may be a sweep too, a folder
or a unique part of its name: what it has left to do is done, and no trial that has ended is trained again.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dltrain import resume_rules, saved
from dltrain.commands import one_run, sweep
from dltrain.errors import ConfigError
from dltrain.run_folder import RunFolder
from dltrain.sweeps.folder import find_sweep

if TYPE_CHECKING:
    from dltrain.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="what changes: trainer.max_epochs=400"
    )
    parser.add_argument("--retry-failed", action="store_true", help="of a sweep: train its failed trials again")


def run(arguments: argparse.Namespace) -> int:
    found = find_sweep(arguments.run)
    if found is not None:
        return sweep.resume(found, arguments.overrides, arguments.retry_failed)
    if arguments.retry_failed:
        raise ConfigError(f"--retry-failed: {arguments.run} is no sweep")
    folder = one_run.find(arguments.run)
    before = container = saved.saved_config(folder)
    if arguments.overrides:
        from dltrain import compose

        container = compose.override_values(before, arguments.overrides)
        refused = resume_rules.refusals(resume_rules.differences(before, container), folder.path, container)
        if refused:
            raise ConfigError(*refused)
    config = one_run.load_config(container, arguments, folder)
    return go_on(folder, config, container, arguments.overrides, arguments.run, arguments.config_dir)


def go_on(
    folder: RunFolder,
    config: Config,
    container: dict[str, Any],
    overrides: list[str],
    name: str,
    config_dirs: list[str] | None,
) -> int:
    """Trains a run on, or says that it is finished.

    Args:
        name: what the user calls it.
        config_dirs: the user's YAML folders.
    """
    from dltrain import run as runner
    from dltrain.commands.outcome import print_outcome, write_report

    outcome = runner.resume(folder, config, container, overrides)
    if outcome is None:
        reason = folder.read_result().get("stop_reason")
        print(f"{folder.path} is finished ({reason}); nothing is left to do.")
        changes = resume_rules.differences(saved.saved_config(folder), container)
        if changes:
            print(f"Nothing was changed: {', '.join(map(str, changes))} would train nothing.")
        longer = " ".join(one_run.longer(config, folder.read_result()))
        if longer:
            print(f"Train longer with: dltrain resume {name} {longer}")
        if config.report:
            from dltrain import console
            from dltrain.report.run import where_missing

            console.log_to(None)
            if where_missing(folder, config_dirs):
                print(f"Its report was missing, and is written: {folder.report}")
        return 0
    write_report(outcome)
    print_outcome(outcome)
    return 0
