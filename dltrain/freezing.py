"""Parameters that are not trained, or only for a part of the training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import LBFGS, Optimizer

from dltrain import patterns
from dltrain.config import TransferSettings
from dltrain.errors import ConfigError


@dataclass(frozen=True)
class Span:
    """The epochs in which a parameter is trained, counted from 0.

    Attributes:
        start: the first; None for none at all.
        stop: the first in which it is no longer; None for none.
    """

    start: int | None
    stop: int | None

    def holds(self, epoch: int) -> bool:
        return self.start is not None and epoch >= self.start and (self.stop is None or epoch < self.stop)


def freeze(model: nn.Module, settings: TransferSettings) -> None:
    """Takes the gradient from the parameters that are not trained in the first epoch.

    Raises:
        ConfigError: a pattern fits none, or there is nothing to unfreeze.
    """
    if settings.unfreeze_epoch is not None and not settings.freeze:
        raise ConfigError(
            f"model.unfreeze_epoch = {settings.unfreeze_epoch}: nothing is frozen. Say what is: model.freeze=[PATTERN]"
        )
    named = dict(model.named_parameters())
    for name, span in _spans(model, settings).items():
        if not span.holds(0):
            named[name].requires_grad_(False)


def trained_later(model: nn.Module, settings: TransferSettings) -> frozenset[str]:
    """Returns the names of the parameters that are frozen at first and trained later."""
    return frozenset(name for name, span in _spans(model, settings).items() if span.start)


def check_some_train(model: nn.Module, settings: TransferSettings, optimizer: Optimizer) -> None:
    """
    Raises:
        ConfigError: nothing would be trained for a time, or the optimizer cannot let parameters go.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        frozen_by, ends_with = "model.freeze", "model.unfreeze_epoch"
        if not settings.freeze:
            frozen_by, ends_with = "model.unfreeze_after", "that"
        raise ConfigError(
            f"{frozen_by}: every parameter is frozen, so there is nothing to train before {ends_with}. "
            "Leave some free, such as those of the last layer"
        )
    if settings.freeze_after and isinstance(optimizer, LBFGS):
        raise ConfigError(
            "model.freeze_after: optimizer=lbfgs goes on along directions of before, which move what is frozen. Take "
            "another optimizer"
        )
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    spans = _spans(model, settings)
    always = Span(0, None)
    trained = [spans.get(name, always) for name, own in model.named_parameters() if id(own) in held]
    for epoch in sorted({span.stop for span in trained if span.stop is not None}):
        if not any(span.holds(epoch) for span in trained):
            raise ConfigError(
                f"model.freeze_after: after {epoch} epochs every parameter is frozen, and nothing is left to train. "
                f"Leave some free, or train no longer: trainer.max_epochs={epoch}"
            )


def _spans(model: nn.Module, settings: TransferSettings) -> dict[str, Span]:
    """Returns when each parameter is trained that is not trained all the time, by name.

    Raises:
        ConfigError: a pattern fits none, or something would stop to be trained before it starts.
    """
    named = [name for name, _ in model.named_parameters()]
    frozen = {name for names in patterns.fitting("model.freeze", settings.freeze, named).values() for name in names}
    starting = patterns.last_fitting("model.unfreeze_after", settings.unfreeze_after, named)
    stopping = patterns.last_fitting("model.freeze_after", settings.freeze_after, named)
    spans, problems = {}, {}
    for name in named:
        start = settings.unfreeze_epoch if name in frozen else 0
        if name in starting:
            start = settings.unfreeze_after[starting[name]]
        stop = settings.freeze_after[stopping[name]] if name in stopping else None
        if start is not None and stop is not None and stop <= start:
            problems[stopping[name]] = (
                f"model.freeze_after.{stopping[name]} = {stop}: {name} is trained only after {start} "
                f"epoch{'s' if start != 1 else ''}, so it would never be. model.freeze=[{name}] freezes it for good"
            )
        if start != 0 or stop is not None:
            spans[name] = Span(start, stop)
    if problems:
        raise ConfigError(*problems.values())
    return spans


@dataclass(frozen=True)
class Freezing:
    """What is frozen while a model is trained, as a function of the epoch alone.

    Layers of batch or instance normalisation whose parameters are all frozen stay in evaluation mode as well: their
    statistics are those that the frozen layers before and after them were trained with, and must not move.

    Attributes:
        changing: parameters that are trained for a part of the training.
        statistics: normalisation layers that are frozen at some time, each with its parameters.
    """

    changing: tuple[tuple[nn.Parameter, Span], ...]
    statistics: tuple[tuple[nn.Module, tuple[nn.Parameter, ...]], ...]

    def apply(self, epoch: int) -> None:
        """Freezes what is frozen in an epoch; called when the model is in training mode."""
        for parameter, span in self.changing:
            parameter.requires_grad_(span.holds(epoch))
        for layer, parameters in self.statistics:
            layer.train(any(parameter.requires_grad for parameter in parameters))

    def described(self) -> str:
        """Returns after which epochs more is trained, and less, such as "more after 1 and 3 epochs"; "" for never."""
        starts = sorted({span.start for _, span in self.changing if span.start})
        stops = sorted({span.stop for _, span in self.changing if span.stop is not None})
        parts = [f"{what} after {_epochs(epochs)}" for what, epochs in (("more", starts), ("fewer", stops)) if epochs]
        return ", ".join(parts)


def _epochs(epochs: list[int]) -> str:
    listed = " and ".join(", ".join(map(str, epochs)).rsplit(", ", 1))
    return f"{listed} epoch{'s' if epochs != [1] else ''}"


def build(model: nn.Module, settings: TransferSettings, trained: list[nn.Parameter]) -> Freezing | None:
    """Returns what is frozen in a training, or None where nothing has to be done for it.

    Args:
        model: after ``freeze``, and after the optimizer froze what it does not train.
        trained: the parameters that the optimizer has.
    """
    held = {id(parameter) for parameter in trained}
    named = dict(model.named_parameters())
    changing = [
        (named[name], span)
        for name, span in _spans(model, settings).items()
        if span.start is not None and id(named[name]) in held
    ]
    let_go = {id(parameter) for parameter, span in changing if span.stop is not None}
    statistics = []
    for layer in model.modules():
        parameters = tuple(layer.parameters(recurse=False))
        tracks = isinstance(layer, _NormBase) and layer.track_running_stats
        if tracks and parameters and all(not own.requires_grad or id(own) in let_go for own in parameters):
            statistics.append((layer, parameters))
    return Freezing(tuple(changing), tuple(statistics)) if changing or statistics else None
