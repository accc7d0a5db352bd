"""A training in its run folder: started, stopped, gone on with, and what it leaves there."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from dltrain import (
    config_files,
    console,
    divergence,
    environment,
    gradient_free,
    memory,
    quick_yaml,
    resume_rules,
    user_code,
)
from dltrain.assembly import Parts, Shared, build, build_step, build_trainer, start_from
from dltrain.checkpoint import CheckpointStore
from dltrain.config import Config
from dltrain.errors import CheckpointError, ConfigError, DivergedError, DltrainError, Interrupted, TimeUp
from dltrain.fingerprint import check_fingerprint, task_file
from dltrain.guards import disk_errors, memory_errors
from dltrain.history import History
from dltrain.models import FittedModel
from dltrain.redaction import holds_environment, redacted, redacted_values
from dltrain.rollback import rolled_back
from dltrain.run_folder import RunFolder, sweep_temporary_files, write_file, write_json
from dltrain.signals import Signals
from dltrain.trainer import Trainer, TrainState

_RUNNING = {"status": "running"}


@dataclass(frozen=True)
class Outcome:
    """A run that has ended."""

    folder: RunFolder
    parts: Parts
    trainer: Trainer
    result: dict[str, Any]


def train(config: Config, container: dict[str, Any], overrides: list[str], shared: Shared | None = None) -> Outcome:
    """Trains a new run in a folder of its own.

    Args:
        container: the config as plain values, which is what ``config.yaml`` will hold.
        overrides: the command line, for ``overrides.yaml``.
        shared: with other runs of this process.

    Raises:
        DltrainError: see ``build`` and ``Trainer.fit``; ``Interrupted`` after a signal.
    """
    with memory_errors(config):
        parts = build(config, shared)
        source, notes = start_from(parts)
        step = build_step(parts)
        if config.trainer.auto_batch_size:
            parts, container, fitting = memory.fitted(parts, step, container)
            config, notes = parts.config, [*notes, *fitting]
    label = f"{config.data.name}-{config.model.name}"
    folder = RunFolder.create(Path(config.run_dir) if config.run_dir else None, label)
    signals = Signals()
    with signals.caught(), folder.locked():
        folder.check_new()  # another process may have trained here meanwhile
        for begun in (folder.overrides, folder.task, folder.config):  # by a process that was killed before it was a run
            sweep_temporary_files(folder.path, begun.name)
        with folder.begun_or_removed():
            write_file(folder.overrides, dump_yaml(redacted_values(overrides)))
            write_json(folder.task, task_file(parts.data, parts.fingerprints))
            first_weights = container["model"].get("init_from")
            if not holds_environment(first_weights):
                first_weights = None if source is None else str(source)
            model = {**container["model"], "init_from": first_weights}
            usable = dump_yaml(_from_anywhere(config, {**container, "model": model}))
            write_file(folder.config, usable)  # last: from here on the folder is a run
        with memory_errors(config):
            trainer = build_trainer(parts, step, folder, container)
        return _fit(parts, trainer, folder, container, signals, notes)


def _from_anywhere(config: Config, container: dict[str, Any]) -> dict[str, Any]:
    """Returns the config with its files and folders of data absolute, so that the run can be used from elsewhere."""
    data = dict(container["data"])
    for field in fields(config.data):
        value, said = getattr(config.data, field.name), data.get(field.name)
        if not field.metadata.get("path") or not isinstance(value, str):
            continue
        path = Path(value).expanduser()
        if not holds_environment(said):
            data[field.name] = str(_normal(path.absolute()))
        elif not path.is_absolute():
            data[field.name] = str(Path.cwd() / str(said))
    return {**container, "data": data}


def _normal(path: Path) -> Path:
    """Returns a path without the steps back in it, as of ../words.txt, where these lead past no link."""
    normal = Path(os.path.normpath(path))
    try:
        return normal if normal.samefile(path) else path
    except OSError:
        return path


def resume(
    folder: RunFolder,
    config: Config,
    container: dict[str, Any],
    overrides: list[str],
    shared: Shared | None = None,
) -> Outcome | None:
    """Goes on with a run in its own folder, from its newest checkpoint or from the start.

    Args:
        config, container: of the run, with changes that ``resume_rules`` allow.
        overrides: what said these changes, for ``overrides.yaml``.
        shared: with other runs of this process.

    Returns:
        None where there is nothing left to do.

    Raises:
        CheckpointError: the checkpoint or the data are not those of this run any more.
        MachineError: another process is training it.
    """
    with folder.locked():
        if config.trainer.auto_batch_size:  # as the config of a sweep says, and the trial's own says what was found
            container = resume_rules.with_own(_saved_config(folder), container)
            found = {name: container["trainer"][name] for name in resume_rules.FOUND}
            config = replace(config, trainer=replace(config.trainer, **found))
        changes = resume_rules.differences(_saved_config(folder), container)
        if _is_finished(folder, config, changed=bool(changes)):
            return None
        with memory_errors(config):
            parts = build(config, shared)
        state, notes = CheckpointStore(folder.checkpoints).load_newest()
        trained_on = None if state is None else state["made_with"].get("data")
        check_fingerprint(folder, parts.data, parts.fingerprints, trained_on)
        said = [f"changed: {change}" for change in changes]
        if state is None:
            said += start_from(parts)[1]
        else:
            _check_limits(config, TrainState(**state["progress"]))
        with memory_errors(config):
            trainer = build_trainer(parts, build_step(parts), folder, container)
        notes += _restore(trainer, folder, state)  # what does not fit is known before anything is written
        signals = Signals()
        with signals.caught():  # until here nothing is written, and a signal may end the process at once
            sweep_temporary_files(folder.path)
            write_json(folder.result, _RUNNING)  # first: a new end and the old result would tell of a finished run
            if changes:
                said_before = folder.overrides.read_text(encoding="utf-8") if folder.overrides.exists() else ""
                known = quick_yaml.load(said_before) or []
                write_file(folder.overrides, dump_yaml([*known, *redacted_values(overrides)]))
                write_file(folder.config, dump_yaml(_from_anywhere(config, container)))
            if not folder.task.exists() or folder.read_task().get("fingerprint") != trained_on:
                write_json(folder.task, task_file(parts.data, parts.fingerprints))
            if state is None:
                shutil.rmtree(folder.tensorboard, ignore_errors=True)
            trainer.history.cut(-1 if state is None else trainer.state.step)
            return _fit(parts, trainer, folder, container, signals, said, notes)


def _saved_config(folder: RunFolder) -> dict[str, Any]:
    return config_files.completed(quick_yaml.load(folder.config.read_text(encoding="utf-8")))


def _is_finished(folder: RunFolder, config: Config, *, changed: bool) -> bool:
    """Tells whether a run has come to its end, and with what was changed would be there as well."""
    result = folder.read_result()
    if result.get("status") != "done":
        return False
    limits = ((config.trainer.max_epochs, result.get("epochs", 0)), (config.trainer.max_steps, result.get("steps", 0)))
    left = [limit - reached for limit, reached in limits if limit is not None]
    return not changed or min(left) == 0  # beyond a limit is a mistake of the change


def _fit(
    parts: Parts,
    trainer: Trainer,
    folder: RunFolder,
    container: dict[str, Any],
    signals: Signals,
    notes: list[str],
    warnings: Sequence[str] = (),
) -> Outcome:
    """Trains in a folder that this process holds, and writes its result.

    Args:
        notes: what the log should say first.
        warnings: what it should say after that.
    """
    write_json(folder.result, _RUNNING)
    if parts.config.report:  # of an earlier end of the run; at this one it is written again
        folder.report.unlink(missing_ok=True)
    handler = console.log_to(folder.log)
    described = environment.write_beside_training(folder, parts.shared.environment)
    started = time.perf_counter() - _spent(folder)
    status: dict[str, Any] = {"status": "failed"}
    try:
        without_gradients = gradient_free.notes(parts.config, parts.model, parts.data)
        for note in (*parts.data.notes, *without_gradients, *trainer.schedule.notes, *notes):
            console.log.info("%s", note)
        for warning in warnings:
            console.log.warning("%s", warning)
        signals.attend(trainer)
        in_batches = None if isinstance(parts.model, FittedModel) else len(parts.data.train)
        with (
            memory_errors(
                parts.config, in_batches, lambda error: memory.advice(error, parts, trainer.step, folder.path)
            ),
            disk_errors(folder),
        ):
            while True:
                try:
                    trainer.fit()
                    break
                except DivergedError as error:
                    parts, trainer = rolled_back(error, trainer, parts, folder, container)
                    signals.attend(trainer)
        for note in divergence.notes(trainer.mishaps):
            console.log.warning("%s", note)
        status["status"] = "done" if trainer.completed else "interrupted"
    except DltrainError as error:
        status["error"] = str(error)
        raise
    except BaseException as error:
        status["error"] = redacted(f"{type(error).__name__}: {error}")
        raise
    finally:
        described.join()
        result = _reported(trainer, folder, status, time.perf_counter() - started, handler)
    _check_completed(trainer, folder, parts.config)
    return Outcome(folder, parts, trainer, result)


def _spent(folder: RunFolder) -> float:
    """Returns how many seconds of training the rows say that a run goes on from."""
    return math.fsum(row.get("epoch_seconds") or 0.0 for row in History(folder.metrics).rows())


def _reported(
    trainer: Trainer, folder: RunFolder, status: dict[str, Any], seconds: float, handler: logging.Handler | None
) -> dict[str, Any]:
    """Writes how a training ended, and closes its log, in which callbacks may say something of the end."""
    try:
        result = {**status, **_result(trainer, seconds)}
    finally:
        console.stop_logging(handler)
    with contextlib.suppress(OSError, DltrainError):  # an error that is under way says more than this one
        write_json(folder.result, result)
    return result


def _check_completed(trainer: Trainer, folder: RunFolder, config: Config) -> None:
    """
    Raises:
        Stopped: a signal, or the end of its time, ended the training.
    """
    if trainer.completed:
        return
    saves = any(settings.name == "checkpoint" for settings in config.callbacks.values())
    saved = "its state is saved" if saves else "without a checkpoint callback its state is not saved"
    message = f"{trainer.stop_reason} at step {trainer.state.step}; {saved}. Go on with: dltrain resume {folder.path}"
    raise TimeUp(message) if trainer.interrupted_by is None else Interrupted(message, trainer.interrupted_by)


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


def _restore(trainer: Trainer, folder: RunFolder, state: dict[str, Any] | None) -> list[str]:
    """Puts the trainer where the run's newest checkpoint was, or leaves it at the start; writes nothing.

    Args:
        state: of the newest checkpoint; None where the run begins anew.

    Returns:
        What the log should say of it.

    Raises:
        CheckpointError: the checkpoint lacks something, as one of another version may.
    """
    if state is None:
        return ["no checkpoint was saved before the run ended: it starts from the beginning"]
    try:
        return trainer.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if user_code.was_at_work(error):  # a callback of the user's cannot take its state
            raise
        raise CheckpointError(
            f"the newest checkpoint in {folder.checkpoints} does not fit this version of dltrain "
            f"({type(error).__name__}: {error}). Resume with the version in {folder.environment.name}"
        ) from error


def _result(trainer: Trainer, seconds: float) -> dict[str, Any]:
    """Returns what ``result.json`` says of a run."""
    result: dict[str, Any] = {
        "stop_reason": trainer.stop_reason,
        "epochs": trainer.state.epoch,
        "steps": trainer.state.step,
        "samples": trainer.state.samples,
        "seconds": round(seconds, 3),
        "last": trainer.row,
        **divergence.result(trainer.mishaps),
    }
    for callback in trainer.callbacks.values():
        result.update(callback.result())
    if trainer.test_figures:
        result["test"] = {f"test/{name}": value for name, value in trainer.test_figures.items()}
        result["test_weights"] = trainer.final_weights
    return result


def dump_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    return text
