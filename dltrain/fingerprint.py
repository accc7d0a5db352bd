"""What tells whether the data of a run are still those that it was trained on, and what of them has changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from dltrain.data import Data, Source
from dltrain.errors import CheckpointError
from dltrain.run_folder import RunFolder

_SHOWN = 8  # digits of a fingerprint in messages
_NAMED = 3  # entries of a list that are named in messages


def fingerprint(data: Data) -> str:
    """Returns the SHA-256 of all samples and of what their numbers stand for."""
    return together(fingerprints(data))


def fingerprints(data: Data) -> dict[str, str]:
    """Returns the SHA-256 of each split's samples, and of the preprocessing."""
    hashes = {"preprocessing": hashlib.sha256(_as_text(data.preprocessing).encode()).hexdigest()}
    known: dict[int, str] = {}
    for name, source in data.splits.items():
        if id(source) not in known:  # where the training samples are evaluated as well
            known[id(source)] = _of_samples(source)
        hashes[name] = known[id(source)]
    return hashes


def together(hashes: dict[str, str]) -> str:
    """Returns the one fingerprint that several hashes are."""
    return hashlib.sha256(_as_text(hashes).encode()).hexdigest()


def _of_samples(source: Source) -> str:
    digest = hashlib.sha256()
    for piece in source.content():
        digest.update(piece)
    return digest.hexdigest()


def _of_version_0_1(data: Data) -> str:
    """Returns the one hash over everything that runs of version 0.1 keep."""
    digest = hashlib.sha256(json.dumps(data.preprocessing, sort_keys=True).encode())
    for source in data.splits.values():
        for piece in source.content():
            digest.update(piece)
    return digest.hexdigest()


def task_file(data: Data, hashes: dict[str, str]) -> dict[str, Any]:
    """Returns what ``task.json`` holds: the task, what new inputs are made with, and what the data are known by."""
    return {
        "task": asdict(data.task),
        "preprocessing": data.preprocessing,
        "fingerprint": together(hashes),
        "fingerprints": hashes,
        "samples": {name: len(source) for name, source in data.splits.items()},
    }


def check_fingerprint(
    folder: RunFolder, data: Data, hashes: dict[str, str] | None = None, trained_on: str | None = None
) -> None:
    """
    Args:
        hashes: as ``fingerprints`` returns them, where they are known.
        trained_on: the fingerprint in the checkpoint, which counts where ``task.json`` is lost or was edited; None
            where it has none.

    Raises:
        CheckpointError: the data are not those that the run was trained on.
    """
    before = folder.read_task() if folder.task.exists() else {}
    old = trained_on or before.get("fingerprint")
    if old is None:
        return
    if trained_on is None and "fingerprints" not in before and old == _of_version_0_1(data):
        return
    now = task_file(data, fingerprints(data) if hashes is None else hashes)
    if now["fingerprint"] == old:
        return
    changed = "; ".join(_changes(before, json.loads(_as_text(now)))) or "something has changed since then"
    raise CheckpointError(
        f"the data of {folder.path} are not those that it was trained on: {changed} (fingerprint {old[:_SHOWN]}, now "
        f"{now['fingerprint'][:_SHOWN]}). Put the old data back, or say where they are with data.path=...; or train a "
        f"new run on these from its weights, with model.init_from={folder.path}"
    )


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns what can be said of a difference between two ``task.json``, from the plain to the subtle."""
    found = []
    for kind in ("task", "preprocessing"):
        old, new = _leaves(before.get(kind, {})), _leaves(now[kind])
        for key in {**new, **old} if kind in before else {}:
            of_another = "[" in key and not (key in old and key in new)  # its list says that it came or is gone
            if old.get(key) != new.get(key) and not of_another and not _is_measured(new.get(key)):
                found.append(_change(key, old.get(key), new.get(key)))
    for name, number in now["samples"].items():
        was = before.get("samples", {}).get(name)
        if was is not None and was != number:
            found.append(f"the {name} split had {was:,} samples and has {number:,}")
        elif was is not None and before["fingerprints"].get(name) != now["fingerprints"][name]:
            found.append(f"the {name} split has other values")
    found += [f"there is no {name} split any more" for name in before.get("samples", {}) if name not in now["samples"]]
    return list(dict.fromkeys(found))


def _change(key: str, old: Any, new: Any) -> str:
    """Returns in words what was changed; of names, which came and which are gone."""
    if isinstance(old, list) and isinstance(new, list):
        come, gone = [item for item in new if item not in old], [item for item in old if item not in new]
        words = [f"{word} {_few(items)}" for word, items in (("without", gone), ("with", come)) if items]
        return f"{key} {' and '.join(words)}" if words else f"{key} in another order"
    return f"{key} was {json.dumps(old, ensure_ascii=False)} and is {json.dumps(new, ensure_ascii=False)}"


def _few(items: list[Any]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(json.dumps(item, ensure_ascii=False) for item in items[:_NAMED]) + more


def _is_measured(value: Any) -> bool:
    """Tells whether something is measured on the samples, such as their mean: it says nothing that they do not."""
    if isinstance(value, list):
        return bool(value) and all(map(_is_measured, value))
    return isinstance(value, float)


def _leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Returns dotted keys and the plain values and lists below a nested value; of named items, [name] for each."""
    leaves: dict[str, Any] = {}
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        leaves[key] = [item["name"] for item in value]
        for item in value:
            leaves.update(_leaves(item, f"{key}[{item['name']}]"))
        return leaves
    if not isinstance(value, dict):
        return {key: value}
    for name, item in value.items():
        leaves.update(_leaves(item, f"{key}.{name}" if key else str(name)))
    return leaves


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
