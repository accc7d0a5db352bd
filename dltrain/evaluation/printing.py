"""An evaluation as tables in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dltrain.coefficients import LOGARITHM
from dltrain.console import number

if TYPE_CHECKING:
    from dltrain.readable import Entry

# Up to so many classes are all shown; of more the worst and the best by F1.
MOST_CLASSES = 20
_ENDS = 5

_WIDTH_OF_A_FILE = 120
_CELL = 60

Target = dict[str, Any]


def show(evaluation: dict[str, Any], title: str) -> None:
    """Prints what ``evaluation.json`` holds.

    Args:
        title: its first line.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    console.print(title, markup=False, soft_wrap=True)
    console.print(_figures(evaluation))
    if "confidence" in evaluation:
        draws = f"{evaluation['resamples']:,} resamples"
        console.print(f"in brackets: {100 * evaluation['confidence']:.4g} % intervals, by the bootstrap with {draws}")
    targets: dict[str, Target] = evaluation.get("targets") or {"": evaluation}
    for head, target in targets.items():
        if head:
            console.print(f"\ntarget {head}", markup=False)
        for part in _of_target(target):
            console.print(part, markup=False)
    if "coefficients" in evaluation:
        what = "the logarithm of each prediction" if evaluation.get("coefficients_of") == LOGARITHM else "each output"
        console.print(f"what {what} adds for one more of a feature, in the data's own units", soft_wrap=True)
        console.print(_coefficients(evaluation["coefficients"]))


def worst(entries: Sequence[Entry]) -> None:
    """Prints the samples with the largest loss."""
    from dltrain.readable import table

    header, rows = table(entries)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)
    console.print(f"the {len(rows)} largest losses" if len(rows) > 1 else "the largest loss")
    shown = Table()
    room = 8  # more columns are in the file
    for name in header[:room]:
        shown.add_column(Text(name), overflow="ellipsis", max_width=_CELL)
    for row in rows:
        shown.add_row(*(Text(" ".join(cell.split())) for cell in row[:room]))
    console.print(shown)


# --- tables -----------------------------------------------------------------------------------------------


def _figures(evaluation: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("metric")
    table.add_column(evaluation["split"], justify="right")
    for name, value in evaluation["figures"].items():
        table.add_row(Text(name), sure(value, evaluation.get("intervals", {}).get(name)))
    return table


def sure(value: float, interval: Sequence[float] | None, sign: bool = False) -> str:
    """Returns a figure with its interval: 0.8821  [0.8757, 0.8884].

    Args:
        sign: a plus stands before what is above 0.
    """
    texts = [("+" if sign and one > 0 else "") + _shown(one) for one in (value, *(interval or ()))]
    return texts[0] if interval is None else f"{texts[0]}  [{texts[1]}, {texts[2]}]"


def _shown(value: float) -> str:
    """Returns a number; large ones are not cut to four digits, in which both ends of an interval would look alike."""
    return f"{value:.1f}" if 1000 <= abs(value) < 1e9 else number(value)


def _of_target(target: Target) -> Iterator[Table | str]:
    if "confusion" in target and len(target["confusion"]["classes"]) <= MOST_CLASSES:
        yield "true class in rows, predicted in columns"
        yield _confusion(target["confusion"])
    if "classes" in target:
        rows = target["classes"]
        if len(rows) > MOST_CLASSES:
            yield f"the {_ENDS} worst and the {_ENDS} best of {len(rows)} classes by F1"
        yield _classes(rows)
    if "calibration" in target:
        own = target["calibration"]
        yield (
            f"calibration: expected error {_shown(own['expected_error'])}, maximum {_shown(own['maximum_error'])}, "
            f"Brier score {_shown(own['brier'])}"
        )
    if "residuals" in target:
        own = target["residuals"]
        ends = [_shown(own["quantiles"][share]) for share in ("0.05", "0.95")]
        yield (
            f"errors, predicted - true: mean {_shown(own['mean'])}, deviation {_shown(own['std'])}, nine in ten from "
            f"{ends[0]} to {ends[1]}"
        )
    if "looked_at_every" in target:
        yield f"areas, curves and spread are of every {target['looked_at_every']}th sample: all would take much memory"
    if "baselines" in target:
        yield "simple guesses, learned from the training split"
        yield _baselines(target)
        for baseline in target["baselines"]:
            if "note" in baseline:
                yield f"{baseline['name']}: {baseline['note']}"


def _confusion(confusion: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("")
    for name in confusion["classes"]:
        table.add_column(Text(name), justify="right")
    for place, row in enumerate(confusion["rows_true_columns_predicted"]):
        cells = [Text(str(count), "bold") if place == other else str(count or "") for other, count in enumerate(row)]
        table.add_row(Text(confusion["classes"][place]), *cells)
    return table


def _classes(rows: list[dict[str, Any]]) -> Table:
    chosen: list[dict[str, Any] | None] = list(rows)
    if len(rows) > MOST_CLASSES:
        by_f1 = sorted(rows, key=lambda row: row["f1"])
        chosen = [*by_f1[:_ENDS], None, *by_f1[-_ENDS:]]
    names = [name for name in rows[0] if name != "name"]
    table = Table()
    table.add_column("class")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in chosen:
        if row is None:
            table.add_section()
            continue
        cells = [f"{row[name]:,}" if name == "support" else _shown(row[name]) for name in names]
        table.add_row(Text(row["name"]), *cells)
    return table


def _baselines(target: Target) -> Table:
    """Returns for each figure the model and the guesses below each other, with what the model is ahead."""
    table = Table()
    table.add_column("metric")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("model minus it", justify="right")
    names = dict.fromkeys(name for baseline in target["baselines"] for name in baseline["figures"])
    for name in names:
        if name not in target["figures"]:
            continue
        model = sure(target["figures"][name], target.get("intervals", {}).get(name))
        table.add_row(name, Text("this model", "bold"), model, "")
        for baseline in target["baselines"]:
            if name in baseline["figures"]:
                difference = baseline["difference"].get(name)
                ahead = "" if difference is None else sure(difference[0], difference[1:], sign=True)
                own = sure(baseline["figures"][name], baseline["intervals"].get(name))
                table.add_row("", Text(baseline["name"]), own, ahead)
        table.add_section()
    return table


def _coefficients(coefficients: dict[str, dict[str, float]]) -> Table:
    table = Table()
    table.add_column("")
    for output in coefficients:
        table.add_column(Text(output), justify="right")
    for name in next(iter(coefficients.values())):
        table.add_row(Text(name), *[f"{values[name]:.8g}" for values in coefficients.values()])
    return table
