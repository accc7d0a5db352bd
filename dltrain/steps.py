"""What one training step is. The loop is given a step object and knows nothing of its inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from dltrain import optimizers
from dltrain.data import Batch, Split, Tensors
from dltrain.errors import CheckpointError, ConfigError
from dltrain.losses import Loss, count_targets
from dltrain.models import WithAuxiliary

Penalty = Callable[[], torch.Tensor]
MAIN = "main_loss"
PENALTY = "penalty"


class Result(NamedTuple):
    """What a batch gave, on the device.

    Attributes:
        loss: () the mean over the batch, all terms together.
        outputs: (B, K), or several by name.
        terms: () the parts that the loss is a sum of, by name; {} where it is one.
    """

    loss: torch.Tensor
    outputs: Tensors
    terms: dict[str, torch.Tensor]

    def detached(self) -> Result:
        """Returns the same without its graph."""
        terms = {name: term.detach() for name, term in self.terms.items()} if self.terms else self.terms
        return Result(self.loss.detach(), detached(self.outputs), terms)


class Step(ABC):
    """Turns a batch into gradients, and gradients into an update.

    Args:
        clip_norm: largest L2 norm of all gradients together, or None.
        autocast: context of the forward pass, or None for plain fp32.
        penalty: returns what is added to the loss in training for the size of the weights, ().

    Attributes:
        is_bad: whether the last batch was left out, because it was not finite.
        made_update: whether the last update was made; one with a bad batch is not.
    """

    is_bad = False
    made_update = True

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        clip_norm: float | None = None,
        autocast: AbstractContextManager[Any] | None = None,
        penalty: Penalty | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.clip_norm, self.autocast, self.penalty = clip_norm, autocast, penalty
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._update = optimizers.plain_step(optimizer)
        self._counters = optimizers.Counters(optimizer)

    @abstractmethod
    def __call__(self, batch: Batch, share: float = 1.0, update: bool = True) -> Result:
        """Computes a batch.

        Args:
            share: the batch's share of the samples of the update; below 1 where gradients accumulate.
            update: whether the optimizer updates the weights now.

        Returns:
            Detached.
        """

    def forward(self, batch: Batch) -> Result:
        """Returns loss and outputs, with their graph."""
        if self.autocast is None:
            outputs = self.model(batch.inputs)
        else:
            with self.autocast:
                outputs = self.model(batch.inputs)
            outputs = as_float(outputs)
        terms: dict[str, torch.Tensor] = {}
        if isinstance(outputs, WithAuxiliary):
            loss, terms = self._with_auxiliary(outputs, batch)
            outputs = outputs.outputs
        else:
            loss = self.loss(outputs, batch.targets, batch.weights)
        if self.penalty is not None:
            terms = terms or {MAIN: loss}
            terms[PENALTY] = self.penalty()
            loss = loss + terms[PENALTY]
        return Result(loss, outputs, terms)

    def _with_auxiliary(self, given: WithAuxiliary, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Returns the weighted sum of the losses of all outputs, and each of them without its weight."""
        terms = {MAIN: self.loss(given.outputs, batch.targets, batch.weights)}
        loss = given.share * terms[MAIN]
        for name, outputs in given.auxiliary.items():
            term = self.loss(outputs, batch.targets, batch.weights)
            terms[f"{name}_loss"] = term
            loss = loss + given.auxiliary_share * term
        return loss, terms

    def state_dict(self) -> dict[str, Any]:
        """Returns what the optimizer has gathered, without the settings of its groups."""
        return {
            "optimizer_kind": type(self.optimizer).__name__,
            "optimizer": self.optimizer.state_dict()["state"],
            "optimizer_counters": self._counters.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` returned. The settings stay, so that a changed learning rate is not undone.

        Raises:
            CheckpointError: it was saved with another optimizer.
        """
        optimizer, kind = self.optimizer, state["optimizer_kind"]
        if kind != type(optimizer).__name__:
            raise CheckpointError(
                f"the checkpoint was saved with the optimizer {kind}, and this run has {type(optimizer).__name__}"
            )
        optimizer.load_state_dict({"state": state["optimizer"], "param_groups": optimizer.state_dict()["param_groups"]})
        self._counters.load_state_dict(state["optimizer_counters"])

    def clear_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def clip(self) -> None:
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)


class EagerStep(Step):
    """Forward, backward, update, one operation after another."""

    _num_targets: torch.Tensor | None = None  # of the batches whose gradients are added up so far, where steps count

    def __call__(self, batch: Batch, share: float = 1.0, update: bool = True) -> Result:
        result = self._forward_and_backward(batch, share)
        if update:
            self._divide_by_steps()
            self.clip()
            self._update()
            self.clear_gradients()
        return result.detached()

    def _forward_and_backward(self, batch: Batch, share: float) -> Result:
        result = self.forward(batch)
        loss = result.loss
        if share == 1.0:
            loss.backward()
        elif self.loss.per_step:
            self._add_steps(batch, loss)
        else:
            (loss * share).backward()
        return result

    def _add_steps(self, batch: Batch, loss: torch.Tensor) -> None:
        """Adds the gradients of a sum: how many steps have a target is known only when the update's batches are."""
        assert isinstance(batch.targets, torch.Tensor)
        count = count_targets(batch.targets)
        (loss * count).backward()
        self._num_targets = count if self._num_targets is None else self._num_targets + count

    def _divide_by_steps(self) -> None:
        if self._num_targets is not None:
            divisor = self._num_targets.clamp(min=1)
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad /= divisor
            self._num_targets = None


class SkippingStep(EagerStep):
    """Makes no update from a loss or gradients that are NaN or infinite.

    It looks at each batch, and so waits for the device at each. What such a batch has done to buffers, such as the
    statistics of batch normalisation, is taken back.
    """

    _update_is_bad = False  # one of the batches whose gradients are added up so far was

    def __call__(self, batch: Batch, share: float = 1.0, update: bool = True) -> Result:
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        result = self._forward_and_backward(batch, share)
        self.is_bad = not self._is_finite(result)
        if self.is_bad:
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)
        self._update_is_bad |= self.is_bad
        if update and not self._update_is_bad:
            self._divide_by_steps()
            self.clip()
            self._update()
        if update or self._update_is_bad:
            self.clear_gradients()
            self._num_targets = None
        if update:
            self.made_update, self._update_is_bad = not self._update_is_bad, False
        return result.detached()

    def _is_finite(self, result: Result) -> bool:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return all_finite([result.loss, *gradients, *running_statistics(self.model)])


def all_finite(tensors: list[torch.Tensor]) -> bool:
    """Tells whether all numbers are; waits for the device."""
    return not tensors or bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def running_statistics(model: nn.Module) -> list[torch.Tensor]:
    """Returns the means and variances that normalisation layers keep; other buffers may hold infinity, as masks do."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._NormBase)]
    kept = [tensor for layer in layers for tensor in (layer.running_mean, layer.running_var)]
    return [tensor for tensor in kept if tensor is not None]


class ClosureStep(Step):
    """For optimizers that evaluate the loss several times an update, as LBFGS does."""

    def __call__(self, batch: Batch, share: float = 1.0, update: bool = True) -> Result:
        first: list[Result] = []

        def closure() -> torch.Tensor:
            self.clear_gradients()
            result = self.forward(batch)
            result.loss.backward()
            self.clip()
            if not first:  # the loss at the weights that this update starts from, as the other steps report it
                first.append(result.detached())
            return result.loss

        self._update(closure)
        self.clear_gradients()
        return first[0]


def place_in_update(train: Split, accumulate: int, number: int, num_samples: int) -> tuple[float, bool]:
    """Returns a batch's share of its update's samples, and whether it completes the update.

    Args:
        accumulate: batches of an update; the last of an epoch may have fewer.
        number: of the batch in its epoch, from 0.
        num_samples: in the batch.
    """
    if accumulate == 1:
        return 1.0, True
    first = number - number % accumulate
    last = min(first + accumulate, train.num_batches)
    in_update = min(last * train.batch_size, train.num_samples) - first * train.batch_size
    return num_samples / in_update, number + 1 == last


def as_float(outputs: Any) -> Any:
    """Returns outputs of a lower precision as float32, those for training alone too."""
    if isinstance(outputs, WithAuxiliary):
        auxiliary = {name: as_float(output) for name, output in outputs.auxiliary.items()}
        return outputs._replace(outputs=as_float(outputs.outputs), auxiliary=auxiliary)
    if isinstance(outputs, dict):
        return {name: output.float() for name, output in outputs.items()}
    return outputs.float()


def detached(outputs: Tensors) -> Tensors:
    """Returns outputs without their graph."""
    if isinstance(outputs, dict):
        return {name: output.detach() for name, output in outputs.items()}
    return outputs.detach()


def build(
    model: nn.Module,
    loss: Loss,
    optimizer: Optimizer,
    *,
    clip_norm: float | None,
    accumulate: int,
    autocast: AbstractContextManager[Any] | None,
    penalty: Penalty | None = None,
    on_divergence: str = "stop",
) -> Step:
    """Returns the step that the optimizer needs.

    Raises:
        ConfigError: what is asked for cannot be done with this optimizer.
    """
    if not optimizers.needs_closure(optimizer):
        kind = SkippingStep if on_divergence == "skip" else EagerStep
        return kind(model, loss, optimizer, clip_norm, autocast, penalty)
    problems = []
    if accumulate > 1:
        problems.append(
            f"trainer.accumulate = {accumulate}: optimizer=lbfgs evaluates each batch several times and cannot "
            "accumulate. Use a larger trainer.batch_size"
        )
    if on_divergence == "skip":
        problems.append(
            "trainer.on_divergence = 'skip': optimizer=lbfgs makes several updates of a batch and gathers what it has "
            "seen, so that a batch cannot be left out. Take trainer.on_divergence=rollback"
        )
    if problems:
        raise ConfigError(*problems)
    return ClosureStep(model, loss, optimizer, clip_norm, autocast, penalty)
