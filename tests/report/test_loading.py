"""Reports of runs of which something is missing, damaged or hostile."""

from __future__ import annotations

import json
import shutil

import pytest
from reading_pages import Page
from training import configure, train

from dltrain.errors import CheckpointError, ConfigError, DataError, DivergedError
from dltrain.report import loading, run
from dltrain.report.run import after_training
from dltrain.report.subject import Looking
from dltrain.run_folder import RunFolder

INJECTION = """</script><script>document.title="hacked"</script><img src=x onerror='document.title="hacked"'>"""
# Without Korean letters, whose font takes as long as the rest of a small page.
TABLE = "height,weight,kind\n" + "".join(f"{n % 7},{n % 5},{'abc'[n % 3]}\n" for n in range(60))
FOLDER_ALONE = {"How the training went", "Model", "How to repeat it", "Config", "Environment"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on a table of its own, in a folder with it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "table.csv").write_text(TABLE, encoding="utf-8")
    options = ["data=csv", f"data.path={folder / 'table.csv'}", "data.target=kind", "trainer.max_epochs=2"]
    outcome = train(folder / "run", *options, callbacks=("checkpoint",))
    after_training(outcome)
    return folder


@pytest.fixture
def own(made, tmp_path):
    """A copy of the run, whose data lie where they were."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


QUICKLY = Looking(resamples=0)


def reported(folder, looking=QUICKLY, checkpoint=None):
    return Page.of(run.write(loading.load(RunFolder(folder), looking, checkpoint, None)))


def test_without_its_data_a_run_is_told_from_its_folder(own, made):
    config = (own / "config.yaml").read_text(encoding="utf-8").replace("table.csv", "gone.csv")
    (own / "config.yaml").write_text(config, encoding="utf-8")
    page = reported(own)
    assert f"This page holds what the run's folder tells. data.path={made / 'gone.csv'}" in page.parts[""].text
    assert set(page.parts) - {""} == FOLDER_ALONE
    assert page.parts[""].facts["data"] == "csv: 3 classes from 2 (multiclass)"
    assert page.parts[""].facts["samples"] == "42 train, 6 validation, 12 test"
    assert "svg" in page.parts["Model"].tags and page.figures["loss"]["data"]
    for looking, checkpoint in ((Looking(split="test"), None), (Looking(), "last")):
        with pytest.raises(DataError, match=r"gone\.csv"):
            reported(own, looking, checkpoint)


def test_data_that_have_changed_are_not_those_of_the_run(own, made, tmp_path):
    (tmp_path / "table.csv").write_text(TABLE.replace("1", "2"), encoding="utf-8")
    config = (own / "config.yaml").read_text(encoding="utf-8").replace(str(made), str(tmp_path))
    (own / "config.yaml").write_text(config, encoding="utf-8")
    assert "are not those that it was trained on" in reported(own).parts[""].text


def test_an_evaluation_in_the_folder_is_told_where_there_is_no_model(own):
    shutil.rmtree(own / "checkpoints")
    found = {"split": "test", "samples": 12, "checkpoint": "best-step-2", "figures": {"accuracy": 0.5}}
    (own / "evaluation.json").write_text(json.dumps(found), encoding="utf-8")
    page = reported(own)
    assert "As evaluation.json has it: 12 samples of test, checkpoint best-step-2." in page.parts["Evaluation"].text
    assert "checkpoint" in page.parts[""].text


def test_baselines_of_the_same_evaluation_are_kept_and_others_are_not(own):
    from dltrain import evaluation

    subject = loading.load(RunFolder(own), Looking(resamples=0), None, None)
    found = {
        **evaluation.of(subject.parts, "test", resamples=0),
        "baselines": [{"name": "다수", "figures": {"f1": 0.1}}],
    }
    (own / "evaluation.json").write_text(json.dumps(found), encoding="utf-8")
    assert "다수" in reported(own).parts["Evaluation"].text
    found["figures"]["accuracy"] = 0.123
    (own / "evaluation.json").write_text(json.dumps(found), encoding="utf-8")
    assert "다수" not in reported(own).parts["Evaluation"].text


def test_another_split_or_checkpoint_is_looked_at_where_it_is_asked_for(own):
    page = reported(own, Looking(split="train", resamples=0), "last")
    assert "42 samples of train, checkpoint step-" in page.parts["Evaluation"].text
    with pytest.raises(CheckpointError, match="no checkpoint 'nope'"):
        reported(own, checkpoint="nope")


def test_a_split_that_the_data_lack_is_a_mistake(tmp_path):
    train(tmp_path / "run", "data=line_8", "trainer.max_epochs=1", callbacks=("checkpoint",))
    with pytest.raises(ConfigError, match=r"--split test: this data has none. There is: train, validation"):
        reported(tmp_path / "run", Looking(split="test"))


def test_a_run_that_diverged_says_so(tmp_path):
    with pytest.raises(DivergedError):
        train(
            tmp_path / "run", "data=line_8", "optimizer.lr=1.0e+30", "trainer.max_epochs=3", callbacks=("checkpoint",)
        )
    page = reported(tmp_path / "run")
    assert "The training failed: the loss became NaN or infinite at step" in page.parts[""].text
    assert set(page.parts) - {""} == FOLDER_ALONE


@pytest.mark.parametrize("name", ["result.json", "environment.json", "task.json", "metrics.jsonl", "overrides.yaml"])
@pytest.mark.parametrize("damage", ["", "{", "[1, 2]", '{"packages": 3, "git": 5, "best": 7, "task": 1}', None])
def test_a_file_that_is_damaged_or_missing_takes_nothing_else_along(own, name, damage):
    if damage is None:
        (own / name).unlink()
    else:
        (own / name).write_text(damage, encoding="utf-8")
    page = reported(own)
    assert set(page.parts) - {""} >= FOLDER_ALONE - ({"Model"} if name == "task.json" else set())
    assert "could not be made" not in page.source


def hostile(value):
    """Returns plain values with each text replaced by an attack."""
    if isinstance(value, dict):
        return {f"{key}{INJECTION}" if key.startswith("val/") else key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return INJECTION if isinstance(value, str) else value


def test_a_folder_of_a_stranger_does_no_harm(own, made, tmp_path):
    for name in ("result.json", "environment.json", "task.json"):
        content = json.loads((own / name).read_text(encoding="utf-8"))
        (own / name).write_text(json.dumps(hostile(content)), encoding="utf-8")
    rows = [json.loads(line) for line in (own / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    (own / "metrics.jsonl").write_text("".join(json.dumps(hostile(row)) + "\n" for row in rows), encoding="utf-8")
    (own / "overrides.yaml").write_text(json.dumps([f"data.path={INJECTION}", "$(rm -rf ~)"]), encoding="utf-8")
    confusion = {"classes": [INJECTION] * 2, "rows_true_columns_predicted": [[1, 1], [1, 1]]}
    curve = {INJECTION: [[0, 0], [1, 1]]}
    found = {
        "split": INJECTION,
        "samples": INJECTION,
        "checkpoint": INJECTION,
        "figures": {INJECTION: 0.5},
        "confusion": confusion,
        "curves": {"roc": curve},
        "classes": [{"name": INJECTION, "f1": 0.5}],
        "baselines": [{"name": INJECTION, "figures": {INJECTION: 1.0}}],
        "targets": {INJECTION: {}},
    }
    (own / "evaluation.json").write_text(json.dumps(found), encoding="utf-8")
    config = (own / "config.yaml").read_text(encoding="utf-8")
    bad = config.replace(str(made), f"{made}/</script><img src=x>")
    (own / "config.yaml").write_text(bad, encoding="utf-8")
    moved = own.rename(tmp_path / "run<img src=x onerror=alert(1)>")
    page = reported(moved)
    assert page.source.count("<script") == page.source.count("</script") == 4 and "<img" not in page.source
    failed = [title for title, part in page.parts.items() if "could not be made" in part.text]
    assert failed == ["Model"]  # its task is none
    assert {"Evaluation", "How the training went"} <= set(page.parts)
    assert "'$(rm -rf ~)'" in page.parts["How to repeat it"].text


def test_hostile_class_names_stay_names(tmp_path):
    rows = "".join(f'{n % 7},"{INJECTION if n % 2 else "<b>뉴스</b>"}"\n'.replace('"hacked"', "'h'") for n in range(60))
    (tmp_path / "table.csv").write_text("a,b\n" + rows, encoding="utf-8")
    options = ["data=csv", f"data.path={tmp_path / 'table.csv'}", "data.target=b", "trainer.max_epochs=1"]
    outcome = train(tmp_path / "run", *options, callbacks=("checkpoint",))
    after_training(outcome)
    page = Page.of(tmp_path / "run" / "report.html")
    assert page.source.count("<script") == page.source.count("</script") == 4 and "<img" not in page.source
    assert "<b>뉴스" not in page.source and "could not be made" not in page.source


def test_a_config_that_cannot_be_read_is_an_error(own):
    (own / "config.yaml").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is damaged: it is no YAML"):
        reported(own)


def test_the_runs_of_a_process_do_not_need_the_file_of_their_config(tmp_path):
    """The config is known then: the YAML file is not read again, which takes as long as the rest of a small page."""
    loaded, container = configure(tmp_path / "run", "trainer.max_epochs=1")
    from dltrain import run as runner

    outcome = runner.train(loaded, container, [])
    (tmp_path / "run" / "config.yaml").write_text("{", encoding="utf-8")
    after_training(outcome)
    assert Page.of(tmp_path / "run" / "report.html").title == "linear on iris"
