"""What a task says, and how it is read again."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from models.conftest import TASKS

from dltrain.data import InputSpec, Task
from dltrain.data.contract import task_from_dict
from dltrain.errors import ConfigError


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_is_read_from_json_as_it_was(task):
    assert task_from_dict(json.loads(json.dumps(asdict(task)))) == task


def test_a_task_of_a_run_of_version_0_1_is_read():
    saved = {
        "kind": "next_token",
        "input": {"shape": [5], "dtype": "int64", "vocabulary_size": 12},
        "output_size": 12,
        "class_names": ["<pad>", "a"],
    }
    spec = InputSpec((5,), "int64", vocabulary_size=12)
    assert task_from_dict(saved) == Task("next_token", spec, 12, ("<pad>", "a"))


def test_several_inputs_are_not_one():
    task = Task("regression", {"wide": InputSpec((3,)), "deep": InputSpec((5,))}, 1)
    with pytest.raises(
        ConfigError, match=r"^model: this data gives several inputs \(wide, deep\), and the model takes "
    ):
        task.input  # noqa: B018


def test_for_pairs_the_model_that_takes_them_is_named():
    spec = InputSpec((3,), "int64", vocabulary_size=5)
    with pytest.raises(ConfigError, match=r"the model takes one\. Take a model for several inputs: model=seq2seq$"):
        Task("seq2seq", {"source": spec, "target": spec}, 5, per_step=True).input  # noqa: B018
