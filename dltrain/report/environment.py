"""What a run was made with, its config, and how to make it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from dltrain import __version__, run_folder
from dltrain.report.markup import Html, code, details, escaped, facts, heading, joined, paragraph
from dltrain.report.page import Block, Section
from dltrain.report.subject import Subject

# The packages that decide what a training gives; all others stand behind them.
_DECIDING = ("torch", "numpy", "hydra-core", "omegaconf", "scikit-learn", "pillow", "tokenizers", "kiwipiepy", "timm")

# A longer file is cut: it is no config that somebody wrote.
_MOST_LETTERS = 200_000


def environment(subject: Subject) -> Section:
    known = subject.environment
    title = "Environment"
    if not known:
        return Section(title, [paragraph(f"{subject.folder.environment.name} is missing or cannot be read.", "notice")])
    blocks: list[Block] = [facts(_facts(known))]
    packages = known.get("packages")
    if isinstance(packages, dict):
        rest = "\n".join(f"{name}=={version}" for name, version in sorted(packages.items(), key=_lower))
        blocks.append(details(f"all {len(packages)} packages", code(rest)))
    git = known.get("git")
    if isinstance(git, dict) and git.get("diff"):
        blocks.append(details("changes that were not committed", code(str(git["diff"])[:_MOST_LETTERS])))
    return Section(title, blocks)


def _lower(pair: tuple[str, Any]) -> str:
    return str(pair[0]).lower()


def _facts(known: dict[str, Any]) -> Iterator[tuple[str, object]]:
    names = {"dltrain": "dltrain", "python": "Python", "platform": "platform", "started": "started", "cpu": "CPU"}
    for key, name in (*names.items(), ("threads", "threads"), ("cuda", "CUDA"), ("gpu", "GPU")):
        if known.get(key) is not None:
            yield name, known[key]
    command = known.get("command")
    if isinstance(command, list):
        yield "command", shlex.join(map(str, command))
    git = known.get("git")
    if isinstance(git, dict):
        changed = ", with changes that were not committed" if git.get("changed") else ""
        yield "git commit", f"{git.get('commit')}{changed}"
    packages = known.get("packages")
    if isinstance(packages, dict):
        versions = {str(name).lower(): version for name, version in packages.items()}
        found = [f"{name} {versions[name]}" for name in _DECIDING if name in versions]
        yield "packages", ", ".join(found)


def config(subject: Subject) -> Section:
    try:
        text = subject.folder.config.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Section(
            "Config", [paragraph(f"{subject.folder.config.name} cannot be read: {error.strerror}", "notice")]
        )
    return Section("Config", [Html(f"<pre class='columns'>{_highlighted(text[:_MOST_LETTERS])}</pre>")])


def _highlighted(text: str) -> Html:
    """Returns YAML whose keys stand out."""
    return joined(map(_line, text.split("\n")))


def _line(text: str) -> Html:
    found = re.match(r"(\s*(?:- )?)([^\s:#'\"\[{-][^:#]*)(:(?:\s.*)?)$", text)
    if found is None:
        return escaped(text)
    space, key, rest = found.groups()
    return Html(f"{space}<b>{escaped(key)}</b>{escaped(rest)}")


def again(subject: Subject) -> Section:
    """Returns how to repeat the run."""
    path, known = subject.folder.path, subject.environment
    if run_folder.RUNS.parts[0] != path.parts[0]:  # as in other folders than that where the run was started
        path = path.absolute()
    folders = _flags(known, "--config-dir")
    whole = subject.folder.config.name
    commands = [
        (
            "in the folder where the run was started: it is repeated, and the metrics are compared",
            ["rerun", str(path), *folders],
        ),
        ("a new run from the whole config", [*folders, "--config", str(path / whole)]),
        (
            "a new run from what was said on the command line",
            [*folders, *_flags(known, "--config"), *_overrides(subject)],
        ),
    ]
    lines = "\n".join(f"# {meaning}\n{shlex.join(['dltrain', *words])}" for meaning, words in commands)
    blocks: list[Block] = [Html(f'<pre class="commands">{escaped(lines)}</pre>')]
    version = known.get("dltrain")
    blocks.append(heading("What should be the same"))
    blocks.append(facts(_same(subject, known)))
    if version is not None and version != __version__:
        blocks.append(paragraph(f"The run was made with dltrain {version}, this page with {__version__}.", "notice"))
    git = known.get("git")
    if isinstance(git, dict) and git.get("changed"):
        blocks.append(
            paragraph("The code in its folder had changes that were not committed; Environment has them.", "notice")
        )
    return Section("How to repeat it", blocks)


def _flags(known: dict[str, Any], flag: str) -> list[str]:
    """Returns a flag of the command that trained the run, with its values, as often as it was given."""
    command = known.get("command")
    words = list(map(str, command)) if isinstance(command, list) else []
    found: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == flag:
            found += [flag, following]
        elif word.startswith(f"{flag}="):
            found.append(word)
    return found


def _overrides(subject: Subject) -> list[str]:
    import yaml

    try:
        values = yaml.safe_load(subject.folder.overrides.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return []
    words = [str(value) for value in values] if isinstance(values, list) else []
    return [word for word in words if not word.startswith(("run_dir=", "resume="))]  # that folder is taken


def _same(subject: Subject, known: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "seed", subject.seed
    packages = known.get("packages")
    torch = packages.get("torch") if isinstance(packages, dict) else None
    yield "dltrain", known.get("dltrain", "not known")
    yield "PyTorch", torch or "not known"
    yield "Python", str(known.get("python", "not known")).partition(" ")[0]
    yield (
        "device",
        known.get("gpu") or f"CPU, {known.get('threads', '?')} {'thread' if known.get('threads') == 1 else 'threads'}",
    )
    if "fingerprint" in subject.task_file:
        yield "data", f"fingerprint {subject.task_file['fingerprint']}"
