"""A comparison of runs as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dltrain.console import number
from dltrain.results import columns, significance, terminal
from dltrain.results import lines as tables
from dltrain.results.columns import cell_width
from dltrain.results.comparing import Comparison
from dltrain.results.lines import Line

if TYPE_CHECKING:
    from rich.text import Text

_HEIGHT = 18

# So wide is a chart at most; a pipe has no width of its own.
_WIDEST, PIPE = 120, 100


def lines(comparison: Comparison, width: int | None, fine: bool) -> Iterator[Text]:
    """Yields the lines of a comparison.

    Args:
        width: of the terminal; None for a pipe, where tables are as wide as they are.
        fine: colours, and Braille dots for the curves.
    """
    from rich.text import Text

    yield from _runs(comparison, fine)
    for title, rows in (
        ("settings that differ", tables.setting_lines(comparison)),
        ("figures (* best)", tables.figure_lines(comparison)),
    ):
        yield Text()
        yield Text(title, "bold" if fine else "")
        if rows:
            yield from map(Text, table(rows, [each.letter for each in comparison.runs], width))
        else:
            yield Text("  none: these runs have the same settings")
    yield from _curves(comparison, width, fine)
    yield from _groups(comparison, fine)


def _runs(comparison: Comparison, fine: bool) -> Iterator[Text]:
    from rich.text import Text

    colors, width = _colors(comparison), max(cell_width(each.label) for each in comparison.runs)
    for place, each in enumerate(comparison.runs):
        line = Text().append(each.letter, terminal.COLORS[colors[place] % len(terminal.COLORS)] if fine else "")
        label = f"  {each.label}{' ' * (width - cell_width(each.label))}"
        path = columns.printable(each.run.path)
        yield line.append(label, "bold" if fine else "").append(f"   {path}", "dim" if fine else "")
        for problem in each.run.problems:
            yield Text(f"   {columns.printable(problem)}")


def table(rows: Sequence[Line], letters: Sequence[str], width: int | None) -> Iterator[str]:
    """Yields the lines of a table whose columns are runs, in as many parts as the width needs."""
    head = max(cell_width(row.title) for row in rows)
    for part in tables.blocks(rows, width or 10**9):
        cells = [[letters[place], *(_cell(row, place) for row in rows)] for place in part]
        widths = [max(map(cell_width, column)) for column in cells]
        if part.start:
            yield ""
        for place, title in enumerate(("", *(row.title for row in rows))):
            texts = [column[place] for column in cells]
            padded = [" " * (wide - cell_width(text)) + text for text, wide in zip(texts, widths, strict=True)]
            yield f"{title}{' ' * (head - cell_width(title))}  {'  '.join(padded)}".rstrip()


def _cell(row: Line, place: int) -> str:
    """Returns a value, with a star before the best one."""
    return f"*{row.cells[place]}" if place in row.best else row.cells[place]


def _curves(comparison: Comparison, width: int | None, fine: bool) -> Iterator[Text]:
    from rich.text import Text

    colors = _colors(comparison)
    curves = [
        terminal.Curve(each.letter, colors[place], each.points(comparison.metric, comparison.axis))
        for place, each in enumerate(comparison.runs)
    ]
    shown = terminal.frame(curves)
    yield Text()
    if shown is None:
        yield Text(f"{comparison.metric} has no curve")
        return
    yield Text(comparison.metric, "bold" if fine else "")
    yield from terminal.chart(curves, shown, min(width or PIPE, _WIDEST), _HEIGHT, comparison.axis, fine)
    if shown.is_cut:
        yield Text("values far from all others stand at the edge")


def _colors(comparison: Comparison) -> dict[int, int]:
    """Returns a colour for each run: of a group the same, where there are groups."""
    by_group = terminal.colors_by([group.members for group in comparison.groups])
    return {place: by_group.get(place, place) for place in range(len(comparison.runs))}


def _groups(comparison: Comparison, fine: bool) -> Iterator[Text]:
    """Yields means and tests over seeds, where some runs differ in their seeds alone, or why there are none."""
    from rich.text import Text

    groups, metric = comparison.groups, comparison.metric
    yield Text()
    over = "seeds and folds" if comparison.has_folds else "seeds"
    yield Text(f"over {over}: best {metric}", "bold" if fine else "")
    if comparison.has_groups:
        width = max(cell_width(group.label) for group in groups)
        yield Text(f"{'':{width}}  {'n':>3}  {'mean':>10}  {'std':>10}  {'95 % interval of the mean':>26}")
        for group in groups:
            label = group.label + " " * (width - cell_width(group.label))
            yield Text(f"{label}  {group.n:>3}  {_spread(group)}".rstrip())
        for test in comparison.tests:
            first, second = groups[test.first].label, groups[test.second].label
            welch, paired = _p(test.welch), "" if test.paired is None else f", paired {_p(test.paired)}"
            yield Text(f"{first} - {second}: {test.difference:+.4g}, Welch {welch}{paired}")
    one_run = "seed and fold" if comparison.has_folds else "seed"
    for group in groups:
        if group.repeated:
            yield Text(f"{group.label}: {group.repeated} more of the same settings and {one_run}, which count once")
    if comparison.mixed:
        yield Text(f"{comparison.mixed}: their figures do not compare, so nothing is starred or tested")
    else:
        yield from map(Text, significance.summary(groups, comparison.tests, metric, comparison.has_folds))


def _spread(group: significance.Group) -> str:
    if not group.n:
        return ""
    if group.n == 1:
        return f"{number(group.mean):>10}"
    low, high = group.mean - group.half_width, group.mean + group.half_width
    return f"{number(group.mean):>10}  {number(group.std):>10}  {f'{number(low)} to {number(high)}':>26}"


def _p(value: float | None) -> str:
    return "p -" if value is None else "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}"
