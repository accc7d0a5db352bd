"""What stands in the files that Weights & Biases writes offline, read back as it reads them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from training import configure, resume, rows_of, train

from dltrain import assembly
from dltrain.callbacks import tracker
from dltrain.callbacks.wandb import Wandb
from dltrain.errors import ConfigError

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
_BLOCK = 32768


def records(folder: Path) -> Iterator[Any]:
    """Yields what was logged, from all files of a run, the oldest first."""
    with tracker.undisturbed(Wandb.environment, "wandb"):
        from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        content, place, whole = path.read_bytes(), 7, b""
        assert content[:4] == b":W&B"
        while place + 7 <= len(content):
            left = _BLOCK - place % _BLOCK
            if left < 7:
                place += left
                continue
            _, length, kind = struct.unpack("<IHB", content[place : place + 7])
            whole += content[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # whole, or its last part
                yield Record.FromString(whole)
                whole = b""


def key_of(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def history(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for record in records(folder):
        if record.WhichOneof("record_type") == "history":
            row = {key_of(item): json.loads(item.value_json) for item in record.history.item}
            rows.append({name: value for name, value in row.items() if not name.startswith("_")})
    return rows


def runs(folder: Path) -> list[Any]:
    return [record.run for record in records(folder) if record.WhichOneof("record_type") == "run"]


def told(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "partial"} for row in rows_of(folder)]


def test_the_run_there_is_the_run_and_goes_on_there(tmp_path, capfd):
    folder = tmp_path / "한글"
    train(
        folder, *RAGGED, "trainer.max_epochs=3", "optimizer.groups={layer.*: {lr: 0.1}}",
        callbacks=("wandb", "checkpoint"),
    )  # fmt: skip
    shown = "".join(capfd.readouterr())
    assert "wandb: " not in shown and "http" not in shown
    (run,) = runs(folder)
    assert (run.display_name, run.project) == ("한글", "dltrain")
    assert run.run_id == json.loads((folder / "wandb.json").read_text())["run"]
    container = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    logged = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {name: value for name, value in logged.items() if name != "_wandb"} == container
    assert history(folder) == told(folder)
    (finished,) = [
        {key_of(item): json.loads(item.value_json) for item in record.summary.update}
        for record in records(folder)
        if record.WhichOneof("record_type") == "summary" and any(i.key == "status" for i in record.summary.update)
    ]
    result = json.loads((folder / "result.json").read_text())
    assert finished == {"status": "done", **result["test"]}
    assert [record.exit.exit_code for record in records(folder) if record.HasField("exit")] == [0]

    assert resume(folder, "trainer.max_epochs=5") is not None
    assert {each.run_id for each in runs(folder)} == {run.run_id}
    assert history(folder) == told(folder)


def test_nobody_is_logged_in(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    online = configure(tmp_path, "callbacks.wandb.mode=online", callbacks=("wandb",))[0]
    with pytest.raises(ConfigError) as caught:
        assembly.build(online)
    assert str(caught.value) == (
        "callbacks.wandb.mode = online: nobody is logged in. Type 'wandb login' first, or set WANDB_API_KEY; or take "
        "callbacks.wandb.mode=offline"
    )
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password 0\n")
    assembly.build(online)


def test_a_strangers_name_leads_nowhere(tmp_path):
    folder = tmp_path / "run"
    train(folder, *RAGGED, "trainer.max_epochs=1", callbacks=("checkpoint",))
    (folder / "wandb.json").write_text('{"run": "../../../elsewhere", "step": -1}')
    values = configure(tmp_path, callbacks=("wandb",))[1]["callbacks"]["wandb"]
    resume(folder, "trainer.max_epochs=2", f"callbacks.wandb={json.dumps(values)}")
    (run,) = runs(folder)
    assert len(run.run_id) == 8 and "/" not in run.run_id
    assert history(folder) == told(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_file_where_its_folder_should_be_ends_nothing(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "wandb").symlink_to(tmp_path)
    outcome = train(folder, *RAGGED, "trainer.max_epochs=2", callbacks=("wandb",))
    assert outcome.result["status"] == "done"
    log = (folder / "train.log").read_text(encoding="utf-8")
    (warning,) = [line.partition(" WARNING ")[2] for line in log.splitlines() if " WARNING " in line]
    assert warning.startswith(f"Weights & Biases gets no more figures: {folder / 'wandb'} is a link to ")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_error_that_only_counts_is_told_with_what_it_counts():
    error = ValueError("1 validation error for Settings\nmode\n  Input should be 'online' or 'offline'. [x]\n  more")
    told = "1 validation error for Settings mode Input should be 'online' or 'offline'. [x]"
    assert tracker._first_words(error) == told
    assert tracker._first_words(ValueError("no server.\nlong trace")) == "no server"
    assert tracker._first_words(KeyError()) == "KeyError"
