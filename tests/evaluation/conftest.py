"""Evaluations of outputs that are given: the inputs of the samples are what the model says."""

from __future__ import annotations

import pytest
import torch
from evaluations import samples
from torch import nn
from training import configure, settings_of

from dltrain import registry
from dltrain.assembly import Parts, Shared
from dltrain.data import Data, Samples, Task


@pytest.fixture
def parts_of(tmp_path):
    """Returns a function that gives the parts of a run whose model says what its inputs are."""

    def build(task: Task, loss: str = "auto", batch_size: int = 16, source: Samples | None = None, **settings) -> Parts:
        source = samples(task) if source is None else source
        data = Data(task, samples(task, seed=100), source, None)
        config, _ = configure(tmp_path, f"trainer.evaluation_batch_size={batch_size}")
        built = registry.build("loss", settings_of("loss", loss, **settings), task=task)
        return Parts(config, torch.device("cpu"), data, nn.Identity(), built, Shared())

    return build
