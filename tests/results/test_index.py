"""The index says what the files say, whatever happens to either."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import runfolders
from runfolders import make_run, result_of, rows_of

from dltrain import run_folder
from dltrain.results import folders, index, reading
from dltrain.results.record import MISSING

RUNS = Path("runs")
DAY = RUNS / "2026-01-02"


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    """Lets files that were written this moment be old enough for the index."""
    monkeypatch.setattr(index, "_SETTLED", -10.0)


def load():
    return index.load(RUNS, folders.single_runs(RUNS))


def load_without_reading(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(index.Index, "_read", None)
        return load()


def facts(runs):
    return [(run.name, run.status, run.config, run.best, run.last, run.test, run.numbers, run.problems) for run in runs]


def test_the_newest_comes_first_and_the_second_time_nothing_is_read(work, monkeypatch):
    for days in (3, 1, 2):
        make_run(DAY / f"10-00-00-iris-mlp-{days}", days=days, optimizer__lr=days / 10)
    first = load()
    assert [run.path for run in first] == [f"{DAY}/10-00-00-iris-mlp-{days}" for days in (1, 2, 3)]
    assert [run.path for run in reversed(run_folder.all_runs())] == [Path(run.path) for run in first]
    again = load_without_reading(monkeypatch)
    assert facts(again) == facts(first)
    assert again[0].setting("optimizer.lr") == 0.1 and again[0].setting("optimizer.no") is MISSING
    assert again[0].figure("val/loss") == 0.5 and again[0].figure("test/accuracy") == 0.5
    assert again[0].figure("val/accuracy") == 0.5 and again[0].figure("val/none") is None


@pytest.mark.parametrize("file", ["config", "result"])
def test_a_file_that_changes_is_read_again(work, file):
    run = make_run(DAY / "a")
    load()
    times = run.config.stat()
    if file == "config":
        text = run.config.read_text().replace("seed: 0", "seed: 7")  # of the same length, in its place
        run.config.write_text(text)
        os.utime(run.config, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert load()[0].setting("seed") == 7
    else:
        run_folder.write_json(run.result, result_of(rows_of([0.25]), status="failed"))
        assert load()[0].status == "failed" and load()[0].best["value"] == 0.25


def test_a_run_that_is_removed_while_it_is_looked_at_is_no_run(work, monkeypatch):
    for name in "ab":
        make_run(DAY / name)
    monkeypatch.setattr(index.ahead, "fetch", lambda _: shutil.rmtree(DAY / "a"))
    assert [run.name for run in load()] == ["2026-01-02/b"]


def test_a_file_that_was_changed_this_moment_is_not_trusted(work, monkeypatch):
    monkeypatch.setattr(index, "_SETTLED", 1000.0)
    make_run(DAY / "a")
    load()
    assert not (RUNS / index.FILE).exists()


def test_runs_that_go_and_come(work):
    make_run(DAY / "a")
    second = make_run(DAY / "b")
    load()
    second.config.unlink()
    make_run(RUNS / "c")
    assert {run.name for run in load()} == {"2026-01-02/a", "c"}
    body = (RUNS / index.FILE).read_text().splitlines()[1]
    assert set(json.loads(body)[1]) == {"2026-01-02/a", "c"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-10],
        lambda content: content.replace(b"done", b"gone", 1),
        lambda content: b"99" + content[1:],
        lambda content: b"1 0\n[]",
        lambda content: b"\xff" * 100,
    ],
)
def test_a_damaged_index_is_written_anew(work, damage):
    make_run(DAY / "a")
    first = facts(load())
    file = RUNS / index.FILE
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert facts(load()) == first
    assert file.read_bytes() == whole


def test_a_whole_index_of_the_wrong_shape_is_not_used(work):
    make_run(DAY / "a")
    first = facts(load())
    for body in (b"[1,2]\n[]", b'[[],{"2026-01-02/a":[1]}]\n[]', b"[[],[]]\n"):
        (RUNS / index.FILE).write_bytes(b"%d %d\n" % (index._VERSION, index.zlib.crc32(body)) + body)
        assert facts(load()) == first


def test_where_nothing_can_be_written_it_is_read_every_time(work, monkeypatch):
    make_run(DAY / "a")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
    assert load()[0].status == "done"
    assert [path.name for path in RUNS.iterdir()] == ["2026-01-02"]


def test_two_processes_at_once(work):
    for number in range(40):
        make_run(DAY / f"{number:02}", optimizer__lr=1 / (number + 1))
    code = (
        "from pathlib import Path; from dltrain.results import folders, index\n"
        "index._SETTLED = -10.0\n"
        "for _ in range(20):\n"
        "    Path('runs/.index.json').unlink(missing_ok=True)\n"
        "    runs = index.load(Path('runs'), folders.single_runs(Path('runs')))\n"
        "    assert sorted(run.setting('optimizer.lr') for run in runs) == [1 / n for n in range(40, 0, -1)]\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[1] for process in processes] == ["", ""]
    assert [path.name for path in RUNS.glob(".*")] == [index.FILE]
    assert len(load()) == 40


# --- what became of a run ---------------------------------------------------------------------------------


def test_a_run_is_running_as_long_as_its_lock_is_held(work):
    run = make_run(DAY / "a", [2.0, 1.0, 3.0], result={"status": "running"})
    with run.locked():
        found = load()[0]
        assert found.status == "running" and found.seconds < 60
        assert found.best == {"metric": "val/loss", "value": 1.0, "epoch": 2, "step": 6}
    ended = load()[0]
    assert ended.status == "killed" and ended.seconds == 1.5 and ended.numbers["epochs"] == 3


def test_the_figures_of_a_running_run_are_never_old(work):
    run = make_run(DAY / "a", [2.0], result={"status": "running"})
    assert load()[0].best["value"] == 2.0
    with run.metrics.open("a") as file:
        file.write(json.dumps({**rows_of([0.0, 0.125])[1]}) + "\n")
    assert load()[0].best["value"] == 0.125


def test_looking_at_a_lock_takes_it_from_nobody(work):
    run = make_run(DAY / "a", result={"status": "running"})
    before = run.lock_file.stat().st_mtime_ns
    assert not folders.is_held(str(run.lock_file)) and not folders.is_held("runs/none")
    with run.locked():
        assert folders.is_held(str(run.lock_file)) and folders.is_held(str(run.lock_file))
    (work / "link").symlink_to(run.lock_file)
    assert not folders.is_held(str(work / "link"))
    os.utime(run.lock_file, ns=(before, before))
    load()
    assert run.lock_file.stat().st_mtime_ns == before


def test_runs_without_a_result_damaged_ones_and_those_without_figures(work):
    make_run(DAY / "none", result={})
    config = make_run(DAY / "config")
    config.config.write_text("a: [")
    result = make_run(DAY / "result")
    result.result.write_text('{"status": "do')
    make_run(DAY / "nan", [None, None], result=result_of(rows_of([1.0]), best={"metric": "val/loss", "value": None}))
    empty = make_run(DAY / "empty", [], result={})
    empty.metrics.write_text("") if empty.metrics.exists() else None
    found = {run.name.rpartition("/")[2]: run for run in load()}
    assert {name: run.status for name, run in found.items()} == {
        "none": "killed",
        "config": "damaged",
        "result": "damaged",
        "nan": "done",
        "empty": "killed",
    }
    assert found["config"].problems == [f"{config.config} is damaged: it is no YAML (line 2)"]
    assert str(result.result) in found["result"].problems[0]
    assert found["nan"].best == {} and found["none"].best["value"] == 0.5 and found["empty"].seconds is None
    assert facts(load()) == facts(load())


def test_trials_of_a_sweep_are_found_by_themselves(work):
    sweep = RUNS / "sweeps" / "2026-01-01_10-00-00-grid-abcd"
    make_run(sweep / "trials" / "0")
    make_run(sweep / "trials" / "1" / "seed-0")
    (sweep / "multirun.yaml").write_text("{}")
    make_run(DAY / "a")
    assert [run.name for run in load()] == ["2026-01-02/a"]
    assert folders.sweeps(RUNS) == [str(sweep)] and folders.num_trials(str(sweep)) == 2
    inside = sorted(folders.trials(str(sweep)))
    assert inside == [f"{sweep}/trials/0", f"{sweep}/trials/1/seed-0"]
    assert [folders.sweep_of(path) for path in (*inside, f"{DAY}/a")] == [str(sweep), str(sweep), None]
    index.load(RUNS, inside)
    load()
    assert len(json.loads((RUNS / index.FILE).read_text().splitlines()[1])[1]) == 3


def test_hidden_folders_files_and_links(work):
    make_run(RUNS / ".hidden" / "a")
    make_run(DAY / ".removed-abcd-x")
    make_run(work / "elsewhere")
    (RUNS / "file").write_text("")
    (DAY / "link").symlink_to(work / "elsewhere")
    assert [run.name for run in load()] == ["2026-01-02/link"]


def test_sizes_count_every_file_once_and_follow_no_link(work):
    run = make_run(DAY / "a")
    (run.checkpoints / "big").write_bytes(b"x" * 10_000)
    (run.path / "outside").symlink_to(work)
    expected = sum(p.lstat().st_size for p in run.path.rglob("*") if not p.is_dir() or p.is_symlink())
    assert load()[0].size == expected


def test_what_the_checkpoint_callback_watches_decides(work):
    config = runfolders.config_of()
    config["callbacks"]["mine"] = {**config["callbacks"].pop("checkpoint"), "monitor": "val/accuracy"}
    make_run(DAY / "a", config=config, result={}, accuracy=0.75)
    assert load()[0].best == {"metric": "val/accuracy", "value": 0.75, "epoch": 1, "step": 3}
    assert time.time() - load()[0].trained > 80_000
    assert reading.finite(float("inf")) is None
