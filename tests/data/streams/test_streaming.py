"""The order of a stream, batches from any place in it, and the processes that read it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import environment
from hypothesis import given, settings
from hypothesis import strategies as st
from shards import write_parquet

from dltrain import registry
from dltrain.data import Batch
from dltrain.data.streams.streaming import Blocks, Reader, StreamSource
from dltrain.errors import DataError, MachineError

CPU = torch.device("cpu")

looks_at_processes = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


class Numbered(Reader):
    """A block of samples that are their own numbers; a request is (first number, how many)."""

    def read(self, requests):
        numbers = torch.cat([torch.arange(first, first + count) for first, count in requests])
        return Batch(numbers[:, None].float(), numbers)


class NumberedBlocks(Blocks):
    def __init__(self, sizes):
        self.sizes = np.array(sizes, dtype=np.int64)
        self.reader = Numbered()

    def request(self, block):
        return int(self.sizes[:block].sum()), int(self.sizes[block])

    def content(self):
        yield self.sizes.tobytes()


def source_of(sizes, buffer=1, workers=0):
    return StreamSource(NumberedBlocks(sizes), np.arange(len(sizes)), buffer=buffer, workers=workers)


def numbers_of(split, epoch, start=0):
    return [batch.targets.tolist() for batch in split.batches(epoch, start)]


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(SIZES, st.integers(1, 20), st.integers(1, 12), st.none() | st.integers(0, 2**63 - 1), st.integers(0, 1000))
@settings(max_examples=60)
def test_an_epoch_has_each_sample_once_in_full_batches_and_starts_anywhere(sizes, buffer, batch_size, seed, epoch):
    split = source_of(sizes, buffer).split(batch_size=batch_size, seed=seed, device=CPU)
    whole = numbers_of(split, epoch)
    assert len(whole) == split.num_batches
    assert all(len(batch) == batch_size for batch in whole[:-1]) and whole[-1]
    flat = [number for batch in whole for number in batch]
    assert sorted(flat) == list(range(sum(sizes)))
    if seed is None:
        assert flat == list(range(sum(sizes)))
    for start in range(len(whole) + 2):
        assert numbers_of(split, epoch, start) == whole[start:]


def test_the_order_is_this_one_for_ever():
    # A run that is resumed by a later version must go on in the order in which it began.
    split = source_of([3, 3, 3], buffer=4).split(batch_size=5, seed=1, device=CPU)
    assert numbers_of(split, 0) == [[3, 8, 7, 4, 5], [6, 2, 1, 0]]


def test_the_order_differs_between_epochs_and_seeds_and_mixes_more_with_a_larger_buffer():
    orders = {
        tuple(map(tuple, numbers_of(source_of([5] * 8, 20).split(batch_size=8, seed=seed, device=CPU), epoch)))
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16
    (alone,) = numbers_of(source_of([5] * 8, 1).split(batch_size=40, seed=0, device=CPU), 0)
    (mixed,) = numbers_of(source_of([5] * 8, 40).split(batch_size=40, seed=0, device=CPU), 0)

    def blocks_in(order):
        return {len({number // 5 for number in order[first : first + 5]}) for first in range(0, 40, 5)}

    assert blocks_in(alone) == {1} and max(blocks_in(mixed)) > 1


def test_the_first_samples_are_the_blocks_as_they_stand():
    source = source_of([2, 3, 4])
    assert source.head(4).targets.tolist() == [0, 1, 2, 3]
    assert source.head(2).targets.tolist() == [0, 1]
    assert source.head(100).targets.tolist() == list(range(9))


def test_a_part_of_the_blocks_tells_places_within_the_part():
    source = StreamSource(NumberedBlocks([2, 3, 4]), np.array([0, 2]), buffer=100, workers=0)
    found = list(source.split(batch_size=4, seed=3, device=CPU).stored_batches(0))
    numbers = torch.cat([batch.targets for batch, _ in found])
    places = torch.cat([place for _, place in found])
    assert sorted(numbers.tolist()) == [0, 1, 5, 6, 7, 8]
    assert torch.equal(torch.tensor([0, 1, 5, 6, 7, 8])[places], numbers)


def test_fingerprints_differ_by_the_part():
    blocks = NumberedBlocks([2, 2, 2])
    one, other = (StreamSource(blocks, np.array(part), buffer=1, workers=0) for part in ([0, 1], [0, 2]))
    assert b"".join(map(bytes, one.content())) != b"".join(map(bytes, other.content()))


# --- worker processes -------------------------------------------------------------------------------------


def load(settings_of, folder, **changes):
    values = {"path": str(folder), "target": "id", "scaling": "none", "task": "regression", "buffer": 50, **changes}
    return registry.build("data", settings_of("data", "parquet_shards", **values))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


def test_the_same_seed_gives_the_same_batches_with_0_and_2_workers(settings_of, tmp_path, cache):
    write_parquet(tmp_path / "data")
    state = torch.get_rng_state()
    epochs = {}
    for workers in (0, 2):
        split = load(settings_of, tmp_path / "data", workers=workers).train.split(batch_size=32, seed=7, device=CPU)
        epochs[workers] = [list(split.batches(epoch, start)) for epoch, start in ((0, 0), (1, 0), (1, 3))]
    for one, other in zip(epochs[0], epochs[2], strict=True):
        for batch, expected in zip(one, other, strict=True):
            assert torch.equal(batch.inputs, expected.inputs) and torch.equal(batch.targets, expected.targets)
    for first, rest in zip(epochs[2][1][3:], epochs[2][2], strict=True):
        assert torch.equal(first.targets, rest.targets)
    assert torch.equal(torch.get_rng_state(), state)  # reading neither reads nor moves the global generator


@looks_at_processes
def test_stopping_in_the_middle_ends_the_workers(settings_of, tmp_path, cache):
    write_parquet(tmp_path / "data")
    before = descendants(os.getpid())
    batches = load(settings_of, tmp_path / "data", workers=2).train.split(batch_size=8, seed=0, device=CPU).batches(0)
    next(batches)
    during = descendants(os.getpid()) - before
    assert len(during) >= 2
    batches.close()
    lasting = {pid for pid in during if parent(pid) == os.getpid() and "multiprocessing" in command(pid)}
    workers = during - lasting  # without the server and what tracks shared memory
    assert workers
    assert ended(workers, seconds=10)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_goes_bad_while_training_is_named(settings_of, tmp_path, cache, workers):
    write_parquet(tmp_path / "data", shards=2)
    data = load(settings_of, tmp_path / "data", workers=workers)
    for path in (tmp_path / "data").iterdir():
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"^\S+part-00[01]\.parquet: row group \d: the Parquet file is damaged: "):
        list(data.train.split(batch_size=8, seed=0, device=CPU).batches(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_is_written_anew_while_training_is_noticed(settings_of, tmp_path, cache, workers):
    write_parquet(tmp_path / "data", shards=1)
    data = load(settings_of, tmp_path / "data", workers=workers)
    write_parquet(tmp_path / "data", shards=1, rows=95, row_group=19)
    with pytest.raises(DataError, match=r"^\d+ samples were read where \d+ were counted at the start: the files have "):
        list(data.train.split(batch_size=8, seed=0, device=CPU).batches(0))


@pytest.mark.slow
@looks_at_processes
def test_a_worker_that_is_killed_is_an_error_of_the_machine(settings_of, tmp_path, cache):
    write_parquet(tmp_path / "data", shards=4)
    data = load(settings_of, tmp_path / "data", workers=1, buffer=1)
    before = descendants(os.getpid())
    batches = data.train.split(batch_size=20, seed=0, device=CPU).batches(0)
    next(batches)
    new = descendants(os.getpid()) - before
    (worker,) = (pid for pid in new if not (new & descendants(pid)) and "resource_tracker" not in command(pid))
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(MachineError, match=r"^a process that reads data was ended from outside, .* data\.workers=1$"):
        list(batches)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_is_killed_in_the_middle_of_a_message_is_one_too(settings_of, tmp_path, cache, which):
    write_parquet(tmp_path / "data", shards=8, rows=20_000, row_group=20_000)  # messages longer than a pipe holds
    data = load(settings_of, tmp_path / "data", workers=2, buffer=1)
    before = multiprocessing.active_children()
    batches = data.train.split(batch_size=20, seed=0, device=CPU).batches(0)
    next(batches)
    workers = [process for process in multiprocessing.active_children() if process not in before]
    time.sleep(1)  # one of them is in its second message then, and the other waits for its turn
    workers[which].kill()
    with pytest.raises(MachineError, match=r"^a process that reads data was ended from outside, .* data\.workers=2$"):
        list(batches)


RUN = """
import sys
from dltrain import cli
if __name__ == "__main__":
    sys.exit(cli.run(sys.argv[1:]))
"""


def started(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Starts a long training on a stream with two workers, and waits until it runs."""
    (folder / "run.py").write_text(RUN, encoding="utf-8")
    arguments = ["data=parquet_shards", f"data.path={folder / 'data'}", "data.target=y", "data.buffer=50", "device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "run.py", *arguments, "trainer.max_epochs=100000", "~callbacks.tensorboard", *overrides],
        cwd=folder,
        env=environment(DLTRAIN_CACHE=str(folder / "cache")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until(lambda: list(folder.glob("runs/*/*/checkpoints/last.json")) or process.poll() is not None, seconds=60)
    until(lambda: len(descendants(process.pid)) >= 4 or process.poll() is not None, seconds=30)
    assert process.poll() is None, process.stderr.read().decode()
    return process


@pytest.mark.slow
@looks_at_processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_saves_and_ends_them_without_a_word_of_the_workers(tmp_path, number):
    write_parquet(tmp_path / "data")
    process = started(tmp_path, "callbacks.checkpoint.every_steps=1", "callbacks.checkpoint.min_seconds=0")
    children = descendants(process.pid)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"Traceback" not in said and b"stopped by SIG" in said
    assert ended(children, seconds=10)


@pytest.mark.slow
@looks_at_processes
def test_the_workers_do_not_outlive_a_main_process_that_is_killed(tmp_path):
    write_parquet(tmp_path / "data")
    process = started(tmp_path, "callbacks.checkpoint.every_steps=1", "callbacks.checkpoint.min_seconds=0")
    children = descendants(process.pid)
    assert len(children) >= 4  # the server, what tracks shared memory, and the workers
    process.kill()
    process.communicate()
    assert ended(children, seconds=10)


def descendants(pid: int) -> set[int]:
    """Returns the processes that a process has started, and they."""
    children = {}
    for path in Path("/proc").glob("[0-9]*"):
        found = parent(int(path.name))
        if found is not None:
            children.setdefault(found, set()).add(int(path.name))
    found, new = set(), {pid}
    while new:
        new = {child for one in new for child in children.get(one, ())} - found
        found |= new
    return found


def parent(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[1])


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


def ended(pids: set[int], seconds: float) -> bool:
    return until(lambda: all(parent(pid) is None for pid in pids), seconds)


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
