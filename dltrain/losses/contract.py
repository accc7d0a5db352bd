"""The loss contract: a loss maps outputs and targets of a batch to their mean; and which task each one fits.

Models give raw values: logits of classes, numbers of regression. A loss that is defined on probabilities takes the
sigmoid or the softmax itself, and one that is defined in the target's own unit goes back to it.

Shapes in comments: B batch, T time, D values of a regression target, K classes, N samples or steps with a target.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from dltrain import registry
from dltrain.config import setting
from dltrain.data import IGNORED, Data, Source, Task, Tensors, size_of
from dltrain.errors import ConfigError, did_you_mean

YES_NO = ("binary", "multilabel")
CLASSES = ("multiclass", "next_token", "sequence_labels", "seq2seq")

# The tasks that a loss fits; the first loss that names a task is what ``loss=auto`` takes for it.
FITS: dict[str, tuple[str, ...]] = {
    "cross_entropy": CLASSES,
    "binary_cross_entropy": YES_NO,
    "mse": ("regression", *YES_NO, "multiclass", "sequence_labels"),
    "mae": ("regression", *YES_NO, "multiclass", "sequence_labels"),
    "huber": ("regression", *YES_NO, "multiclass", "sequence_labels"),
    "smooth_l1": ("regression", *YES_NO, "multiclass", "sequence_labels"),
    "mape": ("regression",),
    "msle": ("regression",),
    "poisson": ("regression",),
    "cosine_distance": ("regression", "multiclass"),
    "mean_pairwise_squared_error": ("regression", "multiclass"),
    "log_loss": (*YES_NO, "multiclass", "sequence_labels"),
    "nll": ("binary", *CLASSES),
    "focal": (*YES_NO, *CLASSES),
    "kl_divergence": (*YES_NO, *CLASSES),
    "hinge": (*YES_NO, *CLASSES),
    "perceptron": (*YES_NO, *CLASSES),
    "ctc": ("sequence_labels",),
}

# Of a source that cannot give all its targets at once, so many are looked at before the training.
_LOOKED_AT = 1000


class Loss(ABC):
    """Maps a batch's outputs and targets to a number to make small.

    Attributes:
        per_step: the mean is over the steps that have a target, not over the samples.
        link: turns outputs (B, D) of a regression into predictions of the targets that the model is given; None
            where they are that.
        aligned: an output and the target at its place belong together, so that metrics may compare them.
    """

    per_step: bool = False
    aligned: bool = True
    link: Callable[[torch.Tensor], torch.Tensor] | None = None

    @abstractmethod
    def __call__(self, outputs: Tensors, targets: Tensors, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the mean () over the samples, or over the steps that have a target.

        Args:
            weights: (B,) how much each sample counts; the sum of weighted losses is divided by the number of
                samples, not by the sum of weights, so that batches add up to what the whole would give.
        """

    def of_each(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        """Returns the loss of each sample by itself, (B,): of several steps the mean over those with a target."""
        return torch.stack([self(_row(outputs, row), _row(targets, row)) for row in range(size_of(targets))])

    def check_data(self, data: Data, head: str | None = None) -> None:  # noqa: B027 - most losses take all there is
        """Looks at the targets before the training, where the loss cannot take all that its task may have.

        Args:
            head: of several targets, the one that the loss is of.

        Raises:
            ConfigError: a target is none that this loss can take.
        """


@dataclass(frozen=True)
class MeanLoss(Loss):
    """The mean of a function with the signature of those in ``torch.nn.functional``.

    Attributes:
        function: takes outputs, targets and ``reduction``, "mean" or "none"; it gives a number for each sample, or
            for each value of one.
        per_step: outputs are (B, T, K) and targets (B, T).
        arguments: what the function takes besides.
        compared: turns outputs and targets into what the function compares, such as probabilities.
        check: raises ConfigError where the function cannot take one of the targets (N, ...).
    """

    function: Callable[..., torch.Tensor]
    per_step: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)
    compared: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None
    link: Callable[[torch.Tensor], torch.Tensor] | None = None
    check: Callable[[torch.Tensor], None] | None = None

    def __call__(self, outputs: Tensors, targets: Tensors, weights: torch.Tensor | None = None) -> torch.Tensor:
        assert isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        outputs = in_full_precision(outputs)
        if self.per_step:
            return self._over_steps(outputs, targets, weights)
        if self.compared is not None:
            outputs, targets = self.compared(outputs, targets)
        if weights is None:
            return self.function(outputs, targets, **self.arguments)
        losses = self.function(outputs, targets, reduction="none", **self.arguments).reshape(len(weights), -1)
        return (losses.mean(dim=1) * weights).mean()

    def of_each(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        assert isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        outputs = in_full_precision(outputs)
        if self.per_step:
            losses, has_target = self._of_steps(outputs, targets)
            return losses.sum(dim=1) / has_target.sum(dim=1).clamp(min=1)
        if self.compared is not None:
            outputs, targets = self.compared(outputs, targets)
        return self.function(outputs, targets, reduction="none", **self.arguments).reshape(len(outputs), -1).mean(dim=1)

    def _over_steps(self, outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        """Divides by hand, because a mean over no step at all would not be a number."""
        losses, has_target = self._of_steps(outputs, targets)
        if weights is not None:
            losses = losses * weights[:, None]
        return losses.sum() / has_target.sum().clamp(min=1)

    def _of_steps(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the loss of each step, 0 where it has no target, and whether it has one, both (B, T)."""
        rows, classes = outputs.flatten(0, 1), targets.flatten()
        has_target = classes != IGNORED
        classes = torch.where(has_target, classes, 0)  # any class will do: these steps are taken out below
        if self.compared is not None:
            rows, classes = self.compared(rows, classes)
        losses = self.function(rows, classes, reduction="none", **self.arguments).reshape(len(rows), -1).mean(dim=1)
        losses = torch.where(has_target, losses, 0)
        return losses.reshape(targets.shape), has_target.reshape(targets.shape)

    def check_data(self, data: Data, head: str | None = None) -> None:
        if self.check is None:
            return
        for source in data.splits.values():
            targets = known_targets(source, head)
            if targets.numel():
                self.check(targets)


def _row(tensors: Tensors, place: int) -> Tensors:
    """Returns a batch of one of its samples."""
    if isinstance(tensors, dict):
        return {name: tensor[place : place + 1] for name, tensor in tensors.items()}
    return tensors[place : place + 1]


def count_targets(targets: torch.Tensor) -> torch.Tensor:
    """Returns how many steps have a target, () int64."""
    return (targets != IGNORED).sum()


def in_full_precision(outputs: torch.Tensor) -> torch.Tensor:
    """Returns outputs of half precision as float32: sums of bf16 are good to two digits, and some losses have none."""
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


def known_targets(source: Source, head: str | None = None) -> torch.Tensor:
    """Returns all targets (N, ...) of a split, or the first ones where its source cannot give all at once."""
    targets = getattr(source, "targets", None)
    if not isinstance(targets, (torch.Tensor, dict)):
        targets = source.head(_LOOKED_AT).targets
    if isinstance(targets, dict):
        targets = targets[head]
    assert isinstance(targets, torch.Tensor)
    return targets


def reduced(losses: torch.Tensor, reduction: str) -> torch.Tensor:
    """Returns the losses as they are ("none"), or their mean ()."""
    return losses if reduction == "none" else losses.mean()


# --- several outputs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadsLoss(Loss):
    """The weighted sum of the losses of several named outputs."""

    task: Task
    heads: dict[str, Loss]
    shares: dict[str, float]

    def __call__(self, outputs: Tensors, targets: Tensors, weights: torch.Tensor | None = None) -> torch.Tensor:
        by_name = by_head(self.task, outputs)
        assert isinstance(targets, dict)
        losses = [self.shares[name] * loss(by_name[name], targets[name], weights) for name, loss in self.heads.items()]
        return torch.stack(losses).sum()

    def of_each(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        by_name = by_head(self.task, outputs)
        assert isinstance(targets, dict)
        losses = [self.shares[name] * loss.of_each(by_name[name], targets[name]) for name, loss in self.heads.items()]
        return torch.stack(losses).sum(dim=0)

    def check_data(self, data: Data, head: str | None = None) -> None:
        for name, loss in self.heads.items():
            with _of_target(name):
                loss.check_data(data, name)


def by_head(task: Task, outputs: Tensors) -> dict[str, torch.Tensor]:
    """Returns the outputs (B, K) of each head; one tensor holds them side by side, in the heads' order."""
    if isinstance(outputs, dict):
        return outputs
    parts = outputs.split([head.output_size for head in task.heads.values()], dim=-1)
    return dict(zip(task.heads, parts, strict=True))


# --- building ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossSettings:
    name: str = setting("Name of the loss; auto takes the one that fits the task.")
    shares: dict[str, float] | None = setting(
        "How much each output's loss counts where the data has several targets, by name; null counts each as 1.",
        min=0,
    )

    def by_head(self, task: Task) -> dict[str, LossSettings]:
        """Returns the settings for each of several targets.

        Raises:
            ConfigError: a setting names what none of them has.
        """
        return dict.fromkeys(task.heads, self)


Settings = TypeVar("Settings", bound=LossSettings)
Factory = Callable[[Settings, Task], Loss]


def register(name: str, settings: type[Settings]) -> Callable[[Factory[Settings]], Callable[..., Loss]]:
    """Registers a function of settings and task as ``loss/<name>``: for the tasks that it fits, and for several heads.

    The registered factory raises ConfigError where the loss does not fit the task, or one of the heads, or where a
    share names none of them.
    """

    def add(factory: Factory[Settings]) -> Callable[..., Loss]:
        def build(chosen: Settings, *, task: Task) -> Loss:
            if task.heads:
                return of_heads(chosen, task)
            require_no_shares(chosen)
            require_fit(name, task)
            return factory(chosen, task)

        build.__module__, build.__name__, build.__doc__ = factory.__module__, factory.__name__, factory.__doc__
        return registry.register("loss", name, settings)(build)

    return add


def default_name(task: Task) -> str:
    """Returns the name of the loss that ``auto`` takes for a task."""
    return fitting(task)[0]


def fitting(task: Task) -> list[str]:
    """Returns the names of the losses that fit a task."""
    return [name for name, tasks in FITS.items() if task.kind in tasks]


def require_fit(name: str, task: Task) -> None:
    """
    Raises:
        ConfigError: the loss does not fit the task.
    """
    if task.kind not in FITS[name]:
        names = fitting(task)
        raise ConfigError(
            f"loss.name = '{name}': it does not fit this {task.kind} data. There is: {', '.join(names)}. "
            f"loss=auto takes {names[0]}{_as_values(name, task)}"
        )


def _as_values(name: str, task: Task) -> str:
    """Returns how classes that are numbers, such as counts, come to be predicted as values; "" where they are words."""
    if "regression" not in FITS[name] or not task.class_names or not all(map(_is_number, task.class_names)):
        return ""
    return ". The classes are numbers: data.task=regression predicts them as values"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def of_heads(settings: LossSettings, task: Task) -> Loss:
    """Builds a loss for each of several targets.

    Raises:
        ConfigError: the loss does not fit one of the heads, or a share or a class weight names none of them.
    """
    for name in settings.shares or {}:
        if name not in task.heads:
            raise ConfigError(f"loss.shares.{name}: no target of that name.{did_you_mean(name, task.heads)}")
    shares = dict.fromkeys(task.heads, 1.0) | (settings.shares or {})
    if not any(shares.values()):
        raise ConfigError("loss.shares: every target counts 0, so that nothing is learned. Give one more than 0")
    heads: dict[str, Loss] = {}
    for name, own in settings.by_head(task).items():
        with _of_target(name):
            heads[name] = registry.build("loss", replace(own, shares=None), task=task.heads[name])
    return HeadsLoss(task, heads, shares)


def require_no_shares(settings: LossSettings) -> None:
    """
    Raises:
        ConfigError: shares of several targets are given where there is one.
    """
    if settings.shares:
        raise ConfigError(
            f"loss.shares = {settings.shares}: it weighs several targets, and this data has one. Leave it out"
        )


@contextlib.contextmanager
def _of_target(name: str) -> Iterator[None]:
    """Puts the target's name before the mistakes of its loss."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"target {name}: {error}") from error
