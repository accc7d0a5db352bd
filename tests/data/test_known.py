"""What is known of data sets without their files."""

from __future__ import annotations

import pytest
from training import settings_of

from dltrain.data import InputSpec, Task
from dltrain.data.known import known_task


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("mnist", (1, 28, 28), 10),
        ("fashion_mnist", (1, 28, 28), 10),
        ("cifar10", (3, 32, 32), 10),
        ("imagenet", (3, 224, 224), 1000),
    ],
)
def test_the_published_form(name, shape, classes):
    assert known_task(settings_of("data", name)) == Task("multiclass", InputSpec(shape), classes)


def test_size_and_channels_are_those_of_the_settings():
    settings = settings_of("data", "imagenet", size=[64, 48], channels=1)
    assert known_task(settings) == Task("multiclass", InputSpec((1, 64, 48)), 1000)
    assert known_task(settings_of("data", "imagenet", size=32)).input.shape == (3, 32, 32)


def test_of_a_file_of_the_users_nothing_is_known():
    assert known_task(settings_of("data", "csv")) is None
