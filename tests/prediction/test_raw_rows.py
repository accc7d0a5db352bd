"""A split's rows as they stand in its files, predicted: each gets what it gets as a sample of the split."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest

import dltrain as package
from dltrain import registry, saved
from dltrain.data.bundled import scikit_learn_file
from dltrain.data.splitting import split_indices
from dltrain.run_folder import RunFolder


def data_of(run):
    """Returns the settings of a run's data, and the data."""
    folder = RunFolder(run)
    settings = saved.load_config(saved.saved_config(folder), folder).data
    return settings, registry.build("data", settings)


def check(rows, expected, name="prediction"):
    """The same classes, and the same numbers but for what the size of a batch changes in the last digit."""
    assert len(rows) == len(expected)
    assert not any(row.get("error") for row in rows)
    for column in [column for column in expected[0] if column.startswith(name)]:
        own, other = ([row[column] for row in some] for some in (rows, expected))
        try:
            assert [float(cell) for cell in own] == pytest.approx([float(cell) for cell in other], rel=1e-5, abs=1e-6)
        except ValueError:
            assert own == other


def test_flowers_as_scikit_learn_has_them(run_of, predict, work):
    run = run_of("iris")
    header, *rows = csv.reader(scikit_learn_file("iris.csv").read_text().splitlines())
    settings, _ = data_of(run)
    test = split_indices(150, settings, np.array([int(row[4]) for row in rows]))[2]
    names = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)", "species"]
    lines = [",".join(names), *(",".join([*rows[place][:4], header[2 + int(rows[place][4])]]) for place in test)]
    (work / "flowers.csv").write_text("\n".join(lines) + "\n")
    expected = predict(run, "--split", "test")
    own = predict(run, "flowers.csv", "--keep", "species")
    check(own, expected)
    accuracy = np.mean([row["prediction"] == row["species"] for row in own])
    assert accuracy == pytest.approx(package.load(run).evaluate("test")["accuracy"])


@pytest.mark.parametrize("name", ["iris", "one_species", "knn", "wine", "diabetes", "digits", "line", "gate"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_numbers_in_their_own_units(name, ending, run_of, predict, work):
    """What the split holds is scaled back, and written as a table of a person's own would be."""
    import pandas as pd

    from dltrain.prediction.choosing import Takes
    from dltrain.prediction.model import load

    run, folder = run_of(name), RunFolder(run_of(name))
    split = "validation" if name in ("gate", "line") else "test"
    takes = Takes(load(folder, saved.load_config(saved.saved_config(folder), folder), "best"))
    features = list(takes.preprocessing.features.values())
    _, data = data_of(run)
    scaled = data.splits[split].inputs.reshape(len(data.splits[split]), -1).double().numpy()
    values = scaled * [feature.scale for feature in features] + [feature.shift for feature in features]
    frame = pd.DataFrame(values.round(9), columns=[feature.name for feature in features])
    path = work / f"rows{ending}"
    frame.to_csv(path, index=False) if ending == ".csv" else frame.to_parquet(path)
    check(predict(run, path), predict(run, "--split", split))


@pytest.mark.parametrize("name", ["korean", "wide_deep", "two_targets"])
def test_a_korean_table(name, run_of, new_files, predict, work):
    run = run_of(name)
    if name == "korean":
        expected = predict(run, "--split", "test")
        rows = predict(run, new_files / "사람_시험.csv", "--keep", "등급")
        check(rows, expected)
        accuracy = np.mean([row["prediction"] == row["등급"] for row in rows])
        assert accuracy == pytest.approx(package.load(run).evaluate("test")["accuracy"])
    source = new_files / ("사람_시험.csv" if name == "korean" else "사람.csv")
    every = predict(run, source)
    # In another order of columns, without the target, with another delimiter and encoding: the same.
    table = list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))
    columns = [
        name for name in reversed(table[0]) if name not in ("등급", "소득") or (name == "소득" and target_is_grade(run))
    ]
    lines = [";".join(columns), *(";".join(row[name] for name in columns) for row in table)]
    (work / "다른.csv").write_bytes("\r\n".join(lines).encode("cp949"))
    check(predict(run, "다른.csv"), every, "등급: prediction" if name == "two_targets" else "prediction")
    with gzip.open(work / "packed.tsv.gz", "wt", encoding="utf-16") as file:
        file.write("\n".join(line.replace(";", "\t") for line in lines))
    check(predict(run, "packed.tsv.gz"), every, "등급: prediction" if name == "two_targets" else "prediction")


def target_is_grade(run):
    return "소득" in {feature["name"] for feature in RunFolder(run).read_task()["preprocessing"]["table"]["features"]}


def test_a_table_without_a_header(run_of, new_files, predict, dltrain, work):
    run = run_of("no_header")
    expected = predict(run, "--split", "test")
    lines = (new_files / "plain.csv").read_text().splitlines()
    settings, _ = data_of(run)
    codes = {word: code for code, word in enumerate(dict.fromkeys(line.split(",")[2] for line in lines))}
    test = split_indices(len(lines), settings, np.array([codes[line.split(",")[2]] for line in lines]))[2]
    (work / "rows.csv").write_text("\n".join(lines[place] for place in test) + "\n")
    check(predict(run, "rows.csv"), expected)
    (work / "rows.csv").write_text("\n".join(lines[place].rpartition(",")[0] for place in test) + "\n")
    check(predict(run, "rows.csv"), expected)
    (work / "rows.csv").write_text("\n".join(lines[place].partition(",")[0] for place in test) + "\n")
    answer = dltrain("predict", run, "rows.csv")
    assert answer.code == 3
    assert answer.err == (
        "error: rows.csv: there is no column 'column_2'. Did you mean 'column_1'? The columns are: column_1. It was "
        "trained without a header, so columns go by their place, the target's among them\n"
    )


@pytest.mark.parametrize("name", ["reviews", "bag"])
def test_texts(name, run_of, new_files, predict, work):
    run, source = run_of(name), new_files / "평_시험.csv"
    expected = predict(run, "--split", "test")
    rows = predict(run, source, "--keep", "label")
    check(rows, expected)
    accuracy = np.mean([row["prediction"] == row["label"] for row in rows])
    assert accuracy == pytest.approx(package.load(run).evaluate("test")["accuracy"])
    texts = [line.partition(",")[0] for line in source.read_text(encoding="utf-8").splitlines()[1:]]
    (work / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    check(predict(run, "texts.txt"), expected)


def test_the_beginnings_of_lines(run_of, predict, work):
    """Of a window the tokens before it in its line are a prompt."""
    from dltrain.data.text.tokens import TextCodec

    run = run_of("three_lines")
    _, data = data_of(run)
    codec = TextCodec.from_dict(data.preprocessing)
    prompts = [" ".join(codec.vocabulary.decode(row)) for row in data.validation.inputs.tolist()]
    (work / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    check(predict(run, "prompts.txt"), predict(run, "--split", "validation"))


@pytest.mark.parametrize("name", ["images", "image_list"])
def test_a_folder_of_images(name, run_of, new_files, predict):
    run = run_of(name)
    expected, rows = predict(run, "--split", "test"), predict(run, new_files / "images" / "test")
    check(rows, expected)
    accuracy = np.mean([row["prediction"] == row["file"].partition("/")[0] for row in rows])
    assert accuracy == pytest.approx(package.load(run).evaluate("test")["accuracy"])


def test_a_tar(run_of, new_files, predict):
    run = run_of("tars")
    (tar,) = (new_files / "new_tars").iterdir()
    rows = predict(run, tar)
    check(rows, predict(run, "--split", "test"))
    assert rows[0]["file"].endswith(".png")


@pytest.mark.parametrize("name", ["shards", "embedded_shards"])
def test_shards(name, run_of, new_files, predict, work):
    import pandas as pd

    run = run_of(name)
    (shard,) = (new_files / "new_shards").iterdir()
    expected = predict(run, "--split", "test")
    check(predict(run, shard), expected)
    pd.read_parquet(shard).to_csv(work / "rows.csv", index=False)
    check(predict(run, "rows.csv"), expected)


@pytest.mark.parametrize("name", ["series", "changes", "rises"])
def test_the_windows_of_a_series(name, run_of, new_files, predict, work):
    """The rows of the test part alone: the windows that end in it before what is predicted are those of the split."""
    run = run_of(name)
    expected = predict(run, "--split", "test")
    header, *lines = (new_files / "series.csv").read_text(encoding="utf-8").splitlines()
    settings, _ = data_of(run)
    part = lines[len(lines) - round(len(lines) * settings.test_fraction) :]
    (work / "part.csv").write_text("\n".join([header, *part]) + "\n", encoding="utf-8")
    rows = predict(run, "part.csv", "--keep", "전력")
    assert len(rows) == len(part)
    first = settings.window + settings.differences - 1
    assert not any(row["error"] for row in rows)
    names = [column for column in expected[0] if column.startswith("prediction")]
    assert not any(row[names[0]] for row in rows[:first])
    windows = rows[first : first + len(expected)]
    if name == "changes":  # the split has changes, which count from the window's last row
        for row, other in zip(windows, expected, strict=True):
            assert float(row["prediction"]) == pytest.approx(float(row["전력"]) + float(other["prediction"]), rel=1e-6)
        later = [float(row["전력"]) for row in rows[first + 1 :]]
        mae = np.mean([abs(float(row["prediction"]) - value) for row, value in zip(windows, later, strict=True)])
        assert mae == pytest.approx(package.load(run).evaluate("test")["mae"], rel=1e-5)
    else:
        check(windows, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist"])
def test_ten_thousand_digits(name, tmp_path, dltrain, predict):
    import realdata
    from PIL import Image

    from dltrain.data.images.idx import read_images, read_labels

    root = realdata.need("mnist")
    arguments = [f"data={name}", f"data.root={root}", "model=mlp", "model.hidden=[16]", "trainer.max_epochs=1"]
    assert dltrain(*arguments, "run_dir=run", "report=false", "~callbacks.tensorboard").code == 0
    images = read_images(root / "t10k-images-idx3-ubyte.gz")
    labels = read_labels(root / "t10k-labels-idx1-ubyte.gz", len(images), 10)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:05d}.png")
    rows = predict("run", tmp_path, "--no-probabilities")
    images_only = [row for row in rows if row["file"].endswith(".png")]
    accuracy = np.mean([row["prediction"] == str(label) for row, label in zip(images_only, labels, strict=True)])
    assert accuracy == package.load("run").evaluate("test")["accuracy"]
