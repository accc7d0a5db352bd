"""What a learning-rate sweep found: the loss by rate, and three rules that read a rate off it."""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from dataclasses import dataclass, field

RULES = ("steepest", "valley", "tenth")

# The loss has fallen only if it fell by more than this share of what it was, and by more than so many standard
# deviations of what chance alone does to the smoothed loss.
_LEAST_FALL = 0.01
_NOISE = 4.0
# The loss climbs again only if it gets back this share of its fall, or the sweep stopped because of it.
_LEAST_CLIMB = 0.5
_LAST_LEFT_OUT = 5
_FEWEST = 10


@dataclass
class Curve:
    """Losses by learning rate, in the order in which they came.

    Attributes:
        smoothing: share that the running mean keeps at each step.
        rates: of the optimizer's first group, as ``optimizer.lr`` sets it.
        losses: of the batch before the update with that rate; all are finite.
        smoothed: their exponential running mean, corrected for its start at 0 (as in Adam).
        lowest: of the smoothed losses.
        ended: why the sweep ended.
        diverged_at: the rate at which it stopped because the loss climbed too far or was no number; else None.
    """

    smoothing: float
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    lowest: float = math.inf
    ended: str = ""
    diverged_at: float | None = None
    _mean: float = 0.0

    def add(self, rate: float, loss: float) -> None:
        """Adds a point; the loss is finite."""
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        self.rates.append(rate)
        self.losses.append(loss)
        self.smoothed.append(self._mean / (1 - self.smoothing ** len(self.rates)))
        self.lowest = min(self.lowest, self.smoothed[-1])

    def noise(self) -> float:
        """Returns the standard deviation of the smoothed loss that comes from batches being different.

        It is told from the differences between neighbours, which a trend hardly changes: their median size is
        0.6745 * sqrt(2) standard deviations. The running mean of independent values has sqrt((1 - s) / (1 + s)) of it.
        """
        steps = [abs(later - earlier) for earlier, later in itertools.pairwise(self.losses)]
        deviation = statistics.median(steps) / (0.6745 * math.sqrt(2)) if steps else 0.0
        return deviation * math.sqrt((1 - self.smoothing) / (1 + self.smoothing))

    def loss_at(self, rate: float) -> float:
        """Returns the smoothed loss at a rate within the sweep, straight between its neighbours in log(rate)."""
        after = min(max(1, bisect.bisect_left(self.rates, rate)), len(self.rates) - 1)
        low, high = self.rates[after - 1], self.rates[after]
        share = min(1.0, max(0.0, math.log(rate / low) / math.log(high / low)))
        return self.smoothed[after - 1] + share * (self.smoothed[after] - self.smoothed[after - 1])


@dataclass(frozen=True)
class Suggestion:
    """What a rule says.

    Attributes:
        rate: of two digits, so that what is printed is what is meant; None where the rule finds none.
        loss: the smoothed loss there.
        reason: why there is no rate; "" where there is one.
    """

    rate: float | None
    loss: float | None = None
    reason: str = ""


def suggest(curve: Curve) -> dict[str, Suggestion]:
    """Returns what each rule says of a curve, in the order of ``RULES``.

    steepest  the rate at which the smoothed loss falls most steeply over log(rate) (Gugger 2018, "How do you find a
              good learning rate"; fastai's ``steep``). The slope is that of the straight line nearest to a twentieth
              of the points on each side, because that between neighbours is mostly chance.
    valley    two thirds along the longest falling subsequence of the smoothed loss (after fastai's ``valley``, which
              takes the subsequence for an unbroken stretch).
    tenth     a tenth of the turning point, the last rate before the loss climbs (Geron 2022, "Hands-On Machine
              Learning", ch. 11: the best rate is "about 10 times lower than the turning point"; fastai's ``minimum``).

    The first tenth is left out, where the mean is of few batches, and the last five points (as in fastai). The first
    two rules look at the fall alone: from where the loss leaves the height at which it began to where it first reaches
    its lowest, each within chance or a hundredth of the fall.
    """
    first = len(curve.rates) // 10
    places = range(first, len(curve.rates) - _LAST_LEFT_OUT)
    reason = _unusable(curve, places)
    if reason:
        return dict.fromkeys(RULES, Suggestion(None, reason=reason))
    start, lowest = curve.smoothed[first], min(curve.smoothed[first:])
    margin = max(_LEAST_FALL * (start - lowest), curve.noise())
    bottom = [place for place in range(first, len(curve.rates)) if curve.smoothed[place] <= lowest + margin]
    end = min(bottom[0], places[-1])
    top = [place for place in range(first, end) if curve.smoothed[place] >= start - margin]
    falling = range(top[-1], end + 1)
    return {
        "steepest": _steepest(curve, falling, max(1, len(places) // 20)),
        "valley": _valley(curve, falling),
        "tenth": _tenth(curve, bottom[-1], start - lowest),
    }


def _unusable(curve: Curve, places: range) -> str:
    """Returns why no rule can say anything, or ""."""
    if len(places) < _FEWEST:
        return f"too few points: {len(curve.rates)}. Start lower, or take more steps"
    start, lowest = curve.smoothed[places[0]], min(curve.smoothed[place] for place in places)
    if start - lowest <= max(_LEAST_FALL * abs(start), _NOISE * curve.noise()):
        return f"the loss does not fall: {start:.4g} at first, {lowest:.4g} at best"
    return ""


def _at(curve: Curve, rate: float) -> Suggestion:
    rate = float(f"{rate:.2g}")
    return Suggestion(rate, curve.loss_at(rate))


def _steepest(curve: Curve, falling: range, beside: int) -> Suggestion:
    """
    Args:
        beside: points on each side whose slope counts.
    """

    def slope(place: int) -> float:
        window = slice(max(0, place - beside), place + beside + 1)
        return statistics.linear_regression(
            [math.log(rate) for rate in curve.rates[window]], curve.smoothed[window]
        ).slope

    return _at(curve, curve.rates[min(falling, key=slope)])


def _valley(curve: Curve, falling: range) -> Suggestion:
    longest = longest_falling([curve.smoothed[place] for place in falling])
    return _at(curve, curve.rates[falling[longest[2 * (len(longest) - 1) // 3]]])


def longest_falling(values: list[float]) -> list[int]:
    """Returns the places of a longest strictly falling subsequence (Schensted 1961, by patience sorting)."""
    ends: list[float] = []  # ends[k]: minus the largest last value of a falling subsequence of k + 1 values
    last: list[int] = []  # its place
    before: list[int | None] = []
    for place, value in enumerate(values):
        length = bisect.bisect_left(ends, -value)
        before.append(last[length - 1] if length else None)
        ends[length : length + 1] = [-value]
        last[length : length + 1] = [place]
    found: list[int] = []
    follow = last[-1] if last else None
    while follow is not None:
        found.append(follow)
        follow = before[follow]
    return found[::-1]


def _tenth(curve: Curve, turning: int, fall: float) -> Suggestion:
    climb = max(curve.smoothed[turning:]) - curve.lowest
    if curve.diverged_at is None and climb < _LEAST_CLIMB * fall:
        return Suggestion(None, reason=f"the loss does not climb again up to {curve.rates[-1]:.2g}")
    rate = curve.rates[turning] / 10
    if rate < curve.rates[0]:
        return Suggestion(None, reason=f"a tenth of {curve.rates[turning]:.2g} is below the sweep. Start lower")
    return _at(curve, rate)
