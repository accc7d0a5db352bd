"""The counts are those of the evaluation, in TensorBoard as a picture and in the run folder as a table."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import torch
from killing import assert_same
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import build_trainer, resume, rows_of, train

from dltrain.errors import ConfigError

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
NO_GRAPH = "callbacks.tensorboard.graph=false"


def table(path) -> tuple[list[str], np.ndarray]:
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    assert [row[0] for row in rows] == header[1:]
    return header[1:], np.array([[int(cell) for cell in row[1:]] for row in rows])


def shown(folder, tag="confusion_matrix") -> dict[int, Image.Image]:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0}).Reload()
    found = events.Images(tag) if tag in events.Tags()["images"] else []
    assert len({event.step for event in found}) == len(found)
    return {event.step: Image.open(io.BytesIO(event.encoded_image_string)) for event in found}


def counted(trainer) -> np.ndarray:
    """Counts anew, sample by sample."""
    model, counts = trainer.model.eval(), np.zeros((3, 3), dtype=int)
    with torch.no_grad():
        for batch in trainer.validation.batches(0):
            for target, output in zip(batch.targets.tolist(), model(batch.inputs), strict=True):
                counts[target, int(output.argmax())] += 1
    return counts


def test_it_counts_the_validation_split(tmp_path):
    trainer = build_trainer(
        tmp_path, *RAGGED, NO_GRAPH, "trainer.max_epochs=4", "callbacks.confusion_matrix.every_epochs=2",
        callbacks=("confusion_matrix", "tensorboard"),
    )  # fmt: skip
    trainer.test = None
    trainer.fit()
    names, counts = table(tmp_path / "confusion_matrix" / "last.csv")
    assert names == ["setosa", "versicolor", "virginica"]
    assert (counts == counted(trainer)).all() and counts.sum() == 30
    pictures = shown(tmp_path)
    assert list(pictures) == [6, 12]
    assert pictures[12].tobytes() == Image.open(tmp_path / "confusion_matrix" / "last.png").tobytes()


def test_the_best_is_kept_by_the_metric_that_is_named(tmp_path):
    trainer = build_trainer(
        tmp_path, *RAGGED, "optimizer.lr=0.5", "trainer.max_epochs=9", "callbacks.confusion_matrix.every_epochs=50",
        "callbacks.confusion_matrix.monitor=val/accuracy", callbacks=("confusion_matrix",),
    )  # fmt: skip
    trainer.fit()
    accuracies = [row["val/accuracy"] for row in rows_of(tmp_path)]
    _, best = table(tmp_path / "confusion_matrix" / "best.csv")
    _, last = table(tmp_path / "confusion_matrix" / "last.csv")
    assert best.trace() / 30 == max(accuracies) and last.trace() / 30 == accuracies[-1]
    assert sorted(path.name for path in (tmp_path / "confusion_matrix").iterdir()) == [
        "best.csv", "best.png", "last.csv", "last.png",
    ]  # fmt: skip


def test_a_resumed_run_shows_what_an_uninterrupted_one_does(tmp_path):
    common = (*RAGGED, NO_GRAPH, "optimizer.lr=0.5")
    callbacks = ("confusion_matrix", "tensorboard", "checkpoint")
    train(tmp_path / "parts", *common, "trainer.max_steps=5", callbacks=callbacks)
    assert list(shown(tmp_path / "parts")) == [3, 5]  # that of the end, in the middle of an epoch
    resume(tmp_path / "parts", "trainer.max_steps=12")
    train(tmp_path / "whole", *common, "trainer.max_steps=12", callbacks=callbacks)
    parts, whole = shown(tmp_path / "parts"), shown(tmp_path / "whole")
    assert list(parts) == list(whole) == [3, 6, 9, 12]
    assert all(parts[step].tobytes() == whole[step].tobytes() for step in whole)
    for name in ("best.csv", "best.png", "last.csv", "last.png"):
        files = [tmp_path / run / "confusion_matrix" / name for run in ("parts", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_a_killed_run_puts_the_best_back_that_its_checkpoint_knows(tmp_path):
    first = build_trainer(tmp_path / "a", *RAGGED, "trainer.max_epochs=2", callbacks=("confusion_matrix",))
    first.fit()
    state = first.callbacks["confusion_matrix"].state_dict()
    best = (tmp_path / "a" / "confusion_matrix" / "best.csv").read_bytes()
    fresh = build_trainer(tmp_path / "b", *RAGGED, "trainer.max_epochs=2", callbacks=("confusion_matrix",))
    (tmp_path / "b" / "confusion_matrix").mkdir()
    (tmp_path / "b" / "confusion_matrix" / "best.csv").write_text("of an epoch that never was\n")
    fresh.callbacks["confusion_matrix"].load_state_dict(state)
    fresh.callbacks["confusion_matrix"].on_fit_start(fresh)
    assert (tmp_path / "b" / "confusion_matrix" / "best.csv").read_bytes() == best


def test_without_tensorboard_there_are_files_alone(tmp_path):
    train(tmp_path, *RAGGED, "trainer.max_epochs=1", callbacks=("confusion_matrix",))
    assert (tmp_path / "confusion_matrix" / "last.png").exists() and not (tmp_path / "tensorboard").exists()


def test_a_folder_that_cannot_be_written_does_not_end_the_training(tmp_path, caplog):
    trainer = build_trainer(tmp_path, *RAGGED, "trainer.max_epochs=2", callbacks=("confusion_matrix",))
    (tmp_path / "confusion_matrix").write_text("a file where the folder should be")
    trainer.fit()
    (warning,) = caplog.messages
    assert trainer.state.epoch == 2 and warning.startswith(f"nothing more is written to {tmp_path}/confusion_matrix: ")


def test_yes_and_no(tmp_path):
    train(tmp_path, "data=breast_cancer", "trainer.max_epochs=1", callbacks=("confusion_matrix",))
    names, counts = table(tmp_path / "confusion_matrix" / "last.csv")
    assert names == ["benign", "malignant"]
    row = rows_of(tmp_path)[-1]
    assert counts.trace() / counts.sum() == pytest.approx(row["val/accuracy"])
    assert counts[1, 1] / counts[:, 1].sum() == pytest.approx(row["val/precision"])


@pytest.fixture
def several(tmp_path):
    path = tmp_path / "several.csv"
    path.write_text("a,b,size,kind\n" + "".join(f"{i},{i % 7},{i / 10},{'개' if i % 3 else '말'}\n" for i in range(60)))
    return (f"data.path={path}", "data.target=[size, kind]")


def test_of_several_targets_those_with_classes_have_one(tmp_path, several):
    train(
        tmp_path / "run", "data=csv", *several, "model=mlp", "trainer.max_epochs=1", NO_GRAPH,
        callbacks=("confusion_matrix", "tensorboard"),
    )  # fmt: skip
    names, counts = table(tmp_path / "run" / "confusion_matrix" / "kind-last.csv")
    assert sorted(names) == ["개", "말"] and counts.sum() > 0
    assert list(shown(tmp_path / "run", "confusion_matrix/kind"))
    assert not list((tmp_path / "run" / "confusion_matrix").glob("size*"))


def test_data_without_classes_are_refused_before_there_is_a_folder(tmp_path):
    with pytest.raises(ConfigError) as error:
        train(tmp_path / "run", "data=diabetes", "trainer.max_epochs=1", callbacks=("confusion_matrix",))
    assert str(error.value) == (
        "callbacks.confusion_matrix: it does not fit this regression data. It fits binary, multiclass and "
        "sequence_labels data of up to 1,024 classes; callbacks=[default,worst_errors] shows where any model errs most"
    )
    assert not (tmp_path / "run").exists()


def test_it_changes_nothing(tmp_path):
    common = (*RAGGED, "model=mlp", "model.dropout=0.5", "model.norm=batch", "trainer.max_epochs=3")
    one = train(tmp_path / "a", *common, callbacks=("confusion_matrix",))
    other = train(tmp_path / "b", *common)
    assert_same(one.trainer.model.state_dict(), other.trainer.model.state_dict())
    assert_same(one.trainer.test_figures, other.trainer.test_figures)
