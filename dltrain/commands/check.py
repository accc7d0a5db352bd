"""Builds data, model, loss and optimizer as a training would, computes one batch of each split; writes nothing."""

from __future__ import annotations

import argparse

from dltrain.commands import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    train.add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    config, _ = train.load(arguments)

    import torch

    from dltrain.assembly import build, build_step, start_from
    from dltrain.callbacks.summary import describe_splits, describe_task
    from dltrain.console import number
    from dltrain.guards import memory_errors
    from dltrain.models import count_parameters

    with memory_errors(config):
        parts = build(config)
        _, loaded = start_from(parts)
        step = build_step(parts)
    print(f"data    {config.data.name}: {describe_task(parts.data.task)}; {describe_splits(parts.data)}")
    for note in parts.data.notes:
        print(f"        {note}")
    print(f"model   {config.model.name}: {count_parameters(parts.model):,} parameters on {parts.device}")
    for note in loaded:
        print(f"        {note}")
    with memory_errors(config, len(parts.data.train)):
        for name in parts.data.splits:
            batch = next(parts.split(name, shuffle=name == "train").batches(epoch=0))
            if name == "train":
                loss = step(batch).loss
            else:
                with torch.inference_mode():
                    loss = step.forward(batch).loss
            print(f"{name:<10} a batch of {batch.size}: loss {number(float(loss))}")
    print("all fits; nothing was written")
    return 0
