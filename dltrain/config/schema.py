"""What every run has besides its components: device, trainer, sweep, and what all components of a kind share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from dltrain import durations
from dltrain.config.settings import Limits, setting


@dataclass(frozen=True)
class DeviceSettings:
    name: Literal["auto", "cpu", "cuda"] = setting(
        "Where to train: auto takes a CUDA GPU when PyTorch can use one, else the CPU."
    )
    threads: int | None = setting(
        "CPU threads of one operation; null lets dltrain choose: one for small models, else all cores.", min=1
    )
    precision: Literal["fp32", "bf16"] = setting(
        "Number format of the forward pass: fp32, or bf16 for matrix products and convolutions."
    )


@dataclass(frozen=True)
class TrainerSettings:
    max_epochs: int | None = setting("Stop after this many passes over the training data.", min=1)
    max_steps: int | None = setting("Stop after this many optimizer updates; null sets no such limit.", min=1)
    max_time: str | float | None = setting(
        "Save the state and stop after this much time of training: 90s, 30m, 1h30m, 7d, 1:30:00 or a number of "
        "seconds. Each 'dltrain resume' has it anew. null sets no such limit.",
        check=durations.check,
    )
    batch_size: int = setting("Samples that a step computes at once.", min=1)
    evaluation_batch_size: int = setting("Samples that an evaluation computes at once.", min=1)
    accumulate: int = setting(
        "Batches whose gradients are added up before one optimizer update; as if the batch were so much larger.",
        min=1,
    )
    auto_batch_size: bool = setting(
        "Before the training, try whether batch_size and evaluation_batch_size fit into memory; where they do not, "
        "take the largest that do, and accumulate so that an update sees the same samples."
    )
    clip_norm: float | None = setting(
        "Largest allowed L2 norm of all gradients together; larger ones are scaled down. null does not clip.",
        above=0,
    )
    on_divergence: Literal["stop", "skip", "rollback"] = setting(
        "What to do when the loss becomes NaN or infinite: stop; skip makes no update of such a batch, and waits for "
        "the device at each to know; rollback goes back to the last checkpoint with a lower rate."
    )
    max_rollbacks: int = setting("How often rollback goes back before it gives up.", min=1)
    rollback_factor: float = setting("What the learning rate is multiplied with at each rollback.", above=0, below=1)
    evaluate_every_epochs: int | None = setting(
        "Evaluate and log after every so many epochs; null evaluates at the end only.", min=1
    )
    evaluate_every_steps: int | None = setting(
        "Evaluate and log after every so many optimizer updates, besides the epochs; null does not.", min=1
    )


def _check_workers(workers: str | int) -> None:
    if workers != "auto" and (isinstance(workers, str) or workers < 1):
        raise ValueError(f"{workers} must be auto, or a whole number at least 1")


@dataclass(frozen=True)
class SweepSettings:
    name: Literal["auto", "grid", "random", "tpe", "cmaes", "qmc"] = setting(
        "How a multirun (-m) chooses its trials: grid runs every combination of the lists; random, tpe and cmaes "
        "(which learn from the results) and qmc (spread evenly) draw sweep.trials points; auto takes grid where all "
        "values are listed and no sweep.trials is given, else random."
    )
    trials: int | None = setting("How many points to draw; null draws 20.", min=1)
    seed: int = setting("Seed of what is drawn.", min=0, max=2**32 - 1)
    space: dict[str, Any] = setting(
        "What is searched, by key: interval(1e-4, 1e-2), tag(log, interval(...)), int(interval(1, 9)), range(1, 9, 2), "
        "a list of values, {length: int(interval(0, 3)), each: int(interval(1, 100))} for a list, or "
        "{values: ..., when: key=value}. The command line's come besides."
    )
    metric: str | None = setting(
        "Metric whose best value ranks the trials; null takes what callbacks.checkpoint monitors."
    )
    direction: Literal["minimize", "maximize"] | None = setting(
        "Which values of the metric are better; null knows it from the metric."
    )
    seeds: int = setting(
        "How often each point is trained, from seed, seed + 1, ...; their mean ranks it, and their spread is told.",
        min=1,
    )
    workers: str | int = setting(
        "How many trials are trained at once, each in a process of its own; 1 trains them in this process. auto takes "
        "one for each CUDA GPU, else one for each CPU core, as far as there are trials and memory; none where all is "
        "over in seconds.",
        check=_check_workers,
    )
    pruner: Literal["median", "halving", "hyperband"] | None = setting(
        "Ends trials early whose metric falls behind: median those worse than half of the others at the same "
        "evaluation; halving all but the best third at a ninth and at a third of them; hyperband as halving, with "
        "several starts. Of several seeds or folds the first decides. null ends none."
    )
    prune_after: int | None = setting(
        "Evaluations that each trial has before it can be pruned; null takes a ninth of all, for median a tenth.", min=1
    )
    max_time: str | float | None = setting(
        "Start no trial after this much time, as 90s, 30m or 1h30m; those under way are finished. "
        "Each 'dltrain resume' has it anew. null sets no such limit.",
        check=durations.check,
    )
    stop_when: float | None = setting("Start no trial once the metric of one is as good as this; null does not.")
    max_failures: int | None = setting("Start no trial once so many have failed; null goes on.", min=1)
    refine: str | None = setting(
        "A finished sweep whose best region is searched: its settings hold, and its space, narrowed; others may be "
        "given besides."
    )
    report: bool = setting("Writes report.html at the end.")


@dataclass(frozen=True)
class TransferSettings:
    """What every model has besides its own settings, under ``model``."""

    init_from: str | None = setting(
        "A run, or a file of weights (.safetensors, .pt), whose weights the model starts from wherever name and shape "
        "are the same; null starts anew."
    )
    freeze: list[str] = setting("Patterns of parameter names that are not trained, such as [features.*].")
    unfreeze_epoch: int | None = setting(
        "Epochs after which what is frozen is trained as well; null never trains it.", min=0
    )
    unfreeze_after: dict[str, int] = setting(
        "By pattern of parameter names: epochs after which they are trained; before, they are frozen. It holds before "
        "unfreeze_epoch. {layers.1.*: 4, layers.3.*: 2} unfreezes one layer after the other, from the last to the "
        "first.",
        min=0,
    )
    freeze_after: dict[str, int] = setting(
        "By pattern of parameter names: epochs after which they are no longer trained.", min=1
    )


@dataclass(frozen=True)
class PenaltySettings:
    """What every loss has besides its own settings, under ``loss``."""

    l1: dict[str, float] = setting(
        "By pattern of parameter names: what the sum of their absolute values is multiplied with and added to the "
        "loss in training, as {*.weight: 1e-4}.",
        min=0,
    )
    l2: dict[str, float] = setting("As l1, with the sum of squares.", min=0)


@dataclass(frozen=True)
class GroupSettings:
    """Settings of the parameters whose names fit a pattern.

    Attributes:
        lr, weight_decay: None leaves the optimizer's own.
    """

    lr: float | None = dataclasses.field(
        default=None, metadata={"limits": Limits(above=0), "meaning": "Learning rate; without it, the optimizer's."}
    )
    weight_decay: float | None = dataclasses.field(
        default=None, metadata={"limits": Limits(min=0), "meaning": "Weight decay; without it, the optimizer's."}
    )
    frozen: bool = dataclasses.field(default=False, metadata={"meaning": "Whether they are never trained."})

    def __post_init__(self) -> None:
        if self.frozen and (self.lr is not None or self.weight_decay is not None):
            raise ValueError("frozen: true trains nothing, so that lr and weight_decay mean nothing beside it")


@dataclass(frozen=True)
class ParameterGroupsSettings:
    """What every optimizer has besides its own settings, under ``optimizer``."""

    groups: dict[str, GroupSettings] = setting(
        "By pattern of parameter names, a learning rate (lr), a weight_decay or frozen: true of their own, as "
        "{features.*: {lr: 1e-4}, *.bias: {weight_decay: 0}}; the last pattern that fits a name holds."
    )


# What every component of a kind has besides its own settings: the field of Config that holds it, and its type. The
# values stand in train.yaml, so that no model, loss or optimizer, a user's own included, has to repeat them.
SHARED: dict[str, tuple[str, type[Any]]] = {
    "model": ("transfer", TransferSettings),
    "loss": ("penalties", PenaltySettings),
    "optimizer": ("parameter_groups", ParameterGroupsSettings),
}


SHARED_FIELDS = tuple(field for field, _ in SHARED.values())


@dataclass(frozen=True)
class Config:
    """A whole run. ``data`` to ``callbacks`` are settings dataclasses of registered components.

    Attributes:
        transfer, penalties, parameter_groups: what every model, loss and optimizer has; see ``SHARED``.
    """

    seed: int = setting(
        "Seed of the weights, the order of the samples and dropout.",
        min=0,
        max=2**63 - 1,  # what PyTorch takes
    )
    run_dir: str | None = setting("Folder of this run; null makes a new one under runs/.")
    resume: bool = setting("Goes on with the run that run_dir holds already, where it holds one; else that is refused.")
    report: bool = setting(
        "Writes report.html into the run's folder at the end: curves, evaluation, errors and the model on one page. "
        "The trials of a sweep have the sweep's."
    )
    imports: list[str] = setting("Python modules of your own to import first, so that they can register components.")
    device: DeviceSettings = setting("Device, threads and number format.")
    trainer: TrainerSettings = setting("Length of the training, batches and evaluation.")
    data: Any = setting("The data set; it decides the task.")
    model: Any = setting("The network.")
    loss: Any = setting("The loss; auto takes the one that fits the task.")
    optimizer: Any = setting("The rule that updates the weights.")
    scheduler: Any = setting("How the learning rate changes while training.")
    callbacks: dict[str, Any] = setting("What else happens while training, by name.")
    sweep: SweepSettings = setting("How a multirun searches.")
    transfer: TransferSettings = setting("What every model has.")
    penalties: PenaltySettings = setting("What every loss has.")
    parameter_groups: ParameterGroupsSettings = setting("What every optimizer has.")


COMPONENTS = ("data", "model", "loss", "optimizer", "scheduler")
