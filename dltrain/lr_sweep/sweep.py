"""The sweep itself: real updates on the training split while the learning rate rises from very small to very large."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from torch import nn

from dltrain.config import setting
from dltrain.data import Batch, Split
from dltrain.freezing import Freezing
from dltrain.lr_sweep.curve import Curve
from dltrain.models import FittedModel, RuleModel
from dltrain.rewind import rewound
from dltrain.steps import Step, place_in_update

# Optimizers whose learning rate is no factor of each update, so that sweeping it would show nothing.
_OTHER_MEANING = {
    "lbfgs": "its lr is the first step of a line search",
    "rprop": "its lr is the first step of each weight alone, which finds its own from then on",
    "prodigy": "it finds its rate by itself, and its lr stays at 1",
}
_SUMS = "adds up all squared gradients, so its updates shrink while the sweep goes on: the best rate may be smaller"
_WHOLE_PATH = "makes each weight anew from the sum of all gradients and the present rate, so early rates leave no trace"
_NOTES = {
    "adadelta": "finds the size of its updates by itself, starting very small: lr is a factor of it, and 1 is meant",
    "adagrad": _SUMS,
    "proximal_adagrad": _SUMS,
    "madgrad": _SUMS,
    "adagrad_dual_averaging": _WHOLE_PATH,
    "ftrl": _WHOLE_PATH,
}


@dataclass(frozen=True)
class SweepSettings:
    start: float = setting("First learning rate.", above=0)
    end: float = setting("Last learning rate, if the loss does not diverge before.", above=0)
    steps: int = setting("Optimizer updates from the first rate to the last; beyond an epoch they go on.", min=20)
    scale: str = setting(
        "exponential multiplies the rate with the same factor at each step, linear adds the same.",
        choices=("exponential", "linear"),
    )
    smoothing: float = setting("Share that the running mean of the loss keeps at each step.", min=0, below=1)
    diverge_factor: float = setting(
        "Stop where the smoothed loss is more than so many times its lowest, and above where it began.", above=1
    )

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"end = {self.end:g}: must be above start = {self.start:g}")


def rates(settings: SweepSettings) -> list[float]:
    """Returns the learning rate of each step, ``start`` first and ``end`` last."""
    start, end, last = settings.start, settings.end, settings.steps - 1
    if settings.scale == "linear":
        inner = [start + (end - start) * number / last for number in range(1, last)]
    else:
        inner = [start * (end / start) ** (number / last) for number in range(1, last)]
    return [start, *inner, end]


def refusal(model: nn.Module | None, optimizer: str) -> str | None:
    """Returns why the learning rate of a training cannot be swept, or None.

    Args:
        optimizer: its name.
    """
    if isinstance(model, FittedModel):
        return "the model is fitted in one step, without a learning rate"
    if isinstance(model, RuleModel):
        return "the model learns by its own rule, which does not follow the loss"
    if optimizer in _OTHER_MEANING:
        return f"optimizer.name = '{optimizer}': {_OTHER_MEANING[optimizer]}. optimizer=adam can be swept"
    return None


def note(optimizer: str) -> str | None:
    """Returns what a person should know of the sweep with this optimizer, or None."""
    return f"{optimizer} {_NOTES[optimizer]}" if optimizer in _NOTES else None


def sweep(
    step: Step,
    train: Split,
    settings: SweepSettings,
    *,
    learning_rate: float,
    accumulate: int = 1,
    freezing: Freezing | None = None,
    watch: Callable[[Curve], bool] | None = None,
) -> Curve:
    """Trains from the present weights with a rising rate, then puts everything back as it was, to the bit.

    This is the range test of Smith (2017, "Cyclical Learning Rates for Training Neural Networks", sec. 3.3,
    arXiv 1506.01186); that the rate rises by a factor is Geron's (2022, "Hands-On Machine Learning", ch. 11).

    Args:
        learning_rate: what ``optimizer.lr`` is now. Groups with rates of their own keep their ratio to it.
        accumulate: batches of one update.
        freezing: what is frozen in the first epoch.
        watch: is shown the curve after each step; True ends the sweep there.
    """
    curve = Curve(settings.smoothing)
    with rewound(step), contextlib.closing(_updates(train, accumulate)) as updates:
        step.model.train()
        if freezing is not None:
            freezing.apply(0)
        for rate in rates(settings):
            for group in step.optimizer.param_groups:
                group["lr"] = group["initial_lr"] / learning_rate * rate
            loss = _update(step, updates)
            if not math.isfinite(loss):
                curve.ended, curve.diverged_at = f"the loss became {loss} at {rate:.2g}", rate
                break
            curve.add(rate, loss)
            if _diverged(curve, settings):
                curve.ended, curve.diverged_at = f"the loss climbed to {curve.smoothed[-1]:.4g} at {rate:.2g}", rate
                break
            if watch is not None and watch(curve):
                curve.ended = "stopped"
                break
        else:
            curve.ended = f"the last rate, {settings.end:.2g}, was reached"
    return curve


_Part = tuple[Batch, float, bool]


def _updates(train: Split, accumulate: int) -> Generator[_Part, None, None]:
    """Yields batches, epoch after epoch: each with its share of its update, and whether it completes it."""
    for epoch in itertools.count():
        for number, batch in enumerate(train.batches(epoch)):
            yield batch, *place_in_update(train, accumulate, number, batch.size)


def _update(step: Step, parts: Iterator[_Part]) -> float:
    """Makes one update and returns its loss. This is where the sweep waits for the device, once a step."""
    losses = []
    for batch, share, update in parts:
        losses.append(step(batch, share, update).loss * share)
        if update:
            break
    return float(sum(losses))


def _diverged(curve: Curve, settings: SweepSettings) -> bool:
    """Tells whether the loss has climbed too far: above ``diverge_factor`` times its lowest, and where it began.

    A loss below 0 climbs too far at the same distance. The first tenth of the steps, of which the mean is of few
    batches, says where the loss began.
    """
    first = settings.steps // 10
    if len(curve.smoothed) <= first:
        return False
    limit = curve.lowest + (settings.diverge_factor - 1) * abs(curve.lowest)
    return curve.smoothed[-1] > max(limit, curve.smoothed[first])
