"""The run folder: every path and file name in it, its lock, and how a run is found by name.

This module imports nothing heavy, so that verbs which only look at folders start at once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import string
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dltrain.errors import CheckpointError, ConfigError, MachineError, did_you_mean
from dltrain.locks import lock as lock

RUNS = Path("runs")
SWEEPS = RUNS / "sweeps"


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.overrides = path / "overrides.yaml"
        self.environment = path / "environment.json"
        self.task = path / "task.json"
        self.log = path / "train.log"
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.checkpoints = path / "checkpoints"
        self.result = path / "result.json"
        self.evaluation = path / "evaluation.json"
        self.evaluation_pictures = path / "evaluation"
        self.report = path / "report.html"
        self.error = path / "error.txt"
        self.lr_sweep_csv = path / "lr_sweep.csv"
        self.lr_sweep_svg = path / "lr_sweep.svg"
        self.lr_sweep_json = path / "lr_sweep.json"
        self.predictions = path / "predictions"
        self.worst_errors = path / "worst_errors"
        self.confusion_matrix = path / "confusion_matrix"
        self.lock_file = path / "run.lock"

    @property
    def title(self) -> str:
        """The name of the folder, for pictures and pages: with a question mark for each byte that is no UTF-8."""
        return self.path.name.encode(errors="replace").decode()

    @property
    def records(self) -> list[Path]:
        """The files that say what the run is and what came of it."""
        told = [self.config, self.overrides, self.environment, self.task, self.metrics, self.result, self.evaluation]
        return [*told, self.lr_sweep_csv, self.lr_sweep_json]

    @classmethod
    def create(cls, path: Path | None, label: str) -> RunFolder:
        """Makes the folder of a new run: ``path``, or ``runs/<date>/<time>-<label>-<4 letters>``.

        Raises:
            ConfigError: ``path`` holds a run already.
            MachineError: it cannot be written.
        """
        if path is not None:
            folder = cls(path)
            folder.check_new()
            check_letters(path)
            make_folder(path)
            return folder
        while True:
            name = f"{time.strftime('%H-%M-%S')}-{label}-{random_letters()}"
            folder = cls(RUNS / time.strftime("%Y-%m-%d") / name)
            if make_folder(folder.path, exist_ok=False):
                return folder

    def check_there(self) -> None:
        """
        Raises:
            CheckpointError: the folder is gone.
        """
        if not self.path.is_dir():
            raise CheckpointError(f"{self.path}: the folder is not there any more")

    def check_new(self) -> None:
        """
        Raises:
            ConfigError: the folder holds a run already.
        """
        if self.config.exists():
            raise ConfigError(
                f"run_dir={self.path} holds a run already. Go on with it: dltrain resume {self.path}, or name another "
                "folder"
            )

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Holds the folder, so that no second process writes to it; the lock ends with the process.

        Raises:
            MachineError: another process holds it, a part of it is a link to somewhere else, or its name is no UTF-8.
        """
        check_letters(self.path)
        refuse_links(path for path in vars(self).values() if path != self.path)
        return lock(self.lock_file, f"{self.path} is being trained by another process")

    @contextlib.contextmanager
    def begun_or_removed(self) -> Iterator[None]:
        """Removes the folder where an error comes before it is a run, as on a full disk."""
        try:
            yield
        except BaseException:
            if not self.config.exists():
                for path in (self.overrides, self.task, self.lock_file):
                    path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # it holds files of the user's
                    self.path.rmdir()
            raise

    def read_result(self) -> dict[str, Any]:
        """Returns what the run reported at its end, or {} where it has not ended.

        Raises:
            CheckpointError: the file is damaged.
        """
        if not self.result.exists():
            return {}
        return _read_or_advise(self.result, f"Remove it; 'dltrain resume {self.path}' writes it anew")

    def read_task(self) -> dict[str, Any]:
        """Returns the task and the preprocessing of the run's data.

        Raises:
            CheckpointError: the run never got as far as to its data, or the file is lost or damaged.
        """
        self.check_there()
        anew = f"'dltrain resume {self.path}' with a larger trainer.max_epochs writes it anew"
        if self.task.exists():
            return _read_or_advise(self.task, f"Take it from a copy of the run. Or remove it: {anew}")
        if self.checkpoints.exists():
            raise CheckpointError(
                f"{self.path} has lost its {self.task.name}. Take it from a copy of the run; or {anew}"
            )
        raise CheckpointError(f"{self.path} has no {self.task.name}: the run ended before its data was read")


def refuse_links(paths: Iterable[Path]) -> None:
    """
    Raises:
        MachineError: a file or folder is a link, through which a training would write somewhere else.
    """
    for path in paths:
        if path.is_symlink():
            raise MachineError(
                f"{path} is a link to {path.readlink()}, and what lies there would be written to. Put the file or "
                "folder itself there"
            )


def random_letters() -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))


def sweep_dir(sampler: str) -> str:
    """Returns the folder of a new sweep."""
    return str(SWEEPS / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{sampler}-{random_letters()}")


def check_letters(path: Path) -> None:
    """
    Raises:
        MachineError: a folder's name is no UTF-8, as in an archive from another system. TensorBoard, safetensors and
            ONNX Runtime write and read no such files.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise MachineError(f"{path}: the name is no UTF-8, which libraries that write there need: rename it") from None


def make_folder(
    path: Path,
    exist_ok: bool = True,
    *,
    what: str = "run folder",
    hint: str = "Change to a folder that you may write, or give run_dir=...",
) -> bool:
    """Makes a folder; returns False where it exists and must not.

    Args:
        what, hint: of the error: what the folder is, and what helps.

    Raises:
        MachineError: the folder cannot be made.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
        for folder in made:
            sync_folder(folder.parent)  # else a power cut may take the folder with all that is in it
        if not os.access(path, os.W_OK):
            number = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(number, os.strerror(number))
    except FileExistsError:
        if exist_ok:
            raise MachineError(f"{path} is a file, so no {what} can be made there") from None
        return False
    except OSError as error:
        raise MachineError(f"no {what} can be made at {path.absolute()}: {error.strerror}. {hint}") from error
    return True


# --- files ------------------------------------------------------------------------------------------------


def write_file(path: Path, content: bytes | memoryview | str) -> None:
    """Writes a file whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder.

    In a text a question mark stands for each byte that is none, such as those of paths from another system.
    """
    data = content.encode(errors="replace") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # of a disk that is read-only now
            temporary.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise MachineError(
                f"{path}: the disk is full: needs {len(data) / 2**20:.1f} MB, "
                f"{free_megabytes(path.parent):.1f} MB are free"
            ) from error
        raise MachineError(f"{path} cannot be written: {error.strerror}") from error
    sync_folder(path.parent)


def free_megabytes(folder: Path) -> float:
    """Returns how much may still be written on the disk of a folder."""
    return free_bytes(folder)[0] / 2**20


def free_bytes(folder: Path) -> tuple[int, int]:
    """Returns how many bytes may still be written on the disk of a folder, and how many it gives out at once."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize, disk.f_frsize


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporary_files(folder: Path, name: str = "*") -> None:
    """Removes what a killed process left of files that it had not finished.

    Args:
        name: of the file, where the folder may hold what is not of a run.
    """
    for path in folder.glob(f".{name}.tmp" if name == "*" else f".{name}.*.tmp"):
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    # What is no text becomes an escape of JSON, with which a path can be read back.
    write_file(path, (json_text(value, indent=2) + "\n").encode(errors="backslashreplace"))


def json_text(value: Any, indent: int | None = None) -> str:
    """Returns a value as JSON that every reader takes: NaN and infinity, which JSON lacks, become null."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} cannot be read: it holds no JSON object")
    return value


def _read_or_advise(path: Path, advice: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. {advice}") from error


# --- finding runs -----------------------------------------------------------------------------------------


def all_runs(root: Path = RUNS) -> list[RunFolder]:
    """Returns all runs under a folder, the trials of sweeps included; the one trained last stands last."""
    patterns = ("*/config.yaml", "*/*/config.yaml", "sweeps/*/trials/*/config.yaml", "sweeps/*/trials/*/*/config.yaml")
    runs = [RunFolder(path.parent) for pattern in patterns for path in root.glob(pattern)]

    def last_trained(run: RunFolder) -> float:
        return (run.lock_file if run.lock_file.exists() else run.config).stat().st_mtime

    return sorted(runs, key=last_trained)


def _names(runs: list[RunFolder]) -> list[str]:
    """Returns what tells runs apart: of a sweep's trials, whose names are numbers, the name of the sweep."""
    names = [
        run.path.parts[run.path.parts.index("trials") - 1] if "trials" in run.path.parts else run.path.name
        for run in runs
    ]
    return list(dict.fromkeys(names))


def find_run(name: str) -> RunFolder:
    """Returns the run that ``name`` means: a folder, a run's name or a unique part of it, or ``last``.

    Raises:
        ConfigError: no run or several are meant.
    """
    if not name.strip():
        raise ConfigError("the name of the run is empty. Give a folder, a part of a run's name, or last")
    folder = RunFolder(Path(name))
    if folder.config.is_file():
        return folder
    if folder.path.is_dir() and name not in ("last",):
        if (folder.path / "multirun.yaml").is_file():
            raise ConfigError(f"{name} is a sweep. Name one of its runs: {folder.path / 'best'}")
        raise ConfigError(f"{name} is no run folder: it has no {folder.config.name}")
    runs = all_runs()
    if not runs:
        raise ConfigError(
            f"there are no runs in {RUNS.absolute()}. Train one first, or change to the folder of your runs"
        )
    if name == "last":
        return runs[-1]
    matching = [run for run in runs if name.rstrip("/") in str(run.path)]
    exact = [run for run in matching if run.path.name == name.rstrip("/")]
    if len(exact) == 1:  # else no more could be said of a name that is a part of another's
        return exact[0]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise ConfigError(f"no run is named '{name}'.{did_you_mean(name, _names(runs)[-10:])}")
    listed = "\n".join(f"  {run.path}" for run in matching[-10:])
    raise ConfigError(f"'{name}' fits {len(matching)} runs; say more of the name:\n{listed}")
