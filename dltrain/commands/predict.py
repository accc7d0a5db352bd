"""What a trained model says of new inputs: a row out for each row in, and in the same order.

INPUT is what the run's model takes: a table (CSV, TSV, either with .gz, Parquet or a folder of Parquet files) of the
columns that it was trained on; a folder of images, an image, or a list of their paths (CSV); texts, one a line or a
column of a table. '-' is standard input: CSV, one text a line, or one path of an image a line. --split predicts the
run's own data instead.

A row that cannot be used, such as one with a word where a number is needed, is told on standard error with its number;
its prediction is empty, and the column 'error' says why. --strict stops at the first with exit code 3.
"""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltrain import resume_rules, saved
from dltrain.commands import one_run
from dltrain.errors import ConfigError

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.run_folder import RunFolder

# What may be said anew of a run: where it computes, and how new files are read.
MAY_CHANGE = ("device.", "trainer.evaluation_batch_size", "imports")
_OF_FILES = ("delimiter", "encoding", "header", "decimal", "quoting", "empty_words", "date", "gaps", "root")

# What holds for INPUT where it is given here; where it stands in the settings of the training, it is tried first.
_GIVEN = ("delimiter", "encoding", "header")

_OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    one_run.add_run_argument(parser)
    parser.set_defaults(overrides_between_flags=True)
    parser.add_argument("input", nargs="?", metavar="INPUT", help="a table, images or texts; - is standard input")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="where to compute and how to read: device=cpu, data.encoding=cp949, data.delimiter=tab",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to: .csv, .tsv, .json, .jsonl (each also .gz) or .parquet; without it, or with -, CSV is printed",
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="predict a split of the run's own data, beside what is true",
    )
    parser.add_argument(
        "--probabilities",
        action=argparse.BooleanOptionalAction,
        help="a column for each class; without either, where there are at most 20",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN",
        help="put this column of the input before the predictions; give it again for more, 'all' for all",
    )
    parser.add_argument("--row-numbers", action="store_true", help="the number of each row in its file as first column")
    parser.add_argument("--column", metavar="NAME", help="the column with the texts or the paths of images")
    parser.add_argument("--lines", action="store_true", help="one text a line, whatever the first looks like")
    parser.add_argument("--invert", action="store_true", help="images: black is white and white black, as ink on paper")
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples computed at once; as in training")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad row, with exit code 3")
    one_run.add_checkpoint_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    _sort_words(arguments)
    folder = one_run.find(arguments.run)
    config = one_run.load_config(_container(folder, arguments), arguments, folder)

    from dltrain import console
    from dltrain.guards import memory_errors
    from dltrain.prediction import writing

    source = Path(arguments.input).expanduser() if arguments.input not in (None, "-") else None
    writing.check_target(arguments.output, source, [*folder.records, *saved.data_paths(config)])
    console.log_to(None)
    with memory_errors(config):
        predicted = _predicted(folder, config, arguments, source)
        count = 0
        with writing.writing(arguments.output) as writer, _told(arguments.output) as tell:
            for columns in predicted:
                writer.write(columns)
                count += len(next(iter(columns.values())))
                tell(count)
    if arguments.output not in (None, "-"):
        print(f"{count:,} row{'' if count == 1 else 's'} written to {arguments.output}")
    return 0


@contextlib.contextmanager
def _told(output: str | None) -> Iterator[Callable[[int], None]]:
    """Gives a function that shows on a terminal how many rows are written to a file."""
    from dltrain import console

    if output in (None, "-") or not console.is_live():
        yield lambda count: None
        return
    from rich.status import Status

    with Status("", console=console.error_console()) as status:
        yield lambda count: status.update(f"{count:,} rows")


def _sort_words(arguments: argparse.Namespace) -> None:
    """Takes a first key=value for what it is, and checks what goes with what.

    Raises:
        ConfigError: something is missing, or two things do not go together.
    """
    given = arguments.input
    if given is not None and _OVERRIDE.match(given) and not Path(given).expanduser().exists():
        arguments.overrides, arguments.input = [given, *arguments.overrides], None
    inputs = [word for word in arguments.overrides if not _OVERRIDE.match(word)]
    if inputs and arguments.input is None:
        arguments.input = inputs.pop(0)
        arguments.overrides.remove(arguments.input)
    if inputs:
        raise ConfigError(f"'{inputs[0]}': one INPUT is predicted at a time, and '{arguments.input}' is one already")
    if arguments.input == "":  # which would be the folder in which one is
        raise ConfigError("INPUT is an empty text: is a variable of the shell not set? Give a file, a folder or -")
    if arguments.split is None and arguments.input is None:
        raise ConfigError(
            "nothing to predict: give INPUT, which is a table, a folder of images, a text or - for standard input; or "
            "--split test for the run's own data"
        )
    if arguments.split is not None:
        named = ("input", "column", "lines", "invert", "strict")
        unused = [name for name in named if getattr(arguments, name)]
        if unused:
            what = f"INPUT '{arguments.input}'" if unused[0] == "input" else f"--{unused[0]}"
            raise ConfigError(f"--split {arguments.split} predicts the run's own data, so {what} does not go with it")
    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise ConfigError(f"--batch-size {arguments.batch_size}: must be at least 1")


def _container(folder: RunFolder, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the run's settings with what the command line changes.

    Raises:
        ConfigError: a setting that would make another model or other data of it.
    """
    container = saved.saved_config(folder)
    if arguments.overrides:
        from dltrain import compose

        before, container = container, compose.override_values(container, arguments.overrides)
        problems = [
            f"{change}. The model stays as it was trained. What may change: device=..., and what says how a file is "
            "read, such as data.encoding and data.delimiter"
            for change in resume_rules.differences(before, container)
            if not change.key.startswith(MAY_CHANGE) and change.key.removeprefix("data.") not in _OF_FILES
        ]
        if problems:
            raise ConfigError(*problems)
    if arguments.batch_size is not None:
        container["trainer"]["evaluation_batch_size"] = arguments.batch_size
    return container


def _predicted(folder: RunFolder, config: Config, arguments: argparse.Namespace, source: Path | None) -> Any:
    from dltrain.prediction import model, own_split
    from dltrain.prediction.choosing import Takes
    from dltrain.prediction.options import Reading
    from dltrain.prediction.predictor import Predictor

    if arguments.split is not None:
        keep, numbers = arguments.keep, arguments.row_numbers
        shows = arguments.probabilities
        return own_split.predicted(
            folder, config, arguments.checkpoint, arguments.split, show_all=shows, keep=keep, numbers=numbers
        )
    takes = Takes(model.load(folder, config, arguments.checkpoint))
    answerer = takes.answerer(arguments.probabilities)
    given = frozenset(word.partition("=")[0].removeprefix("data.") for word in arguments.overrides)
    reading = Reading(arguments.column, arguments.lines, arguments.invert, given.intersection(_GIVEN))
    return Predictor(
        takes.opened(source, reading),
        answerer,
        config.trainer.evaluation_batch_size,
        keep=arguments.keep,
        numbers=arguments.row_numbers,
        strict=arguments.strict,
    ).predicted()
