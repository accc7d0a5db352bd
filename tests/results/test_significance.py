"""The tests agree with SciPy's, and what cannot be tested is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dltrain.results.significance import Group, between, holm, paired_p, summary, welch_p

SAMPLES = st.lists(st.floats(-100, 100), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-3)


@given(SAMPLES, SAMPLES)
def test_welch(a, b):
    assert welch_p(a, b) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9, abs=1e-12)


@given(SAMPLES)
def test_paired(differences):
    expected = stats.ttest_rel(differences, np.zeros(len(differences))).pvalue
    pairs = [(difference, 0.0) for difference in differences]
    assert paired_p(pairs) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_differences_that_vary_by_their_rounding_alone_are_one_difference(scale):
    """Of 30 samples, one more is right each time: 4/30 - 3/30 is not 21/30 - 20/30 in floating point."""
    pairs = [(scale * (count + 1) / 30, scale * count / 30) for count in (3, 11, 20)]
    assert len({one - other for one, other in pairs}) > 1
    assert paired_p(pairs) is None
    assert paired_p([*pairs, (scale * 25 / 30, scale * 23 / 30)]) is not None


@given(SAMPLES)
def test_the_interval(values):
    group = Group("", [], dict(enumerate(values)))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert group.mean - group.half_width == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert group.mean + group.half_width == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, None, 0.8]) == [1.0, None, 1.0]
    assert holm([]) == [] and holm([0.02]) == [0.02]


def group(label, *values, seeds=None):
    return Group(label, list(range(len(values))), dict(zip(seeds or range(len(values)), values, strict=True)))


def said(*groups, metric="val/loss"):
    return summary(groups, between(groups), metric)


def test_one_seed_each():
    assert said(group("a", 1.0), group("b", 2.0)) == [
        "one seed each: no test is possible. Train more with -m seed=0,1,2"
    ]


def test_two_groups_that_differ():
    a, b = group("lr=0.1", 1.0, 1.1, 0.9, 1.0, 1.05), group("lr=1.0", 2.0, 2.1, 1.9, 2.0, 2.05)
    (test,) = between([a, b])
    assert test.difference == pytest.approx(-1) and test.welch < 1e-6
    assert test.paired is None or test.paired < 1e-6
    assert said(a, b)[0] == "lr=0.1 is better than lr=1.0"
    assert said(a, b, metric="val/accuracy")[0] == "lr=1.0 is better than lr=0.1"


def test_two_groups_that_may_be_the_same():
    lines = said(group("a", 1.0, 2.0, 1.5), group("b", 1.6, 1.1, 1.9))
    assert lines[0] == "a and b: the difference may be chance"
    assert lines[-1] == "3 seeds are few: only a large difference can be told from chance"


def test_pairs_may_tell_what_the_groups_do_not():
    a = group("a", 1.0, 5.0, 9.0, 13.0, 17.0)
    b = group("b", 1.21, 5.2, 9.19, 13.2, 17.2)
    (test,) = between([a, b])
    assert test.welch > 0.5 and test.paired < 1e-4
    assert said(a, b)[0] == "a is better than b"


def test_one_test_decides_and_not_the_smaller_of_two():
    a, b = group("a", 0.0, 1.0, 2.0), group("b", 4.0, 3.2, 2.4)
    (test,) = between([a, b])
    assert test.welch < 0.05 < test.paired
    assert said(a, b)[0] == "a and b: the difference may be chance"
    assert said(a, group("b", 4.0, 3.2, 2.4, seeds=[7, 8, 9]))[0] == "a is better than b"


def test_without_the_same_seeds_there_are_no_pairs():
    (test,) = between([group("a", 1.0, 2.0), group("b", 1.0, 2.5, seeds=[0, 7])])
    assert test.paired is None and test.welch is not None


def test_three_groups_are_corrected_and_a_single_run_is_named():
    a, b, c, d = group("a", 1.0, 1.1), group("b", 2.0, 2.2), group("c", 3.0, 3.1), group("d", 9.0)
    found = between([a, b, c, d])
    assert [(test.first, test.second) for test in found] == [(0, 1), (0, 2), (1, 2)]
    raw = [welch_p(list(x.values.values()), list(y.values.values())) for x, y in ((a, b), (a, c), (b, c))]
    assert [test.welch for test in found] == pytest.approx(holm(raw))
    lines = said(a, b, c, d)
    assert "without a test, for they have one seed: d. Train more with -m seed=0,1,2" in lines
    assert "p is corrected for 3 tests (Holm)" in lines


def test_what_is_corrected_are_the_tests_that_decide():
    """a and b have the seeds of each other, c has others: one test of pairs decides and two of Welch."""
    a, b = group("a", 1.0, 2.0, 3.0), group("b", 1.5, 2.6, 3.4)
    c = group("c", 4.0, 5.5, 4.5, seeds=[7, 8, 9])
    pairs, a_c, b_c = between([a, b, c])
    raw = [
        stats.ttest_rel([1.0, 2.0, 3.0], [1.5, 2.6, 3.4]).pvalue,
        stats.ttest_ind([1.0, 2.0, 3.0], [4.0, 5.5, 4.5], equal_var=False).pvalue,
        stats.ttest_ind([1.5, 2.6, 3.4], [4.0, 5.5, 4.5], equal_var=False).pvalue,
    ]
    assert [test.p for test in (pairs, a_c, b_c)] == pytest.approx(holm(raw))
    assert [pairs.paired, a_c.welch, b_c.welch] == pytest.approx(holm(raw)) and a_c.paired is b_c.paired is None


def test_folds_are_named_and_what_they_share_is_told():
    keys = [(0, fold) for fold in range(3)]
    a, b = group("a", 1.0, 2.0, 3.0, seeds=keys), group("b", 2.0, 3.1, 4.0, seeds=keys)
    assert summary([a, b], between([a, b]), "val/loss", has_folds=True) == [
        "a is better than b",
        "paired: run by run of the same seed and fold, which decides where there is one",
        "runs of several folds share training samples: p is smaller than it would be of new data",
        "3 runs are few: only a large difference can be told from chance",
    ]


def test_values_that_no_seed_changes():
    assert said(group("a", 1.0, 1.0), group("b", 1.0, 1.0))[0] == "a and b: the same, so there is nothing to test"
    assert said(group("a", 1.0, 1.0), group("b", 2.0, 2.0))[0].startswith("a and b: a difference that no seed changes")


def test_one_group_alone_and_one_whose_runs_all_diverged():
    assert said(group("all runs", 1.0, 2.0)) == []
    assert said(group("a", 1.0, 2.0), Group("b", [2, 3], {})) == []
