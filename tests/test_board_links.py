"""Which runs TensorBoard is given, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from dltrain import board_links
from dltrain.board_links import Links, has_curves, named, newest
from dltrain.errors import ConfigError
from dltrain.run_folder import RunFolder


def make(folder: Path | str, lr: float = 0.01, *, curves: bool = True, number: int = 0) -> RunFolder:
    run = RunFolder(Path(folder))
    run.tensorboard.mkdir(parents=True)
    config = {"model": {"name": "lstm"}, "data": {"name": "iris"}, "optimizer": {"name": "sgd", "lr": lr}}
    run.config.write_text(yaml.safe_dump(config), encoding="utf-8")
    os.utime(run.config, (1_000_000 + number, 1_000_000 + number))
    if curves:
        (run.tensorboard / "events.out.tfevents.1.x").write_bytes(b"curves")
    return run


def many(count: int) -> list[RunFolder]:
    return [make(f"runs/2026-07-30/10-00-{i:02d}-iris-lstm-ab{chr(97 + i)}x", i / 100, number=i) for i in range(count)]


@pytest.fixture(autouse=True)
def _here(work):
    """Each test has a working directory of its own."""


def test_each_run_has_a_link_with_a_name_that_says_what_differs():
    runs = many(3)
    with Links(newest, None) as links:
        assert {path.name: path.resolve() for path in links.folder.iterdir()} == {
            name: run.tensorboard.resolve()
            for name, run in zip(["lstm lr=0 · abax", "lstm lr=0.01 · abbx", "lstm lr=0.02 · abcx"], runs, strict=True)
        }
        assert links.left_out == 0
    assert not links.folder.exists() and all(has_curves(run) for run in runs)


def test_the_folder_goes_when_an_error_comes():
    many(1)
    with pytest.raises(KeyboardInterrupt), Links(newest, None) as links:
        raise KeyboardInterrupt
    assert not links.folder.exists()


def test_one_run_is_called_as_its_folder():
    many(2)
    with Links(named(["abbx"]), 50) as links:
        assert links.names == ["10-00-01-iris-lstm-abbx"]


def test_the_newest_are_shown_and_the_others_counted():
    many(6)
    make("runs/2026-07-30/10-01-00-iris-lstm-none", curves=False, number=9)
    with Links(newest, 4) as links:
        assert [name[-4:] for name in links.names] == ["abcx", "abdx", "abex", "abfx"]
        assert links.left_out == 2
        links.refresh()
        assert len(links.names) == 4


def test_runs_that_begin_later_are_added_and_the_others_keep_their_names():
    many(2)
    with Links(newest, 50) as links:
        before = links.names
        assert before == ["lstm lr=0 · abax", "lstm lr=0.01 · abbx"]
        make("runs/2026-07-31/11-00-00-iris-lstm-newx", 0.5, number=100)
        links.refresh()
        assert links.names == [*before, "lstm lr=0.5 · newx"]
        assert {path.name for path in links.folder.iterdir()} == set(links.names)
        links.refresh()
        assert len(links.names) == 3


def test_a_name_that_is_taken_gets_a_number():
    make("a/run")
    with Links(lambda: [RunFolder(path.parent) for path in sorted(Path().glob("*/run/config.yaml"))], None) as links:
        assert links.names == ["run"]
        make("b/run")
        make("c/run")
        links.refresh()
        assert links.names == ["run", "lstm · run (2)", "lstm · run (3)"]


def test_a_sweep_stands_for_its_trials_also_those_to_come():
    sweep = Path("runs/sweeps/2026-07-30_10-00-00-grid-abcd")
    for number, lr in ((0, 0.1), (2, 0.3), (10, 0.5)):
        make(sweep / "trials" / str(number), lr)
    (sweep / "multirun.yaml").write_text("{}", encoding="utf-8")
    with Links(named(["grid-abcd"]), 50) as links:
        assert links.names == ["lstm lr=0.1 · trial 0", "lstm lr=0.3 · trial 2", "lstm lr=0.5 · trial 10"]
        make(sweep / "trials" / "11" / "seed-3", 0.7)
        links.refresh()
        assert links.names[3:] == ["lstm lr=0.7 · trial 11 seed-3"]


def test_a_run_that_is_named_twice_is_shown_once():
    many(2)
    with Links(named(["abax", "runs/2026-07-30/10-00-00-iris-lstm-abax", "abbx"]), 50) as links:
        assert len(links.names) == 2


def test_runs_without_curves_are_told():
    make("runs/2026-07-30/10-00-00-iris-lstm-abcd", curves=False)
    with pytest.raises(ConfigError) as caught:
        named(["last"])
    assert str(caught.value) == (
        "runs/2026-07-30/10-00-00-iris-lstm-abcd has no curves: it was trained without callbacks.tensorboard"
    )
    assert newest() == []


def test_a_config_that_is_damaged_is_no_hindrance():
    make("실험").config.write_text("a: [", encoding="utf-8")
    many(1)
    with Links(named(["실험", "abax"]), None) as links:
        assert links.names == ["실험", "lstm · abax"]


def test_the_sizes_are_what_tensorboard_can_show():
    assert 0 < board_links.MOST_NEWEST <= board_links.MOST_NAMED <= 250
