"""Shows a model's layers with output shapes and parameters, the task, and the sizes of the splits."""

from __future__ import annotations

import argparse

from dltrain.commands import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    train.add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    config, _ = train.load(arguments)

    from rich.console import Console
    from rich.table import Table

    from dltrain import run as runner
    from dltrain.callbacks.summary import count_parameters, describe_splits, describe_task
    from dltrain.layers import layers

    parts = runner.build(config)
    console = Console(highlight=False)
    console.print(f"{config.model.name} for {config.data.name}", markup=False)
    table = Table()
    for title, justify in (("layer", "left"), ("kind", "left"), ("output", "right"), ("parameters", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    inputs = parts.data.task.inputs
    for name, spec in inputs.items() if isinstance(inputs, dict) else [("input", inputs)]:
        table.add_row(name, spec.dtype, _shape(spec.shape), "")
    for layer in layers(parts.model, inputs):
        table.add_row(layer.name, layer.kind, _shape(layer.output), f"{layer.parameters:,}")
    console.print(table)
    trained = sum(p.numel() for p in parts.model.parameters() if p.requires_grad)
    total = count_parameters(parts.model)
    console.print(f"parameters  {total:,}" + ("" if trained == total else f", {trained:,} of them trained"))
    console.print(f"task        {describe_task(parts.data)}", markup=False, soft_wrap=True)
    console.print(f"samples     {describe_splits(parts.data)}", markup=False, soft_wrap=True)
    return 0


def _shape(shape: tuple[int, ...] | None) -> str:
    return "not used" if shape is None else " x ".join(map(str, shape)) or "1"
