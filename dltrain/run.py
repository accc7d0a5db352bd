"""The composition root: config -> data -> model -> loss -> optimizer -> trainer -> run folder, in that order."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from dltrain import console, device, environment, optimizers, registry, schedulers, seed, steps
from dltrain.callbacks.base import Callback, RunContext
from dltrain.checkpoint import CheckpointStore
from dltrain.config import Config
from dltrain.data import Data
from dltrain.data.batching import ResidentSplit
from dltrain.errors import CheckpointError, ConfigError, DltrainError, Interrupted
from dltrain.guards import disk_errors, memory_errors
from dltrain.history import History
from dltrain.losses import Loss
from dltrain.metrics import check_monitor
from dltrain.run_folder import RunFolder, sweep_temporary_files, write_file, write_json
from dltrain.signals import Signals
from dltrain.trainer import Trainer


@dataclass(frozen=True)
class Parts:
    """What a config describes, built, before any folder is made."""

    config: Config
    device: torch.device
    data: Data
    model: nn.Module
    loss: Loss

    def split(self, name: str, *, shuffle: bool = False) -> ResidentSplit:
        """Returns the batches of "train", "validation" or "test"."""
        trainer = self.config.trainer
        return ResidentSplit(
            self.data.splits[name],
            batch_size=trainer.batch_size if shuffle else trainer.evaluation_batch_size,
            seed=self.config.seed if shuffle else None,
            device=self.device,
        )


def build(config: Config) -> Parts:
    """Builds data, model and loss, and checks what can be checked only then.

    Raises:
        ConfigError: parts that do not fit each other, or a monitored metric that is never logged.
        DataError: the data cannot be used.
        MachineError: the device cannot be used.
    """
    target = device.choose(config.device)
    device.keep_freed_memory()
    data: Data = registry.build("data", config.data)
    problems: list[str] = []
    seed.seed_everything(config.seed)
    model = loss = None
    with _collected(problems):
        model = registry.build("model", config.model, task=data.task).to(target)
    with _collected(problems):
        loss = registry.build("loss", config.loss, task=data.task)
    for name, settings in config.callbacks.items():
        if hasattr(settings, "monitor"):
            with _collected(problems):
                check_monitor(f"callbacks.{name}.monitor", settings.monitor, data.task)
    if model is not None:
        problems += _single_sample_batch(model, len(data.train), config.trainer.batch_size)
    if problems or model is None or loss is None:
        raise ConfigError(*problems)
    size = sum(parameter.numel() for parameter in model.parameters())
    device.set_threads(config.device.threads, size, config.trainer.batch_size)
    return Parts(config, target, data, model, loss)


def _single_sample_batch(model: nn.Module, num_samples: int, batch_size: int) -> list[str]:
    """Returns the mistake of a last batch of one sample, of which batch normalisation cannot take a variance."""
    normalises = any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules())
    if not normalises or (num_samples - 1) % batch_size != 0:
        return []
    fitting = next(size for size in itertools.count(batch_size + 1) if num_samples % size != 1)
    return [
        f"trainer.batch_size = {batch_size}: the last batch of {num_samples} samples has a single one, and batch "
        f"normalisation needs two. Take trainer.batch_size={fitting}"
    ]


@contextlib.contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def build_step(parts: Parts) -> steps.Step:
    """Builds the optimizer and the step around it."""
    config = parts.config
    return steps.build(
        parts.model,
        parts.loss,
        optimizers.build(config.optimizer, parts.model.parameters()),
        clip_norm=config.trainer.clip_norm,
        accumulate=config.trainer.accumulate,
        autocast=device.autocast(parts.device, config.device.precision),
    )


def build_trainer(parts: Parts, step: steps.Step, folder: RunFolder, container: dict[str, Any]) -> Trainer:
    """Builds the trainer of a run folder."""
    config, settings = parts.config, parts.config.trainer
    store = CheckpointStore(folder.checkpoints)
    context = RunContext(folder, store, config, container, parts.data)
    callbacks: dict[str, Callback] = {
        name: registry.build("callbacks", callback, context=context) for name, callback in config.callbacks.items()
    }
    train = parts.split("train", shuffle=True)
    schedule = schedulers.build(
        config.scheduler,
        max_epochs=settings.max_epochs,
        max_steps=settings.max_steps,
        epoch_steps=-(-train.num_batches // settings.accumulate),
    )
    return Trainer(
        settings,
        task=parts.data.task,
        step=step,
        train=train,
        validation=parts.split("validation"),
        test=parts.split("test") if parts.data.test is not None else None,
        schedule=schedule,
        learning_rate=config.optimizer.lr,
        callbacks=callbacks,
        history=History(folder.metrics),
        autocast=step.autocast,
    )


# --- a run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A run that has ended."""

    folder: RunFolder
    parts: Parts
    trainer: Trainer
    result: dict[str, Any]


def train(config: Config, container: dict[str, Any], overrides: list[str]) -> Outcome:
    """Trains a new run in a folder of its own.

    Args:
        container: the config as plain values, which is what ``config.yaml`` will hold.
        overrides: the command line, for ``overrides.yaml``.

    Raises:
        DltrainError: see ``build`` and ``Trainer.fit``; ``Interrupted`` after a signal.
    """
    parts = build(config)
    step = build_step(parts)
    label = f"{config.data.name}-{config.model.name}"
    folder = RunFolder.create(Path(config.run_dir) if config.run_dir else None, label)
    signals = Signals()
    with signals.caught(), folder.locked():
        write_file(folder.overrides, dump_yaml(overrides))
        write_json(folder.task, _task_file(parts.data))
        write_file(folder.config, dump_yaml(container))  # last: from here on the folder is a run
        return _fit(parts, step, folder, container, signals, resumes=False)


def resume(folder: RunFolder, config: Config, container: dict[str, Any], overrides: list[str]) -> Outcome | None:
    """Goes on with a run in its own folder, from its newest checkpoint or from the start.

    Returns:
        None where there is nothing left to do.

    Raises:
        CheckpointError: the checkpoint or the data are not those of this run any more.
        MachineError: another process is training it.
    """
    signals = Signals()
    with signals.caught(), folder.locked():
        before = folder.read_result()
        if before.get("status") == "done" and not overrides:
            return None
        parts = build(config)
        if folder.task.exists() and folder.read_task().get("fingerprint") != fingerprint(parts.data):
            raise CheckpointError(
                f"the data of {folder.path} have changed since it was trained, so it cannot go on with them. "
                "Put the old data back, or train a new run"
            )
        sweep_temporary_files(folder.path)
        if overrides:
            known = yaml.safe_load(folder.overrides.read_text(encoding="utf-8")) if folder.overrides.exists() else []
            write_file(folder.overrides, dump_yaml([*(known or []), *overrides]))
            write_file(folder.config, dump_yaml(container))
        if not folder.task.exists():
            write_json(folder.task, _task_file(parts.data))
        return _fit(parts, build_step(parts), folder, container, signals, resumes=True)


def _fit(
    parts: Parts,
    step: steps.Step,
    folder: RunFolder,
    container: dict[str, Any],
    signals: Signals,
    *,
    resumes: bool,
) -> Outcome:
    """Trains in a folder that this process holds, and writes its result."""
    trainer = build_trainer(parts, step, folder, container)
    write_json(folder.result, {"status": "running"})  # what stood there is no longer true
    handler = console.log_to(folder.log)
    described = environment.write_beside_training(folder)
    started = time.perf_counter()
    status: dict[str, Any] = {"status": "failed"}
    try:
        for note in parts.data.notes:
            console.log.info("%s", note)
        if resumes:
            _restore(trainer, folder)
        signals.attend(trainer)
        with memory_errors(parts.config), disk_errors(folder):
            trainer.fit()
        status["status"] = "done" if trainer.completed else "interrupted"
    except DltrainError as error:
        status["error"] = str(error)
        raise
    except BaseException as error:
        status["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        result = {**status, **_result(trainer, time.perf_counter() - started)}
        described.join()
        with contextlib.suppress(OSError, DltrainError):  # an error that is under way says more than this one
            write_json(folder.result, result)
        console.stop_logging(handler)
    if not trainer.completed and trainer.interrupted_by is not None:
        saves = any(settings.name == "checkpoint" for settings in parts.config.callbacks.values())
        saved = "its state is saved" if saves else "without a checkpoint callback its state is not saved"
        raise Interrupted(
            f"{trainer.stop_reason} at step {trainer.state.step}; {saved}. Go on with: dltrain resume {folder.path}",
            trainer.interrupted_by,
        )
    return Outcome(folder, parts, trainer, result)


def _restore(trainer: Trainer, folder: RunFolder) -> None:
    """Puts the trainer where the run's newest checkpoint was, or leaves it at the start."""
    state, notes = CheckpointStore(folder.checkpoints).load_newest()
    if state is None:
        notes.append("no checkpoint was saved before the run ended: it starts from the beginning")
        shutil.rmtree(folder.tensorboard, ignore_errors=True)
        trainer.history.cut(step=-1)
    else:
        notes += trainer.load_state_dict(state)
        trainer.history.cut(trainer.state.step)
    for note in notes:
        console.log.warning("%s", note)


def _result(trainer: Trainer, seconds: float) -> dict[str, Any]:
    """Returns what ``result.json`` says of a run."""
    result: dict[str, Any] = {
        "stop_reason": trainer.stop_reason,
        "epochs": trainer.state.epoch,
        "steps": trainer.state.step,
        "samples": trainer.state.samples,
        "seconds": round(seconds, 3),
        "last": trainer.row,
    }
    for callback in trainer.callbacks.values():
        result.update(callback.result())
    if trainer.test_figures:
        result["test"] = {f"test/{name}": value for name, value in trainer.test_figures.items()}
        result["test_weights"] = trainer.final_weights
    return result


# --- files ------------------------------------------------------------------------------------------------


def dump_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    return text


def _task_file(data: Data) -> dict[str, Any]:
    return {"task": asdict(data.task), "preprocessing": data.preprocessing, "fingerprint": fingerprint(data)}


def fingerprint(data: Data) -> str:
    """Returns the SHA-256 of all samples and of what their numbers stand for."""
    digest = hashlib.sha256(json.dumps(data.preprocessing, sort_keys=True).encode())
    for samples in data.splits.values():
        for tensor in (samples.inputs, samples.targets):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
