"""Data that are made, not measured: eight points near a line, many points around a line, and a noisy sine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Data, InputSpec, Samples, Task
from dltrain.data.bundled import TRAINS_AND_EVALUATES_THE_SAME
from dltrain.data.splitting import SplitSettings, split_indices

Numbers = NDArray[np.float64]

_LINE_8_X = (32, 64, 96, 118, 126, 144, 152.5, 158)
_LINE_8_Y = (18, 24, 61.5, 49, 52, 105, 130.3, 125)

SCALING = setting(
    "none keeps the values, standard gives mean 0 and deviation 1, minmax maps to 0 to 1; of inputs and targets, "
    "learned from the training samples. Errors are told in the targets' own unit all the same.",
    choices=("none", "standard", "minmax"),
)


@dataclass(frozen=True)
class Line8Settings:
    name: str = setting("Name of the data set.")
    scaling: str = SCALING


@dataclass(frozen=True)
class MadeSettings(SplitSettings):
    points: int = setting("How many points are made.", min=1)
    points_seed: int = setting("Seed of the points; apart from 'seed', so that runs with other seeds compare.", min=0)
    scaling: str = SCALING


@registry.register("data", "line_8", Line8Settings)
def line_8(settings: Line8Settings) -> Data:
    """Eight points whose least-squares line is y = 0.8749312626 x - 26.7907861680."""
    x, y = np.array(_LINE_8_X, dtype=np.float64), np.array(_LINE_8_Y, dtype=np.float64)
    everything, nothing = np.arange(len(x)), np.arange(0)
    return curve(x, y, settings.scaling, everything, nothing, nothing)


@registry.register("data", "line_noise", MadeSettings)
def line_noise(settings: MadeSettings) -> Data:
    """Points around a line: x ~ N(0, 0.55), y = 0.1 x + 0.3 + N(0, 0.03), where N gives the deviation."""
    generator = np.random.default_rng(settings.points_seed)
    x = generator.normal(0, 0.55, settings.points)
    y = 0.1 * x + 0.3 + generator.normal(0, 0.03, settings.points)
    return curve(x, y, settings.scaling, *split_indices(settings.points, settings))


@registry.register("data", "sine", MadeSettings)
def sine(settings: MadeSettings) -> Data:
    """One period of a noisy sine: x uniform from -pi to pi, y = sin x + N(0, 0.1)."""
    generator = np.random.default_rng(settings.points_seed)
    x = generator.uniform(-np.pi, np.pi, settings.points)
    y = np.sin(x) + generator.normal(0, 0.1, settings.points)
    return curve(x, y, settings.scaling, *split_indices(settings.points, settings))


def curve(
    x: Numbers,
    y: Numbers,
    scaling: str,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Data:
    """Returns the points (N,), (N,) as a regression of one number on one number.

    Args:
        train, validation, test: the places of each split's points; empty for a split that there is not.
    """
    (x_shift, x_scale), (y_shift, y_scale) = shift_and_scale(x[train], scaling), shift_and_scale(y[train], scaling)
    inputs = torch.from_numpy((x - x_shift) / x_scale).float()[:, None]
    targets = torch.from_numpy((y - y_shift) / y_scale).float()[:, None]

    def samples(places: NDArray[np.int64]) -> Samples:
        index = torch.from_numpy(places)
        return Samples(inputs[index], targets[index])

    training = samples(train)
    scaled = scaling != "none"
    return Data(
        Task(
            "regression",
            InputSpec((1,)),
            output_size=1,
            target_shift=(y_shift,) if scaled else (),
            target_scale=(y_scale,) if scaled else (),
        ),
        train=training,
        validation=samples(validation) if len(validation) else training,
        test=samples(test) if len(test) else None,
        preprocessing={"shift": [x_shift], "scale": [x_scale]},
        notes=() if len(validation) else (TRAINS_AND_EVALUATES_THE_SAME,),
    )


def shift_and_scale(values: Numbers, kind: str) -> tuple[float, float]:
    """Returns what (values - shift) / scale needs to scale (N,) values; constant values have scale 1."""
    if kind == "none":
        return 0.0, 1.0
    if kind == "minmax":
        shift, scale = float(values.min()), float(np.ptp(values))
    else:
        shift, scale = float(values.mean()), float(values.std())
    return shift, scale if scale > 0 else 1.0
