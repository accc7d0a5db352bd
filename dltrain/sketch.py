"""A model as its settings ask for it, without weights: what can be known of it before anything is trained."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from dltrain import freezing, layers, optimizers, registry, seed, trial
from dltrain.config import Config
from dltrain.data import Batch, Task, Tensors
from dltrain.errors import ConfigError
from dltrain.layers import Layer
from dltrain.models import FittedModel, RuleModel, count_parameters, notes_of

# Parameters of a model that may be given values only to see what an optimizer keeps of them.
_SMALL = 20_000_000


@dataclass(frozen=True)
class Sketch:
    """What is known of a model.

    Attributes:
        model: on the meta device, where tensors have a shape and no values, if it can be computed there.
        tree: its layers.
        inputs: two samples, on the model's device.
        optimizer_bytes: what the optimizer keeps besides weights and gradients; None where that is not known.
        notes: what a person should know.
    """

    model: nn.Module
    tree: Layer
    inputs: Tensors
    optimizer_bytes: int | None
    notes: tuple[str, ...]


def draw(config: Config, task: Task) -> Sketch:
    """Builds a model and looks at it. On the meta device, where possible: a large model then costs no time or memory.

    Raises:
        ConfigError: the model does not fit the task.
    """
    with contextlib.suppress(Exception):  # of any kind: what needs the values of tensors cannot be computed there
        drawn = _draw_on(torch.device("meta"), config, task)
        # The fused kernel of an LSTM keeps a workspace, whose size is known only where it runs.
        if not any(isinstance(layer, nn.LSTM) for layer in drawn.model.modules()):
            return drawn
    return _draw_on(torch.device("cpu"), config, task)


def _draw_on(device: torch.device, config: Config, task: Task) -> Sketch:
    seed.seed_everything(config.seed)
    with device:
        model: nn.Module = registry.build("model", config.model, task=task)
    freezing.freeze(model, config.transfer)
    state: int | None = 0
    if not isinstance(model, (RuleModel, FittedModel)):
        state = _optimizer_bytes(config, model)
    inputs = layers.example(task.inputs, layers.SAMPLES, device)
    misfits = trial.trial_pass(model, Batch(inputs, _targets(inputs, task)), task)
    if misfits:
        raise ConfigError(*misfits)
    return Sketch(model, layers.layers(model, task.inputs), inputs, state, notes_of(model))


def _targets(inputs: Tensors, task: Task) -> torch.Tensor:
    """Returns targets of the batch's shape: (B, T) where each step has one."""
    decoded = inputs["target"] if isinstance(inputs, dict) and task.kind == "seq2seq" else inputs
    one = next(iter(decoded.values())) if isinstance(decoded, dict) else decoded
    return one.reshape(*one.shape[:2], -1)[..., 0] if task.per_step else one.flatten(1)[:, 0]


def _optimizer_bytes(config: Config, model: nn.Module) -> int | None:
    """Returns the bytes that the optimizer keeps, and freezes what a group of parameters is to freeze.

    Raises:
        ConfigError: groups of parameters that do not fit the model.
    """
    later = freezing.trained_later(model, config.transfer)
    groups = config.parameter_groups.groups
    if optimizers.needs_closure(optimizers.build(config.optimizer, model.named_parameters(), groups, later=later)):
        return None  # it grows with each update
    small = count_parameters(model) < _SMALL
    for device in ("meta", "cpu") if small else ("meta",):
        stand_ins = {
            name: nn.Parameter(torch.zeros_like(parameter, device=device), requires_grad=parameter.requires_grad)
            for name, parameter in model.named_parameters()
        }
        try:
            optimizer = optimizers.build(config.optimizer, stand_ins.items(), groups, later=later)
            return _bytes_after_update(optimizer, [own for own in stand_ins.values() if own.requires_grad])
        except Exception:  # of any kind: an optimizer that asks for the values of tensors
            continue
    return None


def _bytes_after_update(optimizer: Optimizer, parameters: list[nn.Parameter]) -> int:
    """Returns the bytes that an optimizer keeps when it has updated the parameters once."""
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group["fused"] = False  # these kernels are for devices that compute
    optimizers.plain_step(optimizer)()
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)
