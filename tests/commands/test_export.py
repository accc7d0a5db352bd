from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from export.conftest import code_of, operations_gathered_once, printed_in, run_example

from dltrain.export import exporting, torch_program

FORMATS = {"torch": "model.pt2", "onnx": "model.onnx", "safetensors": "model.safetensors"}
needs_onnx = pytest.importorskip("onnxscript")


@pytest.fixture(scope="module", autouse=True)
def _operations():
    with operations_gathered_once():
        yield


def exported(dltrain, run, form, *words):
    answer = dltrain("export", run, "--format", form, *words)
    assert answer.code == 0, answer.err
    return answer, run / "export" / form


@pytest.fixture
def tried(monkeypatch):
    """Returns a list of the examples that exporting runs in processes of their own, each with what it printed."""
    examples = []
    run = exporting._run

    def noted(code, folder):
        examples.append((code, run(code, folder)))
        return examples[-1][1]

    monkeypatch.setattr(exporting, "_run", noted)
    return examples


@pytest.fixture
def without_dltrain(work, monkeypatch):
    """A module before dltrain on the path of the processes that exporting starts, which cannot be imported."""
    (work / "before").mkdir()
    (work / "before" / "dltrain.py").write_text("raise ImportError('an example needs dltrain')\n")
    monkeypatch.setattr("sys.path", [str(work / "before"), *sys.path])


# --- what is written --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.slow) if form == "torch" else form for form in FORMATS]
)
def test_a_table(dltrain, runs, form, tried, request):
    if form != "safetensors":
        request.getfixturevalue("without_dltrain")
    answer, folder = exported(dltrain, runs[0], form)
    files = {"README.md", "preprocessing.json", "example.json", FORMATS[form]}
    files |= {"model.json"} if form == "safetensors" else set()
    assert {path.name for path in folder.iterdir()} == files
    lines = answer.out.splitlines()
    assert re.fullmatch(rf"mlp of \S+-iris-mlp-\w+, checkpoint \S+, as {form}: {re.escape(str(folder))}", lines[0])
    assert "  input inputs: float32 (batch, 4)" in lines and "  output logits: float32 (batch, 3)" in lines
    assert re.search(
        r"  agrees with the model in PyTorch on 150 inputs \(30 of test, 30 of validation, 90 of train\): largest "
        r"difference \S+ \(allowed: 1e-05 of the largest output, or of 1\)",
        answer.out,
    )
    ((code, printed),) = tried
    assert code == code_of(folder)
    assert printed == printed_in(folder) and re.fullmatch(r"(setosa|versicolor|virginica) [01]\.\d{4}\n", printed)
    assert f"  {printed}" in answer.out and answer.err == ""


def test_a_text(dltrain, runs):
    answer, folder = exported(dltrain, runs[1], "onnx")
    assert "  input inputs: int64 (batch, time)" in answer.out
    printed = run_example(folder)
    assert printed == printed_in(folder)
    assert re.fullmatch(r"\S+ [01]\.\d{4}, \S+ [01]\.\d{4}, \S+ [01]\.\d{4}\n", printed)
    text = re.search(r'^text = "(.*)"$', code_of(folder), re.M)[1]
    written = dltrain("generate", runs[1], text, "-n", 1).out
    assert written == f"{text} {printed.split(' ')[0]}\n"


def test_images(dltrain, files, work):
    quick = ["model=lenet5", "trainer.max_epochs=1", "~callbacks.tensorboard", "report=false", "run_dir=run"]
    assert dltrain("data=image_folder", f"data.path={files / 'images'}", "data.size=28", *quick).code == 0
    answer = dltrain("export", "run", "--format", "onnx", "-o", "pictures/as_onnx")
    assert answer.code == 0, answer.err
    folder = work / "pictures" / "as_onnx"
    assert (folder / "example.png").read_bytes()[:4] == b"\x89PNG"
    assert run_example(folder) == printed_in(folder)
    made = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))["inputs"][0]
    assert (made["channel_order"], made["height"], made["width"], made["resize"]) == ("RGB", 28, 28, "stretch")
    assert made["shape"] == ["batch", 3, 28, 28] and len(made["shift"]) == len(made["scale"]) == 3


def test_an_export_takes_the_place_of_the_one_before(dltrain, runs):
    _, folder = exported(dltrain, runs[0], "safetensors", "--no-check")
    (folder / "README.md").write_text("old")
    exported(dltrain, runs[0], "safetensors", "--no-check", "--checkpoint", "last")
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# mlp, trained on iris: weights\n")
    assert [path.name for path in folder.parent.iterdir()] == ["safetensors"]


# --- the check --------------------------------------------------------------------------------------------


def test_without_the_data_there_is_no_check_unless_it_is_left_out(dltrain, runs, work):
    table = work / "table.csv"
    table.write_text("a,b,y\n" + "".join(f"{n},{n % 7},{n % 2}\n" for n in range(60)))
    quick = ["model=linear", "trainer.max_epochs=1", "~callbacks.tensorboard", "report=false", "run_dir=own"]
    assert dltrain("data=csv", f"data.path={table}", "data.target=y", *quick).code == 0
    table.unlink()
    answer = dltrain("export", "own", "--format", "onnx")
    assert answer.code == 3
    assert answer.err.endswith(
        "The run's data are needed for the check alone: --no-check exports without it\n"
    ) and answer.err.startswith(f"error: data.path={table}: ")
    assert not (work / "own" / "export").exists()
    answer = dltrain("export", "own", "--format", "onnx", "--no-check")
    assert answer.code == 0
    assert answer.err == "warning: NOT CHECKED: whether model.onnx computes what the model does, nobody knows\n"
    folder = work / "own" / "export" / "onnx"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "**It was not checked** (`--no-check`)" in readme and "It prints" not in readme
    assert re.fullmatch(r"[01] [01]\.\d{4}\n", run_example(folder))


def test_what_does_not_agree_is_not_left_behind(dltrain, runs, monkeypatch):
    save = torch_program.save

    def saved_wrong(program, path):
        for name, value in program.exported.state_dict.items():
            program.exported.state_dict[name] = torch.nn.Parameter(value + 0.01)
        save(program, path)

    monkeypatch.setattr(torch_program, "save", saved_wrong)
    before = sorted(runs[0].rglob("*"))
    answer = dltrain("export", runs[0], "--format", "torch")
    assert answer.code == 5
    assert answer.err.startswith("error: model.pt2 does not agree with the model: of 150 inputs the largest difference")
    assert sorted(runs[0].rglob("*")) == before


def test_data_that_are_others_now_are_refused(dltrain, runs):
    path = runs[0] / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["data"]["measures"] = ["petal_width"]
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    answer = dltrain("export", runs[0], "--format", "torch")
    assert (answer.code, answer.err) == (
        3,
        "error: data=iris now gives other inputs than in the training, so that nothing can be checked with them. Bring "
        "the data back, or export without a check: --no-check\n",
    )


# --- mistakes ---------------------------------------------------------------------------------------------


def test_a_folder_with_other_files_is_left_alone(dltrain, runs, work):
    (work / "mine").mkdir()
    (work / "mine" / "notes.txt").write_text("x")
    answer = dltrain("export", runs[0], "--format", "torch", "-o", "mine")
    assert (answer.code, answer.err) == (
        2,
        "error: mine holds other files. Name a new folder, or an empty one: -o FOLDER\n",
    )
    answer = dltrain("export", runs[0], "--format", "torch", "-o", "mine/notes.txt")
    assert (answer.code, answer.err) == (2, "error: mine/notes.txt is a file. Name a folder: -o FOLDER\n")
    assert [path.name for path in (work / "mine").iterdir()] == ["notes.txt"]


def test_an_unknown_format_is_told(dltrain, runs):
    answer = dltrain("export", runs[0], "--format", "tensorflow")
    assert answer.code == 2 and "invalid choice: 'tensorflow' (choose from" in answer.err
    answer = dltrain("export", runs[0])
    assert answer.code == 2 and "the following arguments are required: --format/-f" in answer.err


def test_a_run_without_that_checkpoint(dltrain, runs):
    answer = dltrain("export", runs[0], "--format", "torch", "--checkpoint", "epoch-99")
    assert answer.code == 4 and not (runs[0] / "export").exists()


def test_a_full_disk_is_told_before_anything_is_written(dltrain, runs, work, monkeypatch):
    monkeypatch.setattr(exporting, "free_bytes", lambda folder: (2**20, 4096))
    answer = dltrain("export", runs[0], "--format", "safetensors", "-o", "deep/er")
    assert answer.code == 5
    assert re.fullmatch(r"error: \S+/deep/er: the disk is full: needs 16\.\d MB, 1\.0 MB are free\n", answer.err)
    assert not (work / "deep").exists()


def test_a_link_in_a_run_folder_is_not_followed(dltrain, runs, work):
    (work / "elsewhere").mkdir()
    (runs[0] / "export").symlink_to(work / "elsewhere")
    answer = dltrain("export", runs[0], "--format", "safetensors")
    assert answer.code == 5 and "is a link to" in answer.err
    assert list((work / "elsewhere").iterdir()) == []


def test_ctrl_c_leaves_nothing_behind(dltrain, runs, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "_check", interrupted)
    answer = dltrain("export", runs[0], "--format", "safetensors")
    assert (answer.code, answer.err) == (130, "stopped\n")
    assert not (runs[0] / "export").exists()


def test_what_a_killed_export_left_is_removed_by_the_next_one(dltrain, runs):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = runs[0] / "export" / f".safetensors.{ended.stdout.strip()}.tmp"
    at_work = runs[0] / "export" / f".safetensors.{os.getppid()}.tmp"
    left.mkdir(parents=True)
    at_work.mkdir()
    exported(dltrain, runs[0], "safetensors", "--no-check")
    assert not left.exists() and at_work.exists()


@pytest.fixture
def own(dltrain, work):
    """The folder of a run whose model a module of the user's registers."""
    (work / "my_model.py").write_text(
        "from dataclasses import dataclass\n"
        "from torch import nn\n"
        "from dltrain import registry\n"
        "from dltrain.config import setting\n\n"
        "@dataclass(frozen=True)\n"
        "class Settings:\n"
        "    name: str = setting('Name.')\n\n"
        "@registry.register('model', 'mine', Settings)\n"
        "class Mine(nn.Linear):\n"
        "    def __init__(self, settings, *, task):\n"
        "        super().__init__(4, 3)\n"
    )
    (work / "conf" / "model").mkdir(parents=True)
    (work / "conf" / "model" / "mine.yaml").write_text("name: mine\n")
    quick = ["trainer.max_epochs=1", "~callbacks.tensorboard", "report=false", "run_dir=run", "--config-dir", "conf"]
    assert dltrain("data=iris", "model=mine", "imports=[my_model]", *quick).code == 0
    yield work / "run"
    sys.modules.pop("my_model", None)  # whose registration goes with the test, too


def test_a_model_of_ones_own_needs_its_module(dltrain, own, tried):
    _, folder = exported(dltrain, own, "safetensors")
    ((code, printed),) = tried
    assert code == code_of(folder) and "import my_model  # which registers the model\n" in code
    assert printed == printed_in(folder) != ""


@pytest.mark.slow
def test_a_model_of_ones_own_needs_its_module_beside_it_and_torch_does_not(dltrain, own, work):
    _, program = exported(dltrain, own, "torch", "--no-check")
    run_example(program)
    _, folder = exported(dltrain, own, "safetensors")
    shutil.copy(work / "my_model.py", folder)
    assert run_example(folder, "") == printed_in(folder)
