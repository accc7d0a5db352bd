"""Images in tars and in files of their own, decoded as they are read."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shards import png, write_tar, write_tars

from dltrain import registry
from dltrain.errors import ConfigError, DataError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


def load(settings_of, folder, name="tar_shards", **changes):
    return registry.build("data", settings_of("data", name, **{"path": str(folder), "workers": 0, **changes}))


def numbers_of(images):
    """Returns the numbers of pictures that the stream gives as they are stored."""
    return (images[:, 0, 0, 0].long() * 256 + images[:, 1, 0, 0].long()).tolist()


def stored(source, seed=None, epoch=0, start=0):
    split = source.split(batch_size=7, seed=seed, device=CPU)
    batches = [batch for batch, _ in split.stored_batches(epoch, start)]
    return torch.cat([batch.inputs for batch in batches]), torch.cat([batch.targets for batch in batches])


def test_each_sample_is_its_image_with_its_label(settings_of, tmp_path):
    data = load(settings_of, write_tars(tmp_path / "data"), scaling="none", buffer=16)
    assert data.task.kind == "multiclass" and data.task.class_names == ("0", "1", "2")
    assert data.task.inputs.shape == (3, 8, 8)
    found = []
    for source in data.splits.values():
        images, labels = stored(source, seed=3)
        numbers = numbers_of(images)
        assert labels.tolist() == [number % 3 for number in numbers]
        found += numbers
    assert sorted(found) == list(range(120))
    assert data.notes == ("120 images in 2 tars",)


def test_any_batch_is_found_without_what_comes_before_it(settings_of, tmp_path):
    train = load(settings_of, write_tars(tmp_path / "data"), buffer=10).train
    whole, _ = stored(train, seed=1, epoch=4)
    assert torch.equal(stored(train, seed=1, epoch=4, start=5)[0], whole[35:])


@pytest.mark.parametrize("name", ["tar_shards", "image_list"])
def test_batches_are_the_same_with_0_and_2_workers_and_augmented_alike(settings_of, tmp_path, name):
    folder = write_tars(tmp_path / "data") if name == "tar_shards" else write_folder(tmp_path / "data")
    shown = []
    for workers in (0, 2):
        augmentation = settings_of("data", name).augmentation.__class__(2, True, 10.0, 2, 0.1, 0.1, 0.1, 0.0, 0.0)
        values = vars(augmentation)
        train = load(settings_of, folder, name, workers=workers, augmentation=values, buffer=20).train
        shown.append(list(train.split(batch_size=16, seed=5, device=CPU).batches(2)))
    for one, other in zip(*shown, strict=True):
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)
    assert shown[0][0].inputs.dtype == torch.float32


def test_images_are_normalised_by_the_training_images(settings_of, tmp_path):
    data = load(settings_of, write_tars(tmp_path / "data"))
    images = torch.cat([batch.inputs for batch in data.train.split(batch_size=50, seed=None, device=CPU).batches(0)])
    for channel in (1, 2):  # red is the same everywhere
        assert images[:, channel].mean().abs() < 1e-4
        assert images[:, channel].std(unbiased=False) == pytest.approx(1, abs=1e-4)
    assert torch.equal(data.train.head(3).inputs, images[:3])


def test_labels_may_stand_in_json_and_be_names(settings_of, tmp_path):
    members = []
    for number in range(40):
        label = {"label": ["고양이", "dog"][number % 2], "other": 1}
        members += [(f"a/{number}.PNG", png(number)), (f"a/{number}.json", json.dumps(label).encode())]
    write_tar(tmp_path / "data" / "t.tar", [("._a.png", b"x"), *members])
    data = load(settings_of, tmp_path / "data", target="json", target_key="label")
    assert data.task.class_names == ("dog", "고양이")
    data = load(settings_of, tmp_path / "data", target="json", target_key="label", classes=["고양이", "dog", "bird"])
    assert data.task.class_names == ("고양이", "dog", "bird")


def write_folder(folder):
    for number in range(60):
        path = folder / f"class{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return folder


def test_an_image_list_gives_each_file_once(settings_of, tmp_path):
    data = load(settings_of, write_folder(tmp_path / "data"), "image_list", scaling="none", buffer=7)
    assert data.task.class_names == ("class0", "class1", "class2")
    found = []
    for source in data.splits.values():
        images, labels = stored(source, seed=3)
        assert labels.tolist() == [number % 3 for number in numbers_of(images)]
        found += numbers_of(images)
    assert sorted(found) == list(range(60))


@pytest.mark.parametrize("name", ["tar_shards", "image_list"])
def test_one_number_is_height_and_width(settings_of, tmp_path, name):
    folder = write_tars(tmp_path / "data") if name == "tar_shards" else write_folder(tmp_path / "data")
    assert load(settings_of, folder, name, size=6).task.input.shape == (3, 6, 6)


def test_an_image_list_offers_no_setting_that_it_has_not(settings_of, tmp_path):
    folder = write_folder(tmp_path / "data")
    (folder / "class0" / "x.png").symlink_to(tmp_path / "nowhere.png")
    message = "data.path=DATA: class0/x.png is a link to nowhere. Mend or remove it"
    assert refused(settings_of, folder, "image_list") == message


@pytest.mark.parametrize("name", ["tar_shards", "image_list"])
def test_each_trains_for_two_epochs_by_the_command(dltrain, tmp_path, name):
    folder = write_tars(tmp_path / "data") if name == "tar_shards" else write_folder(tmp_path / "data")
    short = ("trainer.max_epochs=2", "device=cpu", "device.threads=1", "report=false", "~callbacks.tensorboard")
    answer = dltrain(f"data={name}", f"data.path={folder}", *short)
    assert answer.code == 0, answer.err
    assert "reached max_epochs=2" in answer.out


# --- what cannot be used ----------------------------------------------------------------------------------


def refused(settings_of, folder, name="tar_shards", **changes):
    with pytest.raises((DataError, ConfigError)) as caught:
        data = load(settings_of, folder, name, **changes)
        for source in data.splits.values():
            stored(source)
    return str(caught.value).replace(str(folder), "DATA")


def test_no_shards_and_foreign_files(settings_of, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    assert refused(settings_of, folder) == "data.path=DATA: no shard is there (*.tar): it is empty"
    (folder / "a.tar").write_bytes(b"")
    assert refused(settings_of, folder) == "DATA/a.tar: this is no tar, or it is damaged: empty file"
    (folder / "a.tar").write_bytes(b"not a tar at all" * 100)
    assert refused(settings_of, folder).startswith("DATA/a.tar: this is no tar, or it is damaged: ")
    (folder / "a.tar").write_bytes(gzip.compress(b"x" * 2000))
    assert refused(settings_of, folder) == (
        "DATA/a.tar: the tar is compressed (gzip), so that a sample in it cannot be read alone. Unpack the shard to a "
        "plain .tar; its images are compressed as they are"
    )
    write_tar(folder / "a.tar", [])
    assert refused(settings_of, folder) == "data.path=DATA: there is no sample in 1 tar"


@pytest.mark.parametrize("end", [5000, 512 * 9 + 40, 512 * 4, -10_240])
def test_a_tar_that_is_cut_off_anywhere_is_refused(settings_of, tmp_path, end):
    folder = write_tars(tmp_path / "data", shards=1)
    path = folder / "train-0.tar"
    path.write_bytes(path.read_bytes()[:end])
    message = refused(settings_of, folder)
    assert re.match(
        r"DATA/train-0\.tar: (this is no tar, or it is damaged: |the tar is cut off or damaged at byte )", message
    )


def test_a_tar_with_a_damaged_header_in_the_middle_is_refused(settings_of, tmp_path):
    folder = write_tars(tmp_path / "data", shards=1)
    path = folder / "train-0.tar"
    content = bytearray(path.read_bytes())
    content[512 * 8 + 150] ^= 255  # the checksum of a header
    place = next(at for at in range(0, len(content), 512) if content[at : at + 10] == b"000005.png")
    content[place + 150] ^= 255
    path.write_bytes(content)
    assert re.match(r"DATA/train-0\.tar: ", refused(settings_of, folder))


IN_ORDER = ". The members of a sample stand one after the other, as tar --sort=name writes them"


def members(count=30):
    return [
        (f"{number}.{ending}", content)
        for number in range(count)
        for ending, content in (("png", png(number)), ("cls", str(number % 2).encode()))
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({3: None}, "DATA/t.tar: sample '1' has no label: there is no member '1.cls' (data.target)" + IN_ORDER),
        (
            {2: None},
            "DATA/t.tar: sample '1' has no image, and needs one member that is an image (bmp, gif, jfif, jpe, jpeg, "
            "jpg, png, webp)" + IN_ORDER,
        ),
        ({3: ("1.cls", b"")}, "DATA/t.tar, member '1.cls': the label is empty"),
        ({3: ("1.cls", b"\xff\xfe")}, "DATA/t.tar, member '1.cls': the label is no text in UTF-8"),
        ({3: ("1.cls", b"9" * 5000)}, "DATA/t.tar, member '1.cls': the label is no label: it is too long"),
        (
            {3: ("1.cls", b"cat")},
            "DATA/t.tar: label 'cat' is no number, and others are, such as 0. Name them in data.classes",
        ),
        ({2: ("1.png", b"no image")}, "DATA/t.tar, member '1.png': this is no JPEG, PNG, BMP, GIF or WebP image"),
        (
            {2: ("1.png", png(1, size=9))},
            "DATA/t.tar, member '1.png': the image has 9x9 pixels, and others have 8x8. Give the size that all shall "
            "have, such as data.size=224 or 'data.size=[H, W]'",
        ),
        (
            {40: ("1.png", png(1)), 41: ("1.cls", b"0")},
            "DATA/t.tar: the members of sample '1' do not stand together" + IN_ORDER,
        ),
    ],
)
def test_samples_that_lack_something(settings_of, tmp_path, change, message):
    found = [change.get(place, member) for place, member in enumerate(members())]
    write_tar(tmp_path / "data" / "t.tar", [member for member in found if member is not None])
    assert refused(settings_of, tmp_path / "data") == message


def test_a_label_that_is_no_class(settings_of, tmp_path):
    folder = write_tars(tmp_path / "data")
    assert refused(settings_of, folder, classes=["ant", "bee"]) == (
        "DATA/train-0.tar: label '2' is none of the 2 classes. There is: ant, bee."
    )
    write_tar(tmp_path / "other" / "v.tar", [("1.png", png(1)), ("1.cls", b"7")])
    message = refused(settings_of, folder, validation_path=str(tmp_path / "other"))
    assert message.endswith("v.tar: label '7' is none of the 3 classes. There is: 0, 1, 2.")
    write_tar(tmp_path / "one" / "t.tar", [("1.png", png(1)), ("1.cls", b"7")])
    assert refused(settings_of, tmp_path / "one") == (
        "data.path=DATA: all images are of class '7', so there is nothing to tell apart"
    )


def test_links_in_a_tar_are_refused(settings_of, tmp_path):
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "t.tar", "w") as tar:
        link = tarfile.TarInfo("1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link, io.BytesIO())
    assert refused(settings_of, tmp_path / "data") == (
        "DATA/t.tar: member '1.png' is a link or a device, and samples are plain files"
    )


def test_json_without_the_key(settings_of, tmp_path):
    write_tar(tmp_path / "data" / "t.tar", [("1.png", png(1)), ("1.json", b'{"a": 1}')])
    assert refused(settings_of, tmp_path / "data", target="json", target_key="label") == (
        "DATA/t.tar, member '1.json': there is no 'label' in it (data.target_key)"
    )


def test_mixing_needs_all_images(settings_of, tmp_path):
    augmentation = {**vars(settings_of("data", "tar_shards").augmentation), "mixup": 0.2}
    assert refused(settings_of, write_tars(tmp_path / "data"), augmentation=augmentation) == (
        "data.augmentation: mixup and cutmix take partners among all images, which a stream has not"
    )


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=100)
def test_damaged_bytes_are_a_message_or_do_no_harm(settings_of, tmp_path_factory, changes):
    folder = tmp_path_factory.getbasetemp() / "fuzzed-tar"
    if not folder.exists():
        write_tars(folder, shards=1, samples=20)
        (folder / "train-0.tar").rename(folder / "whole")
    content = bytearray((folder / "whole").read_bytes())
    for share, value in changes:
        content[int(share * len(content))] = value
    (folder / "train-0.tar").write_bytes(content)
    try:
        data = load(settings_of, folder)
        for source in data.splits.values():
            images, _ = stored(source)
            assert images.dtype == torch.uint8
    except DataError as error:
        assert re.search(r"train-0\.tar|data\.path=", str(error))


def test_a_folder_of_compressed_shards_says_to_unpack_them(settings_of, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.tar.gz").write_bytes(gzip.compress(b"x"))
    assert refused(settings_of, tmp_path / "data") == (
        "data.path=DATA: no shard is there (*.tar): it holds a.tar.gz. Compressed shards are not read: unpack them"
    )
