"""``ctc``: finds a text in steps without being told which step belongs to which of its labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dltrain.config import setting
from dltrain.data import IGNORED, Data, Task, Tensors
from dltrain.errors import ConfigError
from dltrain.losses.contract import Loss, LossSettings, in_full_precision, known_targets, register


@dataclass(frozen=True)
class CTCSettings(LossSettings):
    blank: int = setting("Class that stands for no label at a step.", min=0)
    zero_infinity: bool = setting(
        "Whether samples with more labels than their steps can hold count 0; otherwise such data is refused."
    )


@register("ctc", CTCSettings)
def ctc(settings: CTCSettings, task: Task) -> Loss:
    """Connectionist temporal classification (Graves et al. 2006): -log of the probability of all ways in which the
    steps can spell the labels. A step gives a label or the blank; equal neighbours are one label, blanks are none.

    Raises:
        ConfigError: the blank is none of the classes.
    """
    if settings.blank >= task.output_size:
        raise ConfigError(f"loss.blank = {settings.blank}: the data has {task.output_size} classes, counted from 0")
    return CTCLoss(settings.blank, settings.zero_infinity)


@dataclass(frozen=True)
class CTCLoss(Loss):
    """The sum over the samples of -log p(labels), divided by the number of steps that have a target.

    The labels of a sample are the targets (B, T) of the steps that have one, in order, whichever steps these are;
    targets that are the blank are none. All T steps of the outputs (B, T, K) may spell them. A sample without labels
    does not count. Metrics such as accuracy, which compare step with step, are not there.

    The lengths of the texts are read from the device at each batch, which waits for it.
    """

    blank: int
    zero_infinity: bool
    per_step = True
    aligned = False

    def __call__(self, outputs: Tensors, targets: Tensors, weights: torch.Tensor | None = None) -> torch.Tensor:
        assert isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        outputs = in_full_precision(outputs)
        labels, num_labels = labels_of(targets, self.blank)
        steps = torch.full_like(num_labels, outputs.shape[1])
        losses = F.ctc_loss(
            outputs.log_softmax(dim=2).transpose(0, 1),
            labels,
            steps,
            num_labels,
            blank=self.blank,
            reduction="none",
            zero_infinity=self.zero_infinity,
        )
        losses = torch.where(num_labels > 0, losses, 0)
        if weights is not None:
            losses = losses * weights
        return losses.sum() / (targets != IGNORED).sum().clamp(min=1)

    def check_data(self, data: Data, head: str | None = None) -> None:
        """
        Raises:
            ConfigError: a sample, or with ``zero_infinity`` every one, has more labels than its steps can hold.
        """
        for name, source in data.splits.items():
            targets = known_targets(source, head)
            needed = steps_needed(targets, self.blank)
            too_long = needed > targets.shape[1]
            if too_long.any() and (too_long.all() or not self.zero_infinity):
                first = int(too_long.long().argmax())
                raise ConfigError(_too_long(name, targets.shape[1], int(needed[first]), bool(too_long.all()), first))


def _too_long(split: str, steps: int, needed: int, everywhere: bool, first: int) -> str:
    which = f"every sample of {split}" if everywhere else f"sample {first + 1} of {split}"
    mend = "" if everywhere else "Set loss.zero_infinity=true to leave such samples out. "
    return (
        f"loss.name = 'ctc': {which} has more labels than its {steps} steps can spell (sample {first + 1} takes "
        f"{needed}: a step for each label, and one between equal ones). {mend}For a label of each step choose "
        "loss=cross_entropy"
    )


def labels_of(targets: torch.Tensor, blank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the labels (B, T) of each sample, moved to the left, and how many there are (B,)."""
    is_label = (targets != IGNORED) & (targets != blank)
    order = (~is_label).to(torch.uint8).argsort(dim=1, stable=True)
    labels = torch.where(is_label, targets, 0).gather(1, order)  # what stands behind the labels is not looked at
    return labels, is_label.sum(dim=1)


def steps_needed(targets: torch.Tensor, blank: int) -> torch.Tensor:
    """Returns (B,) how many steps it takes to spell the labels: one each, and a blank between two equal ones."""
    labels, num_labels = labels_of(targets, blank)
    inside = torch.arange(1, labels.shape[1], device=labels.device) < num_labels[:, None]
    return num_labels + ((labels[:, 1:] == labels[:, :-1]) & inside).sum(dim=1)
