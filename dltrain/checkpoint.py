"""Checkpoints: the whole state of a training in one safetensors file, with a SHA-256 manifest beside it.

No pickle is written or read, so that loading a stranger's checkpoint cannot run code. A checkpoint NAME is

    NAME.safetensors   the state, as ``packing`` describes it
    NAME.json          the manifest: size and SHA-256 of that file. It is written last: without it there is no
                       checkpoint, and a file that does not match it is never read.

``last.json`` and ``best.json`` point to a checkpoint by name, with the SHA-256 of that name: one wrong bit can make it
another's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from dltrain import averages
from dltrain.background import BackgroundWriter
from dltrain.console import log
from dltrain.errors import CheckpointError, ConfigError, MachineError
from dltrain.migrations import SCHEMA, NewerSchemaError
from dltrain.packing import pack, schema_of, unpack
from dltrain.run_folder import (
    RunFolder,
    free_bytes,
    read_json,
    sweep_temporary_files,
    sync_folder,
    write_file,
    write_json,
)

# Blocks of the disk for the manifest and the pointer of a checkpoint, each while the one before it is still there.
_SMALL_FILES = 4
_AVERAGE = "average"


class CheckpointStore:
    """The checkpoints of one run.

    Attributes:
        writer: saves beside the training; what reads here waits for it first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = BackgroundWriter()

    def save(self, name: str, state: dict[str, Any] | memoryview, pointer: str | None = None) -> None:
        """Writes a checkpoint, then lets ``pointer`` ("last" or "best") point to it.

        Args:
            state: packed already, where the training has gone on since.

        Raises:
            MachineError: the disk is full or cannot be written; what was saved before is untouched.
        """
        content = state if isinstance(state, memoryview) else pack(state)
        self.check_room(len(content))
        write_file(self._content(name), content)
        manifest = {"schema": SCHEMA, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        write_json(self._manifest(name), manifest)
        if pointer is not None:
            self.point(pointer, name)

    def check_room(self, *num_bytes: int) -> None:
        """Makes the folder, and checks that checkpoints of these sizes fit beside what is there.

        Raises:
            MachineError: they do not, or the folder cannot be written. Nothing is changed.
        """
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(exist_ok=True)
                sync_folder(self.folder.parent)  # else a power cut may take the folder with all that is in it
            free, block = free_bytes(self.folder)
        except OSError as error:
            raise MachineError(f"{self.folder} cannot be made: {error.strerror}") from error
        blocks = sum(-(-size // block) + _SMALL_FILES for size in num_bytes)
        if blocks * block > free:
            raise MachineError(
                f"{self.folder}: the disk is full: needs {blocks * block / 2**20:.1f} MB, {free / 2**20:.1f} MB are "
                "free. The checkpoints there are whole. Make room, or keep fewer with callbacks.checkpoint.keep_last "
                f"and keep_best; then go on with: dltrain resume {self.folder.parent}"
            )

    def point(self, pointer: str, name: str) -> None:
        """Lets ``pointer`` ("last" or "best") point to a checkpoint."""
        write_json(self.folder / f"{pointer}.json", {"checkpoint": name, "sha256": _digest(name)})

    def unpoint(self, pointer: str) -> None:
        """Removes a pointer."""
        (self.folder / f"{pointer}.json").unlink(missing_ok=True)

    def load(self, name: str) -> dict[str, Any]:
        """Verifies and reads a checkpoint; one of an older version comes as this one would have written it.

        Raises:
            CheckpointError: it is missing, damaged, or of a newer version.
        """
        self.writer.wait()
        path = self._content(name)
        manifest = read_json(self._manifest(name)) if self._manifest(name).exists() else {}
        if not manifest or not path.exists():
            raise CheckpointError(f"{path}: there is no such checkpoint, or its saving was cut off")
        content = path.read_bytes()
        if len(content) != manifest.get("bytes") or hashlib.sha256(content).hexdigest() != manifest.get("sha256"):
            raise CheckpointError(f"{path} is damaged: it does not match its SHA-256 in {self._manifest(name).name}")
        state = unpack(content, path)
        if manifest.get("schema") != schema_of(content):  # the manifest's is for versions that look at nothing else
            raise CheckpointError(f"{self._manifest(name)} is damaged: it gives {path.name} another schema")
        return state

    def names(self) -> list[str]:
        """Returns the checkpoints that have a manifest, oldest step first."""
        manifests = [p for p in self.folder.glob("*step-*.json") if self._content(p.stem).exists()]
        return sorted((p.stem for p in manifests), key=lambda name: name.rpartition("-")[2])

    def has_pointer(self, pointer: str) -> bool:
        return (self.folder / f"{pointer}.json").exists()

    def pointed(self, pointer: str) -> str | None:
        """Returns the checkpoint that ``pointer`` names, or None where the pointer is missing or damaged."""
        path = self.folder / f"{pointer}.json"
        try:
            found = read_json(path) if path.exists() else {}
        except CheckpointError:
            return None
        name = found.get("checkpoint")
        known = found.keys() in ({"checkpoint", "sha256"}, {"checkpoint"})  # the second is an older pointer
        if not known or not isinstance(name, str) or Path(name).name != name:
            return None
        return name if found.get("sha256", _digest(name)) == _digest(name) else None

    def load_newest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Returns the newest valid training state, or None, and a note for each damaged one that was passed over.

        Raises:
            CheckpointError: there are some and none is whole, or one is of a newer version.
        """
        self.writer.wait()
        notes: list[str] = []
        candidates = [name for name in reversed(self.names()) if name.startswith("step-")]
        last = self.pointed("last")
        if last in candidates:
            candidates.remove(last)
            candidates.insert(0, last)
        elif candidates and (self.folder / "last.json").exists():
            notes.append(f"the pointer {self.folder / 'last.json'} is damaged: taking {candidates[0]}")
        for name in candidates:
            try:
                return self.load(name), notes
            except NewerSchemaError:
                raise  # nothing is wrong with it; to go on from an older one would lose what it holds
            except CheckpointError as error:
                notes.append(f"{error}. Falling back to the one before")
        if last is not None and not candidates:
            notes.append(f"{self.folder / 'last.json'} points to {last}, which is gone")
        if notes:
            raise CheckpointError("\n".join([*notes, f"no checkpoint in {self.folder} is whole"]))
        return None, notes

    def remove(self, name: str) -> None:
        """Removes a checkpoint: the manifest first, so that what is left of a cut-off removal is no checkpoint."""
        self._manifest(name).unlink(missing_ok=True)
        self._content(name).unlink(missing_ok=True)

    def sweep(self, keep: set[str]) -> None:
        """Removes what a killed process left: temporary files, and checkpoints that the resumed state knows not."""
        if not self.folder.exists():
            return
        sweep_temporary_files(self.folder)
        for path in self.folder.glob("*step-*"):
            if path.stem not in keep:
                self.remove(path.stem)

    def _content(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _manifest(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def load_state(folder: RunFolder, checkpoint: str) -> tuple[str, dict[str, Any]]:
    """Verifies and reads a checkpoint of a run.

    Args:
        checkpoint: "best", "last", a checkpoint's name, or "average" or "average:N" for the mean of the weights of
            all states that are kept, or of the newest N. Where no best one is kept, the last is taken, and the log
            says so.

    Returns:
        The checkpoint's name, and what it holds.

    Raises:
        CheckpointError: it is missing, damaged, or its pointer is.
        ConfigError: "average:" is followed by something else than a number from 2.
    """
    store = CheckpointStore(folder.checkpoints)
    if checkpoint.partition(":")[0] == _AVERAGE:
        return _load_average(folder, store, checkpoint)
    if checkpoint not in ("best", "last"):
        if checkpoint not in store.names():
            there = ", ".join(["best", "last", *store.names(), _AVERAGE])
            raise CheckpointError(f"{folder.path} has no checkpoint '{checkpoint}'. There is: {there}")
        return checkpoint, store.load(checkpoint)
    name = store.pointed(checkpoint)
    if name is None and store.has_pointer(checkpoint):
        raise CheckpointError(
            f"{folder.checkpoints / checkpoint}.json is damaged. Name a checkpoint: --checkpoint with one of "
            f"{', '.join(store.names())}"
        )
    if name is None and checkpoint == "best" and store.pointed("last") is not None:
        log.warning("%s keeps no best weights: taking the last", folder.path)
        name = store.pointed("last")
    if name is None:
        result = folder.read_result()
        if result.get("status") == "failed" and isinstance(result.get("error"), str):
            raise CheckpointError(f"{folder.path} has no checkpoint, for its training failed before: {result['error']}")
        if result.get("status") == "done":
            raise CheckpointError(
                f"{folder.path} keeps no checkpoint: it was trained without callbacks.checkpoint, or its folder "
                f"{folder.checkpoints.name} was removed"
            )
        raise CheckpointError(f"{folder.path} has no checkpoint yet. Go on with it: dltrain resume {folder.path}")
    return name, store.load(name)


def _load_average(folder: RunFolder, store: CheckpointStore, checkpoint: str) -> tuple[str, dict[str, Any]]:
    """Returns the mean of the weights of several states, and the name of what that is."""
    states = [name for name in store.names() if name.startswith("step-")]
    number = _number_to_average(checkpoint, len(states))
    if len(states) < max(2, number):
        there = f"{len(states)} ({', '.join(states)})" if states else "none"
        raise CheckpointError(
            f"--checkpoint {checkpoint}: that takes {max(2, number)} states of the training at least, and "
            f"{folder.path} keeps {there}. A training keeps more of them with "
            f"callbacks.checkpoint.keep_last={max(5, number)}, or with callbacks.checkpoint.keep_every_epochs=1"
        )
    names = states[-number:]
    mean = averages.mean_of(averages.weights_in(store.load(name)) for name in names)
    if any(name.endswith("running_var") for name in mean):
        log.warning(
            "the statistics of normalisation are averaged like weights, which is not what they would be for the "
            "averaged weights. If the figures are worse than the last checkpoint's, train with callbacks=[default,swa] "
            "and callbacks.swa.renew_statistics=true"
        )
    return f"average of {', '.join(names)}", {"model": mean}


def _number_to_average(checkpoint: str, there: int) -> int:
    """Returns N of "average:N"; of "average" how many there are.

    Raises:
        ConfigError: N is no number from 2.
    """
    _, colon, text = checkpoint.partition(":")
    if not colon:
        return there
    if not (text.isascii() and text.isdigit()) or int(text) < 2:
        raise ConfigError(
            f"--checkpoint {checkpoint}: give average for all checkpoints that are kept, or average:N for the newest "
            "N, with N from 2"
        )
    return int(text)
