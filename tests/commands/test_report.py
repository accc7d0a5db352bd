"""``dltrain report``, and the report that a training leaves."""

from __future__ import annotations

import shutil

import pytest
from commandline import QUICK
from reading_pages import Page


def test_a_training_leaves_its_report_and_names_it(dltrain, work):
    answer = dltrain(*QUICK, "run_dir=run")
    assert answer.code == 0 and "warning" not in answer.err
    assert "\nreport run/report.html\n" in answer.out
    assert "  dltrain report run --open                      report.html anew, with all samples\n" in answer.out
    assert Page.of(work / "run" / "report.html").title == "mlp on iris"


def test_a_training_without_one_names_none(dltrain, work):
    answer = dltrain(*QUICK, "run_dir=run", "report=false")
    assert answer.code == 0
    assert "report" not in answer.out and not (work / "run" / "report.html").exists()


def test_a_resume_writes_it_anew_and_may_leave_it_out(dltrain, work):
    dltrain(*QUICK, "run_dir=run")
    before = (work / "run" / "report.html").read_bytes()
    answer = dltrain("resume", "run", "trainer.max_epochs=3", "report=false")
    assert answer.code == 0, answer.err
    assert (work / "run" / "report.html").read_bytes() == before and "report" not in answer.out
    answer = dltrain("resume", "run", "trainer.max_epochs=4", "report=true")
    assert answer.code == 0, answer.err
    assert "\nreport run/report.html\n" in answer.out
    assert Page.of(work / "run" / "report.html").traces("loss")["training"]["x"] == [1, 2, 3, 4]


def test_the_trials_of_a_sweep_have_the_sweeps(dltrain, of_two, work):
    shutil.copytree(of_two.folder, work, symlinks=True, dirs_exist_ok=True)
    (page,) = work.rglob("report.html")
    assert page.parent.parent.name == "sweeps"
    sweep = page.parent
    old = page.read_bytes()
    page.unlink()
    answer = dltrain("report", sweep.name)
    assert (answer.code, answer.out, answer.err) == (0, f"{page.relative_to(work)}\n", "")
    assert len(page.read_bytes()) == pytest.approx(len(old), rel=0.01)
    answer = dltrain("report", sweep, "-o", "elsewhere.html")
    assert answer.out == "elsewhere.html\n"
    assert f'href="{sweep.relative_to(work)}/trials/0"' in (work / "elsewhere.html").read_text(encoding="utf-8")
    for flag in (("--split", "test"), ("--checkpoint", "last"), ("--worst", "3")):
        answer = dltrain("report", sweep.relative_to(work), *flag)
        name = sweep.relative_to(work)
        assert answer.code == 2
        assert answer.err == f"error: {flag[0]}: {name} is a sweep. Name one of its runs: {name}/best\n"
    answer = dltrain("report", sweep / "best", "--worst", "3")
    assert answer.code == 0, answer.err


def test_it_is_written_of_a_run_that_is_named(dltrain, runs, work):
    iris = runs[0]
    answer = dltrain("report", iris.name)
    assert (answer.code, answer.out, answer.err) == (0, f"{iris}/report.html\n", "")
    page = Page.of(work / iris / "report.html")
    assert "30 samples of test, checkpoint best-step-" in page.parts["Evaluation"].text
    answer = dltrain("report", "last", "--split", "validation", "--checkpoint", "last", "--worst", 2, "-o", "글.html")
    assert (answer.code, answer.out) == (0, "글.html\n"), answer.err
    page = Page.of(work / "글.html")
    assert page.title == "rnn on korean_text" and len(page.parts["Worst errors"].tables[0]) == 3
    assert "checkpoint step-" in page.parts["Evaluation"].text


def test_what_is_missing_is_said_and_the_rest_is_written(dltrain, work):
    dltrain(*QUICK, "run_dir=run", "~callbacks.checkpoint", "report=false")
    answer = dltrain("report", "run")
    assert (answer.code, answer.out) == (0, "run/report.html\n")
    assert answer.err == (
        "the page holds what the run's folder tells: run keeps no checkpoint: it was trained without "
        "callbacks.checkpoint, or its folder checkpoints was removed\n"
    )


def test_mistakes_are_told(dltrain, runs, work):
    cases = {
        ("nosuch",): (2, "error: no run is named 'nosuch'."),
        ("last", "--worst", "-1"): (2, "error: --worst -1: needs a whole number from 0 to 1000\n"),
        ("last", "--split", "test"): (2, "error: --split test: this data has none. There is: train, validation\n"),
        ("last", "--checkpoint", "nope"): (4, f"error: {runs[1]} has no checkpoint 'nope'. There is: best, last,"),
        ("last", "-o", "."): (2, "error: -o .: is a folder. Name the file: -o report.html\n"),
        ("last", "-o", "rows.csv"): (
            2,
            "error: -o rows.csv: the page is HTML, so the name must end in .html. Try -o rows.html\n",
        ),
        ("last", "-o", f"{runs[0]}/train.log/x.html"): (5, f"error: {runs[0]}/train.log is a file, so no report can"),
    }
    for words, (code, text) in cases.items():
        answer = dltrain("report", *words)
        assert (answer.code, answer.out) == (code, ""), words
        assert answer.err.startswith(text)


def test_the_browser_is_opened_where_there_is_one(dltrain, runs, work, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    assert dltrain("report", "last", "--open").err == ""
    assert opened == [(work / runs[1] / "report.html").as_uri()]
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    answer = dltrain("report", "last", "--open")
    assert answer.code == 0 and answer.err == "there is no browser to open it in: open the file yourself\n"
