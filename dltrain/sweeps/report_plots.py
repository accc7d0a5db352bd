"""The plots of a sweep's report: how the search went, and what mattered; and what all of the plots share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dltrain.report.page import FONTS

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go
    from optuna.trial import FrozenTrial

    from dltrain.sweeps.leaderboard import Place

NONE = "–"


@dataclass(frozen=True)
class Plot:
    """
    Attributes:
        text: what is to be known of it; where there is none, why.
    """

    title: str
    text: str
    figure: go.Figure | None = None


@dataclass(frozen=True)
class Scale:
    """The objectives that are told apart in the plots, so that one trial that went astray does not flatten the others.

    Attributes:
        best, limit: the ends; a worse value than ``limit`` is drawn as ``limit``.
        is_log: whether the plots have the objective's logarithm.
        beyond: how many values are worse than the limit.
    """

    higher_is_better: bool
    best: float
    limit: float
    is_log: bool
    beyond: int

    @classmethod
    def of(cls, objectives: Sequence[float], higher_is_better: bool) -> Scale | None:
        """Returns the scale; None where there is no objective.

        It ends at six times the distance from the best to the median: a quantile of the worst would be useless where
        many trials diverge. Where half of the trials are as good as the best, a higher quantile takes the median's
        place.
        """
        ordered = sorted(objectives, reverse=higher_is_better)
        if not ordered:
            return None
        best, last = ordered[0], len(ordered) - 1
        median = ordered[(last + 1) // 2]
        is_log = min(ordered) > 0 and max(best / median, median / best) > 20
        as_drawn: Callable[[float], float] = math.log10 if is_log else float
        distances = [abs(as_drawn(value) - as_drawn(best)) for value in ordered]
        places = ((last + 1) // 2, (3 * last + 3) // 4, last)
        reach = 6 * next((distances[place] for place in places if distances[place]), 0)
        within = [value for value, distance in zip(ordered, distances, strict=True) if distance <= reach]
        return cls(higher_is_better, best, within[-1], is_log, len(ordered) - len(within))

    def is_beyond(self, objective: float) -> bool:
        return objective < self.limit if self.higher_is_better else objective > self.limit

    def clipped(self, objective: float) -> float:
        return self.limit if self.is_beyond(objective) else objective

    def as_drawn(self, objective: float) -> float:
        """Returns the objective, or its logarithm, not worse than the limit."""
        value = self.clipped(objective)
        return math.log10(value) if self.is_log else value

    def said(self, how: str) -> str:
        """Returns a sentence of what is beyond the limit; "" where nothing is."""
        trials = "1 trial is" if self.beyond == 1 else f"{self.beyond} trials are"
        return f" {trials} worse than {figure_text(self.limit)}: {how}." if self.beyond else ""


def newest_attempts(study: optuna.study.Study) -> dict[int, FrozenTrial]:
    """Returns the newest attempt at each trial by the trial's number, which repeated attempts do not have in Optuna."""
    newest: dict[int, FrozenTrial] = {}
    for frozen in study.get_trials(deepcopy=False):
        number = frozen.user_attrs.get("retry_of")
        newest[len(newest) if number is None else number] = frozen
    return newest


def objective_of(place: Place) -> float | None:
    """Returns the objective of a trial that is done; None where it has none that can be drawn."""
    value = place.trial.objective
    return value if place.trial.status == "done" and value is not None and math.isfinite(value) else None


def history(places: list[Place], newest: dict[int, FrozenTrial], scale: Scale | None, metric: str) -> Plot:
    """Draws each trial's objective by its number, and the best so far."""
    import plotly.graph_objects as go

    title = "How the search went"
    if scale is None:
        return Plot(title, "No trial is done yet.")
    by_number = sorted(places, key=lambda place: place.trial.number)
    done = [(place, value) for place in by_number if (value := objective_of(place)) is not None]
    pruned = [(p, v) for p in by_number if (v := _last_value(p, newest.get(p.trial.number))) is not None]
    scale = Scale.of([value for _, value in done + pruned], scale.higher_is_better) or scale  # has the pruned ones, too
    better = max if scale.higher_is_better else min
    so_far = [done[0][1]]
    for _, value in done[1:]:
        so_far.append(better(so_far[-1], value))
    numbers = [place.trial.number for place, _ in done]
    best = go.Scatter(
        x=[*numbers, max(by_number[-1].trial.number, numbers[-1])],
        y=[*so_far, so_far[-1]],
        name="best so far",
        mode="lines",
        line={"shape": "hv", "color": "#d55e00", "width": 2},
        hoverinfo="skip",
    )
    groups = {
        ("done", "circle", "#0072b2"): [pair for pair in done if not scale.is_beyond(pair[1])],
        ("done, off the scale", f"triangle-{'down' if scale.higher_is_better else 'up'}", "#0072b2"): [
            pair for pair in done if scale.is_beyond(pair[1])
        ],
        ("pruned, at its last value", "x-thin-open", "#767676"): pruned,
    }
    dots = [_dots(kind, pairs, scale, metric) for kind, pairs in groups.items() if pairs]
    figure = figure_of([best, *dots], 400)
    figure.update_xaxes(title="trial", tickformat="d", rangemode="tozero" if numbers[-1] < 5 else "normal")
    if numbers[-1] <= 10:
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(title=escape(metric), type="log" if scale.is_log else "linear", exponentformat="e")
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    return Plot(title, f"Each point is a trial.{scale.said('drawn at that line')}", figure)


def _dots(kind: tuple[str, str, str], pairs: list[tuple[Place, float]], scale: Scale, metric: str) -> go.Scatter:
    import plotly.graph_objects as go

    name, symbol, colour = kind
    return go.Scatter(
        x=[place.trial.number for place, _ in pairs],
        y=[scale.clipped(value) for _, value in pairs],
        name=name,
        mode="markers",
        marker={"symbol": symbol, "color": colour, "size": 8, "line": {"width": 1.5 if "open" in symbol else 0}},
        text=[_told(place, value, metric) for place, value in pairs],
        hoverinfo="text",
    )


def _told(place: Place, value: float, metric: str) -> str:
    """Returns what stands beside a point when it is pointed at."""
    values = [f"{key}={short(text, 60)}" for key, text in place.trial.values.items()]
    return "<br>".join(map(escape, [f"trial {place.trial.number}", f"{metric} {figure_text(value)}", *values]))


def _last_value(place: Place, frozen: FrozenTrial | None) -> float | None:
    """Returns the last value of a trial that was pruned; None where it had none."""
    if place.trial.status != "pruned" or frozen is None:
        return None
    value = frozen.intermediate_values[max(frozen.intermediate_values)] if frozen.intermediate_values else frozen.value
    return value if value is not None and math.isfinite(value) else None


def importance(study: optuna.study.Study, scale: Scale | None, metric: str) -> Plot:
    """Draws how much of the objective's variance comes from each parameter (fANOVA, Hutter et al. 2014)."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    title = "What mattered"
    done = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if math.isfinite(t.value or 0)]
    if scale is None or len(done) < 2:
        return Plot(title, "This needs at least two trials that are done.")
    common = [name for name in done[0].params if all(name in trial.params for trial in done)]
    if not common:
        return Plot(title, "No parameter has a value in every trial that is done.")
    varied = [name for name in common if len({trial.params[name] for trial in done}) > 1]
    if not varied:
        return Plot(title, "Each parameter has the same value in every trial that is done.")
    if len({scale.as_drawn(trial.value or 0.0) for trial in done}) < 2:
        return Plot(title, "All trials that are done have the same objective.")
    if len(varied) == 1:
        return Plot(title, f"Only one parameter was searched in every trial that is done: {varied[0]}.")
    # Its time grows with the square of a tree's leaves: beyond a hundred trials, 64 leaves tell the same in a tenth.
    evaluator = FanovaImportanceEvaluator(seed=0, max_depth=64 if len(done) <= 100 else 6)
    try:
        shares = get_param_importances(_in_numbers(done, varied, scale), evaluator=evaluator, params=varied)
    except (ValueError, RuntimeError) as error:
        return Plot(title, f"Optuna cannot tell: {error}")
    text = f"The share of the variance of {'the logarithm of ' if scale.is_log else ''}{metric} (fANOVA), "
    return Plot(title, f"{text}over the parameters that all done trials have.", _bars(shares))


def _in_numbers(done: list[FrozenTrial], names: list[str], scale: Scale) -> optuna.study.Study:
    """Returns a study of the trials in which each category is a number: its place in the order of the mean objectives.

    A regression tree then finds the same best splits (Breiman et al. 1984, section 4.2.2). Optuna makes a column of
    each category instead, and its fANOVA goes through all combinations of columns: of 31 categories, two billion.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution, IntDistribution

    drawn = [scale.as_drawn(trial.value or 0.0) for trial in done]
    distributions = {name: done[0].distributions[name] for name in names}
    numbers: dict[str, dict[Any, int]] = {}
    for name in names:
        if isinstance(distributions[name], CategoricalDistribution):
            found: dict[Any, list[float]] = {}
            for trial, value in zip(done, drawn, strict=True):
                found.setdefault(trial.params[name], []).append(value)
            ordered = sorted(found, key=lambda choice: fmean(found[choice]))
            numbers[name] = {choice: place for place, choice in enumerate(ordered)}
            distributions[name] = IntDistribution(0, len(ordered) - 1)
    study = optuna.create_study()
    for trial, value in zip(done, drawn, strict=True):
        params = {name: numbers[name][trial.params[name]] if name in numbers else trial.params[name] for name in names}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    return study


def _bars(shares: dict[str, float]) -> go.Figure:
    """Draws the share of each parameter, the greatest on top."""
    import plotly.graph_objects as go

    names = sorted(shares, key=lambda name: shares[name])
    bar = go.Bar(
        x=[float(shares[name]) for name in names],
        y=[escape(text, quote=False) for text in told_apart(short(name, 40) for name in names)],
        orientation="h",
        text=[f"{shares[name]:.0%}" for name in names],
        textposition="outside",
        cliponaxis=False,
        marker={"color": "#0072b2"},
        hoverinfo="skip",
    )
    figure = figure_of([bar], 110 + 34 * len(names))
    figure.update_xaxes(tickformat=".0%", range=[0, 1.1 * float(shares[names[-1]]) or 1])
    figure.update_yaxes(ticksuffix=" ")
    return figure


# --- parts ------------------------------------------------------------------------------------------------


def figure_of(traces: list[Any], height: int) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure(traces)
    figure.update_layout(
        template="plotly_white",
        height=height,
        font={"family": FONTS, "size": 13, "color": "#222"},
        margin={"l": 10, "r": 20, "t": 40, "b": 10},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure


def swept_keys(places: list[Place]) -> list[str]:
    """Returns the keys that trials have a value for."""
    return list(dict.fromkeys(key for place in places for key in place.trial.values))


def figure_text(value: float) -> str:
    return f"{value:.4g}"


def short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def told_apart(texts: Iterable[str]) -> list[str]:
    """Returns texts of which no two are the same: Plotly takes those for one place on an axis."""
    seen: Counter[str] = Counter()
    found = []
    for text in texts:
        seen[text] += 1
        found.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return found
