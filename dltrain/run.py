"""The composition root: config -> data -> model -> loss -> optimizer -> trainer -> run folder, in that order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from dltrain import (
    console,
    device,
    environment,
    gradient_free,
    optimizers,
    registry,
    schedulers,
    seed,
    steps,
    transfer,
    trial,
)
from dltrain.callbacks.base import Callback, RunContext, check_averaging
from dltrain.checkpoint import CheckpointStore
from dltrain.config import Config
from dltrain.data import Data, Split
from dltrain.errors import CheckpointError, ConfigError, DltrainError, Interrupted
from dltrain.guards import disk_errors, memory_errors
from dltrain.history import History
from dltrain.losses import Loss, penalties
from dltrain.metrics import check_monitor
from dltrain.models import FittedModel
from dltrain.run_folder import RunFolder, sweep_temporary_files, write_file, write_json
from dltrain.signals import Signals
from dltrain.trainer import Trainer, TrainState


@dataclass(frozen=True)
class Parts:
    """What a config describes, built, before any folder is made."""

    config: Config
    device: torch.device
    data: Data
    model: nn.Module
    loss: Loss

    def split(self, name: str, *, shuffle: bool = False) -> Split:
        """Returns the batches of "train", "validation" or "test"."""
        trainer = self.config.trainer
        return self.data.splits[name].split(
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
        transfer.freeze(model, config.transfer)
    with _collected(problems):
        loss = registry.build("loss", config.loss, task=data.task)
        loss.check_data(data)
    for key, monitor in _monitors(config):
        with _collected(problems):
            check_monitor(key, monitor, data.task, loss)
    problems += check_averaging(config.callbacks, config.trainer, model)
    if model is not None:
        few = data.validation.head(2).map(lambda tensor: tensor.to(target))
        misfits = trial.trial_pass(model, few, data.task)
        if not misfits:
            misfits = trial.single_sample_batch(model, few.inputs, len(data.train), config.trainer.batch_size)
        problems += misfits
        problems += gradient_free.mistakes(config, model, data)
    if problems or model is None or loss is None:
        raise ConfigError(*problems)
    config = gradient_free.settled(config, model, data)
    size = sum(parameter.numel() for parameter in model.parameters())
    if isinstance(model, FittedModel):  # which may compare each sample with each
        size = len(data.train)
    device.set_threads(config.device.threads, size, min(config.trainer.batch_size, len(data.train)))
    return Parts(config, target, data, model, loss)


def _monitors(config: Config) -> Iterator[tuple[str, str]]:
    """Yields the metrics that something watches, each after the key of the setting that names it."""
    watching = {**{f"callbacks.{name}": own for name, own in config.callbacks.items()}, "scheduler": config.scheduler}
    for key, settings in watching.items():
        if hasattr(settings, "monitor"):
            yield f"{key}.monitor", settings.monitor


@contextlib.contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def build_step(parts: Parts) -> steps.Step:
    """Builds the optimizer and the step around it."""
    config = parts.config
    step = gradient_free.build_step(parts.model, parts.loss, config.optimizer.lr)
    if step is not None:
        return step
    optimizer = optimizers.build(
        config.optimizer,
        parts.model.named_parameters(),
        config.parameter_groups.groups,
        later=transfer.trained_later(parts.model, config.transfer),
    )
    transfer.check_some_train(parts.model)
    return steps.build(
        parts.model,
        parts.loss,
        optimizer,
        clip_norm=config.trainer.clip_norm,
        accumulate=config.trainer.accumulate,
        autocast=device.autocast(parts.device, config.device.precision),
        penalty=penalties.build(parts.model, config.penalties),
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
        freezing=transfer.freezing(parts.model, config.transfer, step.parameters),
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
    with memory_errors(config):
        parts = build(config)
        source, notes = start_from(parts)
        step = build_step(parts)
    label = f"{config.data.name}-{config.model.name}"
    folder = RunFolder.create(Path(config.run_dir) if config.run_dir else None, label)
    signals = Signals()
    with signals.caught(), folder.locked():
        write_file(folder.overrides, dump_yaml(overrides))
        write_json(folder.task, _task_file(parts.data))
        usable = dump_yaml(_from_anywhere(config, container, source))
        write_file(folder.config, usable)  # last: from here on the folder is a run
        return _fit(parts, step, folder, container, signals, notes)


def start_from(parts: Parts) -> tuple[Path | None, list[str]]:
    """Gives a new run's model the weights of ``model.init_from``.

    Returns:
        Which file or run that is, and what was loaded; None and nothing where the model starts anew.

    Raises:
        ConfigError, CheckpointError: see ``transfer``.
    """
    init_from = parts.config.transfer.init_from
    if init_from is None:
        return None, []
    source = transfer.source(init_from)
    return source, transfer.load_first_weights(parts.model, source)


def _from_anywhere(config: Config, container: dict[str, Any], source: Path | None) -> dict[str, Any]:
    """Returns the config with its files, folders and runs absolute, so that the run can be used from elsewhere."""
    paths = {
        field.name: str(Path(value).expanduser().absolute())
        for field in fields(config.data)
        if field.metadata.get("path") and isinstance(value := getattr(config.data, field.name), str)
    }
    init_from = None if source is None else str(source)
    model = {**container["model"], "init_from": init_from}
    return {**container, "data": {**container["data"], **paths}, "model": model}


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
        with memory_errors(config):
            parts = build(config)
        check_fingerprint(folder, parts.data)
        state, notes = CheckpointStore(folder.checkpoints).load_newest()
        loaded: list[str] = []
        if state is None:
            _, loaded = start_from(parts)
        else:
            _check_limits(config, TrainState(**state["progress"]))
        sweep_temporary_files(folder.path)
        if overrides:
            known = yaml.safe_load(folder.overrides.read_text(encoding="utf-8")) if folder.overrides.exists() else []
            write_file(folder.overrides, dump_yaml([*(known or []), *overrides]))
            write_file(folder.config, dump_yaml(container))
        if not folder.task.exists():
            write_json(folder.task, _task_file(parts.data))
        return _fit(parts, build_step(parts), folder, container, signals, loaded, _Restart(state, notes))


def _fit(
    parts: Parts,
    step: steps.Step,
    folder: RunFolder,
    container: dict[str, Any],
    signals: Signals,
    notes: list[str],
    restart: _Restart | None = None,
) -> Outcome:
    """Trains in a folder that this process holds, and writes its result.

    Args:
        notes: what the log should say of a new run.
    """
    with memory_errors(parts.config):
        trainer = build_trainer(parts, step, folder, container)
    write_json(folder.result, {"status": "running"})  # what stood there is no longer true
    handler = console.log_to(folder.log)
    described = environment.write_beside_training(folder)
    started = time.perf_counter()
    status: dict[str, Any] = {"status": "failed"}
    try:
        for note in (*parts.data.notes, *gradient_free.notes(parts.config, parts.model, parts.data), *notes):
            console.log.info("%s", note)
        if restart is not None:
            _restore(trainer, folder, restart)
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


@dataclass(frozen=True)
class _Restart:
    """Where a resumed run goes on.

    Attributes:
        state: of the newest checkpoint; None where the run begins anew.
        notes: what the log should say of it.
    """

    state: dict[str, Any] | None
    notes: list[str]


def _check_limits(config: Config, state: TrainState) -> None:
    """
    Raises:
        ConfigError: the run is beyond a limit already.
    """
    for name, limit, reached in (
        ("max_epochs", config.trainer.max_epochs, state.epoch),
        ("max_steps", config.trainer.max_steps, state.step),
    ):
        if limit is not None and reached > limit:
            raise ConfigError(f"trainer.{name} = {limit}: the run is at {reached} already. Give more than that")


def _restore(trainer: Trainer, folder: RunFolder, restart: _Restart) -> None:
    """Puts the trainer where the run's newest checkpoint was, or leaves it at the start.

    Raises:
        CheckpointError: the checkpoint lacks something, as one of another version may.
    """
    notes = list(restart.notes)
    if restart.state is None:
        notes.append("no checkpoint was saved before the run ended: it starts from the beginning")
        shutil.rmtree(folder.tensorboard, ignore_errors=True)
        trainer.history.cut(step=-1)
    else:
        try:
            notes += trainer.load_state_dict(restart.state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the newest checkpoint in {folder.checkpoints} does not fit this version of dltrain "
                f"({type(error).__name__}: {error}). Resume with the version in {folder.environment.name}"
            ) from error
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


def check_fingerprint(folder: RunFolder, data: Data) -> None:
    """
    Raises:
        CheckpointError: the data are not those that the run was trained on.
    """
    if folder.task.exists() and folder.read_task().get("fingerprint") != fingerprint(data):
        raise CheckpointError(
            f"the data of {folder.path} have changed since it was trained, so its model does not fit them. "
            "Put the old data back, or train a new run"
        )


def fingerprint(data: Data) -> str:
    """Returns the SHA-256 of all samples and of what their numbers stand for."""
    digest = hashlib.sha256(json.dumps(data.preprocessing, sort_keys=True).encode())
    for source in data.splits.values():
        for piece in source.content():
            digest.update(piece)
    return digest.hexdigest()
