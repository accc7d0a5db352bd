"""What is printed when training has ended: the figures, where the run lies, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dltrain import run_folder
from dltrain.commands import one_run

if TYPE_CHECKING:
    from dltrain.data import Data
    from dltrain.run import Outcome


def write_report(outcome: Outcome) -> None:
    """Writes the page about the run, where its config asks for one; see ``report.run.after_training``."""
    if outcome.parts.config.report:
        from dltrain.report.run import after_training

        after_training(outcome)


def print_outcome(outcome: Outcome, next_steps_too: bool = True) -> None:
    """Prints the table of results, where the run lies, and what to type next."""
    from rich.console import Console
    from rich.table import Table

    from dltrain.console import duration, number
    from dltrain.metrics import metric_names

    result, data = outcome.result, outcome.parts.data
    last, test, best = result["last"], result.get("test", {}), result.get("best")
    console = Console(highlight=False)
    console.print(f"\n{outcome.parts.config.model.name} on {outcome.parts.config.data.name}", markup=False)
    table = Table()
    table.add_column("metric")
    titles = ["training", "evaluated" if data.evaluates_training_data else "validation"]
    if test:
        owner = outcome.trainer.callbacks.get(result["test_weights"])  # none of the last weights
        kind = "averaged" if owner is not None and owner.overrides("averaged_weights") else "best"
        titles.append("test" if owner is None else f"test, {kind} weights")
    for title in titles:
        table.add_column(title, justify="right")
    for name in metric_names(data.task, evaluating=True, loss=outcome.parts.loss):
        row = [last.get(f"{split}/{name}") for split in ("train", "val")] + ([test.get(f"test/{name}")] if test else [])
        table.add_row(name, *["" if value is None else number(value) for value in row])
    console.print(table)
    if best:
        console.print(f"best {best['metric']} {number(best['value'])} in epoch {best['epoch']}", markup=False)
    fitted = one_run.fitted_at_once(outcome.parts.config)  # so that epochs and steps say nothing
    counts = "" if fitted else f": {result['epochs']} epochs, {result['steps']} steps"
    ended = f"{result['stop_reason']}{counts} in {duration(result['seconds'])}"
    console.print(ended, markup=False, soft_wrap=True)
    console.print(f"run {outcome.folder.path}", markup=False, soft_wrap=True)
    if _has_new_report(outcome):
        console.print(f"report {outcome.folder.report}", markup=False, soft_wrap=True)
    if next_steps_too:
        console.print("\nnext:")
        for command, meaning in next_steps(outcome):
            console.print(f"  {command:<46} {meaning}", markup=False, soft_wrap=True)


def _has_new_report(outcome: Outcome) -> bool:
    """Tells whether there is a report of this training, and not only one of before a resume."""
    report, result = outcome.folder.report, outcome.folder.result
    return report.is_file() and report.stat().st_mtime >= result.stat().st_mtime


def next_steps(outcome: Outcome) -> list[tuple[str, str]]:
    """Returns the commands that are worth typing next, each with what it does."""
    run, data = outcome.folder.path, outcome.parts.data
    newest = run_folder.all_runs()[-1:]
    name = "last" if any(found.path == run for found in newest) else run
    steps = []
    longer = one_run.longer(outcome.parts.config, outcome.result)
    if outcome.folder.checkpoints.is_dir():
        meaning = "all figures, and which classes are mistaken"
        if data.task.kind == "next_token":
            prompt, num_tokens = _prompt(data)
            steps.append((f'dltrain generate {name} "{prompt}" -n {num_tokens}', "let it write on"))
        if data.task.kind in ("next_token", "regression"):
            meaning = "all figures"
        steps.append((f"dltrain evaluate {name}", meaning))
    if _has_new_report(outcome):
        steps.append((f"dltrain report {name} --open", f"{outcome.folder.report.name} anew, with all samples"))
    if outcome.folder.tensorboard.is_dir():
        steps.append((f"dltrain board {name}", "curves in the browser"))
    if outcome.folder.checkpoints.is_dir() and longer:
        steps.append((f"dltrain resume {name} {' '.join(longer)}", "train longer"))
    return steps


def _prompt(data: Data) -> tuple[str, int]:
    """Returns the beginning of a line of the data, and how many tokens to add to it."""
    import torch

    from dltrain.data.text.tokens import TextCodec, join

    codec = TextCodec.from_dict(data.preprocessing)
    row = 0 if codec.kind == "word" else min(4, len(data.train) - 1)
    inputs = data.train.head(row + 1).inputs
    assert isinstance(inputs, torch.Tensor)
    text = join(codec.vocabulary.decode(inputs[row].tolist()), codec.kind).strip()
    text = (text.splitlines() or [""])[0]  # a block of a stream may hold several lines
    return text, 4 if codec.kind == "word" else 20
