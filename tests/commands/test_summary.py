"""Layers, shapes, parameters, FLOPs and memory of a model, without training it."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest


@pytest.fixture(autouse=True)
def _no_data(monkeypatch, tmp_path):
    """Keeps the data sets of this machine out of sight, and forbids to fetch any."""
    monkeypatch.setenv("DLTRAIN_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("DLTRAIN_OFFLINE", "1")


def column(shown: str, number: int) -> list[str]:
    """Returns a column of the table, without the row of the input."""
    table = [line.strip("│").split("│") for line in shown.splitlines() if line.startswith("│")]
    return [cells[number].strip() for cells in table[1:]]


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        ("data=iris model.hidden=[5]", 4 * 5 + 5 + 5 * 3 + 3),
        ("data=digits model=linear", 64 * 10 + 10),
        ("data=digits model=linear model.bias=false", 640),
        # embedding 12 x 10, LSTM 4 (10 + 128 + 2) 128, output 128 x 12 + 12
        ("data=korean_text model=lstm model.embedding=10 model.hidden=128", 120 + 4 * 140 * 128 + 128 * 12 + 12),
        ("data=korean_text model=rnn model.embedding=10 model.hidden=32", 120 + 44 * 32 + 32 * 12 + 12),
    ],
)
def test_the_number_of_parameters(words, parameters, dltrain, work):
    answer = dltrain("summary", *words.split())
    assert answer.code == 0, answer.err
    assert f"parameters  {parameters:,}\n" in answer.out
    assert sum(int(count.replace(",", "")) for count in column(answer.out, 3)) == parameters
    assert list(work.iterdir()) == []


def test_what_is_shown(dltrain):
    answer = dltrain("summary", "data=iris", "model.hidden=[5]", "trainer.batch_size=10")
    assert answer.out.splitlines() == [
        "mlp for iris",
        "┏━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━┓",
        "┃ layer    ┃ kind    ┃ output ┃ parameters ┃ FLOPs ┃ memory ┃",
        "┡━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━┩",
        "│ input    │ float32 │      4 │            │       │        │",
        "│ layers.0 │ Flatten │      4 │          0 │       │        │",
        "│ layers.1 │ Linear  │      5 │         25 │    40 │  160 B │",
        "│ layers.2 │ ReLU    │      5 │          0 │       │  200 B │",
        "│ layers.3 │ Linear  │      3 │         18 │    30 │        │",
        "└──────────┴─────────┴────────┴────────────┴───────┴────────┘",
        "parameters  43",
        "FLOPs       70 a sample, forward: twice its 35 multiply-adds",
        "memory      about 1.06 kB in training: weights 172 B, gradients 172 B, adam 360 B, "
        "360 B kept of a batch of 10",
        "task        3 classes from 4 (multiclass)",
        "samples     90 training, 30 validation, 30 test samples",
    ]


IMAGENET = {  # the papers' sizes; multiply-adds in 1e9 as torchvision publishes them
    "resnet18": ("11,689,512", "1.81 G"),
    "resnet50": ("25,557,032", "4.09 G"),
    "vgg16": ("138,357,544", "15.5 G"),
    "densenet121": ("7,978,856", "2.83 G"),
}


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=pytest.mark.slow) if name == "densenet121" else name for name in IMAGENET]
)
def test_a_model_is_shown_without_its_data(experiment, dltrain, work):
    answer = dltrain("summary", f"experiment={experiment}")
    assert answer.code == 0, answer.err
    parameters, multiply_adds = IMAGENET[experiment]
    assert f"parameters  {parameters}\n" in answer.out
    assert f" a sample, forward: twice its {multiply_adds} multiply-adds\n" in answer.out
    assert answer.out.endswith(
        "task        1000 classes from 3x224x224\nsamples     the data are not on this machine\n"
    )
    assert len(answer.out.splitlines()) < 70
    assert list(work.iterdir()) == []


def test_repeated_blocks_are_one_row_and_can_be_opened(dltrain, work):
    shown = dltrain("summary", "experiment=resnet34", "--depth", "2", "--graph", "out.svg").out
    assert column(shown, 1)[column(shown, 0).index("layer3.1 - 5")].startswith("5 x ")
    assert sum(int(count.replace(",", "")) for count in column(shown, 3)) == 21_797_672
    assert "layer3.1 - layer3.5" in (work / "out.svg").read_text(encoding="utf-8")
    opened = dltrain("summary", "experiment=resnet34", "--depth", "3").out
    assert "layer3.5.conv2" in column(opened, 0)
    assert sum(int(count.replace(",", "")) for count in column(opened, 3)) == 21_797_672


def test_data_that_are_known_by_nothing_but_their_files_are_asked_for(dltrain):
    answer = dltrain("summary", "data=nsmc", "model=lstm")
    assert answer.code == 3 and answer.err.startswith("error: nsmc: its 2 files are not on this machine, ")


def test_data_that_are_broken_stay_an_error(dltrain, work):
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (work / f"{part}-ubyte").write_bytes(b"\0\0\x08\x03broken")
    answer = dltrain("summary", "data=mnist", f"data.root={work}")
    assert answer.code == 3 and "train-images-idx3-ubyte" in answer.err


def test_frozen_parameters_are_counted_apart(dltrain):
    answer = dltrain("summary", "data=iris", "model.hidden=[5]", "model.freeze=[layers.1.*]")
    assert "parameters  43, 18 of them trained\n" in answer.out
    # Adam keeps two numbers for each parameter, and for each of the two tensors how often it was updated.
    assert "gradients 72 B, adam 152 B, 640 B kept of a batch of 32\n" in answer.out


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [("sgd", "sgd 0 B"), ("momentum", "momentum 172 B"), ("lbfgs", "lbfgs not known")],
)
def test_what_the_optimizer_keeps(optimizer, text, dltrain):
    assert f", {text}, " in dltrain("summary", "data=iris", "model.hidden=[5]", f"optimizer={optimizer}").out


def test_a_model_without_gradients_has_neither_flops_nor_gradients(dltrain):
    shown = dltrain("summary", "data=iris", "model=knn").out
    assert "FLOPs  " not in shown.replace("FLOPs ┃", "") and "gradients" not in shown


def test_a_model_that_does_not_fit_is_told_as_in_training(dltrain):
    answer = dltrain("summary", "data=iris", "model=lenet5")
    assert answer.code == 2 and answer.err.startswith("error: model.name = 'lenet5': ")


OWN = """
from dataclasses import dataclass

from torch import nn

from dltrain import registry
from dltrain.config import setting


@dataclass(frozen=True)
class MineSettings:
    name: str = setting("Name of the model.")


@registry.register("model", "mine", MineSettings)
class 나의_모형(nn.Module):
    def __init__(self, settings, *, task):
        super().__init__()
        self.첫째 = nn.Linear(4, 8)
        self.output = nn.Linear({width}, task.output_size)
        self.notes = ("a note",)

    def forward(self, inputs):
        return self.output(self.첫째(inputs).relu() {more})
"""


@pytest.fixture
def mine(work, monkeypatch):
    """Writes a user's own model; ``width`` is what its last layer takes."""
    (work / "model").mkdir()
    (work / "model" / "mine.yaml").write_text("# Mine\nname: mine\n", encoding="utf-8")
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", str(work))

    def write(module: str, width: int, more: str = "") -> list[str]:
        (work / f"{module}.py").write_text(OWN.format(width=width, more=more), encoding="utf-8")
        return ["data=iris", "model=mine", f"imports=[{module}]"]

    return write


def test_a_users_own_model_and_its_notes(mine, dltrain):
    shown = dltrain("summary", *mine("own_model_that_fits", 8)).out
    assert re.search(r"│ 첫째 +│ Linear +│ +8 │ +40 │", shown)
    assert "\nnote        a note\n" in shown


@pytest.mark.parametrize("verb", ["summary", "check"])
def test_a_mistake_in_a_users_own_model_is_told_with_its_layer(verb, mine, dltrain):
    answer = dltrain(verb, *mine(f"own_model_of_{verb}", 9))
    assert (answer.code, answer.err) == (
        2,
        "error: model: it cannot compute this data, inputs of shape (B, 4), float32: layer output (Linear) takes "
        "(B, 9), and (B, 8) comes to it\n",
    )


def test_a_mistake_between_the_layers_is_told_with_its_line(mine, dltrain):
    answer = dltrain("summary", *mine("own_model_of_lines", 8, "+ inputs"))
    assert answer.code == 2
    assert answer.err.endswith(
        "the model itself (나의_모형), to which (B, 4) comes: RuntimeError: The size of tensor a (8) must match the "
        "size of tensor b (4) at non-singleton dimension 1 (own_model_of_lines.py, line 24)\n"
    )


# --- JSON and pictures ------------------------------------------------------------------------------------


def test_json_has_every_layer_and_the_sums(dltrain):
    told = json.loads(dltrain("summary", "data=iris", "model.hidden=[5]", "trainer.batch_size=10", "--json").out)
    assert told["layers"][1] == {
        "name": "layers.1",
        "kind": "Linear",
        "output": [5],
        "parameters": 25,
        "trained": 25,
        "flops": 40,
        "kept_bytes": 16,
    }
    assert (told["parameters"], told["trained"], told["flops"], told["kept_bytes"]) == (43, 43, 70, 36)
    assert told["bytes"] == {"weights": 172, "gradients": 172, "optimizer_state": 360, "activations": 360}


def test_a_picture_is_drawn(dltrain, work):
    answer = dltrain("summary", "data=iris", "model=wide_deep", "--graph", "out.svg")
    assert answer.code == 0 and answer.out.endswith("graph       out.svg: 8 boxes\n")
    texts = [element.text for element in ElementTree.parse(work / "out.svg").iter()]
    assert texts[1] == "wide_deep for iris: 1,185 parameters" and "concatenate" in texts
    assert [path.name for path in work.iterdir()] == ["out.svg"]


def test_names_of_any_script_are_drawn(mine, dltrain, work):
    dltrain("summary", *mine("own_model_to_draw", 8), "--graph", "그림.svg")
    texts = [element.text for element in ElementTree.parse(work / "그림.svg").iter()]
    assert "첫째" in texts and "relu" in texts


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (("--graph", "out.png"), 2, "--graph out.png: a picture is written as SVG: give a name that ends in .svg"),
        (("--graph", "none/out.svg"), 5, "none/out.svg cannot be written: No such file or directory"),
        (
            ("--graph", "a.svg", "model=knn"),
            2,
            "--graph: this model is fitted to all samples at once: it has no layers to draw",
        ),
        (("--depth", "0"), 2, "--depth 0: needs a whole number, at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_told(flags, code, text, dltrain, work):
    answer = dltrain("summary", "data=iris", *flags)
    assert (answer.code, answer.err) == (code, f"error: {text}\n")
    assert list(work.iterdir()) == []


def test_memory_is_given_in_units_of_a_thousand(dltrain):
    shown = dltrain("summary", "experiment=vgg16", "trainer.batch_size=1").out
    assert re.search(r"weights 553 MB, gradients 553 MB, sgd 553 MB, 73\.\d MB kept of a batch of 1\n", shown)


def test_parameters_that_need_no_gradient_are_not_said_to_be_frozen(dltrain):
    shown = dltrain("summary", "model=perceptron", "data=iris").out
    assert "parameters  15, learned without gradients\n" in shown
