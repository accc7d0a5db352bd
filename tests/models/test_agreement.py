"""Our models compute what torchvision's do."""

from __future__ import annotations

import json

import pytest
import torch
from models.agreement import CASES, RECORDED, Case, carry_over, fill, images, without_dropout
from torch import nn

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.models import WithAuxiliary


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture
def ours(case, settings_of) -> nn.Module:
    task = Task("multiclass", InputSpec(case.shape[1:]), 10)
    settings = settings_of("model", case.model, init="zeros", **case.settings)
    return registry.build("model", settings, task=task).double().eval()


@torch.no_grad()
def test_what_torchvision_gave_comes_out(request, case, ours):
    expected = json.loads(RECORDED.read_text())[request.node.callspec.params["case"]]["outputs"]
    fill(ours)
    torch.testing.assert_close(ours(images(case)), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_what_torchvision_gives_under_random_weights_comes_out(case, ours):
    torchvision = pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))
    torch.manual_seed(0)
    theirs = without_dropout(case.make(torchvision.models).double().eval())
    carry_over(theirs, without_dropout(ours))
    torch.testing.assert_close(ours(images(case)), theirs(images(case)), rtol=1e-10, atol=1e-10)
    if case.training:
        outputs, expected = ours.train()(images(case)), theirs.train()(images(case))
        main, *auxiliary = expected if isinstance(expected, tuple) else (expected,)
        assert isinstance(outputs, WithAuxiliary)
        torch.testing.assert_close(outputs.outputs, main, rtol=1e-10, atol=1e-10)
        for output, value in zip(outputs.auxiliary.values(), reversed(auxiliary), strict=True):
            torch.testing.assert_close(output, value, rtol=1e-10, atol=1e-10)
