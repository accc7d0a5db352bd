"""The parallel coordinates of a sweep's report: an axis for each parameter, and what a person reads on it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from dltrain.sweeps.report_plots import (
    NONE,
    Plot,
    Scale,
    figure_of,
    figure_text,
    objective_of,
    short,
    swept_keys,
    told_apart,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from dltrain.sweeps.leaderboard import Place

_LONGEST, _MOST_TICKS = 18, 12
_COLOURS = "Viridis"


def parallel(places: list[Place], newest: dict[int, FrozenTrial], scale: Scale | None, metric: str) -> Plot:
    """Draws each done trial as a line through its values, coloured by its objective."""
    import plotly.graph_objects as go

    title = "What the trials had in common"
    done = [(place, value) for place in places if (value := objective_of(place)) is not None]
    if scale is None or not done:
        return Plot(title, "No trial is done yet.")
    axes = _axes([place for place, _ in done], newest)
    drawn = [scale.as_drawn(value) for _, value in done]
    ends = sorted([scale.as_drawn(scale.best), scale.as_drawn(scale.limit)])
    ticks = _ticks(*ends, is_log=scale.is_log)
    axes.append(_dimension(metric, drawn, ticks))
    sign = 1 if scale.higher_is_better else -1  # Plotly draws a line of a higher colour over the others: the best
    line = {
        "color": [sign * value for value in drawn],
        "colorscale": _COLOURS,
        "reversescale": True,
        "cmin": min(sign * end for end in ends),
        "cmax": max(sign * end for end in ends) if ends[1] > ends[0] else sign * ends[0] + 1,
        "showscale": ends[1] > ends[0],
        "colorbar": {"tickvals": [sign * tick for tick in ticks], "ticktext": list(ticks.values()), "thickness": 14},
    }
    figure = figure_of([go.Parcoords(line=line, dimensions=axes)], 440)
    figure.update_traces(labelangle=-12, labelfont={"size": 12}, tickfont={"size": 11})
    widths = [30 + 7 * max(map(len, axis["ticktext"])) for axis in axes]  # of the texts left of each axis, in pixels
    figure.update_layout(margin={"l": max(70, widths[0]), "r": 50, "t": 80, "b": 30})
    figure.layout.meta = {"width": 130 + max(100, *widths) * len(axes)}
    text = (
        "Each line is a trial that is done, the darkest the best. Drag along an axis to see the trials of that range "
        f"alone, or an axis's name to move it; {NONE} is where a trial has no such value."
    )
    return Plot(title, text + scale.said("drawn as if that were their value"), figure)


def _dimension(name: str, positions: list[float], ticks: dict[float, str]) -> dict[str, Any]:
    """Returns an axis of the parallel coordinates from the trials' positions, and what stands at some position."""
    low, high = min([*positions, *ticks]), max([*positions, *ticks])
    return {
        "label": escape(short(name, 32), quote=False),
        "values": positions,
        "tickvals": list(ticks),
        "ticktext": told_apart(ticks.values()),
        "range": [low, high] if low < high else [low - 1, high + 1],
    }


def _axes(places: list[Place], newest: dict[int, FrozenTrial]) -> list[dict[str, Any]]:
    """Returns an axis for each parameter of Optuna's; for a key that has none, as of a chosen text, one of its own."""
    attempts = [newest.get(place.trial.number) for place in places]
    found: dict[str, BaseDistribution] = {}
    for attempt in attempts:
        found |= attempt.distributions if attempt else {}
    swept = swept_keys(places)
    parts: dict[str | None, list[str]] = {key: [] for key in swept}
    for name in sorted(found, key=lambda name: (not name.endswith(".length"), len(name), name)):
        owners = [key for key in swept if f"{name}.".startswith(f"{key}.")]
        parts.setdefault(max(owners, key=len, default=None), []).append(name)
    axes = []
    for key, names in parts.items():
        for name in names:
            axes.append(
                _axis(name, [attempt.params.get(name) if attempt else None for attempt in attempts], found[name])
            )
        if key is not None and not names:
            axes.append(_axis(key, [place.trial.values.get(key) for place in places], None))
    return axes


def _axis(name: str, values: list[Any], distribution: BaseDistribution | None) -> dict[str, Any]:
    """Returns the axis of a parameter, with None on a place of its own below the others."""
    choices: Sequence[Any] | None = getattr(distribution, "choices", None)
    listed = list(dict.fromkeys(value for value in (choices or values) if value is not None))
    numbers = {value: number for value in {*listed, *values} if (number := _number(value)) is not None}
    is_log = bool(getattr(distribution, "log", False))
    if all(value in numbers for value in listed):
        known = sorted(numbers[value] for value in values if value is not None)
        is_listed = choices is not None or distribution is None
        is_log = is_log or (is_listed and _is_geometric(known))
        as_drawn: Callable[[float], float] = math.log10 if is_log else float
        positions = {value: as_drawn(number) for value, number in numbers.items()}
        if is_listed and len(set(known)) <= _MOST_TICKS:
            ticks = {positions[value]: str(value) for value in values if value is not None}
        else:
            is_whole = all(isinstance(value, int) for value in listed)
            ticks = _ticks(as_drawn(known[0]), as_drawn(known[-1]), is_log=is_log, is_whole=is_whole)
    else:
        positions = {value: float(place) for place, value in enumerate(listed)}
        every = math.ceil(len(listed) / (2 * _MOST_TICKS))
        ticks = {positions[value]: short(str(value), _LONGEST) for value in listed[::every]}
    if None in values:
        low, high = min(positions.values()), max(positions.values())
        positions[None] = low - ((high - low) / 6 or 1)
        ticks = {positions[None]: NONE} | ticks
    return _dimension(name, [positions[value] for value in values], ticks)


def _is_geometric(numbers: list[float]) -> bool:
    """Tells whether the logarithms of ascending numbers lie more evenly than the numbers, as of 16, 64, 1024."""
    numbers = sorted(set(numbers))
    if len(numbers) < 3 or numbers[0] <= 0:
        return False
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    ratios = [math.log(after / before) for before, after in itertools.pairwise(numbers)]
    return max(ratios) / min(ratios) < max(gaps) / min(gaps)


def _ticks(low: float, high: float, *, is_log: bool, is_whole: bool = False) -> dict[float, str]:
    """Returns two positions, which are logarithms where ``is_log``, and round numbers between, with their texts."""
    first, last = (10**low, 10**high) if is_log else (low, high)
    if low == high:
        return {low: figure_text(first)}
    if is_log and high - low > 0.7:
        mantissas, every = ((1, 2, 5), 1) if high - low <= 3 else ((1,), math.ceil((high - low) / 10))
        powers = range(math.floor(low), math.ceil(high) + 1, every)
        values = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
    else:
        rough = (last - first) / 6
        power_of_ten = 10.0 ** math.floor(math.log10(rough))
        step = next(k * power_of_ten for k in (1, 2, 5, 10) if k * power_of_ten >= rough)
        step = max(step, 1.0) if is_whole else step
        values = [step * k for k in range(math.ceil(first / step), math.floor(last / step) + 1)]
    at = {math.log10(value) if is_log else value: figure_text(value) for value in values}
    room = (high - low) / 14  # so that no two texts touch
    between = {position: text for position, text in at.items() if low + room < position < high - room}
    return {low: figure_text(first), **between, high: figure_text(last)}


def _number(value: object) -> float | None:
    """Returns the number that a value is or says; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
