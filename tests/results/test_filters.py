"""Comparisons choose the runs that they say, and mistakes in them are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from runfolders import make_run, result_of, rows_of

from dltrain.errors import ConfigError
from dltrain.results import filters
from dltrain.results.keys import Keys, spelled
from dltrain.results.selection import select

DAY = Path("runs/2026-01-02")


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory):
    """A folder with three runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("three"))
        _make_three()
        return Path.cwd()


def _make_three():
    make_run(DAY / "a-korean", [1.0, 0.25], optimizer__lr=0.1, days=1, accuracy=0.95)
    make_run(DAY / "b", [1.0, 0.5], optimizer__lr=1e-4, data__species=["산", "강"], days=3, model__hidden=[64, 32])
    failed = result_of(rows_of([2.0]), status="failed", test=None)
    make_run(DAY / "c", [2.0], result=failed, model="lstm", data="korean_text", days=40)


@pytest.fixture
def three(three_runs, work):
    """The three runs in a copy of their own: the working directory."""
    shutil.copytree(three_runs, work, dirs_exist_ok=True)


def chosen(*words):
    return "".join(sorted(run.name.rpartition("/")[2][0] for run in select(words).runs))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model=mlp"], "ab"),
        (["model.name=mlp,lstm"], "abc"),
        (["model!=mlp"], "c"),
        (["optimizer.lr=1e-1"], "a"),
        (["optimizer.lr=0.0001"], "b"),
        (["optimizer.lr>=0.1"], "a"),
        (["optimizer.lr<0.1"], "bc"),
        (["optimizer.lr < 0.1"], "bc"),
        (['model.name = "lstm"'], "c"),
        (["data.species=[산, 강]"], "b"),
        (["data.species=['산','강']"], "b"),
        (["data.species=null"], "a"),
        (["model.hidden=[64,32],128"], "bc"),
        (["data.species~강"], "b"),
        (["status=failed"], "c"),
        (["status==done"], "ab"),
        (["val/accuracy>0.9"], "a"),
        (["val/loss<=0.5"], "ab"),
        (["val/loss<=0.5", "val/accuracy<0.9"], "b"),
        (["test/loss>0"], "ab"),
        (["age<2d"], "a"),
        (["age>1d12h", "age<30d"], "b"),
        (["time<1s"], "c"),
        (["epochs=2"], "ab"),
        (["name~KOREAN"], "a"),
        (["name~*-korean"], "a"),
        (["name=2026-01-02/b"], "b"),
        (["best<0.3"], "a"),
        (["metric=val/loss"], "abc"),
        (["model.embedding>0"], "c"),
        (["size<1M"], "abc"),
        (["size>1GB"], ""),
        (["seed=false"], ""),
        (["korean"], "a"),
        (["a-k", "b"], "ab"),
        (["*-korean"], "a"),
        (["runs/2026-01-02/c"], "c"),
        (["last"], "a"),
        (["2026-01-02", "status=failed"], "c"),
    ],
)
def test_what_comparisons_choose(three, words, expected):
    assert chosen(*words) == expected


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["optimzer.lr=1"], "no run has 'optimzer.lr'. Did you mean 'optimizer.lr'?"),
        (["lr=1"], "no run has 'lr'. Did you mean 'optimizer.lr'?"),
        (["accuracy>0.5"], "no run has 'accuracy'. Which one do you mean: val/accuracy, test/accuracy?"),
        (["vall/loss>0.5"], "no run has 'vall/loss'. Did you mean 'val/loss'?"),
        (["qqqq=1"], "no run has 'qqqq'. There is: name, status, best, metric, epochs, steps, age, time, size, "),
        (["val/loss>low"], "'val/loss>low': 'low' is no number"),
        (["age>old"], "'age>old': 'old' is no length of time. Write 90s, 30m, 1h30m, 7d, 1:30:00 or a number"),
        (["size>big"], "'size>big': 'big' is no number"),
        (["nothing"], "no run is named 'nothing'. There is: a-korean, b, c."),
        (["corean"], "no run is named 'corean'. Did you mean 'a-korean'?"),
        (["val/accuracy"], "no run is named 'val/accuracy', but runs have such a key. Compare it: val/accuracy="),
    ],
)  # fmt: skip
def test_mistakes_are_told(three, words, told):
    with pytest.raises(ConfigError) as error:
        select(words)
    assert told in str(error.value)


def test_all_mistakes_are_told_together(three):
    with pytest.raises(ConfigError) as error:
        select(["lr=1", "age>old"])
    assert len(error.value.problems) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model=lstmm"], "no run has model=lstmm. Did you mean 'lstm'?"),
        (["status=killed"], "no run has status=killed. There is: done, failed."),
        (["val/loss<0"], "no run has val/loss<0"),
        (["model=lstm", "status=done"], "no run has all of model=lstm, status=done"),
    ],
)
def test_why_nothing_is_left_is_told(three, words, told):
    selection = select(words)
    assert not selection.runs and selection.why_none == told


def test_where_there_are_no_runs(work):
    with pytest.raises(ConfigError, match=f"there are no runs in {work / 'runs'}. Train one first"):
        select([])


def test_names_of_sweeps_and_their_trials(work):
    sweep = Path("runs/sweeps/2026-01-01_10-00-00-grid-abcd")
    for number in (0, 1, 10):
        make_run(sweep / "trials" / str(number), days=20 - number)
    (sweep / "multirun.yaml").write_text("{}")
    make_run(DAY / "single", days=0)

    def names(*words, **options):
        return [run.path.removeprefix("runs/") for run in select(words, **options).runs]

    trials = [f"sweeps/{sweep.name}/trials/{number}" for number in (10, 1, 0)]
    assert names() == ["2026-01-02/single"]
    assert names(trials=True) == ["2026-01-02/single", *trials]
    assert names("grid") == names(str(sweep)) == names(f"./{sweep}/") == names(str(sweep.absolute())) == trials
    assert names("grid-abcd/trials/1") == trials[1:2]
    assert names("trials/1") == trials[1:2]
    assert names("*grid*", newest_first=False) == trials[::-1]
    assert names(f"{sweep}/trials/0", "single") == [trials[2], "2026-01-02/single"]
    assert names("last", "grid") == ["2026-01-02/single", *trials]
    assert names("grid", "single", "grid") == [*trials, "2026-01-02/single"]
    assert select([]).left_out == [str(sweep)] and select(["grid"]).left_out == []


def test_a_run_elsewhere_and_one_whose_name_is_a_comparison(work):
    make_run(work / "elsewhere" / "lr=0.1")
    assert [run.path for run in select([str(work / "elsewhere" / "lr=0.1")]).runs] == [f"{work}/elsewhere/lr=0.1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (0.001, "0.001"), ([64, 32], "[64,32]"), ({}, "{}"), ("한글", "한글"), (3, "3")],
)
def test_values_are_spelled_as_on_the_command_line(value, text):
    assert spelled(value) == text


def test_keys(three):
    keys = Keys(select([]).runs)
    assert {"model.name", "data.name", "optimizer.lr", "model.hidden"} <= set(keys.differing())
    assert "seed" not in keys.differing() and "run_dir" not in keys.differing()
    assert keys.values("model.name") == ["lstm", "mlp"] and keys.variety("model.name") == 2
    assert keys.figures == ["train/loss", "val/loss", "val/accuracy", "test/loss", "test/accuracy"]
    assert filters.is_comparison("a>=1") and not filters.is_comparison("a")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("epochs=>3", ". Did you mean 'epochs>=3'?"), ("epochs==", ""), ("val/loss<", ""), ("epochs>>3", "")],
)
def test_a_sign_with_nothing_behind_it_is_a_mistake(word, meant, three):
    with pytest.raises(ConfigError) as error:
        select([word])
    assert str(error.value) == f"'{word}' compares with nothing. Write {filters.FORMS}{meant}"


def test_a_folder_of_runs_is_named_in_any_spelling(three, work, monkeypatch):
    for word in (str(DAY), f"./{DAY}/", str(DAY.absolute()), str(work / "runs")):
        assert chosen(word) == "abc", word
    (work / "beside").mkdir()
    monkeypatch.chdir(work / "beside")
    assert chosen("../runs") == chosen("../runs/2026-01-02/") == "abc"
