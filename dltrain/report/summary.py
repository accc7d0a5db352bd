"""The beginning of a report: what was trained on what, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dltrain.callbacks.summary import describe_splits, describe_task
from dltrain.console import duration, number
from dltrain.models import count_parameters
from dltrain.report.figures import rounded
from dltrain.report.markup import facts, paragraph
from dltrain.report.page import Block
from dltrain.report.subject import Subject

# Of more figures the evaluation tells; here stand the first.
_MOST_FIGURES = 8


def title_of(subject: Subject) -> str:
    return f"{subject.name_of('model') or 'A model'} on {subject.name_of('data') or 'data'}"


def blocks(subject: Subject) -> list[Block]:
    """Returns what stands below the title."""
    found: list[Block] = [paragraph(f"Run {subject.folder.path.absolute().name}", "small")]
    status = subject.result.get("status")
    if status == "failed":
        found.append(paragraph(f"The training failed: {subject.result.get('error', 'nobody knows why')}", "notice"))
    elif status == "interrupted":
        reason = subject.result.get("stop_reason")
        found.append(paragraph(f"The training was stopped before its end: {reason}.", "notice"))
    elif status != "done":
        found.append(paragraph("The training has not ended: it goes on, or its process was killed.", "notice"))
    if subject.missing:
        found.append(paragraph(f"This page holds what the run's folder tells. {subject.missing}", "notice"))
    return [*found, facts(_facts(subject))]


def _facts(subject: Subject) -> Iterator[tuple[str, object]]:
    data, task, result = subject.data, subject.task, subject.result
    told = f": {describe_task(task)}" if task is not None else ""
    yield "data", f"{subject.name_of('data')}{told}"
    if subject.targets:
        yield "target" if len(subject.targets) == 1 else "targets", ", ".join(subject.targets)
    if data is not None:
        yield "samples", describe_splits(data)
    elif isinstance(subject.task_file.get("samples"), dict):
        yield "samples", ", ".join(f"{count} {split}" for split, count in subject.task_file["samples"].items())
    parameters = "" if subject.parts is None else f": {count_parameters(subject.parts.model):,} parameters"
    yield "model", f"{subject.name_of('model')}{parameters}"
    best = result.get("best")
    if isinstance(best, dict) and rounded(best.get("value")) is not None:
        yield f"best {best.get('metric')}", f"{number(best['value'])} in epoch {best.get('epoch')}"
    yield from _figures(result)
    yield "status", _status(result)
    if rounded(result.get("seconds")) is not None:
        yield "time of training", duration(float(result["seconds"]))
    counts = [
        f"{result[name]:,} {name}" for name in ("epochs", "steps", "samples") if isinstance(result.get(name), int)
    ]
    if counts:
        yield "trained for", ", ".join(counts)
    for name, title in (("rollbacks", "went back to a checkpoint"), ("skipped_updates", "updates left out")):
        if isinstance(result.get(name), int):
            yield title, f"{result[name]:,}{' times' if name == 'rollbacks' else ''}"


def _figures(result: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yields the figures on the test split or, where there is none, the last on the validation split."""
    last = result.get("last")
    test = result.get("test")
    found = test if isinstance(test, dict) else last if isinstance(last, dict) else {}
    beginning = "test/" if isinstance(test, dict) else "val/"
    shown = [(name, value) for name, value in found.items() if name.startswith(beginning)]
    for name, value in shown[:_MOST_FIGURES]:
        yield name, "not a number" if rounded(value) is None else number(value)


def _status(result: dict[str, Any]) -> str:
    status = result.get("status", "not known")
    reason = result.get("stop_reason")
    return f"{status}: {reason}" if reason else str(status)
