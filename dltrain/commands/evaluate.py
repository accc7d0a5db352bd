"""Evaluates a trained model on a split: all figures and how sure they are, classes, calibration, residuals, and which
class is taken for which.

Prints them, and writes evaluation.json, and pictures into evaluation/, into the run folder. Other data are evaluated
with what the run learned of its own: data.path=new.csv (all of that file), or data.root=... of a data set that has a
test split of its own. Besides data.* only device.* and trainer.evaluation_batch_size can be given another value.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from dltrain.commands import one_run
from dltrain.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dltrain.evaluation.loading import Loaded
    from dltrain.readable import Entry
    from dltrain.run_folder import RunFolder

_MOST_WORST = 1000
_MOST_RESAMPLES = 100_000
_FEWEST_RESAMPLES = 100  # of fewer, the ends of an interval are single draws


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="other data or another device: data.path=new.csv"
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="default: test where the data has one, else validation",
    )
    one_run.add_checkpoint_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--baselines", action="store_true", help="compare with simple guesses and a linear model, on the same samples"
    )
    parser.add_argument("--worst", type=int, metavar="N", help="list the N samples with the largest losses, too")
    parser.add_argument(
        "--resamples", type=int, metavar="N", help="draws of the bootstrap that gives intervals (1000); 0: none"
    )
    parser.add_argument("--no-pictures", action="store_true", help="draw none")
    parser.add_argument("--confidence", type=float, metavar="SHARE", help="of the draws that an interval holds (0.95)")


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    folder = one_run.find(arguments.run)

    from dltrain import evaluation
    from dltrain.coefficients import coefficients_of, of_logarithms
    from dltrain.console import log
    from dltrain.evaluation import loading, printing, writing
    from dltrain.guards import memory_errors
    from dltrain.run_folder import json_text

    loaded = loading.load(folder, arguments.overrides, arguments.checkpoint, arguments.config_dir)
    parts, split = loaded.parts, loaded.split(arguments.split)
    given = {name: getattr(arguments, name) for name in ("resamples", "confidence")}
    with memory_errors(parts.config):
        found = evaluation.of(
            parts,
            split,
            against=loaded.trained_on() if arguments.baselines else None,
            **{name: value for name, value in given.items() if value is not None},
        )
    if arguments.baselines and not any("baselines" in one for one in (found, *found.get("targets", {}).values())):
        log.warning("--baselines: no simple guess has outputs of this kind, which are not compared step by step")
    if math.isnan(found["figures"].get("loss") or 0.0):
        log.warning("the model gives outputs that are no number (NaN): only the loss tells, the other figures do not")
    result = {"split": loaded.called(split), "samples": found["samples"], "checkpoint": loaded.checkpoint}
    result |= {"overrides": arguments.overrides} if arguments.overrides else {}
    result |= {name: value for name, value in found.items() if name not in result}
    coefficients = coefficients_of(parts.model, parts.data, parts.loss)
    result |= {} if coefficients is None else {"coefficients": coefficients, **of_logarithms(parts.loss)}
    heading = None if arguments.no_pictures else f"{folder.title}, {result['split']}"
    if arguments.json:
        print(json_text(result))
    else:
        what = "1 sample" if result["samples"] == 1 else f"{result['samples']:,} samples"
        title = f"{folder.title}: {what} of {loaded.described(split)}"
        printing.show(result, title)
    entries = _worst(loaded, split, arguments) if arguments.worst else []
    written = writing.write(folder, result, heading)  # after all is told: the folder may be one to read alone
    if arguments.worst:
        title = f"{folder.title}, {loaded.called(split)}: the largest losses"
        written += writing.write_worst(folder, entries, parts.data, title)
    if not arguments.json:
        _tell(folder, written)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """
    Raises:
        ConfigError: a flag has a value that it cannot have.
    """
    if arguments.worst is not None and not 1 <= arguments.worst <= _MOST_WORST:
        raise ConfigError(f"--worst {arguments.worst}: give a number from 1 to {_MOST_WORST:,}")
    if arguments.resamples not in (None, 0) and not _FEWEST_RESAMPLES <= arguments.resamples <= _MOST_RESAMPLES:
        raise ConfigError(
            f"--resamples {arguments.resamples}: give a number from {_FEWEST_RESAMPLES} to {_MOST_RESAMPLES:,}, or 0 "
            "for no intervals"
        )
    if arguments.confidence is not None and not 0 < arguments.confidence < 1:
        raise ConfigError(f"--confidence {arguments.confidence:g}: give a share between 0 and 1, such as 0.95")


def _worst(loaded: Loaded, split: str, arguments: argparse.Namespace) -> list[Entry]:
    """Looks for the worst errors in a pass of its own, and shows them."""
    from dltrain import device, worst
    from dltrain.evaluation import printing
    from dltrain.readable import Reader

    parts = loaded.parts
    autocast = device.autocast(parts.device, parts.config.device.precision)
    reader = Reader(parts.data, parts.loss)
    entries = worst.find(parts.model, parts.split(split), reader, parts.loss, autocast, arguments.worst)
    if not arguments.json:
        printing.worst(entries)
    return entries


def _tell(folder: RunFolder, written: list[Path]) -> None:
    from rich.console import Console

    files = ", ".join(path.name for path in written)
    beside = f", and into {folder.evaluation_pictures}: {files}" if files else ""
    Console(highlight=False).print(f"written to {folder.evaluation}{beside}", markup=False, soft_wrap=True)
