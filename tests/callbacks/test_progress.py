"""What a person sees while it trains: a few lines in a file, a live line in a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import sys
import threading
import time

import pytest
from training import build_trainer, train

from dltrain import console
from dltrain.callbacks.progress import total_steps


@pytest.fixture(autouse=True)
def log_lines():
    console.log_to(None)


def test_two_hundred_short_epochs_are_a_few_plain_lines(tmp_path, capsys):
    train(tmp_path / "run", "trainer.max_epochs=200", "trainer.batch_size=90", callbacks=("progress", "summary"))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) <= 8
    assert re.search(r"^epoch 200/200  step 200  train/loss 0\.\d+  .*val/loss 0\.\d+", lines[-1])
    assert "\x1b" not in err and "\r" not in err


def test_lines_come_no_sooner_than_asked(tmp_path, capsys):
    build_trainer(tmp_path, "trainer.max_epochs=4", "callbacks.progress.plain_seconds=0", callbacks=("progress",)).fit()
    epochs = re.findall(r"^epoch (\d)/4", capsys.readouterr().err, re.MULTILINE)
    assert epochs == ["1", "2", "3", "4"]  # the last one once, though it is due at the end of the training as well


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (["trainer.max_epochs=4"], 12),
        (["trainer.max_epochs=4", "trainer.accumulate=2"], 8),
        (["trainer.max_steps=5"], 5),
        (["trainer.max_epochs=null", "trainer.max_steps=500"], 500),
    ],
)
def test_the_length_of_the_training_is_known(limits, expected, tmp_path):
    assert total_steps(build_trainer(tmp_path, "trainer.batch_size=32", *limits)) == expected


@contextlib.contextmanager
def terminal(monkeypatch):
    """A real terminal on both outputs; what was shown stands in the list that it gives once it is closed."""
    master, slave = pty.openpty()
    parts: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(master, 4096):
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    shown: list[str] = []
    try:
        with monkeypatch.context() as patch, os.fdopen(slave, "w", encoding="utf-8") as stream:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            patch.setenv("TERM", "xterm-256color")
            patch.setenv("COLUMNS", "160")
            patch.delenv("CI", raising=False)
            yield shown
    finally:
        reader.join(10)
        os.close(master)
    shown.append(b"".join(parts).decode())


HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"  # the cursor


def test_a_terminal_shows_a_live_line_and_is_left_clean(monkeypatch, tmp_path):
    trainer = build_trainer(tmp_path, "trainer.max_epochs=60", "trainer.batch_size=4", callbacks=("progress",))
    with terminal(monkeypatch) as shown:
        trainer.fit()
        # Rich redraws from a thread of its own; pytest-xdist has threads too, which come and go.
        until = time.monotonic() + 60  # it is told to end, and not waited for
        while "_RefreshThread" in [type(thread).__name__ for thread in threading.enumerate()]:
            assert time.monotonic() < until
            time.sleep(0.01)
    (text,) = shown
    assert re.search(r"epoch \d+/60 .*step \d+/1380 .*loss \d", text)
    assert "epoch 60/60  step 1380  train/loss" in text.splitlines()[-1]
    assert text.count(HIDDEN) == text.count(SHOWN) == 1


def test_an_error_gives_the_terminal_back(monkeypatch, tmp_path):
    trainer = build_trainer(tmp_path, "trainer.max_epochs=3", callbacks=("progress",))
    stored = trainer.train.stored
    trainer.train.stored = stored._replace(targets=stored.targets + 7)  # no such classes
    with terminal(monkeypatch) as shown, pytest.raises(IndexError):
        trainer.fit()
    assert shown[0].count(HIDDEN) == shown[0].count(SHOWN) == 1
