"""A sweep as one HTML file: what was found, every trial, and three plots. It loads nothing from anywhere.

What is in it may come from a sweep that somebody sent: each text is escaped, and the page's own policy lets the
browser run no script but its own and fetch nothing at all.
"""

from __future__ import annotations

import secrets
from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from dltrain.console import duration
from dltrain.run_folder import write_file
from dltrain.sweeps.report_parallel import parallel
from dltrain.sweeps.report_plots import (
    FONTS,
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

_STYLE = """
body { font: 16px/1.5 FONTS; color: #222; background: #fff; margin: 0 auto; padding: 1rem; max-width: 72rem }
h1, h2 { line-height: 1.25; overflow-wrap: anywhere }
h2 { margin-top: 2.5rem }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
th, td { white-space: nowrap }
.long { white-space: normal; overflow-wrap: anywhere; min-width: 14rem; max-width: 30rem }
pre { white-space: pre-wrap; margin: .5rem 0 }
.number { text-align: right }
.wide { overflow-x: auto }
.failed { color: #a11 }
.y-axis text { paint-order: stroke; stroke: #fff; stroke-width: 3px }
@media print {
  body { font-size: 10pt; max-width: none; padding: 0 }
  @page { margin: 1cm }
  tr, section { break-inside: avoid }
  h2 { break-after: avoid }
  .wide { overflow: visible }
  .modebar { display: none }
}
""".replace("FONTS", FONTS).strip()
_SCRIPT = """
for (const [name, figure] of Object.entries(JSON.parse(document.getElementById("figures").textContent))) {
  Plotly.newPlot(name, figure.data, figure.layout, {
    responsive: true, modeBarButtons: [["toImage"]], displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  });
}
// Paper has no scroll bar: what is wider than a page (700 pixels) is made smaller for it.
const wide = document.querySelectorAll(".wide > *");
addEventListener("beforeprint", () => wide.forEach((e) => { e.style.zoom = Math.min(1, 700 / e.offsetWidth); }));
addEventListener("afterprint", () => wide.forEach((e) => { e.style.zoom = ""; }));
""".strip()


def write(
    folder: SweepFolder, places: list[Place], study: optuna.study.Study, metric: str, higher_is_better: bool
) -> None:
    """Writes ``report.html`` into the sweep's folder.

    Args:
        places: all trials, the best first.
        study: the same trials as Optuna has them; of one that was tried again, each attempt.
        metric: the name of what the objective is.

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
    write_file(folder.path / "report.html", _page(folder.path.absolute().name, places, plots, metric))


def _page(name: str, places: list[Place], plots: list[Plot], metric: str) -> str:
    from plotly.offline import get_plotlyjs

    figures = {f"plot-{place}": plot.figure for place, plot in enumerate(plots) if plot.figure is not None}
    as_json = ",".join(f'"{place}":{figure.to_json()}' for place, figure in figures.items())
    nonce = secrets.token_hex(16)  # an injected script cannot know it
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(name)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
            f"<h1>Sweep {escape(name)}</h1>\n<p>{escape(_summary(places, metric))}</p>",
            _best(places, metric),
            *(_section(f"plot-{place}", plot) for place, plot in enumerate(plots)),
            "<h2>All trials</h2>",
            _table(places, metric),
            f'<script type="application/json" id="figures">{{{_harmless(as_json)}}}</script>',
            *(f'<script nonce="{nonce}">{text}</script>' for text in (get_plotlyjs() if figures else "", _SCRIPT)),
            "</body>\n</html>\n",
        ]
    )


def _harmless(as_json: str) -> str:
    """Returns JSON in which nothing can end the script element that it stands in."""
    return as_json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _summary(places: list[Place], metric: str) -> str:
    counts = Counter(place.trial.status for place in places)
    shown = [f"{counts['done']} done", f"{counts['pruned']} pruned", f"{counts['failed']} failed"]
    shown += [f"{counts[status]} {status}" for status in ("running", "waiting") if counts[status]]
    first = objective_of(places[0]) if places else None
    best = f" Best {metric}: {figure_text(first)}, of trial {places[0].trial.number}." if first is not None else ""
    seconds = sum(place.seconds for place in places)
    spent = f" Training time of all together: {duration(seconds)}." if seconds else ""
    return f"{len(places)} trials: {', '.join(shown)}.{best}{spent}"


def _best(places: list[Place], metric: str) -> str:
    """Returns the values and the figures of the best trial; "" where none is done."""
    if not places or places[0].trial.objective is None:
        return ""
    trial = places[0].trial
    figures = {metric: trial.objective, "spread": trial.spread} | places[0].test
    rows = [*trial.values.items(), *((key, _cell(value)) for key, value in figures.items() if value is not None)]
    cells = "\n".join(f"<tr><th>{escape(str(key))}{_text_cell(text)}" for key, text in rows)
    return f"<h2>The best point: trial {_link(places[0])}</h2>\n<table>\n{cells}\n</table>"


def _section(name: str, plot: Plot) -> str:
    drawn = ""
    if plot.figure is not None:
        width = (plot.figure.layout.meta or {}).get("width", 0)
        drawn = f'\n<div class="wide"><div class="plot" id="{name}" style="min-width: {width}px"></div></div>'
    return f"<section>\n<h2>{escape(plot.title)}</h2>\n<p>{escape(plot.text)}</p>{drawn}\n</section>"


def _table(places: list[Place], metric: str) -> str:
    """Returns all trials, the best first."""
    swept, has_spread = swept_keys(places), any(place.trial.spread is not None for place in places)
    has_reason = any(place.trial.reason for place in places)
    names = ["rank", "trial", "status", *swept, metric, *(["spread"] if has_spread else []), "epochs", "seconds"]
    numbers = set(names) - {"status", *swept}
    head = [f'<th class="{"number" if n in numbers else ""}">{escape(n)}' for n in names + ["reason"] * has_reason]
    rows = [f"<tr>{''.join(head)}"]
    for rank, place in enumerate(places, 1):
        trial = place.trial
        measured = [
            trial.objective,
            *([trial.spread] if has_spread else []),
            place.epochs or None,
            place.seconds or None,
        ]
        cells = [
            f'<td class="number">{rank if trial.objective is not None else ""}<td class="number">{_link(place)}',
            f'<td class="{escape(trial.status)}">{escape(trial.status)}',
            *(_text_cell(trial.values.get(key, NONE)) for key in swept),
            *(f'<td class="number">{escape(_cell(value))}' for value in measured),
            f'<td class="long">{_reason(trial.reason)}' if has_reason else "",
        ]
        rows.append(f"<tr>{''.join(cells)}")
    return '<div class="wide"><table>\n' + "\n".join(rows) + "\n</table></div>"


def _text_cell(text: str) -> str:
    return f'<td class="{"long" if len(text) > 40 else ""}">{escape(text)}'


def _reason(reason: str | None) -> str:
    """Returns the first line of a reason, the others behind it."""
    first, has_more, rest = (reason or "").strip().partition("\n")
    more = f"<details><summary>{escape(first)}</summary><pre>{escape(rest)}</pre></details>"
    return more if has_more else escape(first)


def _link(place: Place) -> str:
    return f'<a href="trials/{place.trial.number}">{place.trial.number}</a>'


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
