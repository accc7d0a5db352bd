"""A sweep as one HTML file: what was found, every trial, and three plots."""

from __future__ import annotations

import os
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from dltrain.console import duration
from dltrain.report import markup, page
from dltrain.report.markup import Html, details, paragraph
from dltrain.report.page import Block, Chart, Section
from dltrain.sweeps.report_parallel import parallel
from dltrain.sweeps.report_plots import (
    NONE,
    Plot,
    Scale,
    figure_text,
    history,
    importance,
    newest_attempts,
    objective_of,
    swept_keys,
)

if TYPE_CHECKING:
    import optuna

    from dltrain.sweeps.folder import SweepFolder
    from dltrain.sweeps.leaderboard import Place


def write(
    folder: SweepFolder,
    places: list[Place],
    study: optuna.study.Study,
    metric: str,
    higher_is_better: bool,
    path: Path | None = None,
) -> Path:
    """Writes the report of a sweep, and returns where.

    Args:
        places: all trials, the best first.
        study: the same trials as Optuna has them; of one that was tried again, each attempt.
        metric: the name of what the objective is.
        path: None writes ``report.html`` into the sweep's folder.

    Raises:
        MachineError: it cannot be written.
    """
    scale = Scale.of([value for place in places if (value := objective_of(place)) is not None], higher_is_better)
    newest = newest_attempts(study)
    plots = [
        history(places, newest, scale, metric),
        parallel(places, newest, scale, metric),
        importance(study, scale, metric),
    ]
    path = path or folder.report
    trials = quote(os.path.relpath(folder.trials, path.parent))
    sections = [*_best(places, metric, trials), *(_section(f"plot-{n}", plot) for n, plot in enumerate(plots))]
    sections.append(Section("All trials", [_table(places, metric, trials)]))
    page.write(path, f"Sweep {folder.path.absolute().name}", [paragraph(_summary(places, metric))], sections)
    return path


def _summary(places: list[Place], metric: str) -> str:
    counts = Counter(place.trial.status for place in places)
    shown = [f"{counts['done']} done", f"{counts['pruned']} pruned", f"{counts['failed']} failed"]
    shown += [f"{counts[status]} {status}" for status in ("running", "waiting") if counts[status]]
    first = objective_of(places[0]) if places else None
    best = f" Best {metric}: {figure_text(first)}, of trial {places[0].trial.number}." if first is not None else ""
    seconds = sum(place.seconds for place in places)
    spent = f" Training time of all together: {duration(seconds)}." if seconds else ""
    return f"{len(places)} trials: {', '.join(shown)}.{best}{spent}"


def _best(places: list[Place], metric: str, trials: str) -> list[Section]:
    """Returns the values and the figures of the best trial; nothing where none is done.

    Args:
        trials: the folder of the trials as a link from the page.
    """
    if not places or places[0].trial.objective is None:
        return []
    trial = places[0].trial
    figures = {metric: trial.objective, "spread": trial.spread} | places[0].test
    rows = [*trial.values.items(), *((key, _cell(value)) for key, value in figures.items() if value is not None)]
    title = f"The best point: trial {trial.number}"
    return [Section(title, [paragraph(Html(f"Its folder: trial {_link(places[0], trials)}")), markup.facts(rows)])]


def _section(name: str, plot: Plot) -> Section:
    blocks: list[Block] = [paragraph(plot.text)]
    if plot.figure is not None:
        width = int((plot.figure.layout.meta or {}).get("width", 0))
        as_json: str = plot.figure.to_json()
        compiles = any(trace.type == "parcoords" for trace in plot.figure.data)
        blocks.append(Chart(name, as_json, plot.title, int(plot.figure.layout.height), width, compiles))
    return Section(plot.title, blocks)


def _table(places: list[Place], metric: str, trials: str) -> Html:
    """Returns all trials, the best first."""
    swept, has_spread = swept_keys(places), any(place.trial.spread is not None for place in places)
    has_reason = any(place.trial.reason for place in places)
    measured = [metric, *(["spread"] if has_spread else []), "epochs", "seconds"]
    header = ["rank", "trial", "status", *swept, *measured, *(["reason"] if has_reason else [])]
    first = 3 + len(swept)
    rows = []
    for rank, place in enumerate(places, 1):
        trial = place.trial
        row: list[object] = [rank if trial.objective is not None else "", _link(place, trials), _status(trial.status)]
        row += [trial.values.get(key, NONE) for key in swept]
        figures = [trial.objective, *([trial.spread] if has_spread else [])]
        row += [_cell(value) for value in (*figures, place.epochs or None, place.seconds or None)]
        rows.append(row + ([_reason(trial.reason)] if has_reason else []))
    return markup.table(header, rows, numbers=(0, 1, *range(first, first + len(measured))))


def _status(status: str) -> Html:
    return Html(f'<span class="{escape(status)}">{escape(status)}</span>')


def _reason(reason: str | None) -> Html:
    """Returns the first line of a reason, the others behind it."""
    first, has_more, rest = (reason or "").strip().partition("\n")
    if has_more:
        return Html(f'<div class="long">{details(first, markup.code(rest))}</div>')
    return Html(f'<div class="long">{escape(first)}</div>')


def _link(place: Place, trials: str) -> Html:
    number = place.trial.number
    return Html(f'<a href="{escape(trials)}/{number}">{number}</a>' if place.has_folder else str(number))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
