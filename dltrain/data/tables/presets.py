"""Well-known tables under their own names: the settings of ``csv``, and where the file is."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np

from dltrain import files, registry
from dltrain.data.bundled import scikit_learn_file
from dltrain.data.contract import Data
from dltrain.data.tables.columns import Column, Floats, Table, all_rows, to_numbers
from dltrain.data.tables.dataset import from_table, table_data
from dltrain.data.tables.reader import read_table
from dltrain.data.tables.settings import TableSettings

_CANCER = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_CANCER_NAMES = (
    *(f"mean {measure}" for measure in _CANCER),
    *(f"{measure} error" for measure in _CANCER),
    *(f"worst {measure}" for measure in _CANCER),
)
_WINE_NAMES = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)
_DIABETES_NAMES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


@registry.register("data", "boston_housing", TableSettings)
def boston_housing(settings: TableSettings) -> Data:
    """506 districts of Boston, 13 measures, median house value in 1,000 USD (Harrison and Rubinfeld 1978)."""
    return table_data(settings, _file(settings, "boston_housing"))


@registry.register("data", "california_housing", TableSettings)
def california_housing(settings: TableSettings) -> Data:
    """20,640 districts of California, 8 measures and the place by the ocean, median house value in USD."""
    return table_data(settings, _file(settings, "california_housing"))


@registry.register("data", "california_housing_8", TableSettings)
def california_housing_8(settings: TableSettings) -> Data:
    """The same districts with the literature's 8 features, value in 100,000 USD (Pace and Barry 1997)."""
    path = _file(settings, "california_housing").expanduser()
    raw = read_table(path, f"data.path={settings.path or path}", settings.format, names={"households"})

    def numbers(name: str) -> Floats:
        return to_numbers(raw.column(name), all_rows(raw), raw)

    households = numbers("households")
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "MedInc": numbers("median_income"),
            "HouseAge": numbers("housing_median_age"),
            "AveRooms": numbers("total_rooms") / households,
            "AveBedrms": numbers("total_bedrooms") / households,
            "Population": numbers("population"),
            "AveOccup": numbers("population") / households,
            "Latitude": numbers("latitude"),
            "Longitude": numbers("longitude"),
            "MedHouseVal": numbers("median_house_value") / 100_000,
        }
    table = Table(raw.where, _number_columns(columns), raw.num_rows, raw.row_number, raw.notes)
    return from_table(settings, table)


@registry.register("data", "thoracic_surgery", TableSettings)
def thoracic_surgery(settings: TableSettings) -> Data:
    """470 operations for lung cancer, 16 findings before; did the patient die within a year (Zieba and others 2014)."""
    return table_data(settings, _file(settings, "thoracic_surgery"))


@registry.register("data", "insurance_fraud", TableSettings)
def insurance_fraud(settings: TableSettings) -> Data:
    """Customers of an insurer, a few of whom are suspected of fraud; the file must be your own."""
    return table_data(settings, _file(settings, "insurance_fraud"))


@registry.register("data", "breast_cancer", TableSettings)
def breast_cancer(settings: TableSettings) -> Data:
    """569 tumours, 30 measures of their cells, malignant or benign (Wolberg and others 1995)."""
    if settings.path is not None:
        return table_data(settings, Path(settings.path))
    return from_table(settings, _classes("breast_cancer.csv", _CANCER_NAMES, "diagnosis"))


@registry.register("data", "wine", TableSettings)
def wine(settings: TableSettings) -> Data:
    """178 wines, 13 measures, 3 growers (Aeberhard and others 1992)."""
    if settings.path is not None:
        return table_data(settings, Path(settings.path))
    return from_table(settings, _classes("wine_data.csv", _WINE_NAMES, "class"))


@registry.register("data", "diabetes", TableSettings)
def diabetes(settings: TableSettings) -> Data:
    """442 patients, 10 measures, the disease's progress after a year (Efron and others 2004)."""
    if settings.path is not None:
        return table_data(settings, Path(settings.path))
    path = scikit_learn_file("diabetes_data_raw.csv.gz")
    values = np.loadtxt(io.BytesIO(gzip.decompress(path.read_bytes())))
    progress = np.loadtxt(io.BytesIO(gzip.decompress(scikit_learn_file("diabetes_target.csv.gz").read_bytes())))
    columns = dict(zip(_DIABETES_NAMES, values.T, strict=True))
    return from_table(settings, _table(path, {**columns, "progression": progress}))


def _file(settings: TableSettings, dataset: str) -> Path:
    """Returns the file that the settings name, or else the catalog's, wherever it lies."""
    if settings.path is not None:
        return Path(settings.path)
    (path,) = files.locate(dataset, settings.root).values()
    return path


def _classes(name: str, features: tuple[str, ...], target: str) -> Table:
    """Returns a table of scikit-learn's: the class names stand in its first row, their numbers in the last column."""
    path = scikit_learn_file(name)
    with path.open(encoding="utf-8") as file:
        (_, _, *classes), *rows = list(csv.reader(file))
    values = np.array(rows, dtype=np.float64)
    table = _table(path, dict(zip(features, values[:, :-1].T, strict=True)))
    table.columns[target] = Column(target, "text", codes=values[:, -1].astype(np.int32), words=classes)
    return table


def _table(path: Path, columns: dict[str, Floats]) -> Table:
    size = len(next(iter(columns.values())))
    return Table(f"{path}", _number_columns(columns), size, row_number=lambda row: row + 1)


def _number_columns(columns: dict[str, Floats]) -> dict[str, Column]:
    return {name: Column(name, "number", parts=[np.ascontiguousarray(cells)]) for name, cells in columns.items()}
