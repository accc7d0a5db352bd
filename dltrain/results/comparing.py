"""Some runs side by side: the settings in which they differ, their figures, their curves, and their groups."""

from __future__ import annotations

import contextlib
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.config_files import flatten
from dltrain.directions import is_higher_better
from dltrain.errors import CheckpointError, ConfigError, did_you_mean
from dltrain.history import Row
from dltrain.results import columns, folders, labels, reading
from dltrain.results.keys import differing_in, is_untold, spelled
from dltrain.results.record import DATA, DEFAULT_METRIC, SAMPLES, Run, monitor_of
from dltrain.results.significance import FOLD, SEED, Group, Test, between
from dltrain.run_folder import RunFolder
from dltrain.saved import saved_config

# Each run has a letter, which stands for it in tables and curves.
LETTERS = string.ascii_uppercase + string.ascii_lowercase

# What the curves may go by.
AXES = ("epoch", "step", "seconds")


@dataclass
class Compared:
    """One of the runs.

    Attributes:
        label: the settings that tell it from the others.
        config: its settings by their full keys, with what newer versions have added.
        rows: its figures as they were logged.
    """

    run: Run
    letter: str
    label: str
    config: dict[str, Any]
    rows: list[Row]

    def points(self, metric: str, axis: str) -> list[tuple[float, float | None]]:
        """Returns the curve of a metric; None stands where it was not finite."""
        found, seconds = [], 0.0
        for row in self.rows:
            seconds += reading.finite(row.get("epoch_seconds")) or 0.0
            x = seconds if axis == "seconds" else reading.finite(row.get(axis))
            if x is not None and metric in row:
                found.append((x, reading.finite(row[metric])))
        return found

    def best(self, metric: str) -> tuple[float, float | None] | None:
        """Returns the best value of a metric and its epoch; of the test split there is one value and no epoch."""
        if metric in self.run.test:
            value = self.run.test[metric]
            return None if value is None else (value, None)
        known = [(value, row) for row in self.rows if (value := reading.finite(row.get(metric))) is not None]
        if not known:
            return None
        value, row = (max if is_higher_better(metric) else min)(known, key=lambda pair: pair[0])
        return value, reading.finite(row.get("epoch"))


@dataclass
class Comparison:
    """Several runs side by side.

    Attributes:
        keys: the settings in which they differ.
        metric: that the curves and the groups are of.
        axis: what the curves go by.
        groups: runs that differ in their seeds and folds alone.
        tests: between these; none where the figures of the runs do not compare.
        mixed: why they do not; "" where they do.
        has_folds: whether the runs are of several folds: those of one group are then not to be ranked.
    """

    runs: list[Compared]
    keys: list[str]
    metric: str
    axis: str
    groups: list[Group]
    tests: list[Test]
    mixed: str = ""
    has_folds: bool = False

    @property
    def ranks(self) -> bool:
        """Whether one run can be told to be the best."""
        return not self.mixed and not self.has_folds

    @property
    def has_groups(self) -> bool:
        return any(len(group.members) > 1 for group in self.groups)


def compare(runs: Sequence[Run], metric: str | None, axis: str) -> Comparison:
    """Puts runs side by side.

    Args:
        metric: whose curves are wanted; None for the one by which most of the runs keep their weights.

    Raises:
        ConfigError: fewer than two runs or more than there are letters, or no run has the metric.
        CheckpointError: a config is damaged.
    """
    if len(runs) < 2:
        named = f"{runs[0].path} alone" if runs else "no run"
        raise ConfigError(f"compare takes two runs or more, and this names {named}. 'dltrain runs' lists them")
    if len(runs) > len(LETTERS):
        raise ConfigError(
            f"compare shows {len(LETTERS)} runs at most, and this names {len(runs):,}. Leave only some with "
            "comparisons such as status=done model=lstm, or see 'dltrain runs' for a table of all"
        )
    configs = _configs(runs)
    rows = [reading.read_rows(f"{run.path}/{folders.ROWS}")[0] for run in runs]
    names = labels.labels(configs, columns.names(runs, runs))
    letters, told = LETTERS[: len(runs)], map(columns.printable, names)
    compared = [Compared(*each) for each in zip(runs, letters, told, configs, rows, strict=True)]
    chosen = _metric(compared, metric)
    groups = grouped(compared, chosen)
    mixed = _mixed(compared, groups, chosen)
    has_folds = len({spelled(config.get(FOLD)) for config in configs}) > 1
    tests = [] if mixed else between(groups)
    return Comparison(compared, differing_in(configs), chosen, axis, groups, tests, mixed, has_folds)


def _mixed(runs: Sequence[Compared], groups: Sequence[Group], metric: str) -> str:
    """Returns why the figures of runs do not compare; "" where they do."""

    def differing(keys: Iterable[str]) -> list[str]:
        return [key for key in keys if len({spelled(each.config.get(key)) for each in runs}) > 1]

    if differing(DATA):
        return "the runs are of several data sets"
    samples = differing(SAMPLES)
    if samples:
        return f"the runs are evaluated on other samples ({', '.join(samples)})"
    if len({frozenset(runs[place].config.get(FOLD) for place in group.members) for group in groups}) > 1:
        return f"the runs are evaluated on other samples ({FOLD})"
    if not differing(key for key in runs[0].config if key.startswith("data.")) and _has_changed(runs, metric):
        return "the data of the runs have changed between them"
    losses = differing(dict.fromkeys(key for each in runs for key in each.config if key.startswith("loss.")))
    if metric.endswith("/loss") and losses:
        losses = ["loss.name"] if "loss.name" in losses else losses  # each has settings of its own
        return f"the runs have several losses ({', '.join(losses)}; --metric compares by another figure)"
    return ""


def _has_changed(runs: Sequence[Compared], metric: str) -> bool:
    """Tells whether what the metric is of is known to hold other samples in some of the runs."""
    split = {"val": "validation", "test": "test"}.get(metric.partition("/")[0], "train")
    known = set()
    for each in runs:
        with contextlib.suppress(CheckpointError):
            hashes = RunFolder(Path(each.run.path)).read_task().get("fingerprints")
            known.add(hashes.get(split) if isinstance(hashes, dict) else None)
    return len(known - {None}) > 1


def _configs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns the settings of runs by their full keys, with what newer versions have added to them.

    Raises:
        CheckpointError: a config is damaged.
    """
    added: dict[
        tuple[tuple[str, str], ...], dict[str, Any]
    ] = {}  # the same for all configs that choose the same components
    configs = []
    for run in runs:
        own = run.config
        choices = tuple((key, spelled(value) if key.endswith(".name") else "") for key, value in own.items())
        if choices not in added:
            try:
                whole = flatten(saved_config(RunFolder(Path(run.path))))
            except CheckpointError as error:
                raise CheckpointError(
                    f"{error}. Leave this run out: name the others, or give comparisons such as status=done"
                ) from error
            added[choices] = {key: value for key, value in whole.items() if key not in own}
        configs.append({**own, **added[choices]})
    return configs


def _metric(runs: Sequence[Compared], asked: str | None) -> str:
    """
    Raises:
        ConfigError: no run has the metric.
    """
    logged = dict.fromkeys(name for each in runs for row in each.rows for name in row if "/" in name)
    known = [*logged, *dict.fromkeys(name for each in runs for name in each.run.test)]
    if asked is not None and asked not in known:
        raise ConfigError(f"--metric {asked}: none of these runs has it.{did_you_mean(asked, known)}")
    if asked is not None:
        return asked
    kept_by = Counter(str(each.run.best.get("metric") or monitor_of([each.config])) for each in runs)
    ranked = [name for name, _ in kept_by.most_common() if name in known]
    return ranked[0] if ranked else next(iter(known), DEFAULT_METRIC)


def grouped(runs: Sequence[Compared], metric: str) -> list[Group]:
    """Returns the groups of runs that differ in their seeds and folds alone, with the best values of a metric."""
    alike: dict[str, list[int]] = {}
    for place, each in enumerate(runs):
        rest = {
            key: spelled(value) for key, value in each.config.items() if key not in (SEED, FOLD) and not is_untold(key)
        }
        alike.setdefault(repr(sorted(rest.items())), []).append(place)
    firsts = [runs[places[0]] for places in alike.values()]
    without_seed = [{key: value for key, value in each.config.items() if key not in (SEED, FOLD)} for each in firsts]
    if len(firsts) > 1:
        named = labels.labels(without_seed, [each.run.name for each in firsts])
    else:
        named = ["all runs"]
    return [_group(runs, places, label, metric) for places, label in zip(alike.values(), named, strict=True)]


def _group(runs: Sequence[Compared], places: list[int], label: str, metric: str) -> Group:
    values: dict[Any, float] = {}
    members, seen = [], set()
    for place in places:
        key = runs[place].config.get(SEED), runs[place].config.get(FOLD)
        if key in seen:
            continue
        seen.add(key)
        members.append(place)
        best = runs[place].best(metric)
        if best is not None:
            values[key] = best[0]
    return Group(columns.printable(label), members, values, len(places) - len(members))


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison as JSON can hold it."""
    metric, axis = comparison.metric, comparison.axis
    return {
        "metric": metric,
        "higher_is_better": is_higher_better(metric),
        "x": axis,
        "do_not_compare": comparison.mixed or None,
        "runs": [_run_dict(each, comparison) for each in comparison.runs],
        "groups": [_group_dict(group, comparison) for group in comparison.groups],
        "tests": [
            {
                "groups": [test.first, test.second],
                "difference": test.difference,
                "p_welch": test.welch,
                "p_paired": test.paired,
                "corrected": "holm" if len(comparison.tests) > 1 else None,
            }
            for test in comparison.tests
        ],
    }


def _run_dict(each: Compared, comparison: Comparison) -> dict[str, Any]:
    best = each.best(comparison.metric)
    return {
        "name": each.run.name,
        "path": each.run.path,
        "label": each.label,
        "status": each.run.status,
        "settings": {key: each.config[key] for key in comparison.keys if key in each.config},
        "best": None if best is None else {"value": best[0], "epoch": best[1]},
        "last": each.run.last or reading.figures(each.rows[-1] if each.rows else {}),
        "test": each.run.test,
        "curve": [list(point) for point in each.points(comparison.metric, comparison.axis)],
    }


def _group_dict(group: Group, comparison: Comparison) -> dict[str, Any]:
    spread = group.n >= 2
    return {
        "label": group.label,
        "runs": [comparison.runs[place].run.path for place in group.members],
        "n": group.n,
        "mean": group.mean if group.n else None,
        "std": group.std if spread else None,
        "interval": [group.mean - group.half_width, group.mean + group.half_width] if spread else None,
    }
