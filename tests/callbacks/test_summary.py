"""The lines at the start of a run."""

from __future__ import annotations

import pytest
from training import build_trainer, resume, train

from dltrain import console
from dltrain.callbacks.summary import describe_splits, describe_task

SHORT = ("trainer.max_epochs=1", "trainer.batch_size=32")
TEXTS = {
    "iris": ("3 classes from 4 (multiclass)", "90 training, 30 validation, 30 test samples"),
    "gate": ("2 classes from 2 (binary)", "4 training, the same evaluated samples"),
    "korean_text": ("next token out of 12 from 5 before it", "11 training, the same evaluated samples"),
    "digits": ("10 classes from 1x8x8 (multiclass)", "1,258 training, 180 validation, 359 test samples"),
}


@pytest.mark.parametrize("data", TEXTS)
def test_task_and_splits_are_told_in_words(data, tmp_path):
    model = "rnn" if data == "korean_text" else "linear"
    described = build_trainer(tmp_path, f"data={data}", f"model={model}", callbacks=("summary",))
    context = described.callbacks["summary"].context
    assert (describe_task(context.data.task), describe_splits(context.data)) == TEXTS[data]


def test_a_run_starts_with_four_lines_and_a_resumed_one_says_where(tmp_path, capsys):
    console.log_to(None)
    run = tmp_path / "run"
    train(run, "model=mlp", "model.hidden=[128, 64]", *SHORT, callbacks=("summary", "checkpoint"))
    assert capsys.readouterr().err.splitlines() == [
        "data    iris: 3 classes from 4 (multiclass); 90 training, 30 validation, 30 test samples",
        "model   mlp: 9,091 parameters; optimizer sgd, lr 0.01",
        "device  cpu, fp32, 1 thread",
        f"run     {run}",
    ]
    resume(run, "trainer.max_epochs=2")
    assert capsys.readouterr().err.splitlines()[-1] == "resumed at epoch 1, step 3"
