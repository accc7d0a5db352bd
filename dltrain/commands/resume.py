"""Goes on with a run from its newest checkpoint: after a stop or a crash, or longer than before.

RUN is a folder, a unique part of its name, or 'last'. What may change: the limits and the evaluation of the
trainer, the callbacks, the device and the learning rate.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dltrain.commands import runs
from dltrain.run_folder import RunFolder

if TYPE_CHECKING:
    from dltrain.config import Config

MAY_CHANGE = (
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.evaluate_every_epochs",
    "trainer.evaluate_every_steps",
    "optimizer.lr",
    "callbacks.",
    "device.",
    "data.workers",
)


def may_change(key: str) -> bool:
    """Tells whether a run that goes on may have another value of a setting."""
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in MAY_CHANGE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    runs.add_run_argument(parser)
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="what changes: trainer.max_epochs=400"
    )


def run(arguments: argparse.Namespace) -> int:
    folder = runs.find(arguments.run)
    container = runs.saved_config(folder)
    if arguments.overrides:
        from dltrain import compose

        container = compose.override_values(container, arguments.overrides, MAY_CHANGE)
    return go_on(folder, runs.load_config(container, arguments), container, arguments.overrides, arguments.run)


def go_on(folder: RunFolder, config: Config, container: dict[str, Any], overrides: list[str], name: str) -> int:
    """Trains a run on, or says that it is finished; ``name`` is what the user calls it."""
    from dltrain import run as runner
    from dltrain.commands.outcome import print_outcome

    outcome = runner.resume(folder, config, container, overrides)
    if outcome is None:
        reason = folder.read_result().get("stop_reason")
        print(f"{folder.path} is finished ({reason}); nothing is left to do.")
        longer = " ".join(runs.longer(config, folder.read_result()))
        if longer:
            print(f"Train longer with: dltrain resume {name} {longer}")
        return 0
    print_outcome(outcome)
    return 0
