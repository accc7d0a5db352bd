"""Learning-rate schedules at the positions that matter."""

from __future__ import annotations

import math

import pytest

from dltrain import registry, schedulers
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
    ],
)
def test_the_rate_at_key_positions(schedule, name, changes, positions, values):
    assert factors(schedule(name, **changes), positions) == pytest.approx(values, abs=1e-8)


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
