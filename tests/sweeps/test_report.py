"""The report of a sweep: what stands in it, and that nothing in it can do harm."""

from __future__ import annotations

import functools
import json
import math
import re
import subprocess
import sys

import pytest
from imagined_sweeps import INJECTION, METRIC, Sweep, everything, hostile, numbers

from dltrain.sweeps import report
from dltrain.sweeps.leaderboard import Place


@pytest.fixture
def sweep(tmp_path):
    """Returns a function that makes a sweep."""
    return lambda *arguments, **options: Sweep(tmp_path, *arguments, **options)


def figures(page):
    """Returns the plots of a page: the history, the parallel coordinates and the importance, those that are drawn."""
    found = re.findall(r'<script type="application/json" id="figures">(.*)</script>', page)
    return json.loads(found[0]) if found else {}


def axes(page):
    return {axis["label"]: axis for axis in figures(page)["plot-1"]["data"][0]["dimensions"]}


def labels(axis):
    """Returns what stands at the place of each trial on an axis, None between two marks."""
    marks = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    return [marks.get(value) for value in axis["values"]]


# --- what stands in it ------------------------------------------------------------------------------------


def test_it_tells_how_the_trials_ended_and_which_was_the_best(sweep):
    it = sweep().add(objective=0.5).add(objective=0.25).add("pruned").add("failed", reason="the loss became NaN\nin it")
    page = it.add("running").write()
    assert "5 trials: 2 done, 1 pruned, 1 failed, 1 running. Best val/loss: 0.25, of trial 1." in page
    assert "Training time of all together: 41 s." in page
    assert f'<tr><th scope="row">optimizer.lr</th><td>{it.trials[1].values["optimizer.lr"]}</td>' in page
    assert '<tr><th scope="row">test/loss</th><td>0.125</td>' in page
    assert re.findall(r'<a href="(trials/\d+)">', page) == [f"trials/{n}" for n in (1, 1, 0, 2, 3, 4)]
    assert "<summary>the loss became NaN</summary>\n<pre>in it</pre>" in page
    assert 'class="number">spread' not in page


def test_the_spread_of_several_runs_is_a_column(sweep):
    page = sweep().add(objective=0.5, parts={"0": 0.25, "1": 0.75}).add(objective=0.75).write()
    assert '<th scope="col" class="number">spread' in page
    assert '<td class="number">0.5</td><td class="number">0.353553</td><td' in page
    assert '<td class="number">0.75</td><td class="number"></td><td' in page


def test_the_history_has_each_trial_under_its_number_and_the_best_so_far(sweep):
    it = sweep().add(objective=0.5).add("failed").add(objective=0.25).add("pruned", 0.75).add(objective=0.375)
    best, done, pruned = figures(it.add(objective=0.25, retry_of=1).write())["plot-0"]["data"]
    assert (best["x"], best["y"]) == ([0, 1, 2, 4, 4], [0.5, 0.25, 0.25, 0.25, 0.25])
    assert best["line"]["shape"] == "hv"
    assert (done["x"], done["y"]) == ([0, 1, 2, 4], [0.5, 0.25, 0.25, 0.375])
    assert (pruned["x"], pruned["y"]) == ([3], [0.75])
    assert done["marker"]["symbol"] != pruned["marker"]["symbol"]


def test_a_higher_value_is_the_better_one_where_it_is(sweep):
    page = sweep(higher_is_better=True).add(objective=0.5).add(objective=0.75).add(objective=0.25).write()
    assert "Best val/loss: 0.75, of trial 1." in page
    assert figures(page)["plot-0"]["data"][0]["y"] == [0.5, 0.75, 0.75, 0.75]
    assert figures(page)["plot-1"]["data"][0]["line"]["color"] == [0.75, 0.5, 0.25]


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_trials_that_went_astray_do_not_flatten_the_others(sweep, higher_is_better):
    sign = -1 if higher_is_better else 1
    it = sweep(higher_is_better=higher_is_better)
    for objective in (0.5, 0.25, 1e6, 0.75, 0.375, 3e7):
        it.add(objective=sign * objective)
    page = it.write()
    assert page.count(f"2 trials are worse than {sign * 0.75:g}: ") == 2
    _, done, beyond = figures(page)["plot-0"]["data"]
    assert max(abs(y) for y in done["y"]) == 0.75
    assert (beyond["x"], beyond["y"]) == ([2, 5], [sign * 0.75] * 2)
    assert f"val/loss {sign * 1e6:.4g}" in beyond["text"][0]
    line = figures(page)["plot-1"]["data"][0]["line"]
    assert (line["cmin"], line["cmax"]) == (-0.75, -0.25)
    assert line["color"] == [-0.25, -0.375, -0.5, -0.75, -0.75, -0.75]
    assert all("e+" not in text for text in axes(page)[METRIC]["ticktext"])


def test_objectives_of_many_magnitudes_are_drawn_by_their_logarithm(sweep):
    it = sweep(everything)
    for power in range(-6, 1):
        it.add(objective=10.0**power)
    page = it.write()
    assert figures(page)["plot-0"]["layout"]["yaxis"]["type"] == "log"
    assert labels(axes(page)[METRIC]) == ["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]
    assert "the logarithm of val/loss" in page


# --- the parallel coordinates -----------------------------------------------------------------------------


def test_an_axis_is_for_each_parameter_with_what_a_person_reads_on_it(sweep):
    it = sweep(everything)
    for _ in range(30):
        it.add()
    found = axes(it.add("failed").add("pruned").write())
    hidden = {f"model.hidden.{part}" for part in ("length", 0, 1, 2)}
    single = {"optimizer.lr", "data.path", "data.batch_size", "optimizer", "optimizer.momentum"}
    assert set(found) == hidden | single | {METRIC}
    assert all(len(axis["values"]) == 30 for axis in found.values())
    done = sorted((trial for trial in it.trials.values() if trial.status == "done"), key=lambda t: t.objective)
    values = [trial.values for trial in done]
    assert labels(found["optimizer"]) == [each["optimizer"] for each in values]
    assert labels(found["data.batch_size"]) == [each["data.batch_size"] for each in values]
    assert labels(found["model.hidden.length"]) == [str(len(json.loads(each["model.hidden"]))) for each in values]
    assert found["data.path"]["ticktext"][:2] == ["한글 자료", "뉴스 <기사>"]
    assert found["optimizer.lr"]["values"] == pytest.approx(
        [math.log10(float(v["optimizer.lr"])) for v in values], 1e-3
    )
    assert {"0.0001", "0.001", "0.01"} <= set(found["optimizer.lr"]["ticktext"])


def test_a_value_that_a_trial_does_not_have_is_on_a_place_of_its_own(sweep):
    it = sweep(everything)
    for _ in range(12):
        it.add()
    found = axes(it.write())
    for name in ("optimizer.momentum", "model.hidden.2"):
        axis = found[name]
        assert axis["ticktext"][0] == "–" and axis["range"][0] == axis["tickvals"][0]
        missing = [text == "–" for text in labels(axis)]
        assert any(missing) and not all(missing)
    is_sgd = [text == "sgd" for text in labels(found["optimizer"])]
    assert [text != "–" for text in labels(found["optimizer.momentum"])] == is_sgd
    assert "–" not in found["optimizer.lr"]["ticktext"]


def test_the_numbers_of_a_grid_are_numbers_though_they_are_text(sweep):
    texts = ["1", "2", "10", "0.1"]

    def space(trial):
        steps, rate = (trial.suggest_categorical(name, texts[:n]) for name, n in (("steps", 2), ("rate", 4)))
        return {"steps": steps, "rate": rate}, float(rate)

    it = sweep(space)
    for steps in texts[:2]:
        for rate in texts:
            it.study.enqueue_trial({"steps": steps, "rate": rate})
            it.add()
    found = axes(it.write())
    assert found["steps"]["values"] == [1, 2] * 4
    assert found["rate"]["values"] == pytest.approx([-1, -1, 0, 0, math.log10(2), math.log10(2), 1, 1])
    assert labels(found["rate"]) == [text for text in ("0.1", "1", "2", "10") for _ in range(2)]


def test_a_key_that_no_parameter_stands_for_has_its_texts(sweep):
    it = sweep(lambda trial: ({"data": "가" if trial.number else "나", "data.size": "3"}, trial.number + 1.0))
    found = axes(it.add().add().write())
    assert labels(found["data"]) == ["나", "가"]
    assert found["data.size"]["ticktext"] == ["3"]


def test_texts_that_are_cut_off_alike_stay_apart(sweep):
    paths = [f"/a/long/folder/of/data/korean/{name}" for name in "abc"]
    it = sweep(lambda trial: ({"path": trial.suggest_categorical("path", paths)}, trial.number + 1.0))
    for path in paths:
        it.study.enqueue_trial({"path": path})
        it.add()
    axis = axes(it.write())["path"]
    assert len(set(axis["ticktext"])) == 3 and max(map(len, axis["ticktext"])) < 24


# --- importance -------------------------------------------------------------------------------------------


def test_what_mattered_is_told_of_the_parameters_that_all_trials_have(sweep):
    it = sweep(everything)
    for _ in range(40):
        it.add()
    (bar,) = figures(it.write())["plot-2"]["data"]
    shares = dict(zip(bar["y"], bar["x"], strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    assert bar["x"] == sorted(bar["x"])  # the greatest on top
    assert "optimizer.momentum" not in shares and "model.hidden.1" not in shares
    assert shares["optimizer"] + shares["optimizer.lr"] > 0.8


def names(trial):
    """Two keys with more categories than there are bits in a number of combinations."""
    choices = [f"이름{number}" for number in range(40)]
    values = {key: trial.suggest_categorical(key, choices) for key in ("optimizer", "scheduler")}
    return values, choices.index(values["optimizer"]) + 0.01 * choices.index(values["scheduler"])


def test_a_key_may_have_very_many_values(sweep):
    it = sweep(names)
    for _ in range(60):
        it.add()
    (bar,) = figures(it.write())["plot-2"]["data"]
    shares = dict(zip(bar["y"], bar["x"], strict=True))
    assert shares["optimizer"] > 0.6 > shares["scheduler"]


def flat(trial):
    return {"model": trial.suggest_categorical("model", ["mlp", "cnn"])}, 0.5


def single(trial):
    return {"model": trial.suggest_categorical("model", ["mlp"])}, trial.number + 1.0


def apart(trial):
    name = f"key{trial.number % 2}"
    return {name: f"{trial.suggest_float(name, 0, 1):.4g}"}, trial.number + 1.0


@pytest.mark.parametrize(
    ("space", "trials", "why"),
    [
        (numbers, 1, "This needs at least two trials that are done."),
        (flat, 6, "All trials that are done have the same objective."),
        (single, 6, "Each parameter has the same value in every trial that is done."),
        (numbers, 6, "Only one parameter was searched in every trial that is done: optimizer.lr."),
        (apart, 6, "No parameter has a value in every trial that is done."),
    ],
)
def test_where_nothing_can_be_told_of_importance_it_is_said_why(sweep, space, trials, why):
    it = sweep(space)
    for _ in range(trials):
        it.add()
    page = it.write()
    assert why in page and "plot-2" not in figures(page)


# --- sweeps that are not done, and large ones -------------------------------------------------------------


@pytest.mark.parametrize("statuses", [(), ("failed",), ("pruned", "running", "waiting")])
def test_a_sweep_of_which_no_trial_is_done_has_a_page(sweep, statuses):
    it = sweep()
    for status in statuses:
        it.add(status)
    page = it.write()
    assert page.count("No trial is done yet.") == 2
    assert figures(page) == {} and "The best point" not in page
    assert all(f'<td><span class="{status}">{status}</span></td>' in page for status in statuses)


@pytest.mark.slow
def test_500_trials_have_a_line_each(sweep):
    it = sweep(everything)
    for _ in range(500):
        it.add()
    page = it.write()
    assert page.count("<tr>") > 500
    assert len(figures(page)) == 3


def test_plotly_is_imported_where_it_is_used():
    code = "import sys, dltrain.sweeps.leaderboard, dltrain.sweeps.report; sys.exit('plotly' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- harm -------------------------------------------------------------------------------------------------


def test_a_text_cannot_become_a_part_of_the_page(sweep):
    page = hostile(functools.partial(sweep, metric=f"val/{INJECTION}")).write()
    assert page.count("<script") == page.count("</script") == 4 and "<img" not in page
    (nonce,) = set(re.findall(r'<script nonce="(\w+)">', page))
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', page)
    assert "default-src 'none'" in policy and f"script-src 'nonce-{nonce}'" in policy


def test_the_page_loads_nothing_and_sends_nothing(sweep):
    page = hostile(sweep).write()
    assert not re.search(r"https?:|<script[^>]* src|<link|<iframe|@import|url\(", page)
    assert set(re.findall(r'(?:href|src)="([^"]*)"', page)) == {f"trials/{number}" for number in range(14)}
    assert "modeBarButtons: [" in page and "showSendToCloud: false" in page


def test_a_report_that_is_written_elsewhere_leads_to_the_trials(sweep, tmp_path):
    it = sweep().add(objective=0.5)
    it.write()
    elsewhere = tmp_path / "보고서" / "page.html"
    elsewhere.parent.mkdir()
    place = Place(it.trials[0], {})
    assert report.write(it.folder, [place], it.study, METRIC, False, elsewhere) == elsewhere
    assert 'href="../trials/0"' in elsewhere.read_text(encoding="utf-8")
