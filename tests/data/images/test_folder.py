"""Image folders: which files, which class, which split, and the cache."""

from __future__ import annotations

import os
import shutil
import threading
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import encoded, pixels, write_folder

from dltrain import registry
from dltrain.data.images import folder as image_folder
from dltrain.data.images import loading as image_files
from dltrain.data.images.listing import list_images
from dltrain.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder that is empty at first."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DLTRAIN_CACHE", str(folder))
    return folder


@pytest.fixture
def load(settings_of):
    def build(path, **changes):
        return registry.build("data", settings_of("data", "image_folder", path=str(path), **changes))

    return build


ALONE = {"validation_fraction": 0.0, "test_fraction": 0.0}


def test_a_folder_of_classes_is_split_by_class(tmp_path, load):
    data = load(write_folder(tmp_path / "images", {"dog": 20, "cat": 40}))
    assert data.task.class_names == ("cat", "dog")
    assert data.task.input.shape == (3, 6, 5) and data.task.kind == "multiclass" and data.task.output_size == 2
    assert {name: torch.bincount(source.targets).tolist() for name, source in data.splits.items()} == {
        "train": [32, 16],
        "validation": [4, 2],
        "test": [4, 2],
    }
    assert data.train.inputs.dtype == torch.uint8
    head = data.train.head(100).inputs
    assert head.dtype == torch.float32
    assert torch.allclose(head.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(head.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_images_stand_in_the_order_of_their_names(tmp_path, load):
    folder = write_folder(tmp_path / "images", {"b": 2, "a": 3})
    data = load(folder, **ALONE)
    files = sorted(folder.glob("*/*.png"))
    for image, target, file in zip(data.train.inputs, data.train.targets, files, strict=True):
        assert np.array_equal(image.numpy(), image_files.decode(file.read_bytes(), image_folder.Form(3, None, "pad")))
        assert data.task.class_names[target] == file.parent.name


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Training", "val", "testing")])
def test_splits_of_the_folder_are_kept(tmp_path, load, names):
    for seed, (name, count) in enumerate(zip(names, (4, 2, 3), strict=True)):
        write_folder(tmp_path / "images" / name, {"a": count, "b": count}, seed=1000 * seed)
    data = load(tmp_path / "images")
    assert {name: len(source) for name, source in data.splits.items()} == {"train": 8, "validation": 4, "test": 6}
    with pytest.raises(ConfigError, match="the folder has splits of its own"):
        load(tmp_path / "images", folds=3)


def test_what_the_folder_does_not_split_is_split_off_training(tmp_path, load):
    write_folder(tmp_path / "images" / "train", {"a": 20, "b": 20})
    write_folder(tmp_path / "images" / "test", {"a": 3, "b": 3}, seed=5000)
    data = load(tmp_path / "images", test_fraction=0.5)
    assert {name: len(source) for name, source in data.splits.items()} == {"train": 36, "validation": 4, "test": 6}


def test_folders_beside_the_splits_are_left_out_and_told(tmp_path, load):
    write_folder(tmp_path / "images" / "train", {"a": 20, "b": 20})
    write_folder(tmp_path / "images" / "test", {"a": 3, "b": 3}, seed=5000)
    write_folder(tmp_path / "images" / "drafts", {"c": 1})
    (tmp_path / "images" / "val").mkdir()
    data = load(tmp_path / "images")
    assert data.task.class_names == ("a", "b") and len(data.validation) == 4
    assert data.notes == (
        f"folders of {tmp_path / 'images'} beside test, train, val are left out: drafts",
        f"{tmp_path / 'images' / 'val'} has no class folders, so it is left out",
    )


def test_classes_named_train_and_bus_are_classes(tmp_path, load):
    assert load(write_folder(tmp_path / "images", {"train": 10, "bus": 10})).task.class_names == ("bus", "train")


def test_numbers_are_classes_in_their_order(tmp_path, load):
    data = load(write_folder(tmp_path / "images", {"10": 1, "9": 1, "1": 1}), **ALONE)
    assert data.task.class_names == ("1", "9", "10")


def test_folders_inside_a_class_belong_to_it_and_other_files_are_told(tmp_path, load):
    folder = write_folder(tmp_path / "images", {"a": 2, "b": 2})
    (folder / "a" / "more").mkdir()
    (folder / "a" / "more" / "x.JPG").write_bytes(encoded(pixels(7, 6, 5, 3), "JPEG"))
    (folder / "b" / "notes.txt").write_text("hello")
    (folder / "b" / ".DS_Store").write_text("hidden")
    (folder / ".hidden").mkdir()
    data = load(folder, **ALONE)
    assert torch.bincount(data.train.targets).tolist() == [3, 2]
    assert data.notes[0] == f"1 file of {folder} that is no image is left out: b/notes.txt"


def test_images_in_formats_that_are_not_read_are_told(tmp_path, load):
    folder = write_folder(tmp_path / "images", {"a": 2, "b": 2})
    (folder / "a" / "IMG_1.HEIC").write_bytes(b"x")
    (folder / "b" / "scan.tif").write_bytes(b"x")
    assert load(folder, **ALONE).notes[0] == (
        f"2 images of {folder} in a format that is not read (.heic, .tif) are left out: save as JPEG or PNG, the "
        "first: a/IMG_1.HEIC"
    )


def test_decomposed_class_folders_are_the_composed_ones(tmp_path, load):
    for split, form in (("train", "NFD"), ("test", "NFC")):
        write_folder(tmp_path / split, {unicodedata.normalize(form, name): 10 for name in ("강아지", "고양이")})
    data = load(tmp_path)
    assert data.task.class_names == ("강아지", "고양이") and len(data.test) == 20


def test_a_link_to_nowhere_is_a_bad_image(tmp_path, load):
    folder = write_folder(tmp_path / "images", {"a": 2, "b": 2})
    (folder / "a" / "x.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError) as caught:
        load(folder, **ALONE)
    assert str(caught.value) == (
        f"data.path={folder}: a/x.png is a link to nowhere. Mend or remove it, or leave such files out with "
        "data.bad_images=skip"
    )
    assert len(load(folder, bad_images="skip", **ALONE).train) == 4


def test_grey_images_stay_grey_until_one_has_colour(tmp_path, load):
    folder = write_folder(tmp_path / "images", {"a": 3, "b": 3}, size=(6, 5))
    assert load(folder, **ALONE).task.input.shape == (1, 6, 5)
    colour = pixels(9, 6, 5, 3)
    (folder / "b" / "01.png").write_bytes(encoded(colour))
    inputs = load(folder, **ALONE).train.inputs
    assert inputs.shape == (6, 3, 6, 5)
    assert torch.equal(inputs[4], torch.from_numpy(colour.transpose(2, 0, 1)))
    assert torch.equal(inputs[0, 0], inputs[0, 2]) and torch.equal(inputs[5, 0], inputs[5, 1])
    assert load(folder, channels=1, **ALONE).task.input.shape == (1, 6, 5)


def test_sizes(tmp_path, load):
    folder = write_folder(tmp_path / "images", {"a": 3, "b": 3})
    (folder / "b" / "02.png").write_bytes(encoded(pixels(9, 7, 5, 3)))
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value) == (
        "the images have different sizes (height x width): 6x5 (00.png), 7x5 (02.png). Give the one that all shall "
        "have, such as data.size=6 or 'data.size=[H, W]'"
    )
    assert load(folder, size=4, **ALONE).task.input.shape == (3, 4, 4)
    assert load(folder, size=[4, 3], resize="crop", **ALONE).task.input.shape == (3, 4, 3)


@pytest.mark.parametrize("large", [False, True])
def test_threads_change_nothing(tmp_path, load, monkeypatch, large):
    folder = write_folder(tmp_path / "images", {"a": 40, "b": 50})
    monkeypatch.setattr(image_files, "_LARGE_FILE", 0 if large else 2**30)
    monkeypatch.setattr(image_files, "_CHUNK", 4)
    inputs = load(folder, **ALONE).train.inputs
    files = sorted(folder.glob("*/*.png"))
    form = image_folder.Form(3, None, "stretch")
    assert np.array_equal(inputs.numpy(), np.stack([image_files.decode(file.read_bytes(), form) for file in files]))


# --- a CSV --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("labels.csv", "path,label\na/00.png,x\nb/00.png,y\n", {}),
        ("labels.csv", "\ufefffilename;Class\na/00.png;x\nb/00.png;y\n", {}),
        ("labels.tsv", "Image\tid\tlabel\na/00.png\t1\tx\n\nb/00.png\t2\ty\n", {}),
        ("한글.csv", "사진,답\na/00.png,x\nb/00.png,y\n", {"path_column": "사진", "label_column": "답"}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_a_csv_names_images_and_labels(tmp_path, load, name, text, changes, encoding):
    folder = write_folder(tmp_path / "images", {"a": 1, "b": 1})
    (folder / name).write_bytes(text.encode(encoding, "ignore"))
    data = load(folder, labels=name, **changes, **ALONE)
    assert data.task.class_names == ("x", "y") and data.train.targets.tolist() == [0, 1]
    assert torch.equal(load(folder / name, **changes, **ALONE).train.inputs, data.train.inputs)


def test_a_csv_from_windows_or_a_mac_finds_its_files(tmp_path, load):
    folder = write_folder(tmp_path / "images", {unicodedata.normalize("NFD", "개"): 1, "b": 1})
    (folder / "labels.csv").write_text("경로,라벨\n개\\00.png,x\nb\\00.png,y\n", encoding="cp949")
    assert load(folder, labels="labels.csv", **ALONE).train.targets.tolist() == [0, 1]


def test_an_image_with_two_rows_is_taken_once_and_with_two_labels_refused(tmp_path, load):
    folder = write_folder(tmp_path / "images", {"a": 1, "b": 1})
    labels = folder / "labels.csv"
    labels.write_text("path,label\na/00.png,x\nb/00.png,y\na/00.png,x\n")
    data = load(labels, **ALONE)
    assert len(data.train) == 2
    assert data.notes[0] == f"{labels}: 1 row names an image of an earlier row, and is left out"
    labels.write_text("path,label\na/00.png,x\nb/00.png,y\na/00.png,y\n")
    with pytest.raises(DataError, match=r"a/00\.png is 'x' in line 2 and 'y' in line 4\. Keep one of the two"):
        load(labels, **ALONE)


# --- the cache ----------------------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch):
    """The number of times that images were decoded, and how many."""
    calls: list[int] = []
    decode_all = image_folder.decode_all
    monkeypatch.setattr(
        image_folder, "decode_all", lambda paths, *a, **k: calls.append(len(paths)) or decode_all(paths, *a, **k)
    )
    return calls


def test_images_are_decoded_once(tmp_path, load, cache, decodings):
    folder = write_folder(tmp_path / "images", {"a": 5, "b": 5})
    first = load(folder)
    assert decodings == [10]
    again = load(folder)
    assert decodings == [10]
    for name, source in first.splits.items():
        assert torch.equal(source.inputs, again.splits[name].inputs)
        assert torch.equal(source.targets, again.splits[name].targets)
    assert first.preprocessing == again.preprocessing


def test_touched_or_copied_files_are_read_again_but_not_kept_twice(tmp_path, load, cache, decodings):
    folder = write_folder(tmp_path / "images", {"a": 5, "b": 5})
    first = load(folder)

    def kept() -> list[int]:
        return [path.stat().st_size for path in cache.rglob("*.safetensors") if path.stat().st_size > 600]

    assert len(kept()) == 1
    os.utime(folder / "a" / "00.png", ns=(1, 1))
    assert torch.equal(load(folder).train.inputs, first.train.inputs)
    copied = shutil.copytree(folder, tmp_path / "copied")
    assert torch.equal(load(copied).train.inputs, first.train.inputs)
    assert decodings == [10, 10, 10] and len(kept()) == 1


def test_a_changed_file_or_setting_is_seen(tmp_path, load, decodings):
    folder = write_folder(tmp_path / "images", {"a": 5, "b": 5})
    first = load(folder, **ALONE)
    (folder / "a" / "00.png").write_bytes(encoded(pixels(77, 6, 5, 3)))
    second = load(folder, **ALONE)
    assert not torch.equal(first.train.inputs[0], second.train.inputs[0])
    assert torch.equal(first.train.inputs[1:], second.train.inputs[1:])
    assert load(folder, size=3, **ALONE).task.input.shape == (3, 3, 3)
    assert decodings == [10, 10, 10]


def test_a_damaged_cache_is_made_again(tmp_path, load, cache, decodings):
    folder = write_folder(tmp_path / "images", {"a": 5, "b": 5})
    first = load(folder)
    for damage in (lambda content: content[:-100], lambda content: content[:-9] + b"x" + content[-8:], lambda _: b""):
        (path,) = (path for path in cache.rglob("*.safetensors") if path.stat().st_size > 600)
        path.write_bytes(damage(path.read_bytes()))
        assert torch.equal(load(folder).train.inputs, first.train.inputs)
    assert decodings == [10] * 4
    load(folder)
    assert decodings == [10] * 4


def test_bad_images_are_skipped_and_told_also_from_the_cache(tmp_path, load, decodings):
    folder = write_folder(tmp_path / "images", {"a": 5, "b": 5})
    (folder / "a" / "03.png").write_bytes(b"hello")
    (folder / "b" / "01.png").write_bytes(b"")
    note = (
        f"2 of 10 images are left out (data.bad_images=skip), the first: {folder / 'a' / '03.png'}: "
        "this is no JPEG, PNG, BMP, GIF or WebP image"
    )
    for _ in range(2):
        data = load(folder, bad_images="skip", **ALONE)
        assert torch.bincount(data.train.targets).tolist() == [4, 4]
        assert data.notes[0] == note
    assert decodings == [10]


@pytest.mark.parametrize("large", [False, True])
def test_a_bad_file_stops_all_threads(tmp_path, load, monkeypatch, large):
    folder = write_folder(tmp_path / "images", {"a": 40, "b": 50})
    (folder / "a" / "20.png").write_bytes(b"hello")
    (folder / "b" / "20.png").write_bytes(b"hello")
    monkeypatch.setattr(image_files, "_LARGE_FILE", 0 if large else 2**30)
    monkeypatch.setattr(image_files, "_CHUNK", 4)
    threads = threading.active_count()
    with pytest.raises(DataError, match=r"a/20\.png: this is no JPEG"):  # the first in order, whoever finds it first
        load(folder, **ALONE)
    assert threading.active_count() == threads


@given(st.data())
def test_mutated_lists_give_images_or_a_data_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "listed"
    if not folder.exists():
        write_folder(folder, {"a": 1, "b": 1})
    content = bytearray(b'path,label\na/00.png,x\n"b/00.png",y\n')
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    (folder / "labels.csv").write_bytes(bytes(content)[: data.draw(st.integers(0, len(content)))])
    try:
        listing = list_images(folder, "labels.csv", (None, None), data.draw(st.booleans()))
        listing.require_two_classes()
        assert len(listing.paths) == len(listing.labels) == 2
    except DataError as error:
        assert str(folder) in str(error)
