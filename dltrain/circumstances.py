"""What the figures of a run depend on besides chance, and what of it is no longer what it was.

A run keeps it in ``config.yaml``, ``environment.json`` and ``task.json``. Kernel, free memory and what else changes
from one day to the next is left out: it changes no figure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dltrain import environment, fingerprint, resume_rules, saved
from dltrain.data import Data
from dltrain.errors import CheckpointError
from dltrain.redaction import redacted_values
from dltrain.run_folder import RunFolder, read_json

_MOST_NAMED = 8  # packages or files in a message
_SHOWN = 10  # letters of a commit
_SHOWN_OF_FINGERPRINT = 8

# Packages that compute or read data stand first where several have changed.
_COMPUTING = (
    *("torch", "numpy", "scikit-learn", "pyarrow", "pillow", "tokenizers", "torchvision", "timm", "kiwipiepy"),
    *("pytorch_optimizer", "pandas", "hydra-core", "omegaconf"),
)

# Of the config, what says nothing of the figures.
_INDIFFERENT = ("run_dir", "resume", "report", "sweep", "trainer.max_time")


@dataclass(frozen=True)
class Circumstances:
    """What a run was made with.

    Attributes:
        container: its config as plain values.
        environment: as ``environment.json`` holds it; {} where it is lost.
        task: as ``task.json`` holds it; {} where it is lost.
    """

    container: dict[str, Any]
    environment: dict[str, Any]
    task: dict[str, Any]

    @property
    def device(self) -> str:
        """The GPU's name, or "cpu"."""
        gpu = self.environment.get("gpu")
        return "cpu" if gpu is None or _named(self.container, "device") == "cpu" else str(gpu)


def of_run(folder: RunFolder) -> Circumstances:
    """Returns the circumstances that a run keeps.

    Raises:
        CheckpointError: a file of it is damaged.
    """
    known = read_json(folder.environment) if folder.environment.exists() else {}
    return Circumstances(saved.saved_config(folder), known, folder.read_task() if folder.task.exists() else {})


def of_now(folder: RunFolder, container: dict[str, Any], data: Data, hashes: dict[str, str]) -> Circumstances:
    """Returns those of this process, in which a run is to be repeated.

    Args:
        folder: of the old run.
        container: what is to be trained.
        data: what it is to be trained on.
        hashes: as ``fingerprint.fingerprints`` returns them.
    """
    task = fingerprint.task_file(data, hashes)
    before = folder.read_task() if folder.task.exists() else {}
    if before and "fingerprints" not in before:  # of version 0.1, which had one of all splits together
        try:
            fingerprint.check_fingerprint(folder, data, hashes)
            task = before
        except CheckpointError:
            pass  # the fingerprints differ, and that is what will be told
    return Circumstances(container, redacted_values(environment.describe()), task)


def differences(before: Circumstances, now: Circumstances) -> list[str]:
    """Returns a line for each thing that may let figures differ, the plainest first: ``data: ...``, ``packages: ...``.

    What ``before`` does not know is said as well where it is a whole file.
    """
    lines = [f"settings: {change}" for change in _changed_settings(before, now)]
    lines += [f"data: {text}" for text in _data(before.task, now.task)]
    if not before.environment:
        return [*lines, "environment: the run has no environment.json, so what it was made with is not known"]
    lines += _versions(before.environment, now.environment)
    lines += _machine(before, now)
    return lines + [f"git: {text}" for text in _git(before.environment.get("git"), now.environment.get("git"))]


def _changed_settings(before: Circumstances, now: Circumstances) -> list[resume_rules.Difference]:
    same_data = bool(before.task) and before.task.get("fingerprint") == now.task.get("fingerprint")
    return [
        change
        for change in resume_rules.differences(before.container, now.container)
        if not any(f"{change.key}.".startswith(f"{key}.") for key in _INDIFFERENT)
        and not (same_data and change.key.startswith("data.") and change.key.endswith(("path", "root")))
    ]


# --- data -------------------------------------------------------------------------------------------------


def _data(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    if not before:
        return ["the run has no task.json, so whether its data are still the same is not known"]
    if before.get("fingerprint") == now["fingerprint"]:
        return []
    old, new = before.get("fingerprints"), now.get("fingerprints", {})
    if not isinstance(old, dict):
        return [f"they are others than those of the run {_prints(before.get('fingerprint'), now['fingerprint'])}"]
    lines = []
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) == new.get(name):
            continue
        was, is_now = before.get("samples", {}).get(name), now.get("samples", {}).get(name)
        prints = _prints(old.get(name), new.get(name))
        if name == "preprocessing":
            lines.append(f"the preprocessing is another {prints}")
        elif name not in new or name not in old:
            lines.append(f"there is {'no' if name not in new else 'a new'} {name} split {prints}")
        elif was != is_now:
            lines.append(f"the {name} split had {was:,} samples and has {is_now:,} {prints}")
        else:
            lines.append(f"the {name} split has other values {prints}")
    return lines


def _prints(old: Any, new: Any) -> str:
    was, is_now = (str(value)[:_SHOWN_OF_FINGERPRINT] if value else "none" for value in (old, new))
    return f"(fingerprint {was}, now {is_now})"


# --- packages and machine ---------------------------------------------------------------------------------


def _versions(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    lines = [
        f"{what}: {_first_word(before[key])} -> {_first_word(now.get(key))}"
        for what, key in (("dltrain", "dltrain"), ("Python", "python"))
        if key in before and _first_word(before[key]) != _first_word(now.get(key))
    ]
    old, new = (_by_name(known.get("packages")) for known in (before, now))
    # What is new besides was not there before, so the run did without; dltrain's own version stands above.
    changed = {name: version for name, version in old.items() if new.get(name) != version and name != "dltrain"}
    named = sorted(changed, key=lambda name: (name not in _COMPUTING, name))
    words = [f"{name} {changed[name]} -> {new.get(name, 'not installed')}" for name in named]
    return [*lines, f"packages: {_few(words)}"] if words else lines


def _by_name(packages: Any) -> dict[str, str]:
    listed = packages if isinstance(packages, dict) else {}
    return {str(name).lower(): str(version) for name, version in listed.items()}


def _machine(before: Circumstances, now: Circumstances) -> list[str]:
    old, new = before.environment, now.environment
    pairs: list[tuple[str, Any, Any]] = [("device", before.device, now.device)]
    if before.device == now.device:
        key = "cpu" if now.device == "cpu" else "cuda"
        pairs.append(({"cpu": "CPU instructions", "cuda": "CUDA"}[key], old.get(key), new.get(key)))
    pairs.append(("platform", _platform(old.get("platform")), _platform(new.get("platform"))))
    lines = [f"{what}: {was} -> {is_now}" for what, was, is_now in pairs if was is not None and was != is_now]
    threads = old.get("threads")
    if threads is not None and threads != new.get("threads"):
        lines.append(f"threads: {threads} -> {new.get('threads')} (device.threads={threads} keeps them)")
    return lines


def _platform(text: Any) -> str | None:
    """Returns system, processor and C library, without the kernel's release."""
    found = re.match(r"([^-]+)-.*-((?:x86_64|amd64|aarch64|arm64|i\d86|ppc64le|riscv64).*)", str(text), re.IGNORECASE)
    return None if text is None else f"{found[1]} {found[2]}" if found else str(text)


# --- git --------------------------------------------------------------------------------------------------


def _git(before: Any, now: Any) -> list[str]:
    """Returns what differs between two commits with what was changed since."""
    old, new = (git if isinstance(git, dict) else None for git in (before, now))
    if old is None and new is None:
        return []
    if old is None or new is None:
        made = "outside of a repository" if old is None else f"at commit {_commit(old)}"
        here = "here is no repository" if new is None else f"here is commit {_commit(new)}"
        return [f"the run was made {made}, and {here}"]
    lines = []
    if old.get("commit") != new.get("commit"):
        lines.append(f"commit {_commit(old)} -> {_commit(new)}")
    sections, sections_now = (_changed_files(git.get("diff")) for git in (old, new))
    files = sorted(name for name in {**sections, **sections_now} if sections.get(name) != sections_now.get(name))
    if files:
        lines.append(f"what is not committed has changed in {_few(files)}")
    elif old.get("diff") != new.get("diff"):
        lines.append("what is not committed has changed, and is too long to have been kept")
    return lines


def _commit(git: dict[str, Any]) -> str:
    return f"{str(git.get('commit'))[:_SHOWN]}{' with changes' if git.get('changed') else ''}"


def _changed_files(diff: Any) -> dict[str, str]:
    """Returns each file's part of a diff, by the file's name."""
    parts = re.split(r"^diff --git ", diff if isinstance(diff, str) else "", flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].rpartition(" b/")[2].strip('"'): part for part in parts if part}


# --- words ------------------------------------------------------------------------------------------------


def _named(container: dict[str, Any], group: str) -> Any:
    return (container.get(group) or {}).get("name")


def _first_word(value: Any) -> str:
    return str(value).split(" ", 1)[0]


def _few(words: list[str]) -> str:
    more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return ", ".join(words[:_MOST_NAMED]) + more
