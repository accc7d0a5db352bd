"""R3: from any save point, with any optimizer, a training goes on to the bits of one that was never stopped."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from killing import assert_same
from shards import png, write_parquet, write_tars
from training import build_trainer, register_callback, rows_of, without_times

from dltrain import config_files, seed
from dltrain.callbacks.base import Callback
from dltrain.checkpoint import pack, unpack

pytestmark = pytest.mark.faults

# Dropout, so that every generator counts; batch norm, so that buffers do; a schedule, so that the place does.
NETWORK = ("model=mlp", "model.hidden=[8, 8]", "model.dropout=0.3", "model.norm=batch", "scheduler=cosine")
LENGTH = ("trainer.batch_size=24", "trainer.max_epochs=3")
POINTS = ("first step", "middle of an epoch", "end of an epoch", "last step")

SOME = ("momentum", "adam", "adamw", "rmsprop", "muon", "lbfgs", "adadelta", "rprop")
ALL = tuple(config_files.options("optimizer", []))
EXACT_IN_ONE_BATCH = ("lbfgs",)  # it evaluates a batch several times, and cannot accumulate


class Keeps(Callback):
    """Keeps the whole state, as a checkpoint would have it, wherever one could be saved."""

    states: dict[tuple[int, int, int], bytes]

    def on_fit_start(self, trainer) -> None:
        self.states = {}

    def on_checkpoint(self, trainer) -> None:
        state = trainer.state
        self.states[state.epoch, state.batch, state.step] = bytes(pack(trainer.state_dict()))


@pytest.fixture
def keeps(monkeypatch):
    register_callback(monkeypatch, Keeps, "keeps")


def trained(folder: Path, overrides: tuple[str, ...], callbacks: tuple[str, ...], state: bytes | None = None):
    """Trains to the end, from a state where one is given; returns the trainer."""
    trainer = build_trainer(folder, *overrides, callbacks=(*callbacks, "keeps"))
    if state is not None:
        torch.manual_seed(987)  # as in another process
        trainer.load_state_dict(unpack(state, folder))
    trainer.fit()
    return trainer


def end_of(trainer) -> dict[str, object]:
    """Returns all that the training ended with."""
    states = trainer.callbacks["keeps"].states
    state = unpack(copy.copy(states[max(states)]), Path("state"))
    row = {name: value for name, value in trainer.row.items() if name != "epoch_seconds"}
    return {
        "state": state | {"row": None},
        "model": trainer.model.state_dict(),
        "row": row,
        "test": trainer.test_figures,
    }


def points_of(trainer) -> dict[str, bytes]:
    """Returns the state at each of the save points."""
    states = trainer.callbacks["keeps"].states
    places = sorted(states)
    middle = [place for place in places if place[0] == 1 and place[1] > 0]
    chosen = (places[0], middle[len(middle) // 2], next(p for p in places if p[0] == 2 and p[1] == 0), places[-1])
    return {name: states[place] for name, place in zip(POINTS, chosen, strict=True)}


def check(folder: Path, overrides: tuple[str, ...], callbacks: tuple[str, ...], lines, then: tuple[str, ...] = ()):
    """Trains once without a stop and once from each save point, with ``then`` changed, and compares all bits."""
    whole = trained(folder / "whole", overrides, callbacks)
    expected, rows = end_of(whole), without_times(rows_of(folder / "whole"))
    for number, (point, state) in enumerate(points_of(whole).items()):
        lines.tried += 1
        resumed = trained(folder / str(number), (*overrides, *then), callbacks, state)
        assert_same(expected, end_of(resumed), f"{overrides} {callbacks} from {point}")
        metrics = folder / str(number) / "metrics.jsonl"
        later = without_times(rows_of(folder / str(number))) if metrics.exists() else []
        assert rows[len(rows) - len(later) :] == later
        lines.survived += 1


def grid(full_size: bool):
    """Yields optimizer, accumulation, average and workers."""
    for optimizer in ALL if full_size else SOME:
        for accumulate in (1,) if optimizer in EXACT_IN_ONE_BATCH else (1, 3):
            for average in ((), ("ema",)):
                for workers in (0, 2) if full_size or optimizer == "momentum" else (0,):
                    yield optimizer, accumulate, average, workers


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_training_goes_on_to_the_same_bits(accumulate, keeps, tmp_path, tally, full_size):
    lines = tally("R3", "resumed from four save points, by optimizer, accumulation, EMA and workers: the same bits")
    write_parquet(tmp_path / "data", shards=3, rows=60, row_group=12)
    stream = (f"data.path={tmp_path / 'data'}", "data.target=y", "data.buffer=30", "data.ignore=[id]")
    for number, (optimizer, updates, average, workers) in enumerate(grid(full_size)):
        if updates != accumulate:
            continue
        words = ("data=parquet_shards", *stream, f"data.workers={workers}", *NETWORK, *LENGTH)
        words = (*words, f"optimizer={optimizer}", f"trainer.accumulate={accumulate}")
        (tmp_path / str(number)).mkdir()
        check(tmp_path / str(number), words, average, lines)


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (2, 1)])
@pytest.mark.parametrize("name", ["parquet_shards", "tar_shards", "image_list"])
def test_a_stream_goes_on_with_another_number_of_workers(name, before, after, keeps, tmp_path, tally, full_size):
    lines = tally("R3", "streams resumed with another number of workers: the same bits")
    if name == "parquet_shards":
        folder = write_parquet(tmp_path / "data", shards=3, rows=60, row_group=12)
        words = ("data.target=y", "data.ignore=[id]")
    elif name == "tar_shards":
        folder, words = write_tars(tmp_path / "data", shards=3, samples=50), ("data.augmentation.flip=true",)
    else:
        folder, words = tmp_path / "data", ("data.augmentation.crop_padding=1",)
        for number in range(150):
            path = folder / f"class{number % 3}" / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(number))
    words = (f"data={name}", f"data.path={folder}", *words, "data.buffer=30", *NETWORK, *LENGTH, "optimizer=adam")
    check(tmp_path, (*words, f"data.workers={before}"), (), lines, then=(f"data.workers={after}",))


def test_the_control_differs_where_the_generators_are_not_restored(keeps, tmp_path, tally, monkeypatch):
    lines = tally("R3", "control: without the generators' states the bits differ")
    words = ("data=iris", *NETWORK, *LENGTH, "optimizer=adam")
    whole = trained(tmp_path / "whole", words, ())
    expected = end_of(whole)["model"]
    monkeypatch.setattr(seed, "restore_generators", lambda states: None)
    for point, state in points_of(whole).items():
        if point == "last step":  # nothing is drawn after it
            continue
        lines.tried += 1
        with pytest.raises(AssertionError):
            assert_same(expected, end_of(trained(tmp_path / point, words, (), state))["model"])
        lines.survived += 1
