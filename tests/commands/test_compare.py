"""``dltrain compare``: what differs between runs, their curves, and what seeds say of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commandline import at_terminal
from PIL import Image
from runfolders import config_of, make_run, result_of, rows_of
from scipy import stats

from dltrain.results.lines import Line, blocks

DAY = Path("runs/2026-01-02")


@pytest.fixture
def seeds(work):
    """Three seeds of two learning rates; the losses of 0.01 are smaller."""
    for seed, (large, small) in enumerate([(0.9, 0.3), (1.0, 0.35), (1.2, 0.2)]):
        for rate, loss in ((0.1, large), (0.01, small)):
            losses = [2.0, loss, loss + 0.05]
            make_run(
                DAY / f"{rate}-{seed}", losses, optimizer__lr=rate, seed=seed, days=9 - seed, accuracy=1 - loss / 2
            )
    return work


def test_two_runs_that_were_trained(dltrain, runs):
    answer = dltrain("compare", runs[0].name, "last", "-o", "both.svg")
    assert answer.code == 0 and answer.err == "curves: both.svg\n"
    lines = answer.out.splitlines()
    assert lines[0] == f"A  mlp   {runs[0]}" and lines[1] == f"B  rnn   {runs[1]}"
    assert "model.hidden           [6]           32" in re.sub(
        r"(\S+) +(\S+) +(\S+)", r"\1           \2           \3", answer.out
    )
    assert "val/loss" in lines and not re.search(r"\*\d", answer.out)
    assert lines[-1] == (
        "the runs are of several data sets: their figures do not compare, so nothing is starred or tested"
    )
    ElementTree.parse("both.svg")


def test_settings_figures_and_curves(dltrain, seeds):
    answer = dltrain("compare", f"{DAY}/0.1-0", "0.01-0")
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[0] == ["A", "lr=0.1", f"{DAY}/0.1-0"] and lines[1] == ["B", "lr=0.01", f"{DAY}/0.01-0"]
    for line in (
        ["optimizer.lr", "0.1", "0.01"],
        ["best", "val/loss", "0.9000", "*0.3000"],
        ["in", "epoch", "2", "2"],
        ["last", "val/loss", "0.9500", "*0.3500"],
        ["last", "val/accuracy", "0.5500", "*0.8500"],
        ["test/loss", "1.0000", "*0.4000"],
        ["status", "done", "done"],
    ):
        assert line in lines
    assert not any(line[:1] == ["seed"] for line in lines)
    assert sum("|" in line for line in answer.out.splitlines()) == 16


def test_groups_of_seeds(dltrain, seeds):
    found = json.loads(dltrain("compare", "model=mlp", "--json").out)
    assert [run["label"] for run in found["runs"]][:2] == ["lr=0.1 seed=0", "lr=0.01 seed=0"]
    assert [group["label"] for group in found["groups"]] == ["lr=0.1", "lr=0.01"]
    (test,) = found["tests"]
    large, small = [0.9, 1.0, 1.2], [0.3, 0.35, 0.2]
    assert test["p_welch"] == pytest.approx(stats.ttest_ind(large, small, equal_var=False).pvalue)
    assert test["p_paired"] == pytest.approx(stats.ttest_rel(large, small).pvalue)
    assert found["groups"][0]["mean"] == pytest.approx(1.0333333) and found["groups"][0]["n"] == 3
    assert found["runs"][0]["curve"] == [[1, 2.0], [2, 0.9], [3, 0.9500000000000001]]
    assert found["runs"][0]["settings"] == {"seed": 0, "optimizer.lr": 0.1}
    text = dltrain("compare", "model=mlp").out
    assert "lr=0.01 is better than lr=0.1" in text
    assert re.search(r"lr=0\.1 - lr=0\.01: \+0\.75, Welch p = 0\.0\d+, paired p = 0\.0\d+", text)
    assert "3 seeds are few" in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data__path": "other.csv"}, "the runs are of several data sets"),
        (
            {"data__validation_fraction": 0.4, "data__split_seed": 1},
            "the runs are evaluated on other samples (data.split_seed, data.validation_fraction)",
        ),
        ({"data__fold": 1}, "the runs are evaluated on other samples (data.fold)"),
        (
            {"loss__name": "focal"},
            "the runs have several losses (loss.name; --metric compares by another figure)",
        ),
    ],
)
def test_figures_that_do_not_compare_are_neither_starred_nor_tested(dltrain, seeds, change, told):
    for seed in range(3):
        make_run(DAY / f"other-{seed}", [2.0, 0.1], optimizer__lr=0.1, seed=seed, **change)
    text = dltrain("compare", "model=mlp").out
    assert f"{told}: their figures do not compare, so nothing is starred or tested" in text
    assert not re.search(r"\*\d", text)
    found = json.loads(dltrain("compare", "model=mlp", "--json").out)
    assert found["tests"] == [] and found["do_not_compare"] == told
    if "loss__name" in change:
        assert json.loads(dltrain("compare", "model=mlp", "--json", "--metric", "val/accuracy").out)["tests"]


def test_data_that_changed_between_runs_are_told(dltrain, seeds):
    """The same settings, and other samples in the file: what is known of the data in task.json tells."""
    hashes = {"train": "1", "validation": "2", "test": "3"}
    for number in range(2):
        known = hashes | {"test": str(number)}
        (DAY / f"0.1-{number}" / "task.json").write_text(json.dumps({"fingerprints": known}))
    words = "compare", "0.1-0", "0.1-1"
    told = "the data of the runs have changed between them: their figures do not compare"
    assert told not in dltrain(*words).out
    assert told in dltrain(*words, "--metric", "test/accuracy").out


def test_folds_are_grouped_and_paired(dltrain, work):
    for fold, (large, small) in enumerate([(0.9, 0.3), (1.0, 0.35), (1.2, 0.2)]):
        for rate, loss in ((0.1, large), (0.01, small)):
            make_run(DAY / f"{rate}-{fold}", [2.0, loss], optimizer__lr=rate, data__folds=3, data__fold=fold)
    found = json.loads(dltrain("compare", "model=mlp", "--json").out)
    assert [(group["label"], group["n"]) for group in found["groups"]] == [("lr=0.1", 3), ("lr=0.01", 3)]
    (test,) = found["tests"]
    assert test["p_paired"] == pytest.approx(stats.ttest_rel([0.9, 1.0, 1.2], [0.3, 0.35, 0.2]).pvalue)
    text = dltrain("compare", "model=mlp").out
    assert "over seeds and folds: best val/loss" in text and "lr=0.01 is better than lr=0.1" in text
    assert "runs of several folds share training samples" in text
    assert not re.search(r"\*\d", text)  # the best fold says nothing of the settings


def test_another_metric_and_axis(dltrain, seeds):
    found = json.loads(dltrain("compare", "0.1-*", "--metric", "val/accuracy", "--x", "seconds", "--json").out)
    assert found["metric"] == "val/accuracy" and found["higher_is_better"]
    assert [x for x, _ in found["runs"][0]["curve"]] == [0.5, 1.0, 1.5]
    assert found["groups"][0]["n"] == 3 and found["tests"] == []
    answer = dltrain("compare", "0.1-*", "--metric", "test/accuracy", "--x", "step")
    assert "test/accuracy has no curve" in answer.out and "best test/accuracy" in answer.out


def test_a_seed_that_was_trained_twice_counts_once(dltrain, seeds):
    make_run(DAY / "again", [2.0, 0.9], optimizer__lr=0.1, seed=0, days=0)
    answer = dltrain("compare", "model=mlp")
    assert "lr=0.1: 1 more of the same settings and seed, which count once" in answer.out


def test_runs_of_which_one_diverged_and_one_was_killed(dltrain, work):
    make_run(DAY / "a", [1.0, None], optimizer__lr=0.1, result={"status": "failed", "error": "NaN"})
    killed = make_run(DAY / "b", [1.0, 0.5], optimizer__lr=0.2, result={"status": "running"}, days=2)
    with killed.metrics.open("a") as file:
        file.write('{"epoch": 3, "st')
    make_run(DAY / "c", [None], optimizer__lr=0.3, result={"status": "failed"}, days=3)
    make_run(DAY / "d", [], optimizer__lr=0.4, result={}, days=4)
    found = json.loads(dltrain("compare", "a", "b", "c", "d", "--json").out)
    assert [run["status"] for run in found["runs"]] == ["failed", "killed", "failed", "killed"]
    assert [run["best"] and run["best"]["value"] for run in found["runs"]] == [1.0, 0.5, None, None]
    assert found["runs"][0]["curve"] == [[1, 1.0], [2, None]]
    assert dltrain("compare", "a", "b", "c", "d", "-o", "x.png").code == 0
    with Image.open("x.png") as picture:
        assert picture.size[0] > 800
    assert "val/loss has no curve" in dltrain("compare", "c", "d").out


def test_trials_of_a_sweep(dltrain, work):
    sweep = Path("runs/sweeps/2026-01-01_10-00-00-grid-abcd")
    for number in range(3):
        make_run(sweep / "trials" / str(number), optimizer__lr=0.1 * (number + 1), days=9 - number)
    (sweep / "multirun.yaml").write_text("{}")
    labels = [run["label"] for run in json.loads(dltrain("compare", "grid", "--json").out)["runs"]]
    assert labels == ["lr=0.1", "lr=0.2", "lr=0.30000000000000004"]
    two = json.loads(dltrain("compare", f"{sweep}/trials/2", "trials/0", "--json").out)
    assert [run["path"][-1] for run in two["runs"]] == ["2", "0"]


def test_a_setting_that_an_older_version_did_not_have_is_no_difference(dltrain, work):
    old = config_of()
    del old["trainer"]["max_rollbacks"]
    make_run(DAY / "old", config=old)
    make_run(DAY / "new", config=config_of(), days=2)
    assert "none: these runs have the same settings" in dltrain("compare", "old", "new").out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["a"], 2, f"compare takes two runs or more, and this names {DAY}/a alone. 'dltrain runs' lists them"),
        (["status=failed"], 2, "compare takes two runs or more, and this names no run."),
        (["a", "qqq"], 2, "no run is named 'qqq'."),
        (["a", "b", "--metric", "val/acuracy"], 2, "--metric val/acuracy: none of these runs has it. Did you"),
        (["a", "b", "-o", "x.gif"], 2, "-o x.gif: a picture's name ends in .svg or .png"),
        (["a", "b", "-o", "no/x.svg"], 2, "-o no/x.svg: there is no folder "),
        (["broken", "a"], 4, f"{DAY}/broken/config.yaml is damaged: it is no YAML"),
        (["broken", "a"], 4, ". Leave this run out: name the others, or give comparisons such as status=done"),
        (["", "a"], 2, "the name of a run is empty. Give a folder, a part of a name, last, or no word for all runs"),
        (["runs"], 2, "compare shows 52 runs at most, and this names 53."),
        ([], 2, "the following arguments are required: RUN"),
    ],
)  # fmt: skip
def test_mistakes(dltrain, work, words, code, told):
    make_run(DAY / "a")
    make_run(DAY / "b", days=2)
    make_run(DAY / "broken").config.write_text("a: [")
    if words == ["runs"]:
        for number in range(50):
            shutil.copytree(DAY / "a", DAY / f"n{number}")
    answer = dltrain("compare", *words)
    assert (answer.code, answer.out) == (code, "") and told in answer.err
    assert not list(work.glob("x.*"))


def test_korean_labels_and_columns(dltrain, work):
    make_run(DAY / "가", data__species=["산"], days=1)
    make_run(DAY / "나", data__species=["바다"], days=2)
    answer = dltrain("compare", "가", "나", "-o", "그림.svg")
    assert answer.out.startswith("A  species=[산]     runs/2026-01-02/가\nB  species=[바다]   ")
    assert "data.species  [산]  [바다]" in answer.out
    assert Path("그림.svg").stat().st_size > 5000


def test_the_picture_names_what_differs(seeds):
    """One line for each group and a thin one for each run; the mean is drawn on top."""
    from dltrain import charts
    from dltrain.results import picture
    from dltrain.results.comparing import compare
    from dltrain.results.selection import select

    for axis in ("epoch", "seconds"):
        comparison = compare(select(["model=mlp"], newest_first=False).runs, None, axis)
        with charts.style():
            axes = charts.new(800, 400).subplots()
            picture._draw(axes, comparison)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["lr=0.1: mean of 3 seeds", "lr=0.01: mean of 3 seeds"]
        assert len(axes.get_lines()) == 8
        mean = next(line for line in axes.get_lines() if line.get_label() == labels[0])
        assert mean.get_ydata() == pytest.approx([2.0, 3.1 / 3, 3.25 / 3])


@pytest.mark.parametrize("width", [60, 100])
def test_at_a_terminal_everything_fits(seeds, width):
    screen = at_terminal("compare", "model=mlp", cwd=seeds, columns=width)
    lines = re.sub(r"\x1b\[[\d;]*m", "", screen.text).replace("\r", "").splitlines()
    assert screen.code == 0 and any("⠤" in line for line in lines) and "\x1b[" in screen.text
    tables = lines[lines.index("settings that differ") : lines.index("val/loss")]
    assert max(map(len, tables)) <= width
    assert sum(line.split() == ["best", "val/loss", *line.split()[2:]] for line in tables) >= 1


def test_columns_go_into_as_many_tables_as_the_width_needs():
    lines = [Line("title", [str(number) * 8 for number in range(6)])]
    assert blocks(lines, 10_000) == [range(6)]
    assert blocks(lines, 30) == [range(2), range(2, 4), range(4, 6)]
    assert blocks(lines, 1) == [range(n, n + 1) for n in range(6)]
    assert blocks([], 80) == []
    assert result_of(rows_of([1.0]))["status"] == "done"
