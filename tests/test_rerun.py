"""What a rerun knows of the run that it repeats."""

from __future__ import annotations

import json
import os
import time

import pytest
import yaml
from training import configure, register_callback, resume, rows_of, train, without_times

from dltrain import rerun
from dltrain.assembly import Shared
from dltrain.callbacks.base import Callback
from dltrain.errors import ConfigError, Interrupted
from dltrain.run_folder import RunFolder

QUICK = ("data=iris", "trainer.batch_size=32", "trainer.max_epochs=3")


def loaded(folder, *overrides):
    container = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    return rerun.container(container, list(overrides))


def test_it_is_the_run_once_more_in_a_folder_of_its_own(tmp_path):
    train(tmp_path / "old", *QUICK, "model=mlp", "model.hidden=[4]", "model.dropout=0.5", callbacks=("checkpoint",))
    container = loaded(tmp_path / "old")
    assert container["run_dir"] is None and container["resume"] is False
    config, again = configure(tmp_path / "new", *QUICK, "model=mlp", "model.hidden=[4]", "model.dropout=0.5",
                              callbacks=("checkpoint",))  # fmt: skip
    repeated = rerun.repeat(RunFolder(tmp_path / "old"), config, again, ["seed=0"], Shared())
    assert repeated.folder.path == tmp_path / "new" and repeated.stopped_by is None
    assert without_times(rows_of(tmp_path / "new")) == without_times(rows_of(tmp_path / "old"))
    assert yaml.safe_load((tmp_path / "new" / "overrides.yaml").read_text()) == [*QUICK, *[
        "model=mlp", "model.hidden=[4]", "model.dropout=0.5", "seed=0"]]  # fmt: skip
    assert f"repeats {tmp_path / 'old'}\n" in (tmp_path / "new" / "train.log").read_text()
    assert resume(tmp_path / "new", "trainer.max_epochs=4") is not None
    assert "rerun" not in (tmp_path / "new" / "train.log").read_text()


def test_an_interrupted_one_says_how_to_compare_it_later(monkeypatch, tmp_path):
    class Stops(Callback):
        def on_epoch_end(self, trainer) -> None:
            if self.context.folder.path.name == "new":
                trainer.request_stop("stopped by SIGTERM", 15)

    register_callback(monkeypatch, Stops, "stops")
    train(tmp_path / "old", *QUICK, callbacks=("checkpoint", "stops"))
    again = configure(tmp_path / "new", *QUICK, callbacks=("checkpoint", "stops"))
    with pytest.raises(Interrupted) as caught:
        rerun.repeat(RunFolder(tmp_path / "old"), *again, [], Shared())
    assert caught.value.exit_code == 143
    assert str(caught.value) == (
        f"stopped by SIGTERM at step 3; its state is saved. Go on with: dltrain resume {tmp_path / 'new'}, and compare "
        f"it then with: dltrain rerun {tmp_path / 'old'} --with {tmp_path / 'new'}"
    )


def test_what_was_changed_on_the_way(tmp_path):
    train(tmp_path, *QUICK, callbacks=("checkpoint",))
    folder = RunFolder(tmp_path)
    assert rerun.changed_on_the_way(folder, configure(tmp_path)[0]) == []
    resume(tmp_path, "trainer.max_epochs=4", "optimizer.lr=0.5", "callbacks={}")
    assert rerun.changed_on_the_way(folder, configure(tmp_path)[0]) == ["changed on the way: optimizer.lr: 0.01 -> 0.5"]
    assert rerun.changed_on_the_way(folder, configure(tmp_path, "scheduler=cosine")[0]) == [
        "changed on the way: optimizer.lr: 0.01 -> 0.5",
        "changed on the way: trainer.max_epochs: 3 -> 4",
    ]
    with folder.log.open("a", encoding="utf-8") as log:
        log.write(
            "2026-01-01 10:00:00,000 WARNING the device was cpu before, now it is cuda: the results will differ\n"
        )
        log.write("2026-01-01 10:00:00,000 INFO a line before, now another\n")
    assert rerun.changed_on_the_way(folder, configure(tmp_path)[0])[1:] == [
        "changed on the way: the device was cpu before, now it is cuda: the results will differ"
    ]
    folder.log.unlink()
    assert rerun.changed_on_the_way(folder, configure(tmp_path)[0]) == []


def test_first_weights_that_were_written_later(tmp_path):
    train(tmp_path / "source", *QUICK, callbacks=("checkpoint",))
    config = configure(tmp_path / "run", f"model.init_from={tmp_path / 'source'}")[0]
    began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    for path in (tmp_path / "source" / "checkpoints").iterdir():
        os.utime(path, (time.time() - 100,) * 2)
    assert rerun.weights_changed(config, began) == []
    (tmp_path / "source" / "checkpoints" / "last.json").touch()
    os.utime(tmp_path / "source" / "checkpoints" / "last.json", (time.time() + 100,) * 2)
    assert rerun.weights_changed(config, began) == [
        f"weights: {tmp_path / 'source'}, which model.init_from names, was written to after the run began"
    ]
    assert rerun.weights_changed(config, "yesterday") == rerun.weights_changed(config, None) == []
    assert rerun.weights_changed(configure(tmp_path)[0], began) == []
    gone = configure(tmp_path / "run", f"model.init_from={tmp_path / 'gone.pt'}")[0]
    with pytest.raises(ConfigError, match="there is no such file"):
        rerun.weights_changed(gone, began)


def test_the_verdict_is_kept(tmp_path):
    from dltrain import agreement

    for name in ("old", "new"):
        train(tmp_path / name, *QUICK)
    old, new = RunFolder(tmp_path / "old"), RunFolder(tmp_path / "new")
    rerun.write_verdict(old, new, ["git: ..."], agreement.compare(old, new))
    assert json.loads((tmp_path / "new" / "rerun.json").read_text()) == {
        "of": str(tmp_path / "old"), "agrees": True, "rows": 3, "rows_only_in_old": 0, "rows_only_in_new": 0,
        "known_differences": ["git: ..."], "differing_figures": 0, "first": None, "largest_relative_difference": 0.0,
    }  # fmt: skip
