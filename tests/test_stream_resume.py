"""A training on a stream that is really killed goes on with no sample missing and none twice; its memory stays flat."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commandline import environment
from killing import EVERY_STEP, assert_same, duration, train, train_with_kills, what_counts
from shards import write_parquet

# A model that counts how often it has seen each sample while training. The counts are part of its state, so a
# checkpoint holds what was seen up to it, and a resumed run goes on counting from there.
COUNTING = """
from dataclasses import dataclass

import torch
from torch import nn

from dltrain import registry
from dltrain.config import setting


@dataclass(frozen=True)
class CountingSettings:
    name: str = setting("Name of the model.")
    samples: int = setting("How many samples there are.", min=1)


@registry.register("model", "counting", CountingSettings)
class Counting(nn.Module):
    def __init__(self, settings, *, task):
        super().__init__()
        self.output = nn.Linear(task.input.shape[0] - 1, task.output_size)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("seen", torch.zeros(settings.samples, dtype=torch.int64))

    def forward(self, inputs):
        if self.training:
            self.seen.index_add_(0, inputs[:, 0].long(), torch.ones(len(inputs), dtype=torch.int64))
        return self.output(self.dropout(inputs[:, 1:]))
"""

SHARDS, ROWS, EPOCHS = 3, 200, 4


@pytest.fixture
def overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    write_parquet(tmp_path / "data", shards=SHARDS, rows=ROWS, row_group=25)
    (tmp_path / "counting.py").write_text(COUNTING, encoding="utf-8")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "counting.yaml").write_text(
        f"# Counts\nname: counting\nsamples: {SHARDS * ROWS}\n", encoding="utf-8"
    )
    return [
        *EVERY_STEP,
        "--config-dir",
        str(tmp_path / "conf"),
        "imports=[counting]",
        "model=counting",
        "data=parquet_shards",
        f"data.path={tmp_path / 'data'}",
        "data.target=y",
        "data.columns=[id,x0,x1]",
        "data.scaling=none",
        "data.buffer=60",
        "optimizer.lr=0.001",
        "trainer.batch_size=32",
        f"trainer.max_epochs={EPOCHS}",
    ]


def check(folder: Path, overrides: list[str], kills: int) -> int:
    """Compares a run that is not stopped with ones that are killed; returns how many kills hit."""
    seconds = duration(folder / "whole", [*overrides, "data.workers=0"])
    whole = what_counts(folder / "whole")
    seen = whole["state"]["model"]["seen"]
    assert set(seen.tolist()) == {0, EPOCHS}  # validation and test samples never, the others once an epoch
    assert int((seen > 0).sum()) == 20 * 25  # of 24 row groups
    generator = random.Random(0)
    hits = 0
    for trial in range(3 * kills):
        workers = 2 * (trial % 2)  # the number may even change on the way
        instants = [generator.uniform(0.1, 0.9) * seconds for _ in range(2)]
        killed = folder / f"killed-{trial}"
        hits += train_with_kills(killed, [*overrides, f"data.workers={workers}"], instants)
        found = what_counts(killed)
        assert torch.equal(found["state"]["model"]["seen"], seen)
        for one in (whole, found):
            one["config"]["data"]["workers"] = None
        assert_same(whole, found)
        if hits >= kills and trial >= 1:
            break
    return hits


@pytest.mark.slow
def test_a_killed_stream_resumes_with_no_sample_missing_and_none_twice(tmp_path, overrides):
    assert check(tmp_path, overrides, kills=2) >= 2


@pytest.mark.slow
def test_ten_kills_of_a_stream_change_nothing(tmp_path, overrides):
    assert check(tmp_path, overrides, kills=10) >= 10


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_workers(tmp_path, overrides):
    assert train(tmp_path / "whole", [*overrides, "data.workers=0"]) == 0
    first = [*overrides, "data.workers=0", f"trainer.max_steps={EPOCHS * 500 // 32 // 2}"]
    assert train(tmp_path / "changed", first) == 0  # to the middle of an epoch
    config = tmp_path / "changed" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("workers: 0", "workers: 2"), encoding="utf-8")
    assert train(tmp_path / "changed", first, resume_with=["trainer.max_steps=null"]) == 0
    whole, changed = what_counts(tmp_path / "whole"), what_counts(tmp_path / "changed")
    assert_same(whole["state"]["model"], changed["state"]["model"])


# Trains on a small stream, which takes what memory the libraries take, then on a large one under a limit.
UNDER_A_LIMIT = """
import re
import resource
import sys
from pathlib import Path

from dltrain import cli


def data_bytes():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmData:\\s+(\\d+) kB", status)[1]) * 1024


def main():
    small, large, extra = sys.argv[1], sys.argv[2], int(sys.argv[3])
    arguments = [*sys.argv[4:], "data.workers=0"]
    assert cli.run([*arguments, f"data.path={small}"]) == 0
    limit = data_bytes() + extra
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        bytearray(2 * extra)
    except MemoryError:
        pass
    else:
        sys.exit("the limit does not hold")
    sys.exit(cli.run([*arguments, f"data.path={large}"]))


if __name__ == "__main__":
    main()
"""

LIMIT = 32 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on data is Linux's")
def test_a_stream_twenty_times_as_large_as_the_memory_that_is_left_trains(tmp_path):
    columns = 64
    rows = 20 * LIMIT // (4 * columns)
    write_large(tmp_path / "large", shards=8, rows=rows // 8, columns=columns)
    write_large(tmp_path / "small", shards=2, rows=40_000, columns=columns)
    (tmp_path / "limited.py").write_text(UNDER_A_LIMIT, encoding="utf-8")
    answer = subprocess.run(
        [
            *(sys.executable, "limited.py", tmp_path / "small", tmp_path / "large", str(LIMIT)),
            *(
                "data=parquet_shards",
                "data.target=y",
                "model=linear",
                "trainer.max_epochs=1",
                "trainer.batch_size=1024",
            ),
            *("device=cpu", "device.threads=1", "~callbacks.tensorboard", "~callbacks.progress"),
        ],
        cwd=tmp_path,
        env=environment(DLTRAIN_CACHE=str(tmp_path / "cache")),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert f"{rows:,} rows in" in answer.stderr


def write_large(folder: Path, shards: int, rows: int, columns: int) -> None:
    """Writes float32 columns of few different values, which take little room on the disk and all of it in memory."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir()
    generator = np.random.default_rng(0)
    for shard in range(shards):
        table = {f"x{i}": generator.integers(0, 256, rows).astype(np.float32) for i in range(columns)}
        table["y"] = (table["x0"] - table["x1"]).astype(np.float32)
        parquet.write_table(pa.table(table), folder / f"part-{shard}.parquet", row_group_size=8192)
