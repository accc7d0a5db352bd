"""The image presets, and scaling by what the training images are."""

from __future__ import annotations

import json

import numpy as np
import pytest
import realdata
import torch
import training
from commandline import only_run
from pictures import BATCHES, cifar_batch, pixels, write_cifar, write_folder, write_mnist

from dltrain import registry
from dltrain.data.images.dataset import CIFAR_CLASSES, FASHION_CLASSES, scaling_of, sums_of

QUICK = ("model.hidden=[8]", "~callbacks.tensorboard", "trainer.max_epochs=2", "report=false")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def load(settings_of):
    def build(name, root, **changes):
        return registry.build("data", settings_of("data", name, root=str(root), **changes))

    return build


@pytest.mark.parametrize(
    ("name", "classes"), [("mnist", tuple("0123456789")), ("fashion_mnist", FASHION_CLASSES)], ids=["mnist", "fashion"]
)
def test_validation_is_split_off_training_and_the_test_files_are_the_test(tmp_path, load, name, classes):
    root = write_mnist(tmp_path / "files", train=120, test=20)
    data = load(name, root)
    assert data.task.class_names == classes and data.task.input.shape == (1, 7, 7)
    assert {name: len(source) for name, source in data.splits.items()} == {"train": 110, "validation": 10, "test": 20}
    assert torch.bincount(data.validation.targets).tolist() == [1] * 10
    assert torch.equal(data.test.inputs[:, 0], torch.from_numpy(pixels(1, 20, 7, 7)))
    assert data.test.targets.tolist() == [i % 10 for i in range(20)]
    together = torch.cat([data.train.inputs, data.validation.inputs])
    assert sorted(together.flatten(1).sum(1).tolist()) == sorted(pixels(0, 120, 49).sum(1).tolist())
    alone = load(name, root, validation_fraction=0.0)
    assert alone.evaluates_training_data and len(alone.train) == 120


@pytest.mark.parametrize("binary", [True, False])
def test_cifar_is_read_from_either_archive_and_from_the_cache(tmp_path, load, binary, monkeypatch):
    root = write_cifar(tmp_path / "files", count=20, binary=binary)
    data = load("cifar10", root)
    assert data.task.class_names == CIFAR_CLASSES and data.task.input.shape == (3, 32, 32)
    assert {name: len(source) for name, source in data.splits.items()} == {"train": 90, "validation": 10, "test": 20}
    expected = np.frombuffer(cifar_batch(BATCHES[5], 20, 5, binary=True), np.uint8).reshape(20, 3073)
    assert np.array_equal(data.test.inputs.flatten(1).numpy(), expected[:, 1:])
    assert data.test.targets.tolist() == expected[:, 0].tolist()
    monkeypatch.setattr("dltrain.data.images.cifar.read_archive", None)  # a second reading would fail
    again = load("cifar10", root)
    assert torch.equal(again.train.inputs, data.train.inputs) and torch.equal(again.train.targets, data.train.targets)


def test_scaling_is_that_of_the_training_images():
    images = pixels(3, 700, 3, 5, 4)
    images[:, 2] = 9
    shift, scale = scaling_of(images, "standard")
    assert shift == pytest.approx([*images[:, :2].mean((0, 2, 3)), 9.0])
    assert scale == pytest.approx([*images[:, :2].std((0, 2, 3)), 1.0])  # a constant channel is only shifted
    assert scaling_of(images, "standard", sums_of(images)) == (shift, scale)
    assert scaling_of(images, "minmax") == ([0.0] * 3, [255.0] * 3)
    assert scaling_of(images, "none") == ([0.0] * 3, [1.0] * 3)


def test_nothing_is_learned_from_other_splits(tmp_path, load):
    root = write_mnist(tmp_path / "files")
    before = load("mnist", root)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (root / name).unlink()
    other = write_mnist(tmp_path / "other", test=30)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (other / name).rename(root / name)
    after = load("mnist", root)
    assert len(after.test) == 30
    assert after.preprocessing == before.preprocessing
    assert torch.equal(after.train.inputs, before.train.inputs)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "image_folder"])
def test_a_model_is_trained_by_the_command(dltrain, work, name):
    if name == "image_folder":
        words = [f"data.path={write_folder(work / 'files', {'a': 30, 'b': 30})}"]
    else:
        write = write_mnist if name != "cifar10" else lambda root: write_cifar(root, binary=False)
        words = [f"data.root={write(work / 'files')}"]
    answer = dltrain(f"data={name}", *words, *QUICK)
    assert answer.code == 0, answer.err
    task = json.loads((only_run(work) / "task.json").read_text())
    assert set(task["preprocessing"]) >= {"shape", "shift", "scale"}


AUGMENTED = (
    "data.augmentation.crop_padding=1",
    "data.augmentation.flip=true",
    "data.augmentation.rotation=10",
    "data.augmentation.cutout=2",
    "data.augmentation.brightness=0.2",
    "data.augmentation.mixup=0.2",
    "data.augmentation.cutmix=1",
)


def test_an_augmented_run_that_is_resumed_ends_as_if_never_stopped(work):
    words = ("data=mnist", f"data.root={write_mnist(work / 'files')}", *AUGMENTED, "model=mlp", "model.hidden=[8]")

    def train(folder: str, *changes: str) -> None:
        training.train(work / folder, *words, "trainer.batch_size=8", *changes, callbacks=("checkpoint",))

    def losses(folder: str) -> list[float]:
        lines = (work / folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["train/loss"] for line in lines]

    train("whole", "trainer.max_epochs=4")
    train("halved", "trainer.max_epochs=2")
    assert training.resume(work / "halved", "trainer.max_epochs=4") is not None
    assert losses("halved") == losses("whole") and len(losses("whole")) == 4
    train("plain", "trainer.max_epochs=4", *(f"{word.partition('=')[0]}=0" for word in AUGMENTED if "flip" not in word))
    assert losses("plain") != losses("whole")


# --- the real files -----------------------------------------------------------------------------------------


def test_the_real_mnist_is_read(load):
    data = load("mnist", realdata.need("mnist/train-images-idx3-ubyte.gz").parent)
    assert {name: len(source) for name, source in data.splits.items()} == {
        "train": 55_000,
        "validation": 5_000,
        "test": 10_000,
    }
    assert data.task.input.shape == (1, 28, 28)
    assert torch.bincount(data.test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.preprocessing["shift"] == pytest.approx([33.3], abs=0.1)
    assert data.preprocessing["scale"] == pytest.approx([78.6], abs=0.1)


@pytest.mark.slow
def test_the_real_mnist_is_learned(dltrain, work):
    root = realdata.need("mnist/train-images-idx3-ubyte.gz").parent
    words = ("data=mnist", f"data.root={root}", "model.hidden=[300,100]", "trainer.max_epochs=5")
    assert dltrain(*words, "scheduler=cosine", "~callbacks.tensorboard").code == 0
    result = json.loads((only_run(work) / "result.json").read_text())
    assert result["test"]["test/accuracy"] >= 0.975
