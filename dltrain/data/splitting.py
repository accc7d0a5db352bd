"""Splits by seed, with the classes in equal shares where there are classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dltrain.config import setting
from dltrain.errors import DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SplitSettings:
    """The settings that data sets share which are split here."""

    name: str = setting("Name of the data set.")
    validation_fraction: float = setting(
        "Share of the samples that is evaluated while training; 0 evaluates the training samples.",
        min=0,
        below=1,
    )
    test_fraction: float = setting("Share of the samples kept for the test at the end; 0 keeps none.", min=0, below=1)
    split_seed: int = setting("Seed of the split; apart from 'seed', so that runs with other seeds compare.", min=0)
    folds: int | None = setting(
        "Cross-validation: deal the samples to so many folds and test on one of them; null does not.", min=2
    )
    fold: int = setting("Which fold is the test, from 0; used with folds.", min=0)

    def __post_init__(self) -> None:
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold = {self.fold}: there are {self.folds} folds, numbered from 0")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction together must leave samples to train on")


def split_indices(
    num_samples: int, settings: SplitSettings, classes: Indices | None = None
) -> tuple[Indices, Indices, Indices]:
    """Deals samples to training, validation and test; with ``folds``, the test is one of them.

    Args:
        classes: (N,) class of each sample, to give each split the same shares of them; None deals at random.

    Returns:
        The sorted indices of the three splits; validation and test are empty where their share is 0.

    Raises:
        DataError: a share that is asked for comes out empty, or nothing is left to train on.
    """
    generator = np.random.default_rng(settings.split_seed)
    order = generator.permutation(num_samples)
    if classes is not None and settings.folds is not None:
        order = order[np.argsort(classes[order], kind="stable")]  # dealt out one by one, to each fold its share
    elif classes is not None:
        order = _interleave(order, classes[order])
    if settings.folds is not None:
        return _of_fold(order, settings, settings.folds)
    num_test = round(num_samples * settings.test_fraction)
    num_validation = round(num_samples * settings.validation_fraction)
    for share, number, name in (
        (settings.test_fraction, num_test, "test_fraction"),
        (settings.validation_fraction, num_validation, "validation_fraction"),
    ):
        if share > 0 and number == 0:
            raise DataError(
                f"data.{name}={share:g} of {num_samples} samples is none at all. "
                f"Give a larger share, or data.{name}=0 to do without"
            )
    if num_samples - num_test - num_validation < 1:
        raise DataError(f"{num_samples} samples are too few to keep any for training: give smaller shares")
    test, validation, train = np.split(order, [num_test, num_test + num_validation])
    return np.sort(train), np.sort(validation), np.sort(test)


def _of_fold(order: Indices, settings: SplitSettings, folds: int) -> tuple[Indices, Indices, Indices]:
    """Tests on every ``folds``-th sample, so that each sample is in the test of exactly one fold.

    The validation share is taken of the others, spread over them.
    """
    if folds > len(order):
        raise DataError(f"data.folds={folds}: there are {len(order)} samples. Give fewer folds")
    is_test = np.arange(len(order)) % folds == settings.fold
    rest, num_validation = order[~is_test], round(len(order) * settings.validation_fraction)
    if len(rest) - num_validation < 1:
        raise DataError(f"{len(order)} samples are too few to keep any for training: give smaller shares")
    is_validation = np.zeros(len(rest), dtype=bool)
    is_validation[np.linspace(0, len(rest), num_validation, endpoint=False).astype(int)] = True
    return np.sort(rest[~is_validation]), np.sort(rest[is_validation]), np.sort(order[is_test])


def _interleave(order: Indices, classes: Indices) -> Indices:
    """Reorders so that any leading part has the classes in about the shares of the whole."""
    position = np.empty(len(order))
    for value in np.unique(classes):
        members = np.flatnonzero(classes == value)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(position, kind="stable")]
