"""Training without gradients: the steps of models that have a way to learn of their own, and what it means for a run.

The loop, the splits, the metrics, the callbacks and the run folder are those of any other model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dltrain.config import Config
from dltrain.data import Batch, Data, Samples
from dltrain.losses import Loss
from dltrain.models import FittedModel, RuleModel
from dltrain.steps import Result, Step


class LearningRate(Optimizer):
    """Stands where a step has its optimizer, and holds nothing but the learning rate that the schedule writes."""

    def __init__(self, lr: float) -> None:
        # Without PyTorch's own constructor, which starts the compiler and refuses an optimizer of no parameters.
        self.param_groups = [{"params": [], "lr": lr, "initial_lr": lr}]

    def state_dict(self) -> dict[str, Any]:
        return {"state": {}, "param_groups": []}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing: there is no state."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Does nothing: the model updates itself."""


class RuleStep(Step):
    """The model learns from the batch by its rule; loss and outputs are those before it."""

    def __call__(self, batch: Batch, share: float = 1.0, update: bool = True) -> Result:
        assert isinstance(self.model, RuleModel) and update
        with torch.no_grad():
            result = self.forward(batch)
        self.model.learn(batch.inputs, batch.targets, self.optimizer.param_groups[0]["lr"])
        return result


class FitStep(Step):
    """The model is fitted to the batch, which holds all samples; loss and outputs are those after it."""

    def __call__(self, batch: Batch, share: float = 1.0, update: bool = True) -> Result:
        assert isinstance(self.model, FittedModel) and update
        self.model.fit(batch.inputs, batch.targets, batch.weights)
        with torch.no_grad():
            return self.forward(batch)


def build_step(model: nn.Module, loss: Loss, lr: float) -> Step | None:
    """Returns the step of a model without gradients; None for a model that has them."""
    if isinstance(model, RuleModel):
        return RuleStep(model, loss, LearningRate(lr))
    if isinstance(model, FittedModel):
        return FitStep(model, loss, LearningRate(lr))
    return None


def settled(config: Config, model: nn.Module, data: Data) -> Config:
    """Returns the config as it is followed: a model that is fitted at once gets all samples in one step."""
    if not isinstance(model, FittedModel):
        return config
    once = replace(
        config.trainer,
        batch_size=len(data.train),
        max_epochs=1,
        max_steps=None,
        evaluate_every_epochs=1,
        evaluate_every_steps=None,
    )
    return replace(config, trainer=once)


def notes(config: Config, model: nn.Module, data: Data) -> Iterator[str]:
    """Yields what the log should say of settings that do not apply to a model without gradients."""
    name = config.model.name
    if isinstance(model, FittedModel):
        yield (
            f"model={name} is fitted to all training samples in one step: trainer.max_epochs, trainer.max_steps, "
            "trainer.batch_size, the optimizer and the scheduler do not apply"
        )
    elif isinstance(model, RuleModel):
        yield (
            f"model={name} learns by its own rule: of the optimizer only optimizer.lr and the scheduler apply, and the "
            "loss is only shown"
        )
        if data.train.head(1).weights is not None:
            yield f"model={name}: its rule lets each sample count the same, so the samples' weights do not apply"


def _has_link(loss: Loss) -> bool:
    return loss.link is not None or any(map(_has_link, getattr(loss, "heads", {}).values()))


def mistakes(config: Config, model: nn.Module, data: Data, loss: Loss | None) -> list[str]:
    """Returns what was asked for and cannot be done without gradients, a line each."""
    if not isinstance(model, (RuleModel, FittedModel)):
        return []
    trainer, penalties = config.trainer, config.penalties
    asked = {
        f"trainer.accumulate = {trainer.accumulate}": trainer.accumulate > 1,
        "trainer.auto_batch_size = true": trainer.auto_batch_size,
        f"trainer.clip_norm = {trainer.clip_norm}": trainer.clip_norm is not None,
        f"device.precision = {config.device.precision}": config.device.precision != "fp32",
        "loss.l1": bool(penalties.l1),
        "loss.l2": bool(penalties.l2),
        "optimizer.groups": bool(config.parameter_groups.groups),
        "model.freeze": bool(config.transfer.freeze),
        "model.unfreeze_after": bool(config.transfer.unfreeze_after),
        "model.freeze_after": bool(config.transfer.freeze_after),
        "model.init_from": isinstance(model, FittedModel) and config.transfer.init_from is not None,
    }
    if trainer.on_divergence == "skip" or isinstance(model, FittedModel):
        asked[f"trainer.on_divergence = {trainer.on_divergence}"] = trainer.on_divergence != "stop"
    name, without = config.model.name, "is fitted" if isinstance(model, FittedModel) else "learns"
    problems = [
        f"{key}: model={name} {without} without gradients, so this does not apply. Leave it out"
        for key, is_asked in asked.items()
        if is_asked
    ]
    if loss is not None and _has_link(loss):
        problems.append(
            f"loss.name = '{config.loss.name}': it takes a model's outputs for logarithms of the targets, and "
            f"model={name} gives the targets themselves. Choose loss=mse"
        )
    if isinstance(model, FittedModel):
        problems += model.mistakes(len(data.train))
    if isinstance(model, FittedModel) and not isinstance(data.train, Samples):
        problems.append(
            f"model.name = '{name}': it is fitted to all training samples at once, and this data is streamed because "
            "it may be larger than memory. Choose data that is read as a whole, such as data=csv, or a model that "
            "learns batch by batch, such as model=linear"
        )
    return problems
