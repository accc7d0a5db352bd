"""The README's code makes of raw samples what the data sets make of them, from preprocessing.json alone."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded, pixels
from PIL import Image, ImageOps
from shards import write_parquet
from training import settings_of

from dltrain import registry
from dltrain.data.images.decoding import Form, decode
from dltrain.export import pieces
from dltrain.export.inputs import described_inputs
from dltrain.export.raw import raw_sample
from dltrain.export.torch_program import specs_of

ROWS = [
    ("age", "kind", "member", "price", "sold"),
    ("41.5", "집", "yes", "3.25", "yes"),
    ("30", "땅", "no", "1.5", "no"),
    ("", "배", "yes", "2.75", "no"),
    ("55.25", "", "", "9", "yes"),
    ("18", "집", "NO", "4", "no"),
]


def function(name: str, *texts: str):
    """Returns a function that pieces of code define."""
    space = {"np": np, "unicodedata": unicodedata, "Image": Image, "ImageOps": ImageOps, "json": json}
    for text in texts:
        exec(text, space)
    return space[name]


def loaded(name: str, **changes):
    """Returns a data set, and how its inputs are made: as JSON keeps it, with the shapes."""
    settings = settings_of("data", name, **changes)
    data = registry.build("data", settings)
    made = described_inputs(data.task, json.loads(json.dumps(data.preprocessing)), settings)
    for group, spec in specs_of(data.task).items():
        made[group] = json.loads(json.dumps(made[group])) | {"name": group, "shape": ["batch", *spec.shape]}
    return data, made


def whole(source):
    return source.head(len(source)).inputs


# --- tables -----------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([ROWS[0], *ROWS[1:] * 12])
    return path


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none"])
@pytest.mark.parametrize("categories", ["one_hot", "embedding"])
def test_rows_of_a_table(table, categories, scaling):
    data, made = loaded(
        "csv", path=str(table), target="sold", categories=categories, scaling=scaling, empty="median",
        validation_fraction=0.0, test_fraction=0.0,
    )  # fmt: skip
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    array = function("rows_to_array", pieces.TABLE)(rows, made["inputs"])
    assert array.dtype == np.float32
    assert np.array_equal(array, whole(data.train).numpy())


def test_rows_of_a_table_with_decimal_commas(tmp_path):
    """As spreadsheets write them in half of Europe."""
    path = tmp_path / "table.csv"
    lines = [";".join(cell.replace(".", ",") for cell in row) for row in (ROWS[0], *ROWS[1:] * 12)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    data, made = loaded(
        "csv", path=str(path), target="sold", empty="median", validation_fraction=0.0, test_fraction=0.0
    )
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert made["inputs"]["decimal"] == "," and rows[0]["price"] == "3,25"
    array = function("rows_to_array", pieces.TABLE)(rows, made["inputs"])
    assert np.array_equal(array, whole(data.train).numpy())


def test_rows_of_a_table_for_several_inputs(table):
    inputs = {"left": ["age", "kind"], "right": ["kind", "member", "price"]}
    data, made = loaded(
        "csv", path=str(table), target="sold", categories="embedding", inputs=inputs, empty="median",
        validation_fraction=0.0, test_fraction=0.0,
    )  # fmt: skip
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    convert = function("rows_to_array", pieces.TABLE)
    for name, tensor in whole(data.train).items():
        assert np.array_equal(convert(rows, made[name]), tensor.numpy())


def test_words_that_are_not_known_and_cells_that_are_refused(table):
    _, made = loaded("csv", path=str(table), target="sold", columns={"age": "skip"})
    convert = function("rows_to_array", pieces.TABLE)
    known = {"kind": "집", "member": "yes", "price": 3}
    place = next(feature["position"] for feature in made["inputs"]["features"] if feature["column"] == "kind")
    assert convert([known], made["inputs"])[0, place] == 1
    assert not convert([{**known, "kind": "성"}], made["inputs"])[0, place : place + 3].any()
    for feature in made["inputs"]["features"]:
        feature["fill"] = None
    with pytest.raises(ValueError, match="price is empty"):
        convert([{**known, "price": None}], made["inputs"])
    with pytest.raises(KeyError):
        convert([{**known, "member": "maybe"}], made["inputs"])


@pytest.mark.parametrize("categories", ["one_hot", "embedding"])
def test_rows_of_streamed_tables(tmp_path, categories):
    from pyarrow import parquet

    write_parquet(tmp_path / "shards", shards=1, rows=100)
    data, made = loaded(
        "parquet_shards", path=str(tmp_path / "shards"), target="y", columns=["x0", "x1", "city"],
        categories=categories, workers=0, validation_fraction=0.0, test_fraction=0.0,
    )  # fmt: skip
    rows = parquet.read_table(tmp_path / "shards" / "part-000.parquet").to_pylist()
    array = function("rows_to_array", pieces.TABLE)(rows, made["inputs"])
    assert np.array_equal(np.sort(array, axis=0), np.sort(whole(data.train).numpy(), axis=0))


def test_numbers_with_names():
    data, made = loaded("iris", validation_fraction=0.0, test_fraction=0.0)
    sample = raw_sample([made["inputs"]], data.train.inputs, [])
    row = json.loads(sample.files["example.json"])
    assert row == {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
    array = function("rows_to_array", pieces.TABLE_OF_NUMBERS)([row], made["inputs"])
    np.testing.assert_allclose(array[0], data.train.inputs[0], atol=1e-6)
    assert np.array_equal(array, function("rows_to_array", pieces.TABLE)([row], made["inputs"]))


def test_numbers_in_a_shape():
    data, made = loaded("digits", scaling="standard", validation_fraction=0.0, test_fraction=0.0)
    numbers = json.loads(raw_sample([made["inputs"]], data.train.inputs, []).files["example.json"])
    assert np.array(numbers).shape == (1, 8, 8) and numbers[0][0][2] == 5
    array = function("numbers_to_array", pieces.NUMBERS)([numbers], made["inputs"])
    np.testing.assert_allclose(array, data.train.inputs[:1], atol=1e-5)


def test_without_a_batch_the_sample_is_a_usual_one(table, reviews):
    _, made = loaded("csv", path=str(table), target="sold", empty="mean", validation_fraction=0.0, test_fraction=0.0)
    row = json.loads(raw_sample([made["inputs"]], None, []).files["example.json"])
    assert row == {"age": pytest.approx(36.1875, abs=1e-3), "kind": "집", "member": 1, "price": pytest.approx(4.1)}
    _, made = loaded("digits")
    assert np.array(json.loads(raw_sample([made["inputs"]], None, []).files["example.json"])).shape == (1, 8, 8)
    _, made = loaded("text_csv", path=str(reviews), text="text", target="label", validation_fraction=0.0)
    assert raw_sample([made["inputs"]], None, []).text == "정말 별로 였다"


# --- images -----------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pictures() -> dict[str, bytes]:
    colour = Image.fromarray(pixels(0, 40, 60, 3))
    smooth = Image.fromarray(np.add.outer(np.arange(90), np.arange(130)).astype(np.uint8))
    lying = Image.Exif()
    lying[0x0112] = 6
    clear = Image.fromarray(pixels(1, 20, 20, 4))
    return {
        "right size": encoded(pixels(2, 12, 10, 3)),
        "other size": saved(colour, "PNG"),
        "grey": saved(colour.convert("L"), "PNG"),
        "large jpeg": saved(smooth, "JPEG"),
        "lying jpeg": saved(smooth, "JPEG", exif=lying),
        "transparent": saved(clear, "PNG"),
        "palette": saved(colour.quantize(16), "PNG"),
        "16 bits": saved(Image.fromarray(pixels(3, 30, 20).astype(np.uint16) * 200), "PNG"),
    }


@pytest.mark.parametrize("name", pictures())
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images(tmp_path, name, resize, channels):
    (tmp_path / "image").write_bytes(pictures()[name])
    shift, scale = [100.0, 110.0, 120.0][:channels], [50.0, 60.0, 70.0][:channels]
    made = {"width": 10, "height": 12, "channels": channels, "resize": resize, "shift": shift, "scale": scale}
    array = function("image_to_array", pieces.IMAGE)(tmp_path / "image", made)
    expected = decode(pictures()[name], Form(channels, (12, 10), resize)).astype(np.float64)
    expected = (expected - np.array(shift)[:, None, None]) / np.array(scale)[:, None, None]
    assert array.shape == (1, channels, 12, 10) and array.dtype == np.float32
    np.testing.assert_allclose(array[0], expected, atol=1e-5)


def test_the_picture_of_an_image_gives_it_again(tmp_path):
    for number in range(60):
        path = tmp_path / "images" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels(number, 9, 8, 3)))
    data, made = loaded("image_folder", path=str(tmp_path / "images"), validation_fraction=0.0, test_fraction=0.0)
    inputs = whole(data.train)
    (tmp_path / "one.png").write_bytes(raw_sample([made["inputs"]], inputs, []).files["example.png"])
    array = function("image_to_array", pieces.IMAGE)(tmp_path / "one.png", made["inputs"])
    np.testing.assert_allclose(array, inputs[:1], atol=1e-5)


# --- series -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("differences", [False, True])
def test_windows_of_a_series(tmp_path, differences):
    values = np.random.default_rng(0).normal(20, 5, (60, 2)).round(3)
    lines = [f"{day // 28 + 1:02d}-{day % 28 + 1:02d},{a},{b}" for day, (a, b) in enumerate(values)]
    path = tmp_path / "series.csv"
    path.write_text("date,a,b\n" + "\n".join(f"2020-{line}" for line in lines), encoding="utf-8")
    data, made = loaded(
        "series_csv", path=str(path), columns=["a", "b"], target=["b"], window=7, horizon=2, differences=differences,
        validation_fraction=0.0, test_fraction=0.0,
    )  # fmt: skip
    inputs = whole(data.train)
    convert = function("window_to_array", pieces.SERIES)
    for place in (0, 5):
        rows = values[place : place + 7 + differences]
        np.testing.assert_allclose(convert(rows, made["inputs"])[0], inputs[place], atol=1e-6)
    example = json.loads(raw_sample([made["inputs"]], inputs, ["b"]).files["example.json"])
    np.testing.assert_allclose(convert(example["rows"], made["inputs"])[0], inputs[0], atol=1e-5)
    if differences:
        assert example["last"] == [pytest.approx(values[7, 1] - values[0, 1], abs=1e-4)]


# --- texts ------------------------------------------------------------------------------------------------

TEXTS = ["영화가 정말 재미있다", "별로  였다", "", "정말 정말 좋은 영화", "낯선 café 말"]


@pytest.fixture
def reviews(tmp_path) -> Path:
    path = tmp_path / "reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(text, number % 2) for number, text in enumerate(TEXTS[:4] * 10)]
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def numbers_of(tokens: str):
    from tokenizers import Tokenizer

    texts = [pieces.TOKENS.replace("@TOKENS@", pieces.CUTS[tokens]), pieces.PADDED, pieces.BAG]
    space = {"np": np, "unicodedata": unicodedata, "Tokenizer": Tokenizer}
    for text in texts:
        exec(text, space)
    return space


@pytest.mark.parametrize("form", ["sequence", "multi_hot", "counts"])
@pytest.mark.parametrize("tokens", ["word", "syllable", "jamo", "bpe"])
def test_texts_of_classes(reviews, tokens, form, tmp_path):
    size = {"vocabulary_size": 30} if tokens == "bpe" else {}
    data, made = loaded(
        "text_csv", path=str(reviews), text="text", target="label", tokens=tokens, form=form, max_length=6,
        validation_fraction=0.0, test_fraction=0.0, **size,
    )  # fmt: skip
    made = made["inputs"]
    if tokens == "bpe":
        (tmp_path / "tokenizer.json").write_text(made["tokenizer"], encoding="utf-8")
        made["tokenizer"] = str(tmp_path / "tokenizer.json")
    space = numbers_of(tokens)
    for place, text in enumerate(TEXTS[:4]):
        numbers = space["numbers_of"](text, made)
        expected = data.train.take(torch.tensor([place])).head(1).inputs
        array = space["padded" if form == "sequence" else "bag"](numbers, made)
        assert np.array_equal(array, expected.numpy()), text
    assert space["numbers_of"](unicodedata.normalize("NFD", TEXTS[0]), made) == space["numbers_of"](TEXTS[0], made)
    assert made["unknown"] in space["numbers_of"]("낯선", made)


def test_texts_to_go_on_with_are_padded_as_in_training(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("경마장에 있는 말이 뛰고 있다\n그의 말이 법이다\n", encoding="utf-8")
    _, made = loaded("korean_text", path=str(path))
    space = numbers_of("word")
    numbers = space["numbers_of"]("경마장에 있는 말이", made["inputs"])
    assert space["padded"](numbers, made["inputs"]).tolist() == [[0, *numbers]]
    long = " ".join(["말이"] * 9)
    assert space["padded"](space["numbers_of"](long, made["inputs"]), made["inputs"]).shape == (1, 4)
    with pytest.raises(ValueError, match="the model knows only "):
        space["numbers_of"]("소가", made["inputs"])


def test_an_example_is_a_text_whose_tokens_are_all_known(reviews):
    data, made = loaded(
        "text_csv", path=str(reviews), text="text", target="label", min_count=11, validation_fraction=0.0,
        test_fraction=0.0,
    )  # fmt: skip
    batch = data.train.head(40).inputs
    assert raw_sample([made["inputs"]], batch, []).text == "정말"
