"""Checkpoints: the whole state of a training in one safetensors file, with a SHA-256 manifest beside it.

No pickle is written or read, so that loading a stranger's checkpoint cannot run code. A checkpoint NAME is

    NAME.safetensors   every tensor under the path where it stands in the state; the state's structure and its
                       plain values as JSON in the header
    NAME.json          the manifest: size and SHA-256 of that file. It is written last: without it there is no
                       checkpoint, and a file that does not match it is never read.

``last.json`` and ``best.json`` point to a checkpoint by name.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from dltrain.console import log
from dltrain.errors import CheckpointError, MachineError
from dltrain.run_folder import RunFolder, read_json, sweep_temporary_files, write_file, write_json

SCHEMA = 1
_TENSOR = "$tensor"
_KEYS = "$keys"


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, name: str, state: dict[str, Any], pointer: str | None = None) -> None:
        """Writes a checkpoint, then lets ``pointer`` ("last" or "best") point to it.

        Raises:
            MachineError: the disk is full or cannot be written; what was saved before is untouched.
        """
        content = pack(state)
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise MachineError(f"{self.folder} cannot be made: {error.strerror}") from error
        write_file(self._content(name), content)
        manifest = {"schema": SCHEMA, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        write_json(self._manifest(name), manifest)
        if pointer is not None:
            self.point(pointer, name)

    def point(self, pointer: str, name: str) -> None:
        """Lets ``pointer`` ("last" or "best") point to a checkpoint."""
        write_json(self.folder / f"{pointer}.json", {"checkpoint": name})

    def unpoint(self, pointer: str) -> None:
        """Removes a pointer."""
        (self.folder / f"{pointer}.json").unlink(missing_ok=True)

    def load(self, name: str) -> dict[str, Any]:
        """Verifies and reads a checkpoint.

        Raises:
            CheckpointError: it is missing, damaged, or of a newer schema.
        """
        path = self._content(name)
        manifest = read_json(self._manifest(name)) if self._manifest(name).exists() else {}
        if not manifest or not path.exists():
            raise CheckpointError(f"{path}: there is no such checkpoint, or its saving was cut off")
        if manifest.get("schema") != SCHEMA:
            raise CheckpointError(
                f"{path} has schema {manifest.get('schema')}, this dltrain reads {SCHEMA}: "
                "install the dltrain that wrote it"
            )
        content = path.read_bytes()
        if len(content) != manifest.get("bytes") or hashlib.sha256(content).hexdigest() != manifest.get("sha256"):
            raise CheckpointError(f"{path} is damaged: it does not match its SHA-256 in {self._manifest(name).name}")
        return unpack(content, path)

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
            name = read_json(path).get("checkpoint") if path.exists() else None
        except CheckpointError:
            return None
        return name if isinstance(name, str) and Path(name).name == name else None

    def load_newest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Returns the newest valid training state, or None, and a note for each damaged one that was passed over."""
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


def load_state(folder: RunFolder, checkpoint: str) -> tuple[str, dict[str, Any]]:
    """Verifies and reads a checkpoint of a run.

    Args:
        checkpoint: "best", "last", or a checkpoint's name. Where no best one is kept, the last is taken, and the
            log says so.

    Returns:
        The checkpoint's name, and what it holds.

    Raises:
        CheckpointError: it is missing, damaged, or its pointer is.
    """
    store = CheckpointStore(folder.checkpoints)
    if checkpoint not in ("best", "last"):
        if checkpoint not in store.names():
            there = ", ".join(["best", "last", *store.names()])
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
        if folder.read_result().get("status") == "done":
            raise CheckpointError(f"{folder.path} keeps no checkpoint: it was trained without callbacks.checkpoint")
        raise CheckpointError(f"{folder.path} has no checkpoint yet. Go on with it: dltrain resume {folder.path}")
    return name, store.load(name)


def pack(state: dict[str, Any]) -> bytes:
    """Returns a nested state of dicts, lists, tensors and plain values as the bytes of a safetensors file."""
    tensors: dict[str, torch.Tensor] = {}
    structure = _take_tensors(state, "", tensors, set())
    return safetensors.torch.save(tensors, {"dltrain": json.dumps(structure, allow_nan=True)})


def unpack(content: bytes, path: Path) -> dict[str, Any]:
    """Returns the state that ``pack`` was given.

    Raises:
        CheckpointError: the bytes are no checkpoint of dltrain.
    """
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        state = _put_tensors(json.loads(header["__metadata__"]["dltrain"]), tensors)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no checkpoint of dltrain: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of dltrain: it holds no state")
    return state


def _take_tensors(value: Any, path: str, tensors: dict[str, torch.Tensor], taken: set[int]) -> Any:
    """Returns the value with each tensor replaced by its path, and puts the tensors into ``tensors``.

    ``taken`` holds the addresses of their memory: safetensors stores no two tensors over the same.
    """
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        while path in tensors or path == "__metadata__":  # keys such as 1 and "1", "a/b"; safetensors' own key
            path += "'"
        tensors[path] = tensor
        return {_TENSOR: path}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int)):
                raise TypeError(f"{path}: a key of type {type(key).__name__} cannot stand in a checkpoint")
        items = [
            _take_tensors(item, f"{path}/{key}" if path else str(key), tensors, taken) for key, item in value.items()
        ]
        if all(isinstance(key, str) and key not in (_TENSOR, _KEYS) for key in value):
            return dict(zip(value, items, strict=True))
        return {_KEYS: list(value), "values": items}  # JSON has no other keys than text; optimizers have numbers
    if isinstance(value, (list, tuple)):
        return [_take_tensors(item, f"{path}/{i}", tensors, taken) for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{path}: a {type(value).__name__} cannot stand in a checkpoint; use tensors, numbers, text, lists and dicts"
    )


def _put_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _KEYS in value:
            return dict(zip(value[_KEYS], (_put_tensors(item, tensors) for item in value["values"]), strict=True))
        return {key: _put_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_tensors(item, tensors) for item in value]
    return value
