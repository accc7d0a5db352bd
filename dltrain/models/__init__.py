"""The model contract: an ``nn.Module`` built from its settings and the task.

A model is registered as ``model/<name>`` with a settings dataclass, and built as ``Model(settings, task=task)``.
Its ``forward(inputs)`` takes (B, *task.input.shape), or several tensors by name, and returns (B, task.output_size):
logits for classes and tokens, plain values for regression. Where the task is one of each step it returns
(B, T, task.output_size). Where the task has heads it may return a dict with a tensor for each of them.

Shapes in comments: B batch, T time, C channels, D features, H hidden units, K classes, V vocabulary.
"""

from __future__ import annotations

from dltrain.data import Task
from dltrain.errors import ConfigError


def require_values(name: str, task: Task) -> None:
    """Refuses token numbers for a model that computes with the values of its input.

    Raises:
        ConfigError: the task's input is tokens.
    """
    if task.input.vocabulary_size is not None:
        raise ConfigError(
            f"model.name = '{name}': it computes with numbers, and this data gives tokens. "
            "Choose a model that embeds them: model=rnn, model=lstm or model=gru; or, for classes of text, "
            "data.form=multi_hot"
        )
