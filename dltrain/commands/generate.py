"""Lets a trained model write, and prints the text.

A language model goes on from a prompt; a model of pairs, such as questions and answers, answers it. In a terminal the
text appears while it is written.
"""

from __future__ import annotations

import argparse
import sys

from dltrain import saved
from dltrain.commands import one_run
from dltrain.errors import ConfigError, DataError

_WIDEST_BEAM = 1000
_MOST_TOKENS = 1_000_000
_MOST_SAMPLES = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.add_argument(
        "prompt",
        help="the beginning of the text; for a model of pairs what it answers; - reads prompts from standard input, "
        "one a line",
    )
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
        help="0 takes the likeliest, higher is bolder (default 0; with --top-k or --top-p 1)",
    )
    parser.add_argument("-k", "--top-k", type=int, metavar="K", help="draw from the K likeliest tokens")
    parser.add_argument(
        "-p", "--top-p", type=float, metavar="P", help="draw from the likeliest tokens that together have probability P"
    )
    parser.add_argument(
        "-s",
        "--samples",
        type=int,
        default=1,
        metavar="N",
        help="write N texts: that many draws, or the N likeliest of a beam",
    )
    parser.add_argument("--seed", type=int, help="seed of the draws; text I of several is that of seed SEED + I - 1")
    parser.add_argument("--json", action="store_true", help="print an object for each prompt, one a line")
    parser.add_argument(
        "--stream", action="store_true", help="print the text while it is written, where no terminal is as well"
    )
    one_run.add_checkpoint_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    temperature = _checked_temperature(arguments)
    folder = one_run.find(arguments.run)
    task = saved.saved_task(folder)
    if task.kind not in ("next_token", "seq2seq"):
        raise ConfigError(
            f"{folder.path} is trained for {task.kind}, not to write text: generate needs a run that is trained for "
            "next_token or seq2seq"
        )
    config = one_run.load_config(saved.saved_config(folder), arguments, folder)

    from dltrain import author, console, writing_desk
    from dltrain.generate import Choice

    console.log_to(None)
    choice = Choice(arguments.beam, temperature, arguments.seed, arguments.top_k, arguments.top_p, arguments.samples)
    if arguments.seed is not None and choice.temperature == 0:
        console.log.info("--seed %d changes nothing: at temperature 0 nothing is drawn", arguments.seed)
    texts = max(choice.beam, choice.samples)
    writer = author.Author.load(folder, task, config, arguments.checkpoint, texts)
    alone = choice.beam == choice.samples == 1 and not arguments.json
    desk = writing_desk.Desk(
        writer,
        choice,
        arguments.num_tokens,
        as_json=arguments.json,
        streams=alone and (arguments.stream or sys.stdout.isatty()),
    )
    if arguments.prompt == "-":
        if sys.stdin is None:
            raise DataError("standard input is closed, so there are no prompts to read")
        from dltrain.prediction.lines import open_lines

        return desk.write_all(open_lines(None, getattr(config.data, "encoding", "auto"), newline="\n"))
    desk.write(arguments.prompt)
    return 0


def _checked_temperature(arguments: argparse.Namespace) -> float:
    """Returns the temperature that the options ask for.

    Raises:
        ConfigError: an option is out of its bounds, or two do not go together.
    """
    _check_bounds(arguments)
    narrowing = [(f"--{name}", value) for name, value in _narrowing(arguments)]
    beam, temperature = arguments.beam, arguments.temperature
    if temperature is None:
        temperature = 1.0 if narrowing else 0.0
    elif narrowing and temperature == 0:
        raise ConfigError(
            f"{narrowing[0][0]} {narrowing[0][1]} with --temperature 0: at 0 the likeliest token is taken, and nothing "
            "is drawn. Leave one of the two out"
        )
    if beam > 1 and temperature > 0:
        option, value = narrowing[0] if narrowing else ("--temperature", temperature)
        draws = option if narrowing else "a temperature"
        raise ConfigError(
            f"--beam {beam} with {option} {value}: a beam searches the likeliest text, and {draws} draws one. Give one "
            "of the two"
        )
    _check_samples(arguments, draws=temperature > 0)
    return float(temperature)


def _narrowing(arguments: argparse.Namespace) -> list[tuple[str, float]]:
    given = (("top-k", arguments.top_k), ("top-p", arguments.top_p))
    return [(name, value) for name, value in given if value is not None]


def _check_samples(arguments: argparse.Namespace, *, draws: bool) -> None:
    """
    Raises:
        ConfigError: there are not so many texts, or several are to be printed while they are written.
    """
    beam, samples = arguments.beam, arguments.samples
    if samples > beam > 1 and not draws:
        raise ConfigError(
            f"--samples {samples} with --beam {beam}: a beam finds as many texts as it is wide. Give --beam {samples} "
            "or more"
        )
    if samples > beam and not draws:
        raise ConfigError(
            f"--samples {samples}: the likeliest text is one. Give --temperature, --top-k or --top-p, which draw, or "
            f"--beam {samples} for the best that a beam finds"
        )
    if arguments.stream and (beam > 1 or samples > 1 or arguments.json):
        other = f"--beam {beam}" if beam > 1 else f"--samples {samples}" if samples > 1 else "--json"
        raise ConfigError(f"--stream with {other}: a single text can be printed while it is written. Leave one out")


def _check_bounds(arguments: argparse.Namespace) -> None:
    """
    Raises:
        ConfigError: an option is out of its bounds.
    """
    if arguments.num_tokens is not None and arguments.num_tokens < 1:
        raise ConfigError(f"-n {arguments.num_tokens}: must be at least 1")
    if arguments.num_tokens is not None and arguments.num_tokens > _MOST_TOKENS:
        raise ConfigError(f"-n {arguments.num_tokens}: must be at most {_MOST_TOKENS:,}")
    if not 1 <= arguments.beam <= _WIDEST_BEAM:
        raise ConfigError(f"--beam {arguments.beam}: must be from 1 to {_WIDEST_BEAM}")
    temperature = arguments.temperature
    if temperature is not None and not (temperature == 0 or 1e-3 <= temperature <= 1e3):
        raise ConfigError(f"--temperature {temperature}: must be 0, or from 0.001 to 1000")
    if arguments.top_k is not None and arguments.top_k < 1:
        raise ConfigError(f"--top-k {arguments.top_k}: must be at least 1")
    if arguments.top_p is not None and not 0 < arguments.top_p <= 1:
        raise ConfigError(f"--top-p {arguments.top_p}: must be above 0 and at most 1")
    if not 1 <= arguments.samples <= _MOST_SAMPLES:
        raise ConfigError(f"--samples {arguments.samples}: must be from 1 to {_MOST_SAMPLES}")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**63:
        raise ConfigError(f"--seed {arguments.seed}: must be at least 0 and below 2^63")
