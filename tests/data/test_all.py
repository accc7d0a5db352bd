"""Every data set of ``configs/data`` trains for two epochs through the command line, on real files where they are.

Data sets whose files cannot be had here are read from small files of the same format, which the tests write.
"""

from __future__ import annotations

import functools
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import realdata
import yaml

from dltrain import config_files, registry
from dltrain.config import convert
from dltrain.fingerprint import fingerprint

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")


def _fashion_mnist(work: Path) -> list[str]:
    if not FASHION.exists():
        pytest.skip(f"needs {FASHION}: apt-get install dataset-fashion-mnist")
    return []


def _cifar10(work: Path) -> list[str]:
    """The python archive's format, with made pixels: the real one may not be kept here."""
    generator = np.random.default_rng(0)
    with tarfile.open(work / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
            images = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
            content = pickle.dumps({b"data": images, b"labels": [place % 10 for place in range(20)]}, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return [f"data.root={work}", "model.hidden=[32]"]


@functools.cache
def _cifar_images() -> dict[str, bytes]:
    """Returns the first 10 images of three classes of CIFAR-10 as JPEG, by class and name."""
    images: dict[str, bytes] = {}
    seen: dict[str, int] = {}
    with tarfile.open(realdata.need("cifar10_jpeg/cifar10_jpeg.tar.xz"), "r:xz") as file:
        for member in file:
            path = Path(member.name)
            label = path.parent.name
            if not member.isfile() or seen.get(label, 0) >= 10:
                continue
            seen[label] = seen.get(label, 0) + 1
            source = file.extractfile(member)
            assert source is not None
            images[f"{label}/{len(seen)}-{path.name}"] = source.read()
            if len(seen) >= 3 and min(seen.values()) >= 10:
                break
    return images


def _image_folder(work: Path) -> list[str]:
    for name, content in _cifar_images().items():
        target = work / "images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return ["data.path=images"]


def _tar_shards(work: Path) -> list[str]:
    from PIL import Image

    generator = np.random.default_rng(0)
    (work / "shards").mkdir()
    for shard in range(4):
        with tarfile.open(work / "shards" / f"{shard:04d}.tar", "w") as archive:
            for place in range(15):
                image, label = BytesIO(), str(place % 3).encode()
                Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(image, "PNG")
                for ending, content in (("png", image.getvalue()), ("cls", label)):
                    member = tarfile.TarInfo(f"{shard}-{place:03d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, BytesIO(content))
    return ["data.path=shards", "data.workers=0"]


def _parquet_shards(work: Path) -> list[str]:
    import pyarrow.csv
    import pyarrow.parquet

    table = pyarrow.csv.read_csv(realdata.need("tabular/california_housing.csv"))
    (work / "shards").mkdir()
    for shard in range(4):
        part = table.slice(shard * 1000, 1000)
        pyarrow.parquet.write_table(part, work / "shards" / f"{shard}.parquet", row_group_size=250)
    return ["data.path=shards", "data.target=median_house_value", "data.workers=0"]


def _insurance_fraud(work: Path) -> list[str]:
    """The columns that the course's file is known to have, and a few more."""
    generator = np.random.default_rng(0)
    rows = ["CUST_ID,SIU_CUST_YN,AGE,SEX,JOB"]
    for number in range(200):
        fraud = "Y" if number % 20 == 0 else "N"
        rows.append(
            f"{number + 1},{fraud},{generator.integers(20, 80)},{number % 2 + 1},{['직장인', '학생'][number % 2]}"
        )
    (work / "insurance_fraud.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ["data.path=insurance_fraud.csv"]


def _needs(name: str, *words: str) -> Callable[[Path], list[str]]:
    def prepare(work: Path) -> list[str]:
        path = realdata.need(name)
        return [word.replace("{path}", str(path)) for word in words]

    return prepare


def _nothing(work: Path) -> list[str]:
    return []


def _text(work: Path) -> list[str]:
    lines = realdata.need("korean/ChatbotData.csv").read_text(encoding="utf-8").splitlines()[1:400]
    (work / "글.txt").write_text("\n".join(line.split(",")[0] for line in lines), encoding="utf-8")
    return ["data.path=글.txt", "model=gru", "model.hidden=16"]


def _imagenet(work: Path) -> list[str]:
    """The same images in the folders of ImageNet, each validated with too."""
    _image_folder(work)
    shutil.copytree(work / "images", work / "imagenet" / "val")
    shutil.move(work / "images", work / "imagenet" / "train")
    return [
        *("data.path=imagenet", "data.size=32", "data.augmentation.crop_padding=4", "data.workers=0"),
        *("model=resnet", "model.form=cifar", "model.depth=8"),
    ]


def _first_lines(name: str, count: int, *words: str) -> Callable[[Path], list[str]]:
    """As ``_needs``, of the first lines of a file alone: more of them say no more, and take longer."""

    def prepare(work: Path) -> list[str]:
        lines = realdata.need(name).read_text(encoding="utf-8").splitlines(keepends=True)[:count]
        (work / "first.csv").write_text("".join(lines), encoding="utf-8")
        return ["data.path=first.csv", *words]

    return prepare


# What each data set needs besides its name.
PREPARE: dict[str, Callable[[Path], list[str]]] = {
    "airline_passengers": _needs("series/airline_passengers.csv", "model=gru", "model.hidden=8"),
    "boston_housing": _needs("tabular/boston_housing.csv"),
    "california_housing": _needs("tabular/california_housing.csv"),
    "california_housing_8": _needs("tabular/california_housing.csv"),
    "chatbot": _needs(
        "korean/ChatbotData.csv",
        *("model=seq2seq", "model.hidden=16", "model.embedding=8", "data.vocabulary_size=200"),
    ),
    "cifar10": _cifar10,
    "csv": _needs("tabular/thoracic_surgery.csv", "data.path={path}", "data.target=Risk1Yr"),
    "fashion_mnist": lambda work: [*_fashion_mnist(work), "model.hidden=[32]"],
    "image_folder": _image_folder,
    "imagenet": _imagenet,
    "image_list": lambda work: [*_image_folder(work), "data.workers=0"],
    "insurance_fraud": _insurance_fraud,
    "korean_text": lambda work: ["model=lstm"],
    "mnist": _needs("mnist/train-images-idx3-ubyte.gz", "model.hidden=[32]"),
    "nsmc": _needs(
        "nsmc_rebuilt/ratings_train.txt.gz", "data.form=multi_hot", "data.vocabulary_size=200", "model=linear"
    ),
    "pairs_csv": _first_lines(
        *("korean/ChatbotData.csv", 800),
        *("data.source=Q", "data.target=A", "model=seq2seq", "model.hidden=16", "data.vocabulary_size=200"),
    ),
    "parquet_shards": _parquet_shards,
    "series_csv": _first_lines("series/sf_temps.csv", 3000, "model=lstm", "model.hidden=8"),
    "sf_temps": _needs("series/sf_temps.csv", "model=gru", "model.hidden=8"),
    "tar_shards": _tar_shards,
    "text": _text,
    "text_csv": _first_lines(
        *("korean/ChatbotData.csv", 6000),
        *("data.text=Q", "data.target=label", "model=gru", "model.hidden=16"),
    ),
    "thoracic_surgery": _needs("tabular/thoracic_surgery.csv"),
}
# No curve and no report is looked at.
QUICK = ("trainer.max_epochs=2", "trainer.batch_size=512", "report=false", "~callbacks.tensorboard", "run_dir=run")
LARGE = ("chatbot", "nsmc")
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in config_files.options("data", [])
]


@pytest.mark.parametrize("name", NAMES)
def test_two_epochs(dltrain, work, monkeypatch, name):
    monkeypatch.setenv("DLTRAIN_DATA", str(realdata.folder()))
    words = PREPARE.get(name, _nothing)(work)
    answer = dltrain(f"data={name}", *words, *QUICK)
    assert answer.code == 0, answer.err
    assert "reached max_epochs=2" in answer.out
    result = json.loads((work / "run" / "result.json").read_text())
    assert result["status"] == "done" and result["epochs"] == 2
    assert np.isfinite(result["last"]["train/loss"]) and np.isfinite(result["last"]["val/loss"])
    task = json.loads((work / "run" / "task.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((work / "run" / "config.yaml").read_text(encoding="utf-8"))
    monkeypatch.chdir("/")  # the run's config names its files from anywhere
    problems: list[str] = []
    settings = convert(config["data"], registry.find("data", name).settings, "data", problems)
    assert not problems
    assert fingerprint(registry.build("data", settings)) == task["fingerprint"]
