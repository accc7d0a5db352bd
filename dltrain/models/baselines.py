"""Baselines from scikit-learn: ``linear_regression``, ``lasso``, ``ridge`` and ``logistic_regression``.

scikit-learn finds the coefficients; what is kept are these, so that the model computes and is saved like any other.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.console import log
from dltrain.data import Task, Tensors
from dltrain.errors import ConfigError, DataError
from dltrain.models import FittedModel
from dltrain.models.targets import learned, require_one_target

Numbers = NDArray[np.float64]

# The logit of a class that no training sample is of.
_NEVER_SEEN = -20.0


@dataclass(frozen=True)
class LinearRegressionSettings:
    name: str = setting("Name of the model.")


@dataclass(frozen=True)
class RidgeSettings:
    name: str = setting("Name of the model.")
    alpha: float = setting("What the sum of squared coefficients is multiplied with.", min=0)


@dataclass(frozen=True)
class LassoSettings:
    name: str = setting("Name of the model.")
    alpha: float = setting("What the sum of the coefficients' absolute values is multiplied with.", above=0)
    max_iterations: int = setting("Passes over the coefficients at most.", min=1)
    tolerance: float = setting("Ends where the duality gap is below this share of the targets' squares.", above=0)


@dataclass(frozen=True)
class LogisticRegressionSettings:
    name: str = setting("Name of the model.")
    C: float = setting("Inverse of how strongly coefficients are pulled towards 0: the larger, the less.", above=0)
    max_iterations: int = setting("Iterations of the solver (LBFGS) at most.", min=1)
    tolerance: float = setting("Ends where the gradient is below this.", above=0)


class FittedLinear(FittedModel):
    """y = W x + b with coefficients that scikit-learn finds."""

    def __init__(self, name: str, task: Task) -> None:
        super().__init__()
        self.task = task
        self.coefficients = learned(torch.zeros(task.output_size, require_one_target(name, task)))
        self.intercepts = learned(torch.zeros(task.output_size))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, ...) to (B, K)."""
        return F.linear(inputs.flatten(1), self.coefficients, self.intercepts)

    @torch.no_grad()
    def fit(self, inputs: Tensors, targets: Tensors, weights: torch.Tensor | None) -> None:
        assert isinstance(inputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        rows = inputs.flatten(1).double().cpu().numpy()
        counts = None if weights is None else weights.double().cpu().numpy()
        coefficients, intercepts = self.solved(rows, targets.cpu().numpy(), counts)
        self.coefficients.copy_(torch.from_numpy(coefficients))
        self.intercepts.copy_(torch.from_numpy(intercepts))

    @abstractmethod
    def solved(self, rows: Numbers, targets: NDArray[Any], weights: Numbers | None) -> tuple[Numbers, Numbers]:
        """Returns coefficients (K, D) and intercepts (K,) for rows (N, D), targets (N, ...) and weights (N,)."""


class _Regression(FittedLinear):
    """A regression of numbers, by an estimator that takes several targets."""

    def __init__(self, name: str, task: Task) -> None:
        if task.kind != "regression":
            raise ConfigError(
                f"model.name = '{name}': it predicts numbers, and this data wants classes. "
                "Choose model=logistic_regression"
            )
        super().__init__(name, task)

    @abstractmethod
    def estimator(self) -> Any:
        """Returns a new estimator of scikit-learn."""

    def solved(self, rows: Numbers, targets: NDArray[Any], weights: Numbers | None) -> tuple[Numbers, Numbers]:
        fitted = _fitted(self.estimator(), rows, targets.astype(np.float64), weights)
        return np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)


@registry.register("model", "linear_regression", LinearRegressionSettings)
class LinearRegression(_Regression):
    """Least squares."""

    def __init__(self, settings: LinearRegressionSettings, *, task: Task) -> None:
        super().__init__("linear_regression", task)

    def estimator(self) -> Any:
        from sklearn.linear_model import LinearRegression as Estimator

        return Estimator()


@registry.register("model", "ridge", RidgeSettings)
class Ridge(_Regression):
    """Least squares and a penalty for large squares of coefficients: |y - Xw|^2 + alpha |w|^2."""

    def __init__(self, settings: RidgeSettings, *, task: Task) -> None:
        super().__init__("ridge", task)
        self.settings = settings

    def estimator(self) -> Any:
        from sklearn.linear_model import Ridge as Estimator

        return Estimator(alpha=self.settings.alpha)


@registry.register("model", "lasso", LassoSettings)
class Lasso(_Regression):
    """Least squares and a penalty that makes coefficients 0: |y - Xw|^2 / (2 N) + alpha |w|_1 (Tibshirani 1996)."""

    def __init__(self, settings: LassoSettings, *, task: Task) -> None:
        super().__init__("lasso", task)
        self.settings = settings

    def estimator(self) -> Any:
        from sklearn.linear_model import Lasso as Estimator

        settings = self.settings
        return Estimator(alpha=settings.alpha, max_iter=settings.max_iterations, tol=settings.tolerance)


@registry.register("model", "logistic_regression", LogisticRegressionSettings)
class LogisticRegression(FittedLinear):
    """Logits that are linear in the inputs, with a penalty for large squares; each of several labels by itself."""

    def __init__(self, settings: LogisticRegressionSettings, *, task: Task) -> None:
        if task.kind == "regression":
            raise ConfigError(
                "model.name = 'logistic_regression': it predicts classes, and this data wants numbers. "
                "Choose model=linear_regression, model=ridge or model=lasso"
            )
        super().__init__("logistic_regression", task)
        self.settings = settings

    def solved(self, rows: Numbers, targets: NDArray[Any], weights: Numbers | None) -> tuple[Numbers, Numbers]:
        if self.task.kind != "multiclass":
            solved = [self._of_one_target(rows, label, 1, weights) for label in targets.astype(np.int64).T]
            return np.concatenate([pair[0] for pair in solved]), np.concatenate([pair[1] for pair in solved])
        classes = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return self._of_one_target(rows, classes, self.task.output_size, weights)

    def _of_one_target(
        self, rows: Numbers, classes: NDArray[Any], num_logits: int, weights: Numbers | None
    ) -> tuple[Numbers, Numbers]:
        """Returns coefficients (K, D) and intercepts (K,) of the classes' logits; of two, K may be 1.

        Raises:
            DataError: all samples are of one class.
        """
        from sklearn.linear_model import LogisticRegression as Estimator

        if len(np.unique(classes)) < 2:
            raise DataError(
                "model.name = 'logistic_regression': all training samples are of one class. Another "
                "data.split_seed may deal the classes out better"
            )
        settings = self.settings
        estimator = Estimator(C=settings.C, max_iter=settings.max_iterations, tol=settings.tolerance)
        fitted = _fitted(estimator, rows, classes, weights)
        coefficients, intercepts = fitted.coef_, fitted.intercept_
        if num_logits == 1:
            return coefficients, intercepts
        if len(coefficients) == 1:  # of two classes scikit-learn gives one logit: that of the second, the first has 0
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
        all_coefficients = np.zeros((num_logits, rows.shape[1]))
        all_intercepts = np.full(num_logits, _NEVER_SEEN)
        all_coefficients[fitted.classes_], all_intercepts[fitted.classes_] = coefficients, intercepts
        return all_coefficients, all_intercepts


def _fitted(estimator: Any, rows: Numbers, targets: NDArray[Any], weights: Numbers | None) -> Any:
    """Fits, and logs what scikit-learn warns of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fitted = estimator.fit(rows, targets, sample_weight=weights)
    for warning in found:
        log.warning("scikit-learn: %s", str(warning.message).strip().splitlines()[0])
    return fitted
