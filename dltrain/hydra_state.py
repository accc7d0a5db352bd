"""Hydra's global state, which belongs to whoever calls dltrain from Python and may use Hydra as well."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

_VARIABLES = ("HYDRA_FULL_ERROR", "DLTRAIN_CONFIG_PATH")


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Gives back at the end of the block what Hydra was initialised with, its job's config, and its environment."""
    hydra, job = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    GlobalHydra.instance().clear()  # Hydra's own main takes no process in which it is initialised
    try:
        yield
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, job
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
