"""Learning-rate schedules at the positions that matter."""

from __future__ import annotations

import math
import random

import pytest
import torch
from killing import assert_same
from torch.optim import lr_scheduler
from training import resume, rows_of, train

from dltrain import registry, schedulers
from dltrain.errors import ConfigError
from dltrain.schedulers import Schedule


@pytest.fixture
def schedule(settings_of):
    """Builds a schedule of 10 epochs of 8 steps, unless told otherwise."""

    def build(name: str, max_epochs: int | None = 10, max_steps: int | None = None, **changes) -> Schedule:
        settings = settings_of("scheduler", name, **changes)
        return schedulers.build(settings, max_epochs=max_epochs, max_steps=max_steps, epoch_steps=8)

    return build


def factors(schedule: Schedule, positions: list[int]) -> list[float]:
    assert schedule.factor is not None
    return [schedule.factor(position) for position in positions]


def test_a_constant_rate_needs_no_factor(schedule):
    assert schedule("constant").factor is None


@pytest.mark.parametrize(
    ("name", "changes", "positions", "values"),
    [
        (
            "step",
            {"every": 3, "gamma": 0.5, "interval": "epoch"},
            [0, 2, 3, 5, 6, 9],
            [1, 1, 0.5, 0.5, 0.25, 0.125],
        ),
        ("exponential", {"gamma": 0.9, "interval": "epoch"}, [0, 1, 2, 9], [1, 0.9, 0.81, 0.9**9]),
        (
            "cosine",
            {"interval": "step", "final": 0.0},
            [0, 20, 40, 60, 80],
            [1, 0.85355339, 0.5, 0.14644661, 0],
        ),
        ("cosine", {"interval": "epoch", "final": 0.0}, [0, 5, 10], [1, 0.5, 0]),
        ("cosine", {"interval": "step", "final": 0.1}, [0, 40, 80, 99], [1, 0.55, 0.1, 0.1]),
        (
            "one_cycle",
            {"interval": "step", "rise": 0.25, "initial": 0.04, "final": 0.0},
            [0, 10, 20, 50, 80],
            [0.04, 0.52, 1, 0.5, 0],
        ),
        (
            "multi_step",
            {"milestones": [3, 7], "gamma": 0.1, "interval": "epoch"},
            [0, 2, 3, 6, 7, 9],
            [1, 1, 0.1, 0.1, 0.01, 0.01],
        ),
        (
            "cosine_restarts",
            {"interval": "epoch", "period": 2, "factor": 2.0, "final": 0.1},
            [0, 1, 2, 4, 6, 10, 14],
            [1, 0.55, 1, 0.55, 1, 0.55, 1],
        ),
        ("linear", {"interval": "epoch", "final": 0.2}, [0, 5, 10, 12], [1, 0.6, 0.2, 0.2]),
        ("polynomial", {"interval": "epoch", "power": 2.0, "final": 0.0}, [0, 5, 10, 12], [1, 0.25, 0, 0]),
        ("inverse_sqrt", {"warmup": 0, "timescale": None, "interval": "step"}, [0, 3, 8], [1, 1 / 2, 1 / 3]),
        ("inverse_sqrt", {"warmup": 0, "timescale": 4, "interval": "step"}, [0, 4, 12], [1, 0.5**0.5, 0.5]),
    ],
)
def test_the_rate_at_key_positions(schedule, name, changes, positions, values):
    assert factors(schedule(name, **changes), positions) == pytest.approx(values, abs=1e-8)


# Ours, and PyTorch's own, of a training of 40 steps; PyTorch's one-cycle is at its end at the last step, not after it.
AS_IN_PYTORCH = [
    ("step", {"every": 7, "gamma": 0.3}, lambda o: lr_scheduler.StepLR(o, 7, 0.3)),
    ("multi_step", {"milestones": [5, 17, 30], "gamma": 0.2}, lambda o: lr_scheduler.MultiStepLR(o, [5, 17, 30], 0.2)),
    ("exponential", {"gamma": 0.93}, lambda o: lr_scheduler.ExponentialLR(o, 0.93)),
    ("cosine", {"final": 0.05}, lambda o: lr_scheduler.CosineAnnealingLR(o, 40, 0.05)),
    (
        "cosine_restarts",
        {"period": 5, "factor": 2.0, "final": 0.01},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, 2, 0.01),
    ),
    (
        "cosine_restarts",
        {"period": 6, "factor": 1.0, "final": 0.0},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 6),
    ),
    ("linear", {"final": 0.1}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, 40)),
    ("polynomial", {"power": 0.9, "final": 0.0}, lambda o: lr_scheduler.PolynomialLR(o, 40, 0.9)),
    (
        "one_cycle",
        {"rise": 0.3, "initial": 0.04, "final": 0.04e-4},
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, 41, pct_start=13 / 41, div_factor=25, final_div_factor=1e4),
    ),
]


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize(("name", "changes", "theirs"), AS_IN_PYTORCH)
def test_a_whole_training_has_the_rates_of_pytorchs_scheduler(schedule, name, changes, theirs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = theirs(optimizer)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = schedule(name, None, 40, interval="step", warmup=0, **changes)
    assert factors(ours, list(range(40))) == pytest.approx(rates, abs=1e-9)


def test_the_rate_of_the_transformer_is_that_of_its_paper(schedule):
    warmup = 9  # the paper's peak is at step number warmup + 1, counted from 1
    ours = schedule("inverse_sqrt", None, 100, warmup=warmup, timescale=None)
    paper = [min(number**-0.5, number * (warmup + 1) ** -1.5) for number in range(1, 101)]
    assert factors(ours, list(range(100))) == pytest.approx([rate / max(paper) for rate in paper])


def test_restarts_without_number_take_no_time(schedule):
    endless = schedule("cosine_restarts", None, 10**9, interval="step", period=1, factor=1.0)
    assert factors(endless, [10**9 - 1]) == [1.0]


def test_milestones_must_rise(settings_of, tmp_path):
    for milestones in ([3, 3], [5, 2]):
        with pytest.raises(ConfigError) as caught:
            train(tmp_path / "run", "scheduler=multi_step", f"scheduler.milestones={milestones}")
        assert caught.value.problems == [f"scheduler: milestones = {milestones}: must rise from each to the next"]


# --- plateau ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize("monitor", ["val/loss", "val/accuracy"])
@pytest.mark.parametrize(
    "changes",
    [
        {"patience": 1, "gamma": 0.5},
        {"patience": 3, "gamma": 0.1, "cooldown": 2},
        {"patience": 2, "gamma": 0.3, "min_change": 0.2, "cooldown": 1, "lowest": 0.05},
    ],
)
def test_a_plateau_drops_where_pytorchs_does(schedule, monitor, changes):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max" if monitor == "val/accuracy" else "min",
        factor=changes["gamma"],
        patience=changes["patience"] - 1,  # theirs drops at the evaluation after
        threshold=changes.get("min_change", 0.0),
        threshold_mode="abs",
        cooldown=changes.get("cooldown", 0),
        min_lr=changes.get("lowest", 0.0),
        eps=0.0,
    )
    ours, generator, rates, expected = schedule("plateau", monitor=monitor, **changes), random.Random(1), [], []
    for epoch in range(60):
        rates += factors(ours, [epoch])
        expected.append(optimizer.param_groups[0]["lr"])
        value = 1 / (1 + epoch / 10) + generator.gauss(0, 0.1)
        value = -value if monitor == "val/accuracy" else value
        ours.observe({"epoch": epoch + 1, "step": 8 * (epoch + 1), monitor: value})
        theirs.step(value)
    assert rates == pytest.approx(expected, rel=1e-12) and len(set(rates)) > 2


def test_a_plateau_does_not_wait_while_the_rate_warms_up_and_nan_is_never_better(schedule):
    ours = schedule("plateau", warmup=5, patience=1, gamma=0.5)
    for epoch in range(1, 6):
        ours.observe({"epoch": epoch, "val/loss": 1.0})
    assert factors(ours, [5]) == [1.0]
    ours.observe({"epoch": 6, "val/loss": float("nan")})
    assert factors(ours, [6]) == [0.5]


def test_a_drop_within_an_epoch_waits_for_the_next_after_a_resume_as_well(schedule):
    ours, resumed = (schedule("plateau", patience=1, gamma=0.5) for _ in range(2))
    assert factors(ours, [3]) == [1.0]
    for step in (25, 26):
        ours.observe({"epoch": 3, "step": step, "val/loss": 1.0})
    resumed.load_state_dict(ours.state_dict())
    for built in (ours, resumed):
        assert factors(built, [3, 4]) == [1.0, 0.5]


PLATEAU = ("scheduler=plateau", "scheduler.patience=1", "scheduler.min_change=0.05", "scheduler.gamma=0.5")


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_training_on_a_plateau_goes_on_to_the_same_bits(interval, tmp_path):
    overrides = (*PLATEAU, f"scheduler.interval={interval}", "trainer.evaluate_every_steps=2", "trainer.batch_size=30")
    whole = train(tmp_path / "whole", *overrides, "trainer.max_steps=20", callbacks=("checkpoint",))
    train(tmp_path / "parts", *overrides, "trainer.max_steps=11", callbacks=("checkpoint",))
    parts = resume(tmp_path / "parts", "trainer.max_steps=20")
    assert parts is not None
    assert_same(whole.trainer.state_dict()["schedule"], parts.trainer.state_dict()["schedule"])
    assert_same(dict(whole.trainer.model.state_dict()), dict(parts.trainer.model.state_dict()))
    rates = [row["lr"] for row in rows_of(tmp_path / "whole")]
    assert rates == [row["lr"] for row in rows_of(tmp_path / "parts")] and len(set(rates)) > 2


def test_what_a_plateau_watches_is_checked_before_the_training(tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", "scheduler=plateau", "scheduler.monitor=val/acuracy")
    problem = "scheduler.monitor = 'val/acuracy': this run logs no such metric. Did you mean 'val/accuracy'?"
    assert caught.value.problems == [problem] and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("max_epochs", "max_steps", "interval", "length"),
    [
        (10, None, "step", 80),
        (None, 50, "step", 50),
        (10, 50, "step", 50),
        (10, 500, "step", 80),
        (10, None, "epoch", 10),
        (None, 50, "epoch", 7),  # the seventh epoch is not finished
        (3, 500, "epoch", 3),
    ],
)
def test_the_schedule_is_as_long_as_the_training(schedule, max_epochs, max_steps, interval, length):
    cosine = schedule("cosine", max_epochs, max_steps, interval=interval, final=0.0)
    assert cosine.interval == interval
    # Half a cosine is at its end where the training is, and not before.
    assert factors(cosine, [length])[0] == pytest.approx(0, abs=1e-12)
    assert factors(cosine, [length - 1])[0] == pytest.approx((1 + math.cos(math.pi * (length - 1) / length)) / 2)


@pytest.mark.parametrize("name", registry.names("scheduler"))
def test_a_warm_up_rises_in_equal_steps_and_the_schedule_follows(schedule, name):
    warm, plain = schedule(name, warmup=4), schedule(name)
    assert factors(warm, [0, 1, 2, 3]) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    if name == "one_cycle":
        assert factors(warm, [4]) == pytest.approx([0.04])
    else:
        assert factors(warm, [4]) == [1.0]
    if plain.factor is not None and name in ("step", "exponential"):
        assert factors(warm, [9, 30]) == factors(plain, [5, 26])


def test_after_a_warm_up_the_schedule_still_ends_with_the_training(schedule):
    warm = schedule("cosine", interval="step", warmup=16, final=0.0)
    assert factors(warm, [16, 48, 80]) == pytest.approx([1, 0.5, 0], abs=1e-12)


@pytest.mark.parametrize("name", registry.names("scheduler"))
@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize(("max_epochs", "max_steps", "warmup"), [(1, None, 0), (None, 1, 0), (2, None, 50), (10, 7, 3)])
def test_every_factor_is_between_0_and_1_however_short_the_training(
    schedule, name, interval, max_epochs, max_steps, warmup
):
    built = schedule(name, max_epochs, max_steps, interval=interval, warmup=warmup)
    if built.factor is not None:
        assert all(0 <= factor <= 1 for factor in factors(built, list(range(100))))


@pytest.mark.parametrize("name", registry.names("scheduler"))
def test_a_factor_depends_on_the_position_alone(schedule, name):
    # So that a resumed training needs no state of its schedule.
    built = schedule(name, warmup=2)
    positions = [0, 3, 50, 79]
    assert factors(built, positions) == factors(built, positions[::-1])[::-1]
    assert factors(schedule(name, warmup=2), positions) == factors(built, positions)


def test_a_warm_up_that_the_training_is_too_short_for_is_told(schedule):
    assert schedule("cosine", interval="step", warmup=79, final=0.0).notes == ()
    (note,) = schedule("cosine", 1, None, interval="epoch", warmup=5, final=0.0).notes
    assert note == "scheduler.warmup = 5: the training has 1 epoch, so the rate never reaches optimizer.lr"
