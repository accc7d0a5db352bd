"""Small data sets that need no download: ``iris`` and ``digits`` (from scikit-learn's files) and ``gate``."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dltrain import registry
from dltrain.config import setting
from dltrain.data import Data, InputSpec, Samples, Task
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.errors import MachineError

TRAINS_AND_EVALUATES_THE_SAME = "there is no validation split: what is evaluated is the training data itself"


@dataclass(frozen=True)
class BundledSettings(SplitSettings):
    scaling: str = setting(
        "none keeps the values, standard gives mean 0 and deviation 1, minmax maps to 0 to 1; "
        "learned from the training samples.",
        choices=("none", "standard", "minmax"),
    )


_IRIS_MEASURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@dataclass(frozen=True)
class IrisSettings(BundledSettings):
    measures: list[str] = setting("The measures that are inputs.", choices=_IRIS_MEASURES)
    species: str | None = setting(
        "One species to tell from the others; null tells all three apart.",
        choices=("setosa", "versicolor", "virginica"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.measures or len(set(self.measures)) < len(self.measures):
            raise ValueError(f"measures = {self.measures}: give at least one, and each once")


@registry.register("data", "iris", IrisSettings)
def iris(settings: IrisSettings) -> Data:
    """150 flowers, 4 lengths and widths in cm, 3 species (Fisher 1936)."""
    with scikit_learn_file("iris.csv").open(encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    table, names = np.array(rows, dtype=np.float64), tuple(header[2:5])
    features = table[:, [_IRIS_MEASURES.index(measure) for measure in settings.measures]]
    classes = table[:, 4]
    if settings.species is not None:
        classes, names = classes == names.index(settings.species), (f"not {settings.species}", settings.species)
    return classification(settings, features, classes, names, shape=(features.shape[1],))


@registry.register("data", "digits", BundledSettings)
def digits(settings: BundledSettings) -> Data:
    """1,797 handwritten digits of 8x8 grey values from 0 to 16 (UCI, Alpaydin and Kaynak 1998)."""
    with gzip.open(scikit_learn_file("digits.csv.gz")) as file:
        table = np.array([line.split(b",") for line in file.read().split()], dtype=np.float64)
    names = tuple(str(digit) for digit in range(10))
    return classification(settings, table[:, :64], table[:, 64], names, shape=(1, 8, 8))


@dataclass(frozen=True)
class GateSettings:
    name: str = setting("Name of the data set.")
    operator: str = setting("The logical function of two inputs.", choices=("and", "or", "xor"))


@registry.register("data", "gate", GateSettings)
def gate(settings: GateSettings) -> Data:
    """The four rows of a logic gate's truth table."""
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    truth = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "xor": [0, 1, 1, 0]}[settings.operator]
    samples = Samples(inputs, torch.tensor(truth, dtype=torch.float32)[:, None])
    task = Task("binary", InputSpec((2,)), output_size=1, class_names=("0", "1"))
    return Data(task, samples, samples, None, notes=(TRAINS_AND_EVALUATES_THE_SAME,))


def scikit_learn_file(name: str) -> Path:
    """Returns the path of a file that scikit-learn ships, without importing it, which would take a second.

    Raises:
        MachineError: scikit-learn is not installed, or keeps the file elsewhere.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise MachineError("scikit-learn, which holds this data set, is not installed: pip install scikit-learn")
    path = Path(spec.origin).parent / "datasets" / "data" / name
    if not path.is_file():
        raise MachineError(f"the installed scikit-learn has no {path}: install the version that dltrain pins")
    return path


def classification(
    settings: BundledSettings,
    features: NDArray[np.float64],
    classes: NDArray[np.float64] | NDArray[np.bool_],
    class_names: tuple[str, ...],
    shape: tuple[int, ...],
) -> Data:
    """Splits (by class), scales and casts a table with one class a row; of two classes the second is a yes."""
    labels = classes.astype(np.int64)
    train, validation, test = split_indices(len(labels), settings, labels)
    shift, scale = _scaling(features[train], settings.scaling)
    inputs = torch.from_numpy(((features - shift) / scale).astype(np.float32)).reshape(-1, *shape)
    binary = len(class_names) == 2
    targets = torch.from_numpy(labels.astype(np.float32))[:, None] if binary else torch.from_numpy(labels)

    def samples(indices: NDArray[np.int64]) -> Samples:
        index = torch.from_numpy(indices)
        return Samples(inputs[index], targets[index])

    training = samples(train)
    return Data(
        Task("binary" if binary else "multiclass", InputSpec(shape), 1 if binary else len(class_names), class_names),
        train=training,
        validation=samples(validation) if len(validation) else training,
        test=samples(test) if len(test) else None,
        preprocessing={"shift": shift.tolist(), "scale": scale.tolist()},
        notes=() if len(validation) else (TRAINS_AND_EVALUATES_THE_SAME,),
    )


def _scaling(features: NDArray[np.float64], kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns (D,) shift and (D,) scale; a constant column has scale 1, so that it becomes 0."""
    num_features = features.shape[1]
    if kind == "none":
        return np.zeros(num_features), np.ones(num_features)
    if kind == "minmax":
        shift, scale = features.min(axis=0), np.ptp(features, axis=0)
    else:
        shift, scale = features.mean(axis=0), features.std(axis=0)
    return shift, np.where(scale > 0, scale, 1.0)
