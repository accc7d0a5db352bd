"""``device_stats``: what the training takes of the machine: memory, processor, disk, and how fast it goes."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dltrain import registry
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import setting
from dltrain.console import log
from dltrain.models import device_of

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

_MB = 2**20
_PROCESS = Path("/proc/self/status")


@dataclass(frozen=True)
class DeviceStatsSettings:
    name: str = setting("Name of the callback.")
    every_seconds: float = setting("Write when so many seconds have gone by.", above=0)


@dataclass(frozen=True)
class _Moment:
    """Where the training and its clocks are; rates are differences of two."""

    wall_seconds: float
    processor_seconds: float
    step: int
    samples: int

    @classmethod
    def now(cls, trainer: Trainer) -> _Moment:
        return cls(time.monotonic(), time.process_time(), trainer.state.step, trainer.state.samples)


@registry.register("callbacks", "device_stats", DeviceStatsSettings)
class DeviceStats(Callback):
    """Writes ``device/...`` to TensorBoard, and the peaks of memory to ``result.json``, as MB of 2^20 bytes.

    Between two moments of writing it reads one clock a step. The processor counts all threads of this process,
    so 200 % are two cores at work; workers that read data are processes of their own and are not in it.
    """

    settings: DeviceStatsSettings

    def __init__(self, settings: DeviceStatsSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._before: _Moment | None = None
        self._due = 0.0
        self._peaks: dict[str, float] = {}
        self._step = 0  # at which was written last
        self._written: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer) -> None:
        board = self.context.board
        board.open(trainer)
        if board.lost(self._step):
            self._write(self._written)
        if not _PROCESS.exists():
            log.info("device_stats: this system has no /proc: the memory in use and system threads are left out")
        device = device_of(trainer.model)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._start_over(trainer)

    def on_step_end(self, trainer: Trainer) -> None:
        if time.monotonic() >= self._due:
            self._measure(trainer)

    def _start_over(self, trainer: Trainer) -> None:
        self._before = _Moment.now(trainer)
        self._due = self._before.wall_seconds + self.settings.every_seconds

    def _measure(self, trainer: Trainer) -> None:
        before, now = self._before, _Moment.now(trainer)
        self._step, self._written = now.step, self._figures(trainer)
        if before is not None and now.wall_seconds > before.wall_seconds:
            seconds = now.wall_seconds - before.wall_seconds
            self._written |= {
                "device/cpu_percent": 100 * (now.processor_seconds - before.processor_seconds) / seconds,
                "device/steps_per_second": (now.step - before.step) / seconds,
                "device/samples_per_second": (now.samples - before.samples) / seconds,
            }
        self._write(self._written)
        self._start_over(trainer)

    def _figures(self, trainer: Trainer) -> dict[str, float]:
        """Returns how much of the machine is taken at this moment, by tag."""
        self._peaks = self._peaks_now(trainer)
        kernel = _process_status()
        figures = {
            "device/peak_memory_mb": self._peaks["peak_memory_mb"],
            "device/threads": kernel.get("Threads", threading.active_count()),
            "device/free_disk_mb": shutil.disk_usage(self.context.folder.path).free / _MB,
        }
        if "VmRSS" in kernel:
            figures["device/memory_mb"] = kernel["VmRSS"] / 1024
        if hasattr(os, "getloadavg"):
            figures["device/load_1_minute"] = os.getloadavg()[0]
        device = device_of(trainer.model)
        if device.type == "cuda":
            figures["device/cuda_memory_allocated_mb"] = torch.cuda.memory_allocated(device) / _MB
            figures["device/cuda_memory_reserved_mb"] = torch.cuda.memory_reserved(device) / _MB
            figures["device/cuda_memory_peak_mb"] = torch.cuda.max_memory_allocated(device) / _MB
            figures |= _utilisation(device)
        return figures

    def _peaks_now(self, trainer: Trainer) -> dict[str, float]:
        """Returns the largest memory of the whole training, the parts before a resume included."""
        peaks = {"peak_memory_mb": _peak_memory_mb()}
        device = device_of(trainer.model)
        if device.type == "cuda":
            peaks["peak_cuda_memory_mb"] = torch.cuda.max_memory_allocated(device) / _MB
        known = {**peaks, **self._peaks}
        return {name: round(max(value, peaks.get(name, value)), 1) for name, value in known.items()}

    def _write(self, figures: dict[str, float]) -> None:
        for tag, value in figures.items():
            self.context.board.scalar(tag, value, self._step)
        self.context.board.flush_if_due()

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._before is not None and trainer.state.step > self._before.step:
            self._measure(trainer)  # the rest, and all of a short training
        self._peaks = self._peaks_now(trainer)
        self.context.board.close()

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._peaks = self._peaks_now(trainer)
        self.context.board.close()

    def result(self) -> dict[str, Any]:
        return self._peaks

    def state_dict(self) -> dict[str, Any]:
        return {"peaks": self._peaks, "step": self._step, "written": self._written}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._peaks, self._step, self._written = state["peaks"], state["step"], state["written"]


def _process_status() -> dict[str, float]:
    """Returns the figures that Linux has of this process, memory in KB; {} on other systems."""
    try:
        lines = _PROCESS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {words[0].rstrip(":"): float(words[1]) for words in pairs if len(words) > 1 and words[1].isdecimal()}


def _peak_memory_mb() -> float:
    """Returns the most memory that this process had in use at once.

    What ``getrusage`` says may be that of the process which started this one (Linux), so it comes second.
    """
    kernel = _process_status().get("VmHWM")
    if kernel is not None:
        return kernel / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MB if sys.platform == "darwin" else peak / 1024


def _utilisation(device: torch.device) -> dict[str, float]:
    """Returns how busy the GPU is; {} where the driver's library is not there to be asked."""
    try:
        return {"device/cuda_utilization_percent": float(torch.cuda.utilization(device))}
    except (ModuleNotFoundError, RuntimeError, AttributeError):
        return {}
