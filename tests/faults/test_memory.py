"""R8: memory that really runs out: what is said to fit does fit, and no checkpoint is harmed."""

from __future__ import annotations

import ctypes
import functools
import re
import resource
from pathlib import Path

import pytest
import yaml
from killing import assert_same, train, what_counts
from training import result_of

from dltrain import device

pytestmark = pytest.mark.faults

LINE = "memory runs out: exit 7, and the batch that is named fits"
# A layer whose output takes 80 kB a sample, more than the weights do.
WIDE = [
    "~callbacks.progress",
    "~callbacks.summary",
    "callbacks.tensorboard.graph=false",
    "device=cpu",
    "device.threads=1",
    "data=digits",
    "model=mlp",
    "model.hidden=[20000]",
    "optimizer.lr=0.0001",
    "trainer.max_epochs=1",
]


def leave(megabytes: int) -> None:
    """Lets this process have so much more memory than it has taken already, with threads that share what malloc has.

    Else each thread may reserve 64 MB of addresses for itself, at an instant that no trial of a batch foresees: what
    fitted in one process then does not in the next.
    """
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    limit = device.addresses_taken() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


_M_ARENA_MAX = -8  # of malloc.h
# In the middle of what the tests pass with, 140 to 250 and 300 to 540.
LITTLE = functools.partial(leave, 190)
LITTLE_FOR_AN_EVALUATION = functools.partial(leave, 400)


def test_the_batch_that_is_named_fits(tmp_path: Path, tally) -> None:
    line = tally("R8", LINE)
    said = tmp_path / "said"
    line.tried += 1
    assert train(tmp_path / "run", [*WIDE, "trainer.batch_size=1024"], prepare=LITTLE, says=said) == 7
    text = said.read_text(encoding="utf-8")
    assert text.startswith("error: out of memory with trainer.batch_size=1024: ") or "\nerror: out of memory" in text
    assert "Traceback" not in text
    named = re.search(r"A batch of (\d+) fits, .*: (trainer\.batch_size=\1) (trainer\.accumulate=(\d+))", text)
    assert named is not None and int(named[1]) * int(named[4]) == 1024
    assert result_of(tmp_path / "run")["status"] == "failed"
    assert train(tmp_path / "smaller", [*WIDE, named[2], named[3]], prepare=LITTLE) == 0
    line.survived += 1


def test_memory_that_is_short_for_an_evaluation_alone(tmp_path: Path, tally) -> None:
    line = tally("R8", LINE)
    said = tmp_path / "said"
    sizes = ["trainer.batch_size=8", "trainer.max_steps=3", "data.validation_fraction=0.7", "model.hidden=[60000]"]
    line.tried += 1
    assert train(tmp_path / "run", [*WIDE, *sizes], prepare=LITTLE_FOR_AN_EVALUATION, says=said) == 7
    named = re.search(r"Go on with: dltrain resume \S+ (trainer\.evaluation_batch_size=\d+)", said.read_text("utf-8"))
    assert named is not None
    again = train(tmp_path / "run", [], resume_with=[named[1]], prepare=LITTLE_FOR_AN_EVALUATION, says=said)
    assert again == 0, said.read_text(encoding="utf-8")
    line.survived += 1


def test_a_model_that_is_too_large_for_any_batch(tmp_path: Path, tally) -> None:
    line = tally("R8", LINE)
    said = tmp_path / "said"
    line.tried += 1
    huge = [*WIDE, "model.hidden=[3000,3000,3000]", "trainer.batch_size=16"]
    assert train(tmp_path / "run", huge, prepare=functools.partial(leave, 250), says=said) == 7
    text = said.read_text(encoding="utf-8")
    assert re.search(r"Not even one sample fits\. model=mlp has 18,[\d,]+ parameters of 69\.\d MB", text), text
    line.survived += 1


def test_auto_batch_size_finds_what_fits_and_gives_the_same_bits_as_if_it_was_said(tmp_path: Path, tally) -> None:
    line = tally("R8", "auto_batch_size finds what fits, and changes nothing else")
    line.tried += 1
    auto = [*WIDE, "trainer.batch_size=1024", "trainer.auto_batch_size=true"]
    assert train(tmp_path / "auto", auto, prepare=LITTLE) == 0
    found = yaml.safe_load((tmp_path / "auto" / "config.yaml").read_text(encoding="utf-8"))["trainer"]
    assert found["batch_size"] < 1024 and found["batch_size"] * found["accumulate"] == 1024
    assert found["auto_batch_size"] is False
    assert "trainer.auto_batch_size: what fits is" in (tmp_path / "auto" / "train.log").read_text(encoding="utf-8")
    names = ("batch_size", "accumulate", "evaluation_batch_size")
    said = [*WIDE, *(f"trainer.{name}={found[name]}" for name in names)]
    assert train(tmp_path / "said", said) == 0
    assert_same(what_counts(tmp_path / "auto"), what_counts(tmp_path / "said"))
    line.survived += 1


def test_where_all_fits_auto_batch_size_changes_nothing(tmp_path: Path, tally) -> None:
    line = tally("R8", "auto_batch_size finds what fits, and changes nothing else")
    line.tried += 1
    small = [*WIDE, "model.hidden=[16]", "model.norm=batch", "model.dropout=0.3", "trainer.accumulate=2"]
    assert train(tmp_path / "auto", [*small, "trainer.auto_batch_size=true"]) == 0
    assert train(tmp_path / "plain", small) == 0
    assert_same(what_counts(tmp_path / "plain"), what_counts(tmp_path / "auto"))
    line.survived += 1
