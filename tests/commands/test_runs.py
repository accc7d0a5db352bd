"""``dltrain runs``: the table of runs, in a pipe and at a terminal."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from commandline import DLTRAIN, at_terminal, environment
from rich.cells import cell_len
from runfolders import config_of, make_run, result_of, rows_of

from dltrain import cli

DAY = Path("runs/2026-01-02")


def columns_of(out):
    """Returns the cells of a table by title."""
    lines = out.splitlines()
    titles = re.split(r" {2,}", lines[0].strip())
    return [dict(zip(titles, re.split(r" {2,}", line.strip()), strict=False)) for line in lines[1:]]


def test_two_runs_that_were_trained(dltrain, runs):
    answer = dltrain("runs")
    assert answer.code == 0 and answer.err == ""
    korean, iris = answer.out.splitlines()[1:]
    assert korean.startswith(runs[1].name) and iris.startswith(runs[0].name)
    assert "korean_text" in korean and " done " in iris
    (only,) = json.loads(dltrain("runs", "model=mlp", "--json", "--size").out)
    result = json.loads((runs[0] / "result.json").read_text())
    assert only["path"] == str(runs[0]) and only["test"] == result["test"] and only["best"]["value"] > 0
    assert only["config"]["model.hidden"] == [6] and only["epochs"] == 4 and only["bytes"] > 10_000
    again, first = (re.sub(r"\d+ (s|min) ", "", out) for out in (dltrain("runs").out, answer.out))  # without the ages
    assert again == first  # the second time from the index


def test_only_settings_that_differ_are_shown(dltrain, work):
    make_run(DAY / "a", optimizer__lr=0.1, days=2)
    make_run(DAY / "b", optimizer__lr=0.01, model__hidden=[64, 32], days=3)
    (first, second) = columns_of(dltrain("runs").out)
    assert first == {
        "name": "a",
        "status": "done",
        "best val/loss": "0.5000",
        "test/accuracy": "0.5000",
        "epochs": "2",
        "age": "2 d",
        "time": "1.00 s",
        "model.hidden": "[256,128]",
        "optimizer.lr": "0.1",
    }
    assert second["model.hidden"] == "[64,32]" and second["age"] == "3 d"
    (chosen,) = columns_of(dltrain("runs", "a", "--keys", "seed,val/accuracy,model").out)
    assert dltrain("runs", "a", "--keys", "seed,epochs").out.split().count("epochs") == 1
    assert chosen["seed"] == "0" and chosen["val/accuracy"] == "0.5000" and chosen["model.name"] == "mlp"
    everything = columns_of(dltrain("runs", "--all-keys").out)[0]
    assert {"train/loss", "val/loss", "val/accuracy", "test/loss"} <= everything.keys()


def test_metrics_that_differ_stand_in_the_cells(dltrain, work):
    make_run(DAY / "a")
    best = {"metric": "val/accuracy", "value": 0.875, "epoch": 1, "step": 1}
    make_run(DAY / "b", result=result_of(rows_of([1.0]), best=best), days=2)
    assert [row["best"] for row in columns_of(dltrain("runs").out)] == ["val/loss 0.5000", "val/accuracy 0.8750"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "abcd"),
        (["--reverse"], "dcba"),
        (["--sort", "val/loss"], "cbad"),
        (["--sort=-val/loss"], "abcd"),
        (["--sort", "val/loss", "--reverse"], "abcd"),
        (["--sort", "val/accuracy"], "bcad"),
        (["--sort", "best"], "cbad"),
        (["--sort", "optimizer.lr"], "bacd"),
        (["--sort=-optimizer.lr"], "dcab"),
        (["--sort", "age"], "abcd"),
        (["--sort", "name", "--reverse"], "dcba"),
        (["--sort", "val/loss", "--limit", "2"], "cb"),
        (["--limit", "0"], "abcd"),
        (["status=done"], "abc"),
        (["val/loss<0.35", "--sort", "age", "status=done"], "bc"),
    ],
)
def test_order_and_limit(dltrain, work, flags, expected):
    make_run(DAY / "a", [0.4], optimizer__lr=1e-3, accuracy=0.5, days=1)
    make_run(DAY / "b", [0.3], optimizer__lr=1e-4, accuracy=0.9, days=2)
    make_run(DAY / "c", [0.2], optimizer__lr=0.1, accuracy=0.7, days=3)
    make_run(DAY / "d", [None], optimizer__lr=0.2, accuracy=None, days=4, result={"status": "failed"})
    answer = dltrain("runs", *flags)
    assert "".join(row["name"] for row in columns_of(answer.out)) == expected
    assert (answer.err == "2 of 4 runs: --limit N shows more, --limit 0 all\n") == ("2" in flags)


def test_csv_has_everything(dltrain, work):
    make_run(DAY / "a", model__hidden=[64, 32], data__species=["산,", "강"])
    make_run(DAY / "b", model="lstm", data="korean_text", days=2)
    first, second = csv.DictReader(dltrain("runs", "--csv").out.splitlines())
    assert first["model.hidden"] == "[64,32]" and first["data.species"] == "[산,,강]" and first["model.embedding"] == ""
    assert second["model.name"] == "lstm" and second["test/loss"] == "0.6" and second["best epoch"] == "2"
    (row,) = csv.DictReader(dltrain("runs", "b", "--csv", "--keys", "model,val/loss").out.splitlines())
    assert row["model.name"] == "lstm" and row["val/loss"] == "0.5" and "data.name" not in row


def test_csv_has_the_facts_and_figures_of_the_table(dltrain, work):
    """The best loss and not the last; what a run is by itself, such as its age, as well as settings."""
    make_run(DAY / "a", [0.5, 0.25, 0.75])
    names = "age,size,best,status,val/loss,val/accuracy"
    (row,) = csv.DictReader(dltrain("runs", "--csv", "--keys", names).out.splitlines())
    assert row["val/loss"] == row["best value"] == "0.25" and row["val/accuracy"] == "0.5"
    assert float(row["age"]) > 80_000 and int(row["size"]) > 0
    assert len(row) == len(set(row)) and list(row).count("status") == 1


def test_korean_names_and_values_stand_below_each_other(dltrain, work):
    make_run(DAY / "첫번째-실험", data__species=["산"])
    make_run(DAY / "two", data__species=["강", "바다"], days=2)
    lines = dltrain("runs").out.splitlines()
    places = {cell_len(line[: re.search(r"done|status", line).start()]) for line in lines}
    assert len(places) == 1
    assert dltrain("runs", "name~실험", "--json").out.count("첫번째-실험") == 2


def test_nothing_there_and_nothing_left(dltrain, work):
    answer = dltrain("runs")
    assert answer.code == 2
    assert answer.err == (
        f"error: there are no runs in {work / 'runs'}. Train one first, or change to the folder of your runs\n"
    )
    make_run(DAY / "a")
    answer = dltrain("runs", "model=mlpp")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "no run has model=mlpp. Did you mean 'mlp'? (of 1)\n"
    assert dltrain("runs", "model=lstm", "--json").out == "[]\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["modell=mlp"], "error: no run has 'modell'. Did you mean 'model'?"),
        (["--sort", "val/acc"], "error: no run has 'val/acc'. Did you mean 'val/accuracy'?"),
        (["--keys", "lr"], "error: no run has 'lr'. Did you mean 'optimizer.lr'?"),
        (["--yes"], "error: --yes is for 'dltrain runs prune'"),
        (["prune", "--sort", "best", "a"], "error: --sort is not for 'prune'"),
        (["prune", "a", "--by", "val/loss"], "error: --by says what --keep-best N goes by: give that as well"),
        (["--limit", "-3"], "error: argument --limit"),
        (["--json", "--csv"], "not allowed with argument"),
    ],
)
def test_mistakes(dltrain, work, words, told):
    make_run(DAY / "a")
    answer = dltrain("runs", *words)
    assert answer.code == 2 and told in answer.err and answer.out == ""


def test_damage_is_shown_and_told(dltrain, work):
    make_run(DAY / "a", days=2)
    broken = make_run(DAY / "b")
    broken.config.write_text("model: [")
    answer = dltrain("runs")
    assert [row["status"] for row in columns_of(answer.out)] == ["damaged", "done"]
    assert answer.err == f"{broken.config} is damaged: it is no YAML (line 2)\n"
    assert json.loads(dltrain("runs", "b", "--json").out)[0]["problems"] == [answer.err.strip()]


def test_of_many_damaged_files_some_are_named_and_all_are_counted(dltrain, work):
    for number in range(5):
        make_run(DAY / f"\x1b[2J{number}", days=number).config.write_text("model: [")
    lines = dltrain("runs").err.splitlines()
    assert len(lines) == 4 and "2J0/config.yaml is damaged" in lines[0] and "\x1b" not in "".join(lines)
    assert lines[3] == "and 2 more files that cannot be read: --json names them"


@pytest.mark.parametrize("word", ["", "  ", "/"])
def test_an_empty_name_is_none_rather_than_all(dltrain, work, word):
    run = make_run(DAY / "a")
    for words in (["runs", word], ["runs", "prune", word, "--yes"], ["runs", "a", word]):
        answer = dltrain(*words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == (
            "error: the name of a run is empty. Give a folder, a part of a name, last, or no word for all runs\n"
        )
    assert run.config.exists()


def test_what_would_steer_a_terminal_is_not_printed(dltrain, work):
    result = result_of(rows_of([1.0]), status="\x1b[2Jgone", test={"test/\x1bx": 1.0})
    make_run(DAY / "a\x1b[31m", result=result, optimizer__name="\x1b]0;x\x07")
    make_run(DAY / "b")
    out = dltrain("runs", "--all-keys").out  # which fails where an escape is printed
    assert "gone" in out and len(out.splitlines()) == 3


def test_sweeps_are_counted_and_their_trials_shown_when_asked(dltrain, work):
    sweep = Path("runs/sweeps/2026-01-01_10-00-00-grid-abcd")
    make_run(sweep / "trials" / "0", optimizer__lr=0.1)
    make_run(sweep / "trials" / "1", optimizer__lr=0.2, days=2)
    (sweep / "multirun.yaml").write_text("{}")
    alone = dltrain("runs")
    assert alone.out == ""
    told = "and 1 sweep with 2 trials: --trials shows them too, 'dltrain runs SWEEP' those of one\n"
    assert alone.err == told
    make_run(DAY / "a", days=3)
    names = [row["name"] for row in columns_of(dltrain("runs", "--trials").out)]
    assert names == [f"{sweep.name}/trials/0", f"{sweep.name}/trials/1", "a"]
    assert [row["optimizer.lr"] for row in columns_of(dltrain("runs", "grid").out)] == ["0.1", "0.2"]


def test_names_that_two_days_share_are_given_with_the_day(dltrain, work):
    make_run(Path("runs/2026-01-01/same"))
    make_run(Path("runs/2026-01-02/same"), days=2)
    make_run(Path("runs/2026-01-02/other"), days=3)
    names = [row["name"] for row in columns_of(dltrain("runs").out)]
    assert names == ["2026-01-01/same", "2026-01-02/same", "other"]


# --- at a terminal ----------------------------------------------------------------------------------------


def plain(screen):
    return re.sub(r"\x1b\[[\d;]*m", "", screen.text).replace("\r", "")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder with 34 runs."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(34):
        config = config_of(optimizer__lr=0.1 / (number + 1), seed=number, model__hidden=[number + 1] * 3)
        make_run(folder / DAY / f"10-00-00-iris-mlp-{number:04}", config=config, days=number)
    return folder


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_gets_what_fits_it(many, work, width):
    shutil.copytree(many, work, dirs_exist_ok=True)
    screen = at_terminal("runs", cwd=work, columns=width)
    lines = plain(screen).splitlines()
    table = [line for line in lines if "iris-mlp" in line]
    assert screen.code == 0 and len(table) == 30 and "iris-mlp-0000" in table[0]
    assert max(map(len, lines)) <= max(width, 70)
    assert max(map(len, table)) <= width
    assert "30 of 34 runs: --limit N shows more, --limit 0 all" in lines
    assert ("optimizer.lr" in lines[0]) == (width >= 120) and "seed" in lines[0]
    assert any("more settings differ" in line for line in lines) == (width < 120)


def test_settings_that_were_asked_for_are_shown_fitting_or_not(work):
    make_run(DAY / "10-00-00-iris-mlp-abcd")
    lines = plain(at_terminal("runs", "--keys", "model,data,optimizer,val/loss", cwd=work, columns=40)).splitlines()
    assert lines[0].split() == ["name", "model.name", "data.name", "optimizer.name", "val/loss"]
    assert lines[1].split() == ["10-00-00-iris-mlp-abcd", "mlp", "iris", "adam", "0.5000"]


def test_pruning_asks_at_a_terminal(work):
    import pty
    import subprocess

    make_run(DAY / "a")
    make_run(DAY / "b")
    for answer, left in (("n\n", ["a", "b"]), ("\x04", ["a", "b"]), ("y\n", ["b"])):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*DLTRAIN, "runs", "prune", f"{DAY}/a"],
            cwd=work,
            env=environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(ours, 1000)
        os.write(ours, answer.encode())
        assert process.wait(60) == 0 and b"Remove 1 folder, " in seen
        os.close(ours)
        assert sorted(path.name for path in (work / DAY).iterdir()) == left


def test_without_a_terminal_pruning_needs_yes(dltrain, work, monkeypatch):
    make_run(DAY / "a")
    answer = dltrain("runs", "prune", "a")
    assert answer.code == 2 and f"{DAY}/a\n" in answer.out
    assert answer.err == "error: there is no terminal to ask at. With --yes they are removed\n"
    answer = dltrain("runs", "prune", "status=failed", "--yes")
    assert answer.code == 0 and answer.err == "no run has status=failed. There is: done.\nnothing is removed\n"
    answer = dltrain("runs", "prune", "a", "--yes")
    assert answer.code == 0 and answer.err.startswith("removed ") and not DAY.exists()


def test_the_verbs_are_in_the_help(capsys):
    assert cli.run(["--help"]) == 0
    assert "a table of runs" in capsys.readouterr().out
