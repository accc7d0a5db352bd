"""Fixtures that all tests share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from dltrain import config, config_files, registry

# The same examples in every run, and no time limit for one: a busy machine must not fail a test.
hypothesis_settings.register_profile("dltrain", derandomize=True, deadline=None, database=None)
hypothesis_settings.load_profile("dltrain")


@pytest.fixture(scope="session")
def settings_of():
    """Returns a function that gives a component's settings as its YAML file has them, with changes."""

    def settings(kind: str, name: str, **changes: Any) -> Any:
        values = config_files.values(config_files.options(kind, [])[name])[kind]
        values = values[name] if kind == "callbacks" else values
        problems: list[str] = []
        converted = config.convert({**values, **changes}, registry.find(kind, name).settings, kind, problems)
        assert not problems
        return converted

    return settings
