"""Whether runs differ by more than their seeds do: means, intervals, and tests between groups of runs.

Runs whose configs are the same but for the seed are a group. The variance of a figure over seeds is that of new
initial weights and new orders of the batches on the same split of the data; it says nothing of other data.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.directions import is_higher_better

# The share of intervals that hold the true mean.
LEVEL = 0.95

# What is different between runs of one group.
SEED, FOLD = "seed", "data.fold"

# Equal differences of figures, such as 4/30 and 5/30 less 2/30 and 3/30, vary by this part of the figures.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds and folds alone.

    Attributes:
        label: what tells the group from the others.
        members: the places of its runs in the comparison; of several that are the same, the first.
        values: a figure of each by its seed and fold, those without one left out.
        repeated: how many runs were left out because another has their seed and fold.
    """

    label: str
    members: list[int]
    values: dict[Any, float]
    repeated: int = 0

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def std(self) -> float:
        """The standard deviation of a sample, with n - 1 below."""
        return statistics.stdev(self.values.values())

    @property
    def half_width(self) -> float:
        """Half of the interval of Student's t around the mean: t(n - 1) std / sqrt(n)."""
        from scipy.special import stdtrit

        return float(stdtrit(self.n - 1, (1 + LEVEL) / 2)) * self.std / math.sqrt(self.n)


@dataclass
class Test:
    """Two groups side by side.

    Attributes:
        first, second: places of the groups.
        difference: of the means, the first less the second.
        welch, paired: the p-values of both sides; None where a test cannot be made. Where there are more than two
            groups they are corrected for the number of tests.
    """

    first: int
    second: int
    difference: float
    welch: float | None
    paired: float | None

    @property
    def p(self) -> float | None:
        """The one that decides, chosen before any is known: the smaller of two would be too small."""
        return self.welch if self.paired is None else self.paired


def between(groups: Sequence[Group]) -> list[Test]:
    """Returns a test for each pair of groups that have two values at least."""
    able = [place for place, group in enumerate(groups) if group.n >= 2]
    found = [_test(groups, first, second) for first, second in itertools.combinations(able, 2)]
    if len(found) > 1:
        deciding, others = holm([test.p for test in found]), holm([test.welch for test in found])
        for each, p, welch in zip(found, deciding, others, strict=True):
            each.welch, each.paired = (p, None) if each.paired is None else (welch, p)
    return found


def _test(groups: Sequence[Group], first: int, second: int) -> Test:
    a, b = groups[first], groups[second]
    paired = None
    if a.values.keys() == b.values.keys():
        paired = paired_p([(a.values[key], b.values[key]) for key in a.values])
    return Test(first, second, a.mean - b.mean, welch_p(list(a.values.values()), list(b.values.values())), paired)


def welch_p(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Returns the p-value of Welch's t-test (1947, "The generalization of Student's problem", Biometrika 34), of both
    sides: of two samples whose variances may differ; None where neither sample varies.

    t = (mean a - mean b) / sqrt(va / na + vb / nb), with the degrees of freedom of Satterthwaite (1946).
    """
    parts = [statistics.variance(sample) / len(sample) for sample in (a, b)]
    total = sum(parts)
    if total == 0:
        return None
    freedom = total**2 / sum(part**2 / (len(sample) - 1) for part, sample in zip(parts, (a, b), strict=True))
    return _two_sided((statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(total), freedom)


def paired_p(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Returns the p-value of Student's t-test on the differences of pairs, of both sides; None where they do not vary
    by more than they are rounded."""
    differences = [one - other for one, other in pairs]
    spread = statistics.stdev(differences)
    if spread <= _ROUNDING * max(abs(value) for pair in pairs for value in pair):
        return None
    n = len(differences)
    return _two_sided(statistics.fmean(differences) / (spread / math.sqrt(n)), n - 1)


def _two_sided(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Returns p-values corrected for their number by Holm's step-down method (1979, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6); None stays None."""
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (value, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * value))
        corrected[place] = least
    return corrected


# --- in words ---------------------------------------------------------------------------------------------


def summary(groups: Sequence[Group], found: Sequence[Test], metric: str, has_folds: bool = False) -> list[str]:
    """Returns what the tests say, a line each, and what they cannot say."""
    runs = "runs" if has_folds else "seeds"
    if not any(group.n >= 2 for group in groups):
        return ["one seed each: no test is possible. Train more with -m seed=0,1,2"]
    lines = [_sentence(groups, test, metric) for test in found]
    alone = [group.label for group in groups if group.n == 1]
    if alone:
        lines.append(f"without a test, for they have one seed: {', '.join(alone)}. Train more with -m seed=0,1,2")
    if any(test.paired is not None for test in found):
        same = "seed and fold" if has_folds else "seed"
        lines.append(f"paired: run by run of the same {same}, which decides where there is one")
    if has_folds and found:
        lines.append("runs of several folds share training samples: p is smaller than it would be of new data")
    if len(found) > 1:
        lines.append(f"p is corrected for {len(found)} tests (Holm)")
    fewest = min((group.n for group in groups if group.n >= 2), default=0)
    if found and fewest < 5:
        lines.append(f"{fewest} {runs} are few: only a large difference can be told from chance")
    return lines


def _sentence(groups: Sequence[Group], test: Test, metric: str) -> str:
    first, second = groups[test.first].label, groups[test.second].label
    p = test.p
    if p is None:
        same = "the same" if test.difference == 0 else "a difference that no seed changes"
        return f"{first} and {second}: {same}, so there is nothing to test"
    better, worse = (first, second) if (test.difference > 0) == is_higher_better(metric) else (second, first)
    if p < 1 - LEVEL:
        return f"{better} is better than {worse}"
    return f"{first} and {second}: the difference may be chance"
