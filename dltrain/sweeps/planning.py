"""A sweep's plan from its command line: what is searched, by what, and whether it can work."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dltrain import assembly, compose, config, config_files
from dltrain.config import Config
from dltrain.errors import ConfigError
from dltrain.guards import memory_errors
from dltrain.metrics import HIGHER_IS_BETTER, is_higher_better
from dltrain.models import count_parameters
from dltrain.sweeps import parsing
from dltrain.sweeps.folder import SweepFolder, SweepPlan, find_sweep
from dltrain.sweeps.ledger import Ledger
from dltrain.sweeps.refining import narrowed
from dltrain.sweeps.space import Space
from dltrain.sweeps.trial import objective

# So many trials are built, of those that cannot be trained, before the sweep is refused.
_MOST_BUILT = 10

# Of one core, for a small network and for a large one.
_SECONDS_A_STEP, _PRODUCTS_A_SECOND = 1e-4, 2e10

_MOST_POINTS = 100_000  # of which a list is made

_TRIALS = 20  # where neither the space nor sweep.trials says how many


def plan(overrides: list[str], module_folders: list[str]) -> SweepPlan:
    """Returns the plan of a command line.

    Args:
        module_folders: where modules of ``imports`` may lie.

    Raises:
        ConfigError: nothing can be searched so; or a value of the space makes a config that cannot be used.
        DataError, MachineError: the first trial could not be trained.
    """
    swept, fixed = parsing.swept(overrides)
    settings = _settings(fixed, swept)
    texts: dict[str, Any] = {**settings["space"], **swept}
    sweep = refined_sweep(overrides)
    if sweep is not None:
        refined, before = _refined(sweep)
        has_seed = any(text.startswith("sweep.seed=") for text in fixed)
        fixed, texts = [*_without_watching(before, settings), *fixed], {**refined, **texts}
        settings = _settings(fixed, texts)
        if not has_seed:  # else it would draw the same places again
            settings["seed"] = before.seed + 1
    space = parsing.space_of(texts)
    first, seconds = _check_each(fixed, space)
    metric = objective(first)
    fixed = [*fixed, *_watching(first, metric, [*fixed, *texts])]
    sampler, points = _sampler(settings, space, texts, first)
    return SweepPlan(
        overrides=fixed,
        space=texts,
        sampler=sampler,
        points=points,
        trials=_number_of(sampler, points, settings["trials"]),
        seed=settings["seed"],
        working_directory=str(Path.cwd()),
        module_folders=module_folders,
        metric=metric,
        higher_is_better=_higher_is_better(metric, first.sweep.direction),
        seconds_each=seconds * first.sweep.seeds * (getattr(first.data, "folds", None) or 1),
        each_fold=not any(text.partition("=")[0] == "data.fold" for text in [*fixed, *texts]),
        **{name: getattr(first.sweep, name) for name in _KEPT},
    )


# What the plan takes from the config as it stands there.
_KEPT = ("seeds", "workers", "pruner", "prune_after", "max_time", "stop_when", "max_failures", "report")


def _settings(fixed: list[str], texts: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of the sweep itself, from the first point of what is searched."""
    first = next(parsing.space_of(texts).variants())
    plain = [text for text in fixed if not text.startswith("hydra")]
    settings: dict[str, Any] = compose.with_values(plain, first)["sweep"]
    return settings


def refined_sweep(overrides: list[str]) -> SweepFolder | None:
    """Returns the sweep that ``sweep.refine`` names, if it is given.

    Raises:
        ConfigError: there is none of that name.
    """
    names = [text.partition("=")[2] for text in overrides if text.startswith("sweep.refine=")]
    if not names or names[-1] == "null":
        return None
    sweep = find_sweep(names[-1])
    if sweep is None:
        raise ConfigError(f"sweep.refine = '{names[-1]}': no such sweep. Give its folder, or a unique part of its name")
    return sweep


def _refined(sweep: SweepFolder) -> tuple[dict[str, Any], SweepPlan]:
    """Returns the space around the best region of a sweep, and the plan of that sweep."""
    before = sweep.read_plan()
    higher = before.higher_is_better
    higher = is_higher_better(before.metric) if higher is None else higher
    trials = Ledger(sweep.journal, higher_is_better=higher).trials()
    return narrowed(before.space, trials, higher), before


def _without_watching(before: SweepPlan, settings: dict[str, Any]) -> list[str]:
    """Returns the overrides of a sweep; where another metric ranks the trials now, without what watched the old one."""
    if settings["metric"] in (None, before.metric):
        return before.overrides
    watching = f".monitor={before.metric}"
    return [text for text in before.overrides if not (text.startswith("callbacks.") and text.endswith(watching))]


def _watching(first: Config, metric: str, said: list[str]) -> list[str]:
    """Returns what lets the weights that are kept and evaluated be those that a trial is ranked by.

    Args:
        said: the overrides, and the keys that are searched: what they say of it holds.
    """
    for name, settings in first.callbacks.items():
        key = f"callbacks.{name}.monitor"
        if (
            settings.name == "checkpoint"
            and settings.monitor != metric
            and metric.rpartition("/")[2] in HIGHER_IS_BETTER
        ):
            return [] if any(text.partition("=")[0] == key for text in said) else [f"{key}={metric}"]
    return []


def _sampler(
    settings: dict[str, Any], space: Space, texts: dict[str, Any], first: Config
) -> tuple[str, list[dict[str, str]]]:
    """Returns how the points are chosen, and the points where they are known beforehand.

    Raises:
        ConfigError: it does not go with what is searched.
    """
    size, sampler, trials = space.size(), settings["name"], settings["trials"]
    if sampler == "auto":
        sampler = "grid" if size is not None and trials is None else "random"
    if sampler == "grid":
        _check_grid(space, texts, size, trials)
        return sampler, space.grid() or []
    if size == 1 and first.sweep.seeds == 1:
        raise ConfigError(f"sweep={sampler}: there is nothing to search. Give a setting several values, or an interval")
    if sampler == "random" and size is not None and size <= _MOST_POINTS:  # none is drawn twice
        return sampler, random.Random(settings["seed"]).sample(space.grid() or [], size)
    return sampler, []


def _number_of(sampler: str, points: list[dict[str, str]], trials: int | None) -> int:
    number = len(points) if sampler == "grid" else trials or _TRIALS
    return min(number, len(points)) if points else number


def _check_grid(space: Space, texts: dict[str, Any], size: int | None, trials: int | None) -> None:
    if size is None:
        key = next(dimension.key for dimension in space.dimensions if dimension.when or not dimension.values.listed())
        raise ConfigError(f"sweep=grid: {key}={texts[key]} has no end of values. Take sweep=random")
    if trials is not None:
        raise ConfigError(f"sweep.trials = {trials}: a grid has {size} points. Take sweep=random for some of them")
    if size > _MOST_POINTS:
        raise ConfigError(f"sweep=grid: that makes {size:,} points. Take sweep=random for some of them")


def _higher_is_better(metric: str, direction: str | None) -> bool:
    """
    Raises:
        ConfigError: nobody knows which values of the metric are better.
    """
    if direction is not None:
        return direction == "maximize"
    if metric.rpartition("/")[2] not in HIGHER_IS_BETTER:
        raise ConfigError(
            f"sweep.metric = '{metric}': it is not known which of its values are better. Set sweep.direction=minimize "
            "or sweep.direction=maximize"
        )
    return is_higher_better(metric)


def _check_each(fixed: list[str], space: Space) -> tuple[Config, float]:
    """Looks at the config of each end and each value of the space, and builds one.

    Returns:
        The first config, and how many seconds its training may take.

    Raises:
        ConfigError: with the mistakes of the first point that has any; the points name several metrics; or a metric is
            named that is never logged.
        DataError, MachineError: none of the trials could be trained.
    """
    user_dirs = tuple(config_files.user_dirs())
    points = [config.load(compose.with_values(fixed, point), user_dirs) for point in space.variants()]
    first = points[0]
    metrics = list(dict.fromkeys(map(objective, points)))
    if len(metrics) > 1:
        raise ConfigError(
            f"the trials would be ranked by different metrics: {', '.join(metrics)}. Set sweep.metric to one of them"
        )
    if first.sweep.seeds > 1 and any(dimension.key == "seed" for dimension in space.dimensions):
        raise ConfigError(f"sweep.seeds = {first.sweep.seeds}: the seed is searched already. Leave out one of the two")
    if first.run_dir is not None:
        raise ConfigError(
            f"run_dir = '{first.run_dir}': the runs of a sweep have folders in the sweep's. Name that with "
            f"hydra.sweep.dir={first.run_dir}"
        )
    return first, _build_one(points)


def check(plan: SweepPlan, sweep: SweepFolder) -> None:
    """Builds a trial of a sweep that goes on, so that data which are gone do not fail all of them.

    Raises:
        ConfigError, DataError, MachineError: none could be trained.
    """
    root = sweep.frozen(0).absolute()
    folders = sweep.trusted(plan.module_folders)
    _build_one(
        config.load(compose.with_values(plan.overrides, point, root), folders, distrusted=sweep.path)
        for point in parsing.space_of(plan.space).variants()
    )


def _build_one(points: Iterable[Config]) -> float:
    """Builds trials until one can be trained; returns how many seconds that may take.

    One that cannot be is recorded as failed when its turn comes. Where none can be, the reason is that of all.

    Raises:
        DltrainError: what is wrong with the first one.
    """
    first: Exception | None = None
    for loaded in itertools.islice(points, _MOST_BUILT):
        try:
            with memory_errors(loaded):
                return _seconds(assembly.build(loaded))
        except Exception as error:  # a module of the user's may raise anything
            first = first or error
    assert first is not None
    raise first


def _seconds(parts: assembly.Parts) -> float:
    """Returns roughly how long a training takes on one core: whether it is a moment or a minute."""
    settings, samples = parts.config.trainer, len(parts.data.train)
    size = min(settings.batch_size, samples)
    steps = (settings.max_epochs or 0) * -(-samples // size)
    steps = min(filter(None, (steps, settings.max_steps)))
    inputs = parts.data.task.inputs
    shapes = [spec.shape for spec in (inputs.values() if isinstance(inputs, dict) else [inputs])]
    # A parameter is used once a sample, in sequences at each of T steps, in images at many places.
    uses = max(
        shape[1] * shape[2] / 16 if len(shape) == 3 else shape[0] if _has_steps(shape) else 1 for shape in shapes
    )
    products = 6 * count_parameters(parts.model) * size * max(1.0, uses)
    return steps * (_SECONDS_A_STEP + products / _PRODUCTS_A_SECOND)


def _has_steps(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2
