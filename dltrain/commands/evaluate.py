"""Evaluates a trained model on a split: all figures, and for classes which one is taken for which.

Prints them, and writes evaluation.json into the run folder.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from dltrain import saved
from dltrain.commands import one_run
from dltrain.run_folder import RunFolder, write_json

if TYPE_CHECKING:
    from dltrain.assembly import Parts

_MAX_CLASSES_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="default: test where the data has one, else validation",
    )
    one_run.add_checkpoint_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: argparse.Namespace) -> int:
    folder = one_run.find(arguments.run)
    config = one_run.load_config(saved.saved_config(folder), arguments, folder)

    from dltrain import device
    from dltrain.coefficients import coefficients_of
    from dltrain.errors import ConfigError
    from dltrain.evaluate import evaluate
    from dltrain.guards import memory_errors
    from dltrain.metrics import Metrics
    from dltrain.trained import load_trained

    with memory_errors(config):
        parts, checkpoint = load_trained(folder, config, arguments.checkpoint)
    split = arguments.split or ("test" if parts.data.test is not None else "validation")
    if split not in parts.data.splits:
        raise ConfigError(f"--split {split}: this data has none. There is: {', '.join(parts.data.splits)}")
    metrics = Metrics(parts.data.task, parts.loss, evaluating=True)
    autocast = device.autocast(parts.device, config.device.precision)
    with memory_errors(config):
        figures = evaluate(parts.model, parts.split(split), parts.loss, metrics, autocast)
    evaluation: dict[str, Any] = {
        "split": split,
        "samples": len(parts.data.splits[split]),
        "checkpoint": checkpoint,
        "figures": figures,
    }
    if metrics.confusion is not None:
        evaluation["confusion"] = {
            "classes": list(parts.data.task.class_names),
            "rows_true_columns_predicted": metrics.confusion.tolist(),
        }
    coefficients = coefficients_of(parts.model, parts.data, parts.loss)
    if coefficients is not None:
        evaluation["coefficients"] = coefficients
    write_json(folder.evaluation, evaluation)
    if arguments.json:
        print(json.dumps(evaluation, ensure_ascii=False))
    else:
        _print(folder, parts, evaluation)
    return 0


def _print(folder: RunFolder, parts: Parts, evaluation: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from dltrain.console import number

    console = Console(highlight=False)
    same = " (the training data)" if evaluation["split"] == "validation" and parts.data.evaluates_training_data else ""
    title = f"{folder.path.name}: {evaluation['samples']:,} samples of {evaluation['split']}{same}"
    console.print(title, markup=False, soft_wrap=True)
    table = Table()
    table.add_column("metric")
    table.add_column(evaluation["split"], justify="right")
    for name, value in evaluation["figures"].items():
        table.add_row(name, number(value))
    console.print(table)
    confusion = evaluation.get("confusion")
    if confusion and len(confusion["classes"]) <= _MAX_CLASSES_SHOWN:
        console.print("true class in rows, predicted in columns")
        table = Table()
        table.add_column("")
        for name in confusion["classes"]:
            table.add_column(name, justify="right")
        for place, row in enumerate(confusion["rows_true_columns_predicted"]):
            cells = [f"[bold]{count}[/]" if place == other else str(count or "") for other, count in enumerate(row)]
            table.add_row(confusion["classes"][place], *cells)
        console.print(table)
    if "coefficients" in evaluation:
        _print_coefficients(evaluation["coefficients"], of_logarithms=parts.loss.link is not None)
    console.print(f"written to {folder.evaluation}", markup=False, soft_wrap=True)


def _print_coefficients(coefficients: dict[str, dict[str, float]], *, of_logarithms: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    what = "the logarithm of each prediction" if of_logarithms else "each output"
    console.print(f"what {what} adds for one more of a feature, in the data's own units", soft_wrap=True)
    table = Table()
    table.add_column("")
    for output in coefficients:
        table.add_column(output, justify="right")
    for name in next(iter(coefficients.values())):
        table.add_row(name, *[f"{values[name]:.8g}" for values in coefficients.values()])
    console.print(table)
