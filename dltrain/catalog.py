"""The data sets that dltrain knows by name: what they are, whose they are, and which files they need.

A table and no more, so that listing the data sets starts at once; ``dltrain.files`` finds and fetches the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dltrain.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class File:
    """A file of a data set.

    Attributes:
        name: by which readers ask for it; the last part of the URLs may differ.
        size: bytes of the published file; 0 where none is published.
        hash: "md5:..." or "sha256:..." of the published file. Without one nothing is downloaded.
        urls: the same bytes from several places; the first one is tried first.
        aliases: other names that it goes by. With or without ``.gz`` need not be said.
        is_folder: it is a folder of files, too many to name.
    """

    name: str
    size: int = 0
    hash: str = ""
    urls: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    is_folder: bool = False


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        task: what is learned from it.
        shape: how much there is of it.
        rights: the licence, or who may do what with it.
        homepage: where it comes from and what it means.
        origin: "files"; "bundled" with a package that dltrain needs; "made" by a formula.
        choices: the files; of several choices any one will do, and the first one is fetched.
        places: folders inside a folder of data in which its files are looked for, besides one of its own name.
        holds: what a file must hold, where a person has to find it alone.
        also: other names in configs/data that make something else of the same files.
    """

    name: str
    task: str
    shape: str
    rights: str
    homepage: str
    origin: Literal["files", "bundled", "made"] = "files"
    choices: tuple[tuple[File, ...], ...] = ()
    places: tuple[str, ...] = ()
    holds: str = ""
    also: tuple[str, ...] = ()

    @property
    def download_size(self) -> int:
        """Bytes to fetch; 0 where nothing can be fetched."""
        return sum(file.size for file in self.choices[0]) if self.can_download else 0

    @property
    def can_download(self) -> bool:
        return bool(self.choices) and all(file.urls and file.hash for file in self.choices[0])


def _idx(bases: tuple[str, ...], sizes_and_hashes: tuple[tuple[int, str], ...]) -> tuple[tuple[File, ...], ...]:
    """Returns the four files of MNIST and of what was made in its likeness."""
    parts = (("train", "images-idx3"), ("train", "labels-idx1"), ("t10k", "images-idx3"), ("t10k", "labels-idx1"))
    files = []
    for (split, kind), (size, md5) in zip(parts, sizes_and_hashes, strict=True):
        name = f"{split}-{kind}-ubyte.gz"
        alias = f"{split}-{kind.replace('-', '.')}-ubyte"
        files.append(File(name, size, f"md5:{md5}", tuple(base + name for base in bases), (alias,)))
    return (tuple(files),)


_NAVER = "https://raw.githubusercontent.com/e9t/nsmc/master/"
_KRIZHEVSKY = "https://www.cs.toronto.edu/~kriz/"

_ALL = (
    Dataset(
        "iris",
        "species of a flower",
        "150 rows, 4 numbers, 3 classes",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/53/iris",
        "bundled",
    ),
    Dataset(
        "digits",
        "handwritten digit",
        "1,797 images of 8x8, 10 classes",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        "bundled",
    ),
    Dataset(
        "breast_cancer",
        "malignant or benign",
        "569 rows, 30 numbers, 2 classes",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic",
        "bundled",
    ),
    Dataset(
        "wine",
        "grower of a wine",
        "178 rows, 13 numbers, 3 classes",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/109/wine",
        "bundled",
    ),
    Dataset(
        "diabetes",
        "progress of diabetes",
        "442 rows, 10 numbers",
        "none stated",
        "https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
        "bundled",
    ),
    Dataset(
        "boston_housing",
        "price of a house",
        "506 rows, 13 numbers",
        "none stated (StatLib)",
        "https://lib.stat.cmu.edu/datasets/boston",
        choices=((File("boston_housing.csv", aliases=("BostonHousing.csv", "boston.csv")),),),
        places=("tabular",),
        holds="a CSV with a header of 14 columns: CRIM,ZN,INDUS,CHAS,NOX,RM,AGE,DIS,RAD,TAX,PTRATIO,B,LSTAT,MEDV",
    ),
    Dataset(
        "california_housing",
        "price of a house",
        "20,640 rows, 9 columns",
        "none stated (StatLib)",
        "https://github.com/ageron/handson-ml2/tree/master/datasets/housing",
        choices=(
            (
                File(
                    "california_housing.csv",
                    1_423_529,
                    "sha256:2364609dc48bec7df3ba9dbb7041478e704ecddcee70ef1827ec3fc49d22c0cc",
                    ("https://raw.githubusercontent.com/ageron/handson-ml2/master/datasets/housing/housing.csv",),
                ),
            ),
        ),
        places=("tabular",),
        also=("california_housing_8",),
    ),
    Dataset(
        "thoracic_surgery",
        "death within a year after surgery",
        "470 rows, 16 columns, 2 classes",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/277/thoracic+surgery+data",
        choices=((File("thoracic_surgery.csv"),),),
        places=("tabular",),
        holds=(
            "a CSV with a header of 17 columns: DGN,PerformanceStatus,PainBS,HaemoptysisBS,DyspnoeaBS,CoughBS,"
            "WeaknessBS,SizeOfTumer,Type2Diabetes,HeartAttack6M,PeripheralArterialDiseases,Smoking,Asthma,Age,"
            "FordedVolumeCapacity,ForcedExpiratoryVolume1,Risk1Yr"
        ),
    ),
    Dataset(
        "insurance_fraud",
        "is a customer a fraud?",
        "your own rows, 2 classes",
        "not public",
        "",
        choices=((File("insurance_fraud.csv"),),),
        places=("tabular",),
        holds="a CSV with a header: the customer's number CUST_ID, the target SIU_CUST_YN (Y or N), any other columns",
    ),
    Dataset(
        "mnist",
        "handwritten digit",
        "70,000 images of 28x28, 10 classes",
        "CC BY-SA 3.0",
        "https://yann.lecun.com/exdb/mnist",
        choices=_idx(
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (
                (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
                (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
                (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
            ),
        ),
        places=("MNIST/raw",),
    ),
    Dataset(
        "fashion_mnist",
        "piece of clothing",
        "70,000 images of 28x28, 10 classes",
        "MIT",
        "https://github.com/zalandoresearch/fashion-mnist",
        choices=_idx(
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            (
                (26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                (29_515, "25c81989df183df01b3e8a0aad5dffbe"),
                (4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
                (5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
            ),
        ),
        places=("fashion-mnist", "FashionMNIST/raw"),
    ),
    Dataset(
        "cifar10",
        "thing in a photograph",
        "60,000 images of 32x32x3, 10 classes",
        "none stated",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        choices=(
            (
                File(
                    "cifar-10-python.tar.gz",
                    170_498_071,
                    "md5:c58f30108f718f92721af3b95e74349a",
                    (f"{_KRIZHEVSKY}cifar-10-python.tar.gz",),
                ),
            ),
            (
                File(
                    "cifar-10-binary.tar.gz",
                    170_052_171,
                    "md5:c32a1d4ab5d03f1284b67883e8d87530",
                    (f"{_KRIZHEVSKY}cifar-10-binary.tar.gz",),
                ),
            ),
        ),
        places=("cifar-10", "CIFAR10"),
    ),
    Dataset(
        "imagenet",
        "thing in a photograph",
        "1,331,167 images of many sizes, 1,000 classes",
        "research only, not to be passed on",
        "https://image-net.org/challenges/LSVRC/2012",
        choices=((File("train", is_folder=True), File("val", is_folder=True)),),
        holds="the photographs of ILSVRC 2012 in a folder for each class: train/<class>/*.JPEG and val/<class>/*.JPEG",
    ),
    Dataset(
        "nsmc",
        "good or bad film review, Korean",
        "200,000 reviews, 2 classes",
        "CC0 1.0",
        "https://github.com/e9t/nsmc",
        choices=(
            (
                File(
                    "ratings_train.txt",
                    14_628_807,
                    "sha256:e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940",
                    (f"{_NAVER}ratings_train.txt",),
                ),
                File(
                    "ratings_test.txt",
                    4_893_335,
                    "sha256:8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda",
                    (f"{_NAVER}ratings_test.txt",),
                ),
            ),
        ),
        places=("nsmc_rebuilt",),
    ),
    Dataset(
        "chatbot",
        "answer or topic of a question, Korean",
        "11,823 pairs, 3 topics",
        "MIT",
        "https://github.com/songys/Chatbot_data",
        choices=(
            (
                File(
                    "ChatbotData.csv",
                    889_842,
                    "sha256:287eb129695b577321c80ad397bb3c2279164d4ca577874d129fd3db5b30afe2",
                    ("https://raw.githubusercontent.com/songys/Chatbot_data/master/ChatbotData.csv",),
                ),
            ),
        ),
        places=("korean",),
    ),
    Dataset(
        "sf_temps",
        "temperature of the hours to come",
        "8,759 hours",
        "public domain",
        "https://github.com/vega/vega-datasets",
        choices=(
            (
                File(
                    "sf_temps.csv",
                    218_985,
                    "sha256:3f91699707cfed43ef551394bebef4c2ebe5505157b9be7bff9558eea2fbaaec",
                    ("https://cdn.jsdelivr.net/npm/vega-datasets@1.29.0/data/sf-temps.csv",),
                    ("sf-temps.csv",),
                ),
            ),
        ),
        places=("series",),
    ),
    Dataset(
        "airline_passengers",
        "passengers of the months to come",
        "144 months",
        "none stated",
        "https://github.com/jbrownlee/Datasets",
        choices=((File("airline_passengers.csv", aliases=("airline-passengers.csv",)),),),
        places=("series",),
        holds="a CSV with the header month,passengers and a row for each month from 1949-01 to 1960-12",
    ),
    Dataset("gate", "a logic gate", "4 rows", "public domain", "", "made"),
    Dataset("line_8", "a straight line", "8 points", "public domain", "", "made"),
    Dataset("line_noise", "a straight line with noise", "any number of points", "public domain", "", "made"),
    Dataset("sine", "a sine with noise", "any number of points", "public domain", "", "made"),
    Dataset("korean_text", "next word, Korean", "3 lines, or your own text", "public domain", "", "made"),
)

DATASETS = {dataset.name: dataset for dataset in _ALL}


def find(name: str) -> Dataset:
    """Returns the data set of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in DATASETS:
        raise ConfigError(f"no data set named '{name}'.{did_you_mean(name, DATASETS)}")
    return DATASETS[name]
