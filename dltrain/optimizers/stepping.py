"""How an optimizer is called, and what keeps PyTorch's compiler out of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


def needs_closure(optimizer: Optimizer) -> bool:
    """Tells whether the optimizer evaluates the loss by itself, several times an update."""
    return isinstance(optimizer, torch.optim.LBFGS)


def plain_step(optimizer: Optimizer) -> Callable[..., Any]:
    """Returns the optimizer's own ``step``, without the wrappers that PyTorch puts around it.

    The wrappers start torch._dynamo (1.4 s at the first call) and a profiler record (10 us at each call). They
    matter to torch.compile, the profiler and step hooks, none of which an eager step here uses.
    """
    step = inspect.unwrap(type(optimizer).step)

    def update(*arguments: Any) -> Any:
        # What the wrappers did that is needed: an update is no part of the graph.
        torch._C._set_grad_enabled(False)
        try:
            return step(optimizer, *arguments)
        finally:
            torch._C._set_grad_enabled(True)

    return update


def keep_compiler_out() -> None:
    """Keeps building an optimizer, and its state_dict, from importing the compiler, which takes 1.4 s.

    PyTorch marks these methods "not to be compiled" and imports torch._dynamo at their first call to say so.
    Nothing is compiled before somebody imports torch._dynamo, so until then the mark is the method itself.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = inspect.unwrap(getattr(Optimizer, name))
        if not hasattr(method, "__dynamo_disable"):
            setattr(method, "__dynamo_disable", method)
