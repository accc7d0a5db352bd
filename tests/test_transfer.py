"""First weights from runs and files, and that a run goes on without what it started from."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from killing import assert_same
from torch import nn
from training import configure, resume, train

from dltrain import assembly, transfer
from dltrain.checkpoint import load_state
from dltrain.errors import CheckpointError, ConfigError
from dltrain.trained import load_trained
from dltrain.transfer import load_first_weights

# iris: 4 features, 3 classes, 3 batches an epoch. Parameters layers.1, layers.3 and layers.5; normed,
# layers.1, 4 and 7, with norms in layers.2 and 5.
SMALL = ("model=mlp", "model.hidden=[8,6]", "trainer.batch_size=30", "optimizer.lr=0.1")
NORMED = (*SMALL, "model.norm=batch")


def network(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(outputs)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs))


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_file_of_weights_is_loaded_by_name(kind, prefix, tmp_path):
    given, model, path = network(), network(), tmp_path / f"weights{kind}"
    weights = {f"{prefix}{name}": tensor for name, tensor in copied(given).items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    safetensors.torch.save_file(weights, path) if kind == ".safetensors" else torch.save(weights, path)
    lines = load_first_weights(model, path)
    assert_same(copied(given), copied(model))
    assert lines == [f"first weights from {path}: 9 of 9 tensors, 100.0% of the weights"]


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_weights_are_found_within_a_checkpoint_of_another_program(key, tmp_path):
    given, model = network(), network()
    torch.save({"epoch": torch.tensor(3), key: given.state_dict(), "optimizer": {"lr": 0.1}}, tmp_path / "a.pt")
    load_first_weights(model, tmp_path / "a.pt")
    assert_same(copied(given), copied(model))


def test_what_does_not_fit_starts_anew_and_is_said(tmp_path):
    model, given = network(10), copied(network(100)) | {"extra.weight": torch.zeros(2)}
    del given["1.bias"]
    given["1.num_batches_tracked"] = torch.tensor(7.0)
    before, path = copied(model), tmp_path / "a.pt"
    torch.save(given, path)
    assert load_first_weights(model, path) == [
        f"first weights from {path}: 5 of 9 tensors, 39.3% of the weights",
        "  starts anew: 1.bias (8,), which is not there",
        "  starts anew: 1.num_batches_tracked, which is torch.float32 there and torch.int64 here",
        "  starts anew: 3.weight, which is (100, 8) there and (10, 8) here",
        "  starts anew: 3.bias, which is (100,) there and (10,) here",
        "  not used: extra.weight (2,)",
    ]
    for name, tensor in model.state_dict().items():
        loaded = name in given and name not in ("3.weight", "3.bias", "1.num_batches_tracked")
        assert torch.equal(tensor, given[name] if loaded else before[name])


def test_long_reports_are_shortened(tmp_path):
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(6)))
    torch.save({"0.weight": torch.ones(2, 2)} | {f"x{i}": torch.ones(1) for i in range(7)}, tmp_path / "a.pt")
    lines = load_first_weights(model, tmp_path / "a.pt")
    assert lines[5] == "  and 7 more" and lines[-1] == "  and 3 more" and len(lines) == 11


def test_half_precision_becomes_that_of_the_model(tmp_path):
    given, model = network().half(), network()
    torch.save(given.state_dict(), tmp_path / "a.pt")
    load_first_weights(model, tmp_path / "a.pt")
    assert model[0].weight.dtype == torch.float32 and torch.equal(model[0].weight, given[0].weight.float())


def test_names_of_another_family_are_shown_beside_the_models(tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(9, 5)}, path)
    with pytest.raises(ConfigError) as caught:
        load_first_weights(network(), path)
    assert str(caught.value) == (
        f"model.init_from = '{path}': nothing of it fits this model by name and shape. It has conv1.weight "
        "(64, 3, 7, 7), fc.weight (9, 5); the model has 0.weight (8, 4), 0.bias (8,), 1.weight (8,), ..."
    )


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hacked",)


REFUSED = "holds more than weights. To read that would run code of the file, so it is refused"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("module.pt", REFUSED),
        ("hostile.pt", REFUSED),
        ("old_hostile.pt", "is damaged, or no file of torch.save"),
        ("list.pt", "holds no weights by name, but a list. Save them with torch.save"),
        ("settings.pt", "holds no weights by name, but a dict with 'lr'. Save them with torch.save"),
        ("noise.pt", "is damaged, or no file of torch.save"),
        ("empty.pt", "is damaged, or no file of torch.save"),
        ("cut.pt", "is damaged, or no file of torch.save"),
        ("noise.safetensors", "is damaged, or no safetensors file"),
        ("cut.safetensors", "is damaged, or no safetensors file"),
        ("locked.pt", "cannot be read: Permission denied"),
    ],
)
def test_files_that_cannot_be_used_are_refused(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    torch.save(network().state_dict(), tmp_path / "whole.pt")
    safetensors.torch.save_file(network().state_dict(), tmp_path / "whole.safetensors")
    whole = (tmp_path / f"whole{path.suffix}").read_bytes()
    if name in ("module.pt", "hostile.pt", "list.pt", "settings.pt"):
        content = {"module.pt": network(), "hostile.pt": {"w": Hostile()}, "list.pt": [torch.ones(1)]}
        torch.save(content.get(name, {"lr": 0.1}), path)
    else:
        content = {"cut": whole[: len(whole) // 2], "noise": np.random.default_rng(0).bytes(300), "empty": b""}
        path.write_bytes(content.get(path.stem, pickle.dumps(Hostile())))
    if name == "locked.pt":
        if os.geteuid() == 0:
            pytest.skip("root reads every file")
        path.chmod(0)
    with pytest.raises(CheckpointError) as caught:
        load_first_weights(network(), path)
    assert str(caught.value).startswith(f"{path} {message}") and not (tmp_path / "hacked").exists()


# --- which file or run ------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_and_one_that_holds_no_weights_by_its_name(work):
    torch.save({}, "weights.pth")
    (work / "notes.txt").write_text("a", encoding="utf-8")
    for given, message in {
        "weight.pth": "there is no such file. Did you mean 'weights.pth'?",
        "notes.txt": "a file of weights ends in .safetensors, .pt, .pth, .bin, .ckpt",
        str(work): f"no file, and no run either: {work} is no run folder: it has no config.yaml",
        "last": f"no file, and no run either: there are no runs in {work / 'runs'}. Train one first, or change to the "
        "folder of your runs",
    }.items():
        with pytest.raises(ConfigError) as caught:
            transfer.source(given)
        assert str(caught.value) == f"model.init_from = '{given}': {message}"
    assert transfer.source("weights.pth") == work / "weights.pth"


def test_a_run_gives_its_best_weights_and_its_checkpoint_file_the_same(tmp_path):
    overrides = (*SMALL, "trainer.max_epochs=3", "callbacks.checkpoint.monitor=train/loss")
    outcome = train(tmp_path / "run", *overrides, callbacks=("ema", "checkpoint"))
    _, best = load_state(outcome.folder, "best")
    fresh = assembly.build(configure(tmp_path / "x", *SMALL)[0]).model
    for path in (tmp_path / "run", *(tmp_path / "run" / "checkpoints").glob("*.safetensors")):
        load_first_weights(fresh, path)
        assert_same(best["model"], copied(fresh))  # the average, of the last checkpoint too


def test_a_run_without_checkpoints_and_a_damaged_one_are_refused(tmp_path):
    train(tmp_path / "none", *SMALL, "trainer.max_epochs=1")
    with pytest.raises(CheckpointError, match=r"keeps no checkpoint: it was trained without callbacks\.checkpoint"):
        load_first_weights(network(), tmp_path / "none")
    outcome = train(tmp_path / "run", *SMALL, "trainer.max_epochs=1", callbacks=("checkpoint",))
    next(outcome.folder.checkpoints.glob("best-*.safetensors")).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is damaged: it does not match its SHA-256"):
        load_first_weights(network(), tmp_path / "run")


# --- a run that starts from another -----------------------------------------------------------------------

QUICK = (
    "trainer.max_epochs=2",
    "callbacks=[checkpoint]",
    "device=cpu",
    "model.hidden=[8,6]",
    "model=mlp",
    "report=false",
)


@pytest.fixture
def table(work: Path) -> Path:
    """A table of 4 numbers and one of 2 classes."""
    generator = np.random.default_rng(0)
    rows = [",".join(f"{value:.3f}" for value in generator.normal(size=4)) + f",{'yn'[i % 2]}" for i in range(60)]
    path = work / "table.csv"
    path.write_text("\n".join(["a,b,c,d,label", *rows]) + "\n", encoding="utf-8")
    return path


def test_another_number_of_classes_starts_from_the_run_before_and_goes_on_without_it(dltrain, work, table):
    assert dltrain("data=iris", *QUICK, "run_dir=runs/a/first").code == 0
    second = ("data=csv", f"data.path={table}", "data.target=label", *QUICK, "model.init_from=last")
    answer = dltrain("check", *second)
    assert answer.code == 0
    assert f"        first weights from {work}/runs/a/first: 4 of 6 tensors, 93.1% of the weights\n" in answer.out
    assert dltrain(*second, "run_dir=runs/a/second").code == 0
    log = (work / "runs/a/second/train.log").read_text(encoding="utf-8")
    assert "starts anew: layers.5.bias, which is (3,) there and (1,) here" in log
    assert f"init_from: {work}/runs/a/first\n" in (work / "runs/a/second/config.yaml").read_text(encoding="utf-8")
    shutil.rmtree("runs/a/first")
    assert dltrain("evaluate", "last").code == 0
    assert dltrain("resume", "last", "trainer.max_epochs=3").code == 0
    answer = dltrain("--config", "runs/a/second/config.yaml", "run_dir=third")
    assert answer.code == 2 and "runs/a/first': no file, and no run either: no run is named" in answer.err


def test_the_weights_are_there_before_the_first_step_and_a_resumed_run_keeps_its_own(tmp_path):
    first = train(tmp_path / "first", *SMALL, "trainer.max_epochs=2", callbacks=("checkpoint",))
    overrides = (*SMALL, f"model.init_from={tmp_path / 'first'}", "seed=3")
    parts = assembly.build(configure(tmp_path / "x", *overrides)[0])
    source, _ = assembly.start_from(parts)
    assert source == tmp_path / "first"
    assert_same(load_state(first.folder, "best")[1]["model"], copied(parts.model))
    whole = train(tmp_path / "whole", *overrides, "trainer.max_steps=7", callbacks=("checkpoint",))
    train(tmp_path / "parts", *overrides, "trainer.max_steps=4", callbacks=("checkpoint",))
    shutil.rmtree(tmp_path / "first")
    resumed = resume(tmp_path / "parts", "trainer.max_steps=7")
    assert resumed is not None
    assert_same(copied(whole.trainer.model), copied(resumed.trainer.model))
    load_trained(resumed.folder, resumed.parts.config, "last")


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_from_the_weights_again(tmp_path):
    train(tmp_path / "first", *SMALL, "trainer.max_epochs=2", callbacks=("checkpoint",))
    whole = train(tmp_path / "whole", *SMALL, f"model.init_from={tmp_path / 'first'}", "trainer.max_epochs=2")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    (tmp_path / "killed" / "result.json").unlink()
    again = resume(tmp_path / "killed")
    assert again is not None
    assert_same(copied(whole.trainer.model), copied(again.trainer.model))


def test_in_a_multirun_the_last_run_is_no_fixed_one(dltrain):
    assert dltrain("data=iris", *QUICK).code == 0
    answer = dltrain("-m", "data=iris", *QUICK, "model.init_from=last", "seed=1,2", "sweep.report=false")
    assert answer.code == 8
    assert "0: seed=1: model.init_from = 'last': in a sweep that is the run before" in answer.err
