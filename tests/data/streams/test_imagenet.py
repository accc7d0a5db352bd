"""ImageNet's folders, small: the same layout with three classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from training import settings_of

from dltrain import catalog, files, registry
from dltrain.errors import DataError

CLASSES = ("n01440764", "n01443537", "n02102040")


@pytest.fixture
def folder(tmp_path):
    """Photographs of other sizes than 224x224, as there; four to train on and two to validate with, of each class."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for name in CLASSES:
            (tmp_path / "imagenet" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (50 + number, 70, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "imagenet" / part / name / f"{name}_{number}.JPEG")
    return tmp_path / "imagenet"


def build(**changes):
    return registry.build("data", settings_of("data", "imagenet", workers=0, **changes))


def test_the_folders_are_the_splits_and_the_classes(folder):
    data = build(path=str(folder), size=32)
    assert data.task.input.shape == (3, 32, 32) and data.task.class_names == CLASSES
    assert (len(data.train), len(data.validation), data.test) == (12, 6, None)
    batch = data.validation.head(6)
    assert batch.inputs.shape == (6, 3, 32, 32) and batch.inputs.isfinite().all()
    assert batch.targets.tolist() == [0, 0, 1, 1, 2, 2]


def test_it_is_found_in_the_folder_of_all_data(folder, monkeypatch):
    monkeypatch.setenv("DLTRAIN_DATA", str(folder.parent))
    assert torch.equal(build(size=32).train.head(3).targets, build(path=str(folder), size=32).train.head(3).targets)


def test_where_it_is_not_there_one_is_told_how_to_get_it(folder, monkeypatch):
    monkeypatch.setenv("DLTRAIN_DATA", str(folder / "train"))
    wanted = (
        "ImageNet may not be passed on: get it from https://image-net.org, put its pictures into train/<class>/ and "
        "val/<class>/ of one folder, and name that folder: data.path=FOLDER"
    )
    with pytest.raises(DataError) as error:
        build()
    places = f"{folder}/train/imagenet, /usr/share/datasets/imagenet"
    assert str(error.value) == f"data=imagenet: there are no folders train and val in {places}. {wanted}"
    with pytest.raises(DataError) as error:
        build(path="nowhere")
    assert str(error.value) == f"data.path=nowhere: there is no such folder. {wanted}"
    with pytest.raises(DataError) as error:
        build(path=str(folder / "train"))
    assert str(error.value) == f"data=imagenet: there are no folders train and val in {folder}/train. {wanted}"


def test_train_and_val_of_a_folder_of_another_name_are_not_taken_for_it(folder, monkeypatch):
    monkeypatch.setenv("DLTRAIN_DATA", str(folder.rename(folder.parent / "flowers")))
    assert files.find(catalog.find("imagenet")) is None
    with pytest.raises(DataError, match="no folders train and val"):
        build()


def test_the_list_of_data_sets_says_where_it_is(dltrain, folder, monkeypatch):
    line = next(line for line in dltrain("data", "list").out.splitlines() if line.startswith("imagenet "))
    assert line.endswith("  no: bring the folders")
    monkeypatch.setenv("DLTRAIN_DATA", str(folder))
    line = next(line for line in dltrain("data", "list").out.splitlines() if line.startswith("imagenet "))
    assert line.endswith(f"  yes: {folder}")
