"""What the training takes of the machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import build_trainer, result_of, resume, train

from dltrain.callbacks import device_stats

SHORT = ("trainer.batch_size=30", "trainer.max_steps=9")
OFTEN = "callbacks.device_stats.every_seconds=0.000001"


def figures(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_each_moment_has_all_figures_and_they_are_possible(tmp_path):
    train(tmp_path, *SHORT, OFTEN, callbacks=("device_stats",))
    found = figures(tmp_path)
    names = (
        "memory_mb", "peak_memory_mb", "threads", "free_disk_mb", "load_1_minute", "cpu_percent", "steps_per_second",
        "samples_per_second",
    )  # fmt: skip
    assert set(found) == {f"device/{name}" for name in names}
    for seen in found.values():
        assert [step for step, _ in seen] == list(range(1, 10))
    for name, least, most in (
        ("memory_mb", 50, result_of(tmp_path)["peak_memory_mb"] + 1),
        ("threads", 1, 10_000),
        ("free_disk_mb", 0, shutil.disk_usage(tmp_path).total / 2**20),
        ("steps_per_second", 0.1, 1e6),
    ):
        assert all(least <= value <= most for _, value in found[f"device/{name}"]), name
    steps, samples = found["device/steps_per_second"], found["device/samples_per_second"]
    assert all(
        sample == pytest.approx(30 * step, rel=1e-4) for (_, step), (_, sample) in zip(steps, samples, strict=True)
    )


def test_a_training_shorter_than_the_wait_has_one_moment_at_its_end(tmp_path):
    train(tmp_path, *SHORT, "callbacks.device_stats.every_seconds=1000", callbacks=("device_stats",))
    assert [step for step, _ in figures(tmp_path)["device/threads"]] == [9]


def test_the_peak_is_that_of_the_whole_training(tmp_path, monkeypatch):
    peaks = iter([300.0, 100.0])
    for limit, expected in ((3, 300.0), (9, 300.0)):
        peak = next(peaks)
        monkeypatch.setattr(device_stats, "_peak_memory_mb", lambda peak=peak: peak)
        if limit == 3:
            train(tmp_path, *SHORT, "trainer.max_steps=3", OFTEN, callbacks=("device_stats", "checkpoint"))
        else:
            resume(tmp_path, "trainer.max_steps=9")
        assert result_of(tmp_path)["peak_memory_mb"] == expected


def test_the_peak_counts_memory_that_was_given_back(tmp_path):
    before = device_stats._peak_memory_mb()
    torch.ones(50 * 2**20, dtype=torch.uint8).sum()  # touched, so that it is really there
    assert device_stats._peak_memory_mb() >= before
    assert device_stats._peak_memory_mb() >= device_stats._process_status()["VmRSS"] / 1024 - 1


def test_a_system_without_proc_has_the_rest(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(device_stats, "_PROCESS", tmp_path / "no" / "such")
    trainer = build_trainer(tmp_path / "run", *SHORT, OFTEN, callbacks=("device_stats",))
    with caplog.at_level("INFO", logger="dltrain"):
        trainer.fit()
    found = figures(tmp_path / "run")
    assert "device/memory_mb" not in found and found["device/peak_memory_mb"][0][1] > 50
    assert (
        "device_stats: this system has no /proc: the memory in use and system threads are left out" in caplog.messages
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_has_its_memory_written(tmp_path):
    train(tmp_path, *SHORT, "device=cuda", OFTEN, callbacks=("device_stats",))
    found = figures(tmp_path)
    assert {f"device/cuda_memory_{name}_mb" for name in ("allocated", "reserved", "peak")} <= set(found)
    assert result_of(tmp_path)["peak_cuda_memory_mb"] > 0
