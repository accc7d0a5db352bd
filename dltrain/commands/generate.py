"""Lets a trained model write, and prints the text.

A language model goes on from a prompt; a model of pairs, such as questions and answers, answers it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dltrain import saved
from dltrain.commands import one_run
from dltrain.errors import ConfigError

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.data import Task
    from dltrain.generate import Choice
    from dltrain.run_folder import RunFolder

_WIDEST_BEAM = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.add_argument("prompt", help="the beginning of the text; for a model of pairs what it answers")
    parser.add_argument(
        "-n",
        "--num-tokens",
        type=int,
        help="tokens to add (default 10); of an answer the most that it may have, its end among them (default: as "
        "many as the longest of the training has)",
    )
    parser.add_argument(
        "-b", "--beam", type=int, default=1, help="texts that the search for the likeliest keeps (default 1: greedy)"
    )
    parser.add_argument(
        "-t",
        "--temperature",
        type=float,
        default=0.0,
        help="0 (default) takes the likeliest; higher is bolder",
    )
    parser.add_argument("--seed", type=int, help="seed of the draws above temperature 0")
    one_run.add_checkpoint_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    folder = one_run.find(arguments.run)
    task = saved.saved_task(folder)
    if task.kind not in ("next_token", "seq2seq"):
        raise ConfigError(
            f"{folder.path} is trained for {task.kind}, not to write text: generate needs a run that is trained for "
            "next_token or seq2seq"
        )
    config = one_run.load_config(saved.saved_config(folder), arguments, folder)

    from dltrain import console
    from dltrain.generate import Choice

    console.log_to(None)
    choice = Choice(arguments.beam, arguments.temperature, arguments.seed)
    print(_written(folder, task, config, arguments, choice))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """
    Raises:
        ConfigError: an option is out of its bounds, or two do not go together.
    """
    if arguments.num_tokens is not None and arguments.num_tokens < 1:
        raise ConfigError(f"-n {arguments.num_tokens}: must be at least 1")
    if not 1 <= arguments.beam <= _WIDEST_BEAM:
        raise ConfigError(f"--beam {arguments.beam}: must be from 1 to {_WIDEST_BEAM}")
    if not (arguments.temperature == 0 or 1e-3 <= arguments.temperature <= 1e3):
        raise ConfigError(f"--temperature {arguments.temperature}: must be 0, or from 0.001 to 1000")
    if arguments.beam > 1 and arguments.temperature > 0:
        raise ConfigError(
            f"--beam {arguments.beam} with --temperature {arguments.temperature}: a beam searches the likeliest text, "
            "and a temperature draws one. Give one of the two"
        )
    if arguments.seed is not None and not 0 <= arguments.seed < 2**63:
        raise ConfigError(f"--seed {arguments.seed}: must be at least 0 and below 2^63")


def _written(folder: RunFolder, task: Task, config: Config, arguments: argparse.Namespace, choice: Choice) -> str:
    from dltrain import averages, registry
    from dltrain.checkpoint import load_state
    from dltrain.data.text.tokens import TextCodec
    from dltrain.generate import answer, write_on
    from dltrain.models.seq2seq import Seq2Seq
    from dltrain.weights import load_weights

    known = folder.read_task()["preprocessing"]
    _, state = load_state(folder, arguments.checkpoint)
    model = registry.build("model", config.model, task=task)
    load_weights(model, averages.weights_in(state))
    if task.kind == "next_token":
        return write_on(model, TextCodec.from_dict(known), arguments.prompt, arguments.num_tokens or 10, choice)
    if not isinstance(model, Seq2Seq):
        raise ConfigError(
            f"{folder.path} is a run of model={config.model.name}, and generate answers with seq2seq alone"
        )
    assert isinstance(task.inputs, dict)
    longest = arguments.num_tokens or task.inputs["target"].shape[0]
    source, target = (TextCodec.from_dict(known[side]) for side in ("source", "target"))
    return answer(model, source, target, arguments.prompt, longest, choice)
