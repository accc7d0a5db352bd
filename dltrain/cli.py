"""The command line: finds the verb, runs it, and turns errors into messages and exit codes.

Nothing here imports Hydra or PyTorch, so ``--help``, ``list`` and completion answer at once; a verb's module
imports what the verb needs.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from types import ModuleType

from dltrain import __version__, config_files, user_code
from dltrain.errors import ConfigError, DltrainError, MachineError, Stopped, did_you_mean
from dltrain.redaction import redacted

_SPINS = "GOMP_SPINCOUNT"

# Verb -> what it does. The module dltrain/commands/<verb with _ for -> has add_arguments() and run().
VERBS = {
    "resume": "go on with a run that was stopped, or train it longer",
    "rerun": "repeat a run from its folder, and say whether the figures agree",
    "evaluate": "figures of a trained model on a split",
    "export": "a trained model for other programs: torch, onnx or safetensors",
    "predict": "what a trained model says of a table, images or texts",
    "report": "one HTML page about a run or a sweep: curves, errors, model, how to repeat it",
    "generate": "text from a trained language model, or the answer of a model of pairs",
    "runs": "a table of runs; 'runs prune' removes some",
    "compare": "what differs between runs: settings, figures, curves",
    "board": "open TensorBoard on runs",
    "lr-find": "sweep the learning rate and suggest one",
    "summary": "layers, parameters, FLOPs and memory of a model; --graph draws it",
    "check": "build everything and try one batch; nothing is written",
    "list": "what there is: data sets, models, ...",
    "data": "list, prepare or show data sets",
    "explain": "a setting's meaning, type, range, value, and where it is set",
    "doctor": "is this machine fit for dltrain?",
    "completion": "print the completion script for bash, zsh or fish",
}

# The modules of the packages that dltrain depends on.
_NEEDED = (
    *("torch", "hydra", "omegaconf", "yaml", "rich", "tensorboard", "numpy", "safetensors", "packaging"),
    *("pyarrow", "PIL", "tokenizers", "pooch", "requests", "urllib3", "optuna", "joblib", "plotly", "cmaes"),
    *("matplotlib", "fontTools", "pandas", "scipy"),
)

# What goes on to its end where nobody reads its output any more, as a training does: it trains, writes files, or prints
# tables at its very end. The others stop at a closed pipe.
_LASTING = ("resume", "rerun", "evaluate", "export", "report", "lr-find", "summary", "compare", "data")

_EXAMPLES = """\
  dltrain model=lstm data=korean_text          train an LSTM on three Korean sentences
  dltrain generate last "경마장에" -n 4         let it write on
  dltrain model=mlp data=digits optimizer.lr=0.01 trainer.max_epochs=50
  dltrain -m model=mlp optimizer.lr=0.01,0.001 one run for each value
  dltrain resume last trainer.max_epochs=400   train the newest run longer
"""


def main() -> None:
    """Entry of the ``dltrain`` script; does not return."""
    for descriptor in range(3):  # closed by whoever started us: else the next file that is opened would take its place
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # by the workers of a sweep, as these three are
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 (until the end)
    if sys.stdout.errors == "strict" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as of stderr: letters that a terminal lacks end no training
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in _LASTING or arguments[0] not in VERBS:
        from dltrain import console

        console.outlive_terminal()
        let_threads_sleep(os.environ)
    code = run(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
            code = code or MachineError.exit_code
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def let_threads_sleep(environment: MutableMapping[str, str]) -> None:
    """Where other programs are busy, lets the threads of an operation wait for the next one for microseconds.

    PyTorch's OpenMP (GNU's, which reads this when PyTorch is loaded) lets them spin for milliseconds. That saves a
    third of a small step on an idle machine. Beside one busy program it keeps the one thread that all wait for from
    a core, and such steps took up to sixty times as long. What the environment says of it holds.
    """
    if not {_SPINS, "OMP_WAIT_POLICY"} & environment.keys() and _others_compute():
        environment[_SPINS] = "1000"


def _others_compute() -> bool:
    """Looks for 30 ms whether another thread of this machine wants a core all the time. False where Linux's /proc is
    not there to tell.
    """
    wanting = []
    try:
        for _ in range(7):
            wanting.append(int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]))
            time.sleep(0.005)
    except (OSError, ValueError, IndexError):
        return False
    return sorted(wanting)[3] > 1  # this one is among them


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        return _dispatch(arguments)
    except DltrainError as error:
        if os.environ.get("DLTRAIN_TRACEBACK") == "1":
            print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        label = "" if isinstance(error, Stopped) else "error: "
        print(f"{label}{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output, such as 'head', has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            print(f"error: the disk is full: {error.filename or 'standard output'} cannot be written", file=sys.stderr)
            return MachineError.exit_code
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # wherever a name is looked for as a file
            print(f"error: no file can have a name as long as this: {str(error.filename)[-60:]}", file=sys.stderr)
            return ConfigError.exit_code
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _NEEDED:
            print(
                f"error: '{error.name}', which dltrain needs, is not installed. Install dltrain again", file=sys.stderr
            )
            return MachineError.exit_code
        own = user_code.told(error)
        if own is None or os.environ.get("DLTRAIN_TRACEBACK") == "1":
            print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        told = own or "this is a mistake in dltrain or in a module of yours, not in the config"
        print(f"error: {redacted(told)}", file=sys.stderr)
        return 1


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if first in ("-V", "--version"):
        print(f"dltrain {__version__}")
        return 0
    if first == "__complete":
        from dltrain.commands import completion

        return completion.complete(arguments[1:])
    if first in VERBS:
        module = importlib.import_module(f"dltrain.commands.{first.replace('-', '_')}")
        return _run_verb(first, module, arguments[1:])
    if first and first[0] not in "-+~" and "=" not in first:
        print(f"error: no verb '{first}'.{did_you_mean(first, VERBS)}", file=sys.stderr)
        return 2
    from dltrain.commands import train

    return train.run(arguments)


def _run_verb(verb: str, module: ModuleType, arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"dltrain {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    try:
        mixes = parser.get_default("overrides_between_flags")
        parsed = parser.parse_intermixed_args(arguments) if mixes else parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    code: int = module.run(parsed)
    return code


def help_text() -> str:
    """Returns what ``dltrain --help`` prints, made from the verbs and a look at the YAML files."""
    lines = [
        "dltrain: train deep-learning models from the command line.",
        "",
        "usage: dltrain [key=value ...]        train; each key=value sets one setting or chooses one of a group",
        "       dltrain -m [key=v1,v2 ...]     train every combination",
        "       dltrain VERB ...               do something else ('dltrain VERB --help' tells more)",
        "",
        "examples:",
        _EXAMPLES,
        "verbs (RUN is a folder, a unique part of its name, or 'last'):",
        *[f"  {verb:<11} {meaning}" for verb, meaning in VERBS.items()],
        "",
        "groups, and what each can be ('dltrain list GROUP' says more):",
    ]
    for group in config_files.GROUPS:
        names = ", ".join(config_files.options(group)) or "none yet"
        lines.append(f"  {group:<11} {names}")
    lines += [
        "",
        "flags of training:",
        "  --config-dir DIR  a folder with YAML files of your own (or DLTRAIN_CONFIG_PATH)",
        "  --config FILE     start from a run's config.yaml instead of the groups",
        "  -m, --multirun    one run for each combination of the comma lists",
        "  --cfg job         print the composed config and stop",
        "",
        "'dltrain explain' lists every setting.",
    ]
    return "\n".join(lines)
