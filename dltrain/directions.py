"""Of which metrics a larger value is better; nothing here imports PyTorch."""

from __future__ import annotations

# True where a larger value is better.
HIGHER_IS_BETTER = {
    "loss": False,
    "accuracy": True,
    "top5": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "auroc": True,
    "perplexity": False,
    "mae": False,
    "rmse": False,
    "r2": True,
}


def is_higher_better(monitor: str) -> bool:
    """Tells whether a larger value of a metric such as "val/accuracy" is better; of an unknown one it is not."""
    return HIGHER_IS_BETTER.get(monitor.rpartition("/")[2], False)
