"""A run in Python: loaded, looked at, asked."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import predicting
import pytest
import torch

import dltrain
from dltrain import cli
from dltrain.errors import CheckpointError, ConfigError, DataError


@pytest.fixture(scope="module")
def new_files(tmp_path_factory):
    return predicting.write_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def load(tmp_path_factory, new_files):
    """Returns a function that loads a run of ``predicting.RUNS``."""
    folder = tmp_path_factory.mktemp("runs")

    def loaded(name, **options):
        if not (folder / name).exists():
            predicting.train(name, new_files, folder / name)
        return dltrain.load(folder / name, **options)

    return loaded


def test_what_a_run_knows_of_itself(load):
    run = load("iris")
    assert repr(run) == f"Run({str(run.path)!r})" and isinstance(run.path, Path)
    assert run.config["data"]["name"] == "iris" and run.config["trainer"]["max_epochs"] == 2
    assert run.task.class_names == ("setosa", "versicolor", "virginica")
    assert run.result["epochs"] == 2 and run.result["test"]["test/accuracy"] >= 0
    assert list(run.history["epoch"]) == [1, 2] and {"train/loss", "val/loss", "lr"} <= set(run.history)
    assert not run.model.training and run.model is run.model
    assert sum(parameter.numel() for parameter in run.model.parameters()) > 100


def test_a_run_is_found_by_its_name_or_as_the_last(load, work, monkeypatch):
    import shutil

    shutil.copytree(load("iris").path, work / "runs" / "2026-01-01" / "iris-abcd")
    for name in ("last", "iris", "abcd", Path("runs/2026-01-01/iris-abcd")):
        assert dltrain.load(name).path == Path("runs/2026-01-01/iris-abcd")
    with pytest.raises(ConfigError, match=r"no run is named 'irsi'\. There is: iris-abcd"):
        dltrain.load("irsi")


def test_figures_are_those_of_the_training(load):
    run = load("iris")
    expected = {name.removeprefix("test/"): value for name, value in run.result["test"].items()}
    assert run.evaluate() == pytest.approx(expected) == run.evaluate("test")
    assert run.evaluate("train").keys() == expected.keys()
    with pytest.raises(ConfigError, match=r"split = 'tests': this data has none\. There is: train, validation, test"):
        run.evaluate("tests")


# --- tables -----------------------------------------------------------------------------------------------


def test_a_frame_an_array_a_tensor_and_a_list_say_the_same(load):
    run = load("iris")
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 2.5, 5.0, 1.9], [6.0, 3.0, 4.0, 1.2]])
    frame = pd.DataFrame(rows, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"])
    expected = run.predict(frame)
    assert expected.dtype == object and expected.shape == (3,) and set(expected) <= set(run.task.class_names)
    mixed = frame[["petal_width", "sepal_width", "petal_length", "sepal_length"]].assign(species="?")
    records = frame.to_dict("records")
    for x in (rows, rows.astype(np.float32), torch.tensor(rows), rows.tolist(), mixed, records):
        assert run.predict(x).tolist() == expected.tolist()
    assert run.predict(frame, batch_size=1).tolist() == expected.tolist()
    whole = run.predict(frame, probabilities=True)
    assert list(whole) == ["prediction", "probability", *(f"probability: {name}" for name in run.task.class_names)]
    assert whole["prediction"].tolist() == expected.tolist()
    with torch.inference_mode():
        kept = run._takes.preprocessing.features.values()
        scaled = (rows - [feature.shift for feature in kept]) / [feature.scale for feature in kept]
        outputs = run.model(torch.tensor(scaled, dtype=torch.float32))
    assert [run.task.class_names[place] for place in outputs.argmax(dim=1)] == expected.tolist()


def test_a_path_is_read_as_the_command_line_reads_it(load, new_files, capsys):
    run = load("korean")
    path = new_files / "사람_시험.csv"
    of_path, of_frame = run.predict(path), run.predict(pd.read_csv(path))
    assert of_path.tolist() == of_frame.tolist() == run.predict(str(path)).tolist()
    capsys.readouterr()
    assert cli.run(["predict", str(run.path), str(path)]) == 0
    assert [row["prediction"] for row in predicting.rows_of(capsys.readouterr().out)] == of_path.tolist()


def test_rows_with_words_may_be_lists(load, new_files):
    run = load("korean")
    frame = pd.read_csv(new_files / "사람_시험.csv")[list(run._takes.preprocessing.features)]
    rows = frame.dropna()
    assert run.predict(rows.values.tolist()).tolist() == run.predict(rows).tolist()


def test_a_size_of_batches_that_is_none(load):
    for size in (0, 1.5, "4", True, np.int64(-1)):
        with pytest.raises(ConfigError, match=r"batch_size = .*: must be a whole number, at least 1"):
            load("iris").predict([[5.1, 3.5, 1.4, 0.2]], batch_size=size)
    assert len(load("iris").predict([[5.1, 3.5, 1.4, 0.2]], batch_size=np.int64(1))) == 1


def test_values_and_several_targets(load, new_files):
    frame = pd.read_csv(new_files / "사람.csv")
    values = load("strict_cells").predict(frame.dropna())
    assert values.dtype == np.float64 and values.shape == (len(frame.dropna()),)
    both = load("two_targets").predict(frame)
    assert isinstance(both, pd.DataFrame) and len(both) == len(frame)
    assert both["소득: prediction"].dtype == np.float64 and set(both["등급: prediction"]) <= {"상", "중", "하"}
    assert load("line").predict(np.array([0.5, -1.0])).shape == (2,)


def test_bad_rows_are_an_error_unless_they_are_to_be_passed_over(load, capsys):
    run = load("iris")
    frame = pd.DataFrame([[5.1, 3.5, 1.4, "x"], [6.3, 2.5, 5.0, 1.9]], columns=run.config["data"]["measures"])
    with pytest.raises(DataError, match="row 1 of the frame: column 'petal_width' holds 'x', which is no number"):
        run.predict(frame)
    found = run.predict(frame, strict=False)
    assert found[0] is None and found[1] in run.task.class_names
    assert capsys.readouterr().err == (
        "warning: row 1 of the frame: column 'petal_width' holds 'x', which is no number\n"
    )
    whole = run.predict(frame, probabilities=True, strict=False)
    assert whole["error"][0] == "column 'petal_width' holds 'x', which is no number" and pd.isna(whole["error"][1])
    assert "error" not in run.predict(frame[1:], probabilities=True, strict=False)
    assert run.predict(frame[:1], strict=False).tolist() == [None]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (np.zeros((2, 3)), DataError, "the model takes rows of 4 columns (sepal_length, sepal_width, petal_length"),
        (np.zeros(4), DataError, "an array (N, 4). The array has the shape (4,)"),
        (
            pd.DataFrame({"a": [1]}),
            DataError,
            "the frame: there is no column 'sepal_length' (and 3 more that the model",
        ),
        (
            ["a text"],
            ConfigError,
            "this run takes a DataFrame, an array (N, D) or the path of a table, and was given: a",
        ),
        (7, ConfigError, "this run takes a DataFrame, an array (N, D) or the path of a table, and was given: int"),
        ([["a", 1.0]], DataError, "the model takes rows of 4 columns"),
        (np.array(0.5), ConfigError, "or the path of a table, and was given: a single value"),
        ([[1, 2], [3]], DataError, "the items of the list have different lengths"),
        ("nothing.csv", DataError, "nothing.csv: there is no such file in"),
    ],
)
def test_what_no_table_is_made_of(x, kind, message, load):
    with pytest.raises(kind) as error:
        load("iris").predict(x)
    assert message in str(error.value)


def test_no_rows_have_no_predictions(load):
    run = load("iris")
    empty = pd.DataFrame(columns=run.config["data"]["measures"], dtype=float)
    assert run.predict(empty).shape == (0,) and len(run.predict(empty, probabilities=True)) == 0
    for name in ("iris", "images", "reviews", "series", "digits"):
        assert len(load(name).predict([])) == 0
    columns = load("series")._takes.series.needed
    assert len(load("series").predict(pd.DataFrame(columns=columns, dtype=float))) == 0


def test_predictions_stand_at_the_places_of_a_frames_rows(load):
    run = load("iris")
    frame = pd.DataFrame([[5.1, 3.5, 1.4, 0.2], [6.3, 2.5, 5.0, 1.9]], columns=run.config["data"]["measures"])
    found = run.predict(frame, probabilities=True)
    frame.index = [7, 3]
    assert run.predict(frame, probabilities=True).index.tolist() == [7, 3]
    assert run.predict(frame[::-1], probabilities=True).loc[7].tolist() == found.loc[0].tolist()


# --- images and texts -------------------------------------------------------------------------------------


def test_images_in_memory_and_by_their_paths(load, new_files):
    from PIL import Image

    run = load("images")
    folder = new_files / "images" / "test"
    paths = sorted(folder.rglob("*.png"))
    expected = run.predict(folder)
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    for x in (paths, [str(path) for path in paths], pixels, pixels.transpose(0, 3, 1, 2), torch.from_numpy(pixels)):
        assert run.predict(x).tolist() == expected.tolist()
    assert run.predict(paths, probabilities=True)["file"].tolist() == [str(path) for path in paths]
    with pytest.raises(DataError, match=r"of a single image give a list: run\.predict\(\[image\]\)"):
        run.predict(Image.fromarray(pixels[0]))
    with pytest.raises(DataError, match=r"Of a single image write array\[None\]"):
        run.predict(pixels[0])
    with pytest.raises(DataError, match="the images are float64, where bytes from 0 to 255 are needed"):
        run.predict(pixels / 255)
    with pytest.raises(
        ConfigError, match="takes an array of images, a list of Pillow's or of their paths, or the path of a"
    ):
        run.predict(pd.DataFrame({"file": ["a.png"]}))


def test_images_of_pillow_are_read_as_their_files_are(load, new_files, tmp_path):
    """With a palette, turned by the camera, and with what is transparent; in bits, in four inks and as float32."""
    from PIL import Image

    run = load("images")
    path = sorted((new_files / "images" / "test").rglob("*.png"))[0]
    plain = Image.open(path).convert("RGB").resize((40, 30))
    plain.putpixel((0, 0), (255, 0, 0))
    turned = Image.Exif()
    turned[0x0112] = 6
    files = [tmp_path / name for name in ("a.gif", "b.png", "c.png", "d.png", "e.jpg", "f.png")]
    plain.convert("P").save(files[0])
    plain.save(files[1], exif=turned)
    clear = plain.convert("RGBA")
    clear.putalpha(100)
    clear.save(files[2])
    plain.convert("1").save(files[3])
    plain.convert("CMYK").save(files[4])
    plain.convert("LA").save(files[5])
    expected = run.predict(files, probabilities=True).drop(columns="file")
    with contextlib.ExitStack() as opened:
        images = [opened.enter_context(Image.open(file)) for file in files]
        found = run.predict(images, probabilities=True)
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True))
    assert len(run.predict([plain.convert("F")])) == 1


def test_a_run_stays_where_it_was_when_the_program_goes_elsewhere(load, work, monkeypatch):
    import shutil

    shutil.copytree(load("iris").path, work / "runs" / "a")
    (work / "elsewhere").mkdir()
    run = dltrain.load("runs/a")
    monkeypatch.chdir(work / "elsewhere")
    assert len(run.history) and run.predict(np.zeros((2, 4))).shape == (2,)
    gone = dltrain.load(work / "runs" / "a")
    shutil.rmtree(work / "runs" / "a")
    for look in (lambda: gone.history, lambda: gone.predict(np.zeros((2, 4)))):
        with pytest.raises(CheckpointError, match="runs/a: the folder is not there any more"):
            look()


def test_a_model_that_its_caller_trains_predicts_in_evaluation_mode(load):
    run = load("iris")
    expected = run.predict(np.ones((3, 4)), probabilities=True)
    run.model.train()
    last = list(run.model.modules())[-1].eval()  # as a layer that is frozen
    pd.testing.assert_frame_equal(run.predict(np.ones((3, 4)), probabilities=True), expected)
    assert run.model.training and not last.training
    run.model.eval()


def test_defaults_of_the_caller_change_nothing_and_stay(load):
    run = dltrain.load(load("iris").path)
    expected = load("iris").predict(np.ones((3, 4)), probabilities=True)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode():
            found = run.predict(np.ones((3, 4)), probabilities=True)
        assert torch.get_default_dtype() == torch.float64 and torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    pd.testing.assert_frame_equal(found, expected)
    with torch.device("meta"):
        pd.testing.assert_frame_equal(run.predict(np.ones((3, 4)), probabilities=True), expected)
    assert torch.get_default_device().type == "cpu"


def test_predicting_leaves_the_random_numbers_to_a_training_in_another_thread(load, monkeypatch):
    from dltrain import seed

    run = load("iris")
    run.predict(np.ones((3, 4)))
    monkeypatch.setattr(seed, "restore_generators", lambda states: pytest.fail("they were put back"))
    run.predict(np.ones((3, 4)))


def test_digits_as_scikit_learn_gives_them(load):
    from sklearn.datasets import load_digits

    run, digits = load("digits"), load_digits()
    expected = run.predict(digits.data)
    assert run.predict(digits.images).tolist() == expected.tolist()
    assert run.predict(digits.images[:, None]).tolist() == expected.tolist()
    figures = [run.evaluate(split) for split in ("train", "validation", "test")]
    sizes = [run._folder.read_task()["samples"][split] for split in ("train", "validation", "test")]
    hits = sum(round(own["accuracy"] * size) for own, size in zip(figures, sizes, strict=True))
    assert (expected == digits.target.astype(str)).sum() == hits


def test_texts(load, new_files):
    run = load("reviews")
    frame = pd.read_csv(new_files / "평_시험.csv")
    expected = run.predict(new_files / "평_시험.csv")
    texts = frame["text"].tolist()
    for x in (
        texts,
        tuple(texts),
        frame,
        frame[["text"]].rename(columns={"text": "후기"}),
        frame["text"],
        np.array(texts),
    ):
        assert run.predict(x).tolist() == expected.tolist()
    with pytest.raises(DataError, match=r"'영화' is no file. Of texts give a list: run.predict\(\['영화'\]\)"):
        run.predict("영화")
    with pytest.raises(DataError, match="row 2 of the list: it is no text but int"):
        run.predict(["가", 7])
    assert run.predict([]).shape == (0,)
    answers = load("pairs").predict(["질문1 왜1 가"])
    assert answers.shape == (1,) and isinstance(answers[0], str)


# --- the process around it --------------------------------------------------------------------------------


def test_random_numbers_threads_and_logging_are_as_before(load, capsys):
    import logging

    run = load("iris")
    torch.manual_seed(3)
    expected, threads, level = torch.rand(1), torch.get_num_threads(), logging.getLogger("dltrain").level
    torch.manual_seed(3)
    run.predict(np.zeros((1, 4)))
    run.evaluate("validation")
    assert torch.equal(torch.rand(1), expected)
    assert (torch.get_num_threads(), logging.getLogger("dltrain").level) == (threads, level)
    assert capsys.readouterr().out == ""


def test_a_run_that_is_still_being_trained_can_be_looked_at(load, tmp_path):
    import shutil

    folder = shutil.copytree(load("iris").path, tmp_path / "young")
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoints")
    run = dltrain.load(folder)
    assert run.result == {} and len(run.history) == 2
    with pytest.raises(CheckpointError):
        _ = run.model


def test_the_device_and_the_checkpoint_can_be_chosen(load):
    assert next(load("iris", device="cpu").model.parameters()).device.type == "cpu"
    assert load("iris", checkpoint="last").predict(np.zeros((1, 4))).shape == (1,)
    with pytest.raises(ConfigError, match="device = 'gpu': must be auto, cpu or cuda"):
        load("iris", device="gpu")


def test_importing_and_loading_takes_nothing_heavy():
    code = """
        import sys, dltrain
        heavy = {"torch", "hydra", "numpy", "pandas", "pyarrow"} & set(sys.modules)
        sys.exit(f"imported: {heavy}" if heavy else 0)
    """
    import textwrap

    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
