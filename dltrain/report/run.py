"""The report of a run: which parts it has, in which order, and when a training writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dltrain.console import log
from dltrain.report import (
    curves,
    environment,
    evaluation,
    model,
    page,
    regions,
    samples,
    series,
    summary,
    text,
)
from dltrain.report.markup import paragraph
from dltrain.report.page import Section
from dltrain.report.subject import Looking, Subject, quickly
from dltrain.run_folder import RunFolder, make_folder

if TYPE_CHECKING:
    from dltrain.run import Outcome

# A part of the page: it returns None where it does not apply to the run.
Part = Callable[[Subject], Section | None]

_PARTS: dict[str, Part] = {
    "How the training went": curves.section,
    "Evaluation": evaluation.section,
    "What it says of its inputs": regions.section,
    "Predicted and true over time": series.section,
    "What it writes": text.section,
    "Worst errors": samples.section,
    "Some samples": samples.right_and_wrong,
    "Model": model.section,
    "How to repeat it": environment.again,
    "Config": environment.config,
    "Environment": environment.environment,
}


def write(subject: Subject, path: Path | None = None) -> Path:
    """Writes the report of a run, and returns where.

    Args:
        path: None writes ``report.html`` into the run's folder.

    Raises:
        MachineError: it cannot be written.
    """
    if path is None:
        path = subject.folder.report
        make_folder(path.parent, what="report", hint="Write it elsewhere with -o FILE")
    sections = [section for title, part in _PARTS.items() if (section := _made(title, part, subject)) is not None]
    page.write(path, summary.title_of(subject), summary.blocks(subject), sections, contents=True)
    return path


def _made(title: str, part: Part, subject: Subject) -> Section | None:
    """Returns a part of the page. One that fails, as a model of the user's may let it, does not take the others along;
    the page says so, and so does the log.
    """
    try:
        return part(subject)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        log.warning("the report lacks '%s': %s", title, told)
        return Section(title, [paragraph(f"This part could not be made: {told}", "notice")])


def after_training(outcome: Outcome) -> None:
    """Writes the report of a training that has just ended, whose model has its best weights.

    What goes wrong is a warning: the training itself is done and saved.
    """
    weights = "the last weights" if outcome.trainer.final_weights == "last" else "the best weights"
    subject = Subject(
        outcome.folder,
        outcome.parts,
        weights,
        quickly(outcome.trainer.state.samples),
        autocast=outcome.trainer.autocast,
        config=outcome.parts.config,
    )
    _attempt(outcome.folder, lambda: subject)


def where_missing(folder: RunFolder, config_dirs: list[str] | None) -> bool:
    """Writes the report of a finished run that has none: its process was killed before it came to that.

    Args:
        config_dirs: the user's YAML folders, beside which modules of theirs may lie.

    Returns:
        Whether it was missing and is there now.
    """
    from dltrain.report import loading

    if folder.report.exists():
        return False
    return _attempt(folder, lambda: loading.load(folder, Looking(), None, config_dirs))


def _attempt(folder: RunFolder, subject: Callable[[], Subject]) -> bool:
    try:
        write(subject())
        return True
    except KeyboardInterrupt:
        log.warning("no report was written: Ctrl-C. Write it with: dltrain report %s", folder.path)
    except Exception as error:
        log.warning("no report was written: %s. Write it with: dltrain report %s", error, folder.path)
    return False
