"""Run folders in the formats that a training writes, made at once and without one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import yaml

from dltrain import config_files
from dltrain.history import History
from dltrain.run_folder import RunFolder, write_file, write_json


def config_of(*, model: str = "mlp", data: str = "iris", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Returns a whole config as config.yaml has it; changes by full keys with __ for a dot: optimizer__lr=0.1."""
    chosen = {"model": model, "data": data, "optimizer": "adam", "loss": "auto", "trainer": "default"}
    config: dict[str, Any] = {"seed": seed, "run_dir": None}
    for group, name in chosen.items():
        config.update(config_files.values(config_files.options(group, [])[name]))
    config["callbacks"] = {
        name: config_files.values(config_files.options("callbacks", [])[name])["callbacks"][name]
        for name in ("checkpoint", "early_stopping")
    }
    config["callbacks"]["checkpoint"]["monitor"] = "val/loss"
    for key, value in changes.items():
        *groups, name = key.split("__")
        inner = config
        for group in groups:
            inner = inner[group]
        inner[name] = value
    return config


def rows_of(losses: list[float | None], accuracy: float = 0.5) -> list[dict[str, Any]]:
    """Returns rows of metrics.jsonl, one for each loss."""
    return [
        {
            "epoch": epoch,
            "step": 3 * epoch,
            "lr": 0.001,
            "train/loss": loss,
            "val/loss": loss,
            "val/accuracy": accuracy,
            "epoch_seconds": 0.5,
        }
        for epoch, loss in enumerate(losses, 1)
    ]


def result_of(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Returns what result.json says of a run with these rows, as a finished one has it."""
    best = min((row for row in rows if row["val/loss"] is not None), key=lambda row: row["val/loss"])
    result = {
        "status": "done",
        "stop_reason": f"reached max_epochs={len(rows)}",
        "epochs": len(rows),
        "steps": rows[-1]["step"],
        "samples": 30 * len(rows),
        "seconds": 0.5 * len(rows),
        "last": rows[-1],
        "best": {"metric": "val/loss", "value": best["val/loss"], "epoch": best["epoch"], "step": best["step"]},
        "test": {"test/loss": best["val/loss"] + 0.1, "test/accuracy": rows[-1]["val/accuracy"]},
    }
    return {**result, **changes}


def make_run(
    path: Path,
    losses: list[float | None] | None = None,
    *,
    config: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    accuracy: float = 0.5,
    days: float = 1,
    **changes: Any,
) -> RunFolder:
    """Makes the folder of a run.

    Args:
        losses: of its epochs.
        result: what result.json says; {} leaves the file out; None for that of a finished run.
        days: how long ago it was trained.
        changes: of the config.
    """
    folder = RunFolder(path)
    (path / "checkpoints").mkdir(parents=True)
    (path / "checkpoints" / "last.json").write_text("{}")
    rows = rows_of([1.0, 0.5] if losses is None else losses, accuracy)
    config = config or config_of(**changes)
    write_file(folder.config, yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    for row in rows:
        History(folder.metrics).append(row)
    if result != {}:
        write_json(folder.result, result or result_of(rows))
    write_file(folder.lock_file, "1\n")
    when = time.time() - 86400 * days
    for each in path.iterdir():
        os.utime(each, (when, when))
    return folder
