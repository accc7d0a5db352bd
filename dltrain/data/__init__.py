"""Data sets: the contract, and the plain case of samples that fit in memory.

``contract`` says what a data set gives, ``batching`` holds samples as tensors; each other module is a family of data
sets or a part of one. What a data set of one's own needs can be imported from here.
"""

from dltrain.data.batching import Samples
from dltrain.data.contract import (
    IGNORED,
    Batch,
    Data,
    InputSpec,
    Source,
    Split,
    Task,
    TaskKind,
    Tensors,
    Transform,
    size_of,
)

__all__ = [
    "IGNORED",
    "Batch",
    "Data",
    "InputSpec",
    "Samples",
    "Source",
    "Split",
    "Task",
    "TaskKind",
    "Tensors",
    "Transform",
    "size_of",
]
