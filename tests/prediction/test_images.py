"""New images: folders, files, lists and arrays, of whatever size, colour and quality."""

from __future__ import annotations

import csv

import numpy as np
import predicting
import pytest

from dltrain.data.images.decoding import Form
from dltrain.errors import DataError
from dltrain.prediction.image_files import ArraySource, as_images, image_source, paths_source
from dltrain.prediction.inputs_image import ImageInputs, by_channel, by_pixel


def save(path, pixels, **options):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)


def seen(source, form=None, scaling=None, **options):
    """Returns what the model gets of images, and the inputs and rows that it came of."""
    inputs = ImageInputs(source, form or Form(1, (12, 12), "stretch"), scaling or by_channel([0.0], [1.0]), **options)
    (rows,) = inputs.rows([], 100)
    found = dict(zip(*map(list, ([], [])), strict=True))
    for places, batch in inputs.batches(rows, 2):
        found.update(zip(places.tolist(), batch, strict=True))
    return found, rows, inputs


def test_a_folder_is_walked_in_the_order_of_its_names(tmp_path, pixels):
    for name in ("b/2.png", "b/10.jpg", "a/한글.PNG", "top.gif", ".hidden/x.png", "b/.y.png"):
        save(tmp_path / name, pixels)
    (tmp_path / "b" / "notes.txt").write_text("x")
    (tmp_path / "old.tiff").write_text("x")
    source = image_source(tmp_path)
    (rows,) = source.rows([])
    assert rows.cells["file"] == ["a/한글.PNG", "b/10.jpg", "b/2.png", "top.gif"]
    assert source.notes == [
        f"left out of {tmp_path}, for they are no images that are read: b/notes.txt, old.tiff",
    ]


def test_images_are_brought_to_the_grey_and_the_size_of_the_training(tmp_path, pixels):
    from PIL import Image

    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    large = Image.fromarray(grey).resize((36, 24), Image.Resampling.NEAREST)
    large.save(tmp_path / "large.png")
    paths = [save(tmp_path / "colour.png", pixels), save(tmp_path / "grey.png", grey), tmp_path / "large.png"]
    found, rows, inputs = seen(paths_source(paths))
    assert found[0].shape == (1, 12, 12) and np.array_equal(found[0][0].numpy(), grey)
    assert np.array_equal(found[1], found[0])
    expected = large.resize((12, 12), Image.Resampling.BILINEAR)
    assert np.array_equal(found[2][0].numpy(), np.asarray(expected)) and not rows.problems
    assert list(inputs.notes()) == [
        "images of another size, such as 24x36 (height x width), were brought to 12x12 (stretch)"
    ]


def test_bad_files_have_a_reason_each(tmp_path, pixels):
    good = save(tmp_path / "good.png", pixels)
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:200])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    names = ["cut.png", "good.png", "text.png", "missing.png", "empty.png"]
    found, rows, inputs = seen(paths_source([tmp_path / name for name in names]))
    assert list(found) == [1]
    assert rows.problems == {
        0: "the image is cut off",
        2: "this is no JPEG, PNG, BMP, GIF or WebP image",
        3: "there is no such file",
        4: "the file is empty",
    }
    assert inputs.name_of(rows, 2) == str(tmp_path / "text.png")


def test_ink_on_paper_is_told_and_turned(tmp_path, caplog):
    paper = save(tmp_path / "a.png", np.full((12, 12), 230, np.uint8))
    found, _, _ = seen(paths_source([paper]), mean=33.0)
    assert found[0].mean() == 230
    assert "the images have a mean of 230 of 255, and those of the training one of 33" in caplog.text
    caplog.clear()
    found, _, _ = seen(paths_source([paper]), mean=33.0, invert=True)
    assert found[0].mean() == 25 and not caplog.text
    seen(paths_source([save(tmp_path / "b.png", np.full((12, 12), 60, np.uint8))]), mean=33.0)
    assert not caplog.text


def test_large_files_are_decoded_in_threads_in_their_order(tmp_path):
    generator = np.random.default_rng(1)
    images = [generator.integers(0, 256, (150, 150), np.uint8) for _ in range(5)]
    paths = [save(tmp_path / f"{number}.png", image) for number, image in enumerate(images)]
    found, _, _ = seen(paths_source(paths), Form(1, (150, 150), "stretch"))
    assert all(np.array_equal(found[number][0], image) for number, image in enumerate(images))


def test_a_pixel_of_its_own_scaling():
    images = np.arange(0, 256, 4, dtype=np.uint8).reshape(1, 1, 8, 8)
    found = by_pixel([1.0] * 64, [2.0] * 64, 16.0)(images)
    assert found.shape == (1, 1, 8, 8)
    assert found.flatten().tolist() == pytest.approx(
        ((images.flatten().astype(float) * 16 / 255 - 1) / 2).tolist(), abs=1e-6
    )


# --- lists and tars ---------------------------------------------------------------------------------------


def test_a_list_of_paths_with_columns_to_keep(run_of, new_files, predict, work):
    test = new_files / "images" / "test"
    paths = sorted(test.rglob("*.png"))
    with (work / "list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["id", "경로", "label"], *([n, path, path.parent.name] for n, path in enumerate(paths))]
        )
    rows = predict(run_of("images"), "list.csv", "--keep", "id", "--keep", "file")
    whole = predict(run_of("images"), test)
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in whole]
    assert [row["id"] for row in rows] == [str(number) for number in range(len(paths))]
    assert [row["file"] for row in rows] == [str(path) for path in paths]


def test_paths_from_standard_input(run_of, new_files, predict, work, monkeypatch):
    import io

    paths = sorted((new_files / "images" / "test").rglob("*.png"))
    text = "\n".join([str(paths[0]), "nothing.png", str(paths[1]), ""])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    rows = predict(run_of("images"), "-")
    assert [bool(row["prediction"]) for row in rows] == [True, False, True]
    assert rows[1]["error"] == "there is no such file" and rows[1]["file"] == "nothing.png"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "there is no image in this folder (.bmp, .gif, .jfif, .jpe, .jpeg, .jpg, .png, .webp): it is empty"),
        (
            "texts",
            "there is no image in this folder (.bmp, .gif, .jfif, .jpe, .jpeg, .jpg, .png, .webp): it holds a.txt",
        ),
        ("imges", "there is no such file or folder in {work}. Did you mean 'images.csv'?"),
        ("images.csv", "no column is called as one with the paths of images is: path, file, filename, file_name"),
        ("none.tar", "there is no image in the tar"),
        ("broken.tar", "the tar is damaged or cannot be read"),
    ],
)
def test_what_holds_no_images(name, message, work):
    import tarfile

    (work / "empty").mkdir()
    (work / "texts").mkdir()
    (work / "texts" / "a.txt").write_text("x")
    (work / "images.csv").write_text("id,label\n1,2\n")
    tarfile.open(work / "none.tar", "w").close()
    (work / "broken.tar").write_bytes(b"x" * 1000)
    with pytest.raises(DataError) as error:
        for _ in image_source(work / name).rows([]):
            pass
    assert str(error.value).startswith(f"{work / name}: {message.format(work=work)}")


# --- arrays -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 9, 9), (4, 1, 9, 9), (4, 9, 9, 1), (4, 3, 9, 9), (4, 9, 9, 3), (4, 3, 9, 3)])
def test_arrays_of_images_in_every_layout(shape, pixels):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    channels = 3 if 3 in shape else 1
    found = as_images(array, channels)
    assert found.dtype == np.uint8 and found.shape[1] == channels and found.flags.c_contiguous
    if shape == (4, 9, 9, 3):
        assert np.array_equal(found[0], array[0].transpose(2, 0, 1))
    if shape == (4, 3, 9, 3):
        assert np.array_equal(found, array)
    assert np.array_equal(as_images(array.astype(np.float32), channels), found)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 9), np.uint8), "the array has the shape (9, 9). Of a single image write array[None]"),
        (np.zeros((9, 9, 3), np.uint8), "the array has the shape (9, 9, 3). Of a single image write array[None]"),
        (np.zeros((9, 9, 1), np.uint8), "the array has the shape (9, 9, 1). Of a single image write array[None]"),
        (np.zeros((2, 64), np.uint8), "has the shape (2, 64). Of flat images write array.reshape(-1, 8, 8)"),
        (np.zeros((2, 63), np.uint8), "has the shape (2, 63). Of a single image write array[None]"),
        (
            np.zeros((2, 9, 9, 4), np.uint8),
            "the images have neither 1 nor 3 channels: the array has the shape (2, 9, 9, 4)",
        ),
        (np.full((2, 9, 9), 0.5), "the images are float64, where bytes from 0 to 255 are needed"),
        (np.ones((2, 9, 9)), "the images are float64, where bytes from 0 to 255 are needed"),
        (np.ones((2, 9, 9), np.uint8), "are needed, and none is above 1: give (array * 255).astype('uint8')"),
        (np.full((2, 9, 9), -3), "the images are int64, where bytes from 0 to 255 are needed: they go from -3 to -3"),
        (np.full((2, 9, 9), np.nan), "are needed, and some values are no numbers (NaN) or infinite"),
        (np.full((2, 9, 9), 7.5), "are needed, and some are no whole numbers: give array.round().astype('uint8')"),
    ],
)
def test_arrays_that_are_no_images(array, message):
    with pytest.raises(DataError) as error:
        as_images(array, 1)
    assert message in str(error.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_black_images_are_images(dtype):
    assert not as_images(np.zeros((2, 9, 9), dtype), 1).any()


def test_arrays_are_resized_as_files_are(tmp_path, pixels):
    path = save(tmp_path / "a.png", pixels)
    of_file, _, _ = seen(paths_source([path]), Form(1, (8, 8), "stretch"))
    of_array, _, _ = seen(ArraySource(as_images(pixels[None], 1)), Form(1, (8, 8), "stretch"))
    assert np.array_equal(of_file[0], of_array[0])


def test_a_picture_among_the_digits_of_scikit_learn(run_of, dltrain, tmp_path):
    save(tmp_path / "0.png", np.full((8, 8), 128, np.uint8))
    answer = dltrain("predict", run_of("digits"), tmp_path / "0.png")
    assert answer.code == 0, answer.err
    assert predicting.rows_of(answer.out)[0]["prediction"] in "0123456789"
    for name, content in (("list.csv", "file\n0.png\n"), ("list.txt", "0.png\n")):
        (tmp_path / name).write_text(content)
        (row,) = predicting.rows_of(dltrain("predict", run_of("digits"), tmp_path / name).out)
        assert row["file"].endswith("0.png") and row["prediction"] in "0123456789"
