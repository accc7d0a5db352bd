"""Says whether this machine is fit for dltrain: versions, device, memory, disk, permissions, config files."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from dltrain import __version__, config_files
from dltrain.errors import MachineError

# (what, what was found, what to do about it: None where all is well)
Finding = tuple[str, str, "str | None"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(arguments: argparse.Namespace) -> int:
    findings = [*_packages(), *_device(), *_folder(), *_configs()]
    width = max(len(what) for what, _, _ in findings)
    for what, found, mend in findings:
        print(f"{'ok ' if mend is None else 'BAD'} {what:<{width}}  {found}")
        if mend is not None:
            print(f"    -> {mend}")
    return 0 if all(mend is None for _, _, mend in findings) else MachineError.exit_code


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    yield "dltrain", f"{__version__} on Python {sys.version.split()[0]}", None
    try:
        needed = [Requirement(line) for line in requires("dltrain") or []]
    except PackageNotFoundError:
        yield "install", "dltrain is not installed", "pip install -c constraints.txt -e ."
        return
    for requirement in needed:
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield requirement.name, "missing", f"pip install '{requirement}'"
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        yield requirement.name, found, None if fits else f"needs {requirement}: pip install '{requirement}'"


def _device() -> Iterator[Finding]:
    import torch

    yield (
        "cpu",
        f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads",
        None,
    )
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield "gpu", f"{torch.cuda.get_device_name()}, {memory:.0f} GiB, CUDA {torch.version.cuda}", None
    else:
        built = f"PyTorch is built with CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch is a CPU build"
        yield "gpu", f"none ({built}); training runs on the CPU", None


def _folder() -> Iterator[Finding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 2**30
    yield "disk", f"{free:.1f} GiB free in {here}", None if free > 0.5 else "make room: checkpoints need it"
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
        yield "folder", "runs can be written here", None
    except OSError as error:
        yield "folder", f"{here} cannot be written: {error.strerror}", "change to a folder of your own"


def _configs() -> Iterator[Finding]:
    yield "configs", str(config_files.config_dir()), None
    for folder in config_files.user_dirs():
        mend = None if folder.is_dir() else "mend DLTRAIN_CONFIG_PATH"
        yield "your configs", str(folder), mend
    try:
        import hydra_plugins.dltrain.search_path  # noqa: F401

        yield "hydra plugin", "found", None
    except ImportError as error:
        yield "hydra plugin", str(error), "install dltrain again: pip install -c constraints.txt -e ."
