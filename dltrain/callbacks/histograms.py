"""``histograms``: how weights and gradients are distributed, and how large the gradients of each layer are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dltrain import registry
from dltrain.board import Board
from dltrain.callbacks.base import Callback
from dltrain.config import setting
from dltrain.models import device_of

if TYPE_CHECKING:
    from dltrain.trainer import Trainer


@dataclass(frozen=True)
class HistogramsSettings:
    name: str = setting("Name of the callback.")
    every_epochs: int = setting("Write after every so many epochs.", min=1)
    weights: bool = setting("Writes a histogram of the weights of each parameter.")
    gradients: bool = setting("Writes a histogram of the gradients of each parameter, of one batch.")
    norms: bool = setting(
        "Writes the L2 norm of the gradients of each parameter and of all together, before clip_norm makes them "
        "smaller: which layers learn, and which get gradients that vanish or explode."
    )


@registry.register("callbacks", "histograms", HistogramsSettings)
class Histograms(Callback):
    """Writes to TensorBoard after an epoch.

    Gradients are cleared after each update, so they are computed again, from the first batch of the epoch to come.
    """

    settings: HistogramsSettings

    def on_fit_start(self, trainer: Trainer) -> None:
        self.context.board.open(trainer)
        write_again(trainer, self.context.board, self.settings)

    def on_epoch_end(self, trainer: Trainer) -> None:
        write_if_due(trainer, self.context.board, self.settings)

    def on_fit_end(self, trainer: Trainer) -> None:
        self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self.context.board.close()


def write_again(trainer: Trainer, board: Board, settings: HistogramsSettings) -> None:
    """Writes at the start of a resumed training what stood at the very step where it goes on."""
    state = trainer.state
    if state.epoch and state.batch == 0 and board.lost(state.step):
        write_if_due(trainer, board, settings)


def write_if_due(trainer: Trainer, board: Board, settings: HistogramsSettings) -> None:
    """Writes what the settings ask for, after an epoch."""
    if trainer.state.epoch % settings.every_epochs:
        return
    if settings.gradients or settings.norms:
        _compute_gradients(trainer)
    step, squares = trainer.state.step, []
    for name, parameter in trainer.model.named_parameters():
        if settings.weights:
            board.histogram(f"weights/{name}", parameter.detach(), step)
        if parameter.grad is None:
            continue
        if settings.gradients:
            board.histogram(f"gradients/{name}", parameter.grad, step)
        if settings.norms:
            squares.append(parameter.grad.square().sum())
            board.scalar(f"gradient_norm/{name}", squares[-1].sqrt().item(), step)
    if squares:
        board.scalar("gradient_norm/all", torch.stack(squares).sum().sqrt().item(), step)
    trainer.step.clear_gradients()
    board.flush_if_due()


def _compute_gradients(trainer: Trainer) -> None:
    """Leaves the gradients of one batch in the parameters; random numbers and buffers are as they were before."""
    model = trainer.model
    batch = next(trainer.train.batches(trainer.state.epoch))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    modes = {module: module.training for module in model.modules()}
    model.train()
    if trainer.freezing is not None:
        trainer.freezing.apply(trainer.state.epoch - 1)  # as in the epoch that ended, at the start of a resume too
    device = device_of(model)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # dropout must not change the training
        loss = trainer.step.forward(batch).loss
    if loss.requires_grad:  # a model that learns without gradients has weights alone
        loss.backward()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    for module, mode in modes.items():
        module.training = mode
