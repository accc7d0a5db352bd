"""The report of a run: which parts it has, and that they say what the run's own files say."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
from families import write_files
from reading_pages import Page
from training import result_of, rows_of, train

from dltrain import evaluation
from dltrain.report import loading, run
from dltrain.report.run import after_training
from dltrain.report.subject import Looking, quickly
from dltrain.run_folder import RunFolder

ALWAYS = ["How the training went", "Model", "How to repeat it", "Config", "Environment"]
QUICK = ("checkpoint",)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("files"))
    pairs = [f"{'가나다라마'[i % 5]}{'바사아'[i % 3]} {i % 7},{'네' if i % 2 else '아니요'}" for i in range(40)]
    (folder / "pairs.csv").write_text("source,target\n" + "\n".join(pairs) + "\n", encoding="utf-8")
    reviews = [f"{'정말 좋은' if i % 2 else '아주 나쁜'} 영화 {i % 5},{'긍정' if i % 2 else '부정'}" for i in range(60)]
    (folder / "reviews.csv").write_text("text,label\n" + "\n".join(reviews) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def warnings():
    """The warnings of the log, of which a report that is whole has none."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    logging.getLogger("dltrain").addHandler(handler)
    yield found
    logging.getLogger("dltrain").removeHandler(handler)


def after(folder, *overrides, callbacks=QUICK) -> Page:
    """Returns the report that a training leaves."""
    outcome = train(folder, *overrides, callbacks=callbacks)
    after_training(outcome)
    return Page.of(folder / "report.html")


def again(folder, **looking) -> Page:
    """Returns the report that is written of a finished run, beside the one that it has."""
    subject = loading.load(RunFolder(folder), Looking(**looking), None, None)
    return Page.of(run.write(subject, folder / "again.html"))


# --- which parts ------------------------------------------------------------------------------------------


IMAGES = ["Evaluation", "Worst errors", "Some samples"]
PLAIN = ["Evaluation", "Worst errors"]
KINDS = {
    "classes of images": (["data=digits", "model=lenet5", "trainer.batch_size=256"], IMAGES),
    "classes of a table": (["data=iris"], PLAIN),
    "two inputs": (["data=iris", "data.measures=[petal_length, petal_width]"], ["Decision regions", *PLAIN]),
    "yes or no of two": (["data=gate", "model=mlp", "model.hidden=[2]"], ["Decision regions", *PLAIN]),
    "one input": (["data=sine", "data.points=60"], ["What it says of each input", *PLAIN]),
    "a language": (["data=korean_text", "model=rnn"], ["What it writes", *PLAIN]),
    "pairs": (
        ["data=pairs_csv", "data.path={files}/pairs.csv", "model=seq2seq", "model.hidden=8"],
        ["What it answers", *PLAIN],
    ),
    "classes of texts": (["data=text_csv", "data.path={files}/reviews.csv", "model=text_cnn"], PLAIN),
    "series": (
        ["data=airline_passengers", "data.root={series}", "model=lstm", "model.hidden=4"],
        ["Predicted and true over time", *PLAIN],
    ),
    "several targets": (["data=csv", "data.path={files}/table.csv", "data.target=[price, sold]"], PLAIN),
    "fitted at once": (["data=iris", "model=knn"], PLAIN),
    "by a rule": (["data=iris", "data.species=setosa", "model=perceptron"], PLAIN),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_has_the_parts_that_apply_to_its_run(kind, files, tmp_path, warnings):
    overrides, expected = KINDS[kind]
    series = tmp_path / "series"
    series.mkdir()
    months = [f"{1949 + n // 12}-{n % 12 + 1:02d},{100 + n + 10 * (n % 12)}" for n in range(144)]
    (series / "airline_passengers.csv").write_text("Month,Passengers\n" + "\n".join(months) + "\n")
    overrides = [override.format(files=files, series=series) for override in overrides]
    page = after(tmp_path / "run", *overrides, "trainer.max_epochs=2")
    assert warnings == []
    assert set(page.parts) == {"", *ALWAYS, *expected}
    assert all(set(part.plots) <= set(page.figures) for part in page.parts.values())
    drawn = "" if page.parts["Model"].text.count("fitted to all") else "svg"
    assert drawn in {*page.parts["Model"].tags, ""}
    written = again(tmp_path / "run")
    assert warnings == []
    assert set(written.parts) == set(page.parts)
    assert "interval" in written.parts["Evaluation"].text and "interval" not in page.parts["Evaluation"].text


# --- what they say ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "run"
    callbacks = ("checkpoint", "histograms")
    outcome = train(folder, "data=digits", "model=mlp", "trainer.max_epochs=3", "optimizer=adam", callbacks=callbacks)
    after_training(outcome)
    return folder


def test_the_summary_is_that_of_the_result(digits):
    page, result = Page.of(digits / "report.html"), result_of(digits)
    assert page.title == "mlp on digits"
    facts = page.parts[""].facts
    assert facts["data"] == "digits: 10 classes from 1x8x8 (multiclass)"
    assert facts["samples"] == "1,258 training, 180 validation, 359 test samples"
    assert facts["model"] == "mlp: 50,826 parameters"
    assert facts["best val/loss"] == f"{result['best']['value']:.4f} in epoch {result['best']['epoch']}"
    assert facts["test/accuracy"] == f"{result['test']['test/accuracy']:.4f}"
    assert facts["status"] == "done: reached max_epochs=3"
    assert facts["trained for"] == "3 epochs, 120 steps, 3,774 samples"


def test_the_curves_are_those_of_the_metrics(digits):
    page, rows = Page.of(digits / "report.html"), rows_of(digits)
    assert page.parts["How the training went"].plots[0] == "loss"
    for split, name in (("train", "training"), ("val", "validation")):
        trace = page.traces("loss")[name]
        assert trace["x"] == [1, 2, 3]
        assert trace["y"] == pytest.approx([row[f"{split}/loss"] for row in rows], rel=1e-5)
    best = page.traces("loss")["best"]
    assert best["x"] == [result_of(digits)["best"]["epoch"]]
    titles = {name: own["layout"]["yaxis"]["title"]["text"] for name, own in page.figures.items()}
    assert {"accuracy", "top5", "precision", "recall", "f1", "learning rate"} <= set(titles.values())
    assert page.figures["loss"]["layout"]["xaxis"]["title"]["text"] == "epoch"
    assert page.figures["loss"]["layout"]["updatemenus"]
    (rate,) = page.figures["learning-rate"]["data"]
    assert rate["y"] == [row["lr"] for row in rows]


def test_the_norms_of_the_gradients_come_from_tensorboard(digits):
    page = Page.of(digits / "report.html")
    norms = page.traces("gradients")
    assert {"all together", "layers.1.weight"} <= set(norms)
    assert norms["all together"]["x"] == [1, 2, 3]
    assert all(norms["all together"]["y"][n] >= norms["layers.1.weight"]["y"][n] > 0 for n in range(3))


def test_the_evaluation_is_that_of_dltrain_evaluate(digits):
    subject = loading.load(RunFolder(digits), Looking(resamples=50), None, None)
    expected = evaluation.of(subject.parts, "test", resamples=50)
    page = again(digits, resamples=50)
    facts = {row[0]: row[1:] for row in page.parts["Evaluation"].tables[0]}
    assert facts["metric"] == ["value", "95% interval"]
    for name, value in expected["figures"].items():
        assert facts[name][0] == f"{value:.4f}"
    low, high = expected["intervals"]["accuracy"]
    assert facts["accuracy"][1] == f"{low:.4f} to {high:.4f}"
    counts = expected["confusion"]["rows_true_columns_predicted"]
    right, wrong = page.figures["evaluation-confusion"]["data"]
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            own, other = (right, wrong) if i == j else (wrong, right)
            assert own["customdata"][i][j] == [count, f"{count / sum(row):.1%}"]
            assert other["z"][i][j] is None
    assert "359 samples of test, checkpoint best-step-" in page.parts["Evaluation"].text


def test_the_worst_errors_have_their_images_and_what_is_said_of_them(digits):
    page = again(digits, worst=7)
    part = page.parts["Worst errors"]
    assert len(part.images) == 7
    assert all(image["src"].startswith("data:image/png;base64,") for image in part.images)
    assert all(", predicted " in image["alt"] and "true " in image["alt"] for image in part.images)
    assert "Of 359 samples of test" in part.text
    assert "Worst errors" not in again(digits, worst=0).parts


def test_right_and_wrong_images_stand_apart(digits):
    part = Page.of(digits / "report.html").parts["Some samples"]
    assert part.headings[0] == "Right"
    right = [
        image for image in part.images if len(set(image["alt"].partition(": true ")[2].split(", predicted "))) == 1
    ]
    assert right == part.images[: len(right)] and right


def test_the_layers_add_up_to_the_model(digits):
    (table,) = [t for t in Page.of(digits / "report.html").parts["Model"].tables if t[0][0] == "layer"]
    assert table[0] == ["layer", "kind", "output", "parameters"]
    assert sum(int(row[3].replace(",", "")) for row in table[1:]) == 50_826
    (table,) = [t for t in again(digits).parts["Model"].tables if t[0][0] == "layer"]
    assert table[0][-1] == "FLOPs" and table[2][-1] == "32,768"


def test_what_repeats_a_run_has_the_folders_and_the_file_of_its_command(digits, tmp_path):
    shutil.copytree(digits, tmp_path / "run")
    path = tmp_path / "run" / "environment.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    known["command"] = ["dltrain", "--config-dir", "my configs", "--config=full.yaml", "imports=[my]", "--config-dir=b"]
    path.write_text(json.dumps(known), encoding="utf-8")
    text = again(tmp_path / "run").parts["How to repeat it"].text
    folders = "--config-dir 'my configs' --config-dir=b"
    assert f"dltrain rerun {tmp_path / 'run'} {folders}\n" in text
    assert f"dltrain {folders} --config {tmp_path / 'run' / 'config.yaml'}\n" in text
    assert f"dltrain {folders} --config=full.yaml data=digits model=mlp" in text


def test_it_says_how_to_repeat_the_run(digits):
    page = Page.of(digits / "report.html")
    text = page.parts["How to repeat it"].text
    assert f"dltrain rerun {digits}\n" in text
    assert f"dltrain --config {digits / 'config.yaml'}\n" in text
    assert "dltrain data=digits model=mlp trainer.max_epochs=3 optimizer=adam" in text
    task = json.loads((digits / "task.json").read_text(encoding="utf-8"))
    facts = page.parts["How to repeat it"].facts
    assert facts["seed"] == "0" and facts["data"] == f"fingerprint {task['fingerprint']}"
    assert facts["PyTorch"] == torch.__version__
    assert page.parts["Config"].text.strip() == (digits / "config.yaml").read_text(encoding="utf-8").strip()
    assert page.parts["Environment"].facts["packages"].startswith(f"torch {torch.__version__}, ")


def test_a_large_split_is_looked_at_in_part_and_the_page_says_so(digits):
    page = again(digits, most=100, split="train")
    assert "of the 1,258 samples of train" in page.parts["Evaluation"].text
    assert f"dltrain report {digits} looks at all." in page.parts["Evaluation"].text
    assert "of the 1,258 samples of train" in page.parts["Worst errors"].text


def test_at_the_end_of_a_training_a_tenth_of_what_was_trained_is_looked_at():
    assert [quickly(trained).most for trained in (100, 20_000, 10**9)] == [1_000, 2_000, 10_000]


# --- what fails does not take the rest along --------------------------------------------------------------


def test_a_part_that_fails_is_said_and_the_others_are_there(digits, monkeypatch, warnings):
    def broken(subject):
        raise RuntimeError("<kaputt>")

    monkeypatch.setitem(run._PARTS, "Evaluation", broken)
    page = again(digits)
    assert page.parts["Evaluation"].text.strip() == "This part could not be made: RuntimeError: <kaputt>"
    assert page.parts["Worst errors"].images
    assert warnings == ["the report lacks 'Evaluation': RuntimeError: <kaputt>"]


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_a_report_that_cannot_be_written_is_a_warning_after_a_training(tmp_path, monkeypatch, warnings, error):
    def broken(*arguments, **options):
        raise error

    outcome = train(tmp_path / "run", "trainer.max_epochs=1")
    monkeypatch.setattr(run.page, "write", broken)
    after_training(outcome)
    why = "disk" if str(error) else "Ctrl-C"
    assert warnings == [f"no report was written: {why}. Write it with: dltrain report {tmp_path / 'run'}"]
    assert not (tmp_path / "run" / "report.html").exists()
