"""Lets a trained language model write on from a prompt, and prints the text."""

from __future__ import annotations

import argparse

from dltrain.commands import runs
from dltrain.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    runs.add_run_argument(parser)
    parser.add_argument("prompt", help="the beginning of the text")
    parser.add_argument("-n", "--num-tokens", type=int, default=10, help="tokens to add (default 10)")
    parser.add_argument(
        "-t",
        "--temperature",
        type=float,
        default=0.0,
        help="0 (default) takes the likeliest; higher is bolder",
    )
    parser.add_argument("--seed", type=int, help="seed of the draws above temperature 0")
    runs.add_checkpoint_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.num_tokens < 1:
        raise ConfigError(f"-n {arguments.num_tokens}: must be at least 1")
    if not (arguments.temperature == 0 or 1e-3 <= arguments.temperature <= 1e3):
        raise ConfigError(f"--temperature {arguments.temperature}: must be 0, or from 0.001 to 1000")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**63:
        raise ConfigError(f"--seed {arguments.seed}: must be at least 0 and below 2^63")
    folder = runs.find(arguments.run)
    task = runs.saved_task(folder)
    if task.kind != "next_token":
        raise ConfigError(
            f"{folder.path} is trained for {task.kind}, not to write text: generate needs a next_token run"
        )
    config = runs.load_config(runs.saved_config(folder), arguments)

    from dltrain import registry
    from dltrain.data.text.tokens import TextCodec
    from dltrain.generate import generate
    from dltrain.trained import load_state
    from dltrain.trainer import load_weights

    codec = TextCodec.from_dict(folder.read_task()["preprocessing"])
    _, state = load_state(folder, arguments.checkpoint)
    model = registry.build("model", config.model, task=task)
    load_weights(model, state["model"])
    print(generate(model, codec, arguments.prompt, arguments.num_tokens, arguments.temperature, arguments.seed))
    return 0
