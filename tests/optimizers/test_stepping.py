"""How optimizers are called, and what must not be imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dltrain import optimizers, registry


def test_gradients_are_computed_again_after_an_update_that_failed():
    parameter = nn.Parameter(torch.ones(2))
    step = optimizers.plain_step(torch.optim.LBFGS([parameter]))

    def closure() -> torch.Tensor:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        step(closure)
    assert torch.is_grad_enabled()


PROGRAM = """
import sys
import torch
from dltrain import config, config_files, optimizers, registry
model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
for name in sys.argv[1:]:
    values = config_files.values(config_files.options("optimizer", [])[name])["optimizer"]
    settings = config.convert(values, registry.find("optimizer", name).settings, "optimizer", [])
    optimizer = optimizers.build(settings, model.named_parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizers.plain_step(optimizer)()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
print([name for name in ("torch._dynamo", "pytorch_optimizer") if name in sys.modules])
"""


PUBLISHED = {
    name
    for name in registry.names("optimizer")
    if registry.find("optimizer", name).factory.__module__ == "dltrain.optimizers.published"
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "imported"),
    [
        (sorted({*registry.names("optimizer")} - PUBLISHED - {"lbfgs"}), []),
        (sorted(PUBLISHED), ["pytorch_optimizer"]),
    ],
    ids=["torch", "pytorch_optimizer"],
)
def test_building_and_stepping_imports_nothing_slow_that_it_does_not_need(names, imported):
    # The compiler takes more than a second, the package half a one.
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, cwd=Path.cwd())
    assert done.stdout.strip() == str(imported), done.stderr
