"""Shows a model: its layers with shapes, parameters, FLOPs and memory; the task and the splits. Nothing is trained.

FLOPs are those of one sample, forward: 2 x the multiply-adds of matrix products, convolutions and attention.
The memory of a layer is what it keeps of a batch (trainer.batch_size) for the backward pass, in fp32.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain.commands import train
from dltrain.errors import ConfigError

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.data import Data, Task
    from dltrain.layer_table import Row
    from dltrain.layers import Cost
    from dltrain.sketch import Sketch

_MOST_ROWS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    train.add_config_arguments(parser)
    parser.add_argument("--depth", type=int, metavar="N", help="show layers inside layers, N deep; default: what fits")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--graph", metavar="FILE.svg", help="draw the model as a picture")


def run(arguments: argparse.Namespace) -> int:
    if arguments.depth is not None and arguments.depth < 1:
        raise ConfigError(f"--depth {arguments.depth}: needs a whole number, at least 1")
    if arguments.graph is not None and Path(arguments.graph).suffix != ".svg":
        raise ConfigError(f"--graph {arguments.graph}: a picture is written as SVG: give a name that ends in .svg")
    config, _ = train.load(arguments)

    from dltrain import sketch
    from dltrain.layers import total

    task, data = _task(config)
    drawn = sketch.draw(config, task)
    if arguments.json:
        _print_json(config, drawn)
    else:
        _print(config, drawn, task, data, arguments.depth)
    if arguments.graph is not None:
        from dltrain import graph

        title = f"{config.model.name} for {config.data.name}: {total(drawn.tree).parameters:,} parameters"
        line = graph.write(Path(arguments.graph), drawn, arguments.depth, title)
        print(f"graph       {line}", file=sys.stderr if arguments.json else sys.stdout)
    return 0


def _task(config: Config) -> tuple[Task, Data | None]:
    """Returns the task and the data; None for data whose files are not here and whose task is known without them."""
    from dltrain import registry
    from dltrain.data.known import known_task

    task = known_task(config.data)
    if task is not None and not _are_here(config.data):
        return task, None
    data: Data = registry.build("data", config.data)
    return data.task, data


def _are_here(settings: Any) -> bool:
    """Tells whether the files of a data set are where they are looked for; nothing is downloaded."""
    from dltrain import files
    from dltrain.catalog import DATASETS

    places = [getattr(settings, key, None) for key in ("root", "path")]
    if any(place is not None for place in places):
        return True  # what is wrong with a place that was named, its reader tells
    known = DATASETS.get(settings.name)
    return known is not None and (not known.choices or files.find(known) is not None)


def _print(config: Config, drawn: Sketch, task: Task, data: Data | None, depth: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from dltrain.callbacks.summary import describe_splits, describe_task
    from dltrain.layer_table import fitting_depth, rows
    from dltrain.layers import total

    console = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    console.print(f"{config.model.name} for {config.data.name}")
    chosen = depth or fitting_depth(drawn.tree, _MOST_ROWS)
    table = Table()
    table.add_column("layer")
    table.add_column("kind")
    for title in ("output", "parameters", "FLOPs", "memory"):
        table.add_column(title, justify="right")
    inputs = task.inputs
    for name, spec in inputs.items() if isinstance(inputs, dict) else [("input", inputs)]:
        table.add_row(name, spec.dtype, _shape(spec.shape), "", "", "")
    for row in rows(drawn.tree, chosen):
        table.add_row(*_cells(row, config.trainer.batch_size))
    console.print(table)
    if depth is None and len(rows(drawn.tree, 100)) > len(rows(drawn.tree, chosen)):
        console.print(f"            --depth {chosen + 1} shows the layers inside these")
    cost = total(drawn.tree)
    console.print(f"parameters  {cost.parameters:,}{_trained(drawn, cost)}")
    if cost.flops:
        console.print(
            f"FLOPs       {_short(cost.flops)} a sample, forward: twice its {_short(cost.flops / 2)} multiply-adds"
        )
    console.print(f"memory      {_memory(config, drawn, cost)}")
    for note in drawn.notes:
        console.print(f"note        {note}")
    console.print(f"task        {describe_task(task)}")
    console.print(f"samples     {describe_splits(data) if data is not None else 'the data are not on this machine'}")


def _trained(drawn: Sketch, cost: Cost) -> str:
    """Returns how many parameters are trained, where it is a part of them or they need no gradient."""
    from dltrain.models import FittedModel, RuleModel

    if cost.trained == cost.parameters:
        return ""
    without_gradients = isinstance(drawn.model, (FittedModel, RuleModel))
    return ", learned without gradients" if without_gradients else f", {cost.trained:,} of them trained"


def _cells(row: Row, batch_size: int) -> tuple[str, ...]:
    cost = row.cost
    flops = _short(cost.flops) if cost.flops else ""
    kept = _bytes(cost.kept * batch_size) if cost.kept else ""
    output = "" if row.called and row.output is None else _shape(row.output)
    return (row.name, row.kind, output, f"{cost.parameters:,}", flops, kept)


def _memory(config: Config, drawn: Sketch, cost: Cost) -> str:
    """Returns what a training holds, part by part."""
    sizes = _sizes(config, drawn, cost)
    parts = [f"weights {_bytes(sizes['weights'])}"]
    if cost.trained:
        state = _bytes(drawn.optimizer_bytes) if drawn.optimizer_bytes is not None else "not known"
        kept = f"{_bytes(sizes['activations'])} kept of a batch of {config.trainer.batch_size}"
        parts += [f"gradients {_bytes(sizes['gradients'])}", f"{config.optimizer.name} {state}", kept]
    whole = sum(sizes.values()) + (drawn.optimizer_bytes or 0)
    return f"about {_bytes(whole)} in training: {', '.join(parts)}"


def _sizes(config: Config, drawn: Sketch, cost: Cost) -> dict[str, int]:
    """Returns the bytes of what a training holds, besides what the optimizer keeps."""
    tensors = [*drawn.model.parameters(), *drawn.model.buffers()]
    trained = [parameter for parameter in drawn.model.parameters() if parameter.requires_grad]
    return {
        "weights": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "gradients": sum(tensor.numel() * tensor.element_size() for tensor in trained),
        "activations": cost.kept * config.trainer.batch_size,
    }


def _print_json(config: Config, drawn: Sketch) -> None:
    import json

    from dltrain.layer_table import rows
    from dltrain.layers import total

    cost = total(drawn.tree)
    table: list[dict[str, Any]] = [
        {
            "name": row.name,
            "kind": row.kind,
            "output": row.output,
            "parameters": row.cost.parameters,
            "trained": row.cost.trained,
            "flops": row.cost.flops,
            "kept_bytes": row.cost.kept,
        }
        for row in rows(drawn.tree, 100)
    ]
    whole = {
        "model": config.model.name,
        "data": config.data.name,
        "parameters": cost.parameters,
        "trained": cost.trained,
        "flops": cost.flops,
        "kept_bytes": cost.kept,
        "batch_size": config.trainer.batch_size,
        "bytes": {**_sizes(config, drawn, cost), "optimizer_state": drawn.optimizer_bytes},
        "notes": drawn.notes,
        "layers": table,
    }
    print(json.dumps(whole, ensure_ascii=False, indent=1))


def _shape(shape: tuple[int, ...] | None) -> str:
    return "not used" if shape is None else " x ".join(map(str, shape)) or "1"


def _short(value: float) -> str:
    """Returns a number with three digits and K, M, G or T for thousands of them."""
    for unit in ("", " K", " M", " G", " T"):
        if value < 999.5 or unit == " T":
            break
        value /= 1000
    return f"{value:.3g}{unit}" if value < 999.5 else f"{value:.0f}{unit}"


def _bytes(value: float) -> str:
    number, _, unit = _short(value).partition(" ")
    return f"{number} {'k' if unit == 'K' else unit}B"
