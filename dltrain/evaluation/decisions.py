"""What is told of the class that a model says, of each sample or of each step by itself.

Shapes in comments: N samples or steps, M of them that count, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Of so many logits at a time probabilities are computed.
_LOGITS = 2**22


def decisions(
    outputs: torch.Tensor, classes: torch.Tensor, is_language: bool, places: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Returns what is told of (N, K) outputs and (N,) classes, (M,) each; some at a time, so that little is in memory
    besides the outputs.

    Args:
        places: (M,) of those that count; None counts all.
    """
    step = max(1, _LOGITS // outputs.shape[1])
    if places is None:
        parts = [_decided(*pair, is_language) for pair in zip(outputs.split(step), classes.split(step), strict=True)]
    else:
        parts = [_decided(outputs[part], classes[part], is_language) for part in places.split(step)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _decided(outputs: torch.Tensor, classes: torch.Tensor, is_language: bool) -> dict[str, torch.Tensor]:
    """Returns what is told of (M, K) outputs and (M,) classes, (M,) each."""
    log_chances = outputs.log_softmax(dim=1)
    own = log_chances.gather(1, classes[:, None])[:, 0]
    predicted = outputs.argmax(dim=1)
    best = log_chances.gather(1, predicted[:, None])[:, 0]
    right = predicted == classes
    # The sum over the classes of (p - y)^2, with y = 1 for what is true and 0 else; of two both are the same.
    squared = log_chances.mul(2).exp().sum(dim=1) - 2 * own.exp() + 1
    if outputs.shape[1] == 2:
        squared = squared / 2
    told = {"hits": right, "right": right, "predicted": predicted, "confidence": best.exp(), "brier": squared}
    if outputs.shape[1] > 5:
        told["top5"] = (outputs.topk(5, dim=1).indices == classes[:, None]).any(dim=1)
    if is_language:  # of the targets themselves, whatever the loss smooths or weighs
        told["surprise"] = F.cross_entropy(outputs, classes, reduction="none")
    return told
