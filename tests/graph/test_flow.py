"""How samples flow: what becomes a box, and what is joined to what."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain.graph.flow import Graph, follow
from dltrain.models import WithAuxiliary


def described(graph: Graph) -> list[str]:
    """Returns each box with those that give to it."""

    def word(number: int) -> str:
        box = graph.boxes[number]
        return box.name or box.lines[0]

    return [f"{'+'.join(map(word, graph.givers(number)))}>{word(number)}" for number in graph.boxes]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 4)

    def forward(self, inputs):
        outputs = self.second(self.first(inputs))
        outputs += inputs
        return outputs


def test_a_sum_is_a_box_that_the_skip_leads_to():
    graph = follow(Residual(), torch.zeros(2, 4), 9)
    assert described(graph) == [">input", "input>first", "first>second", "input+second>add", "add>output"]
    assert [box.parameters for box in graph.boxes.values()] == [0, 30, 28, 0, 0]
    assert [box.output for box in graph.boxes.values()] == [(4,), (6,), (4,), (4,), (4,)]


class Forked(nn.Module):
    """Two branches, joined; layers that give their very input; a mask, whose way is not shown; a result unused."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Flatten(), nn.Flatten()
        self.wide = nn.Linear(4, 8)
        self.unused = nn.Linear(4, 9)

    def forward(self, inputs):
        self.unused(inputs)
        left, right = self.wide(self.left(inputs)), self.right(inputs)
        right = right.masked_fill(inputs > 0, 0.0)
        return torch.cat([left.reshape(2, 2, 4).flatten(1), right], dim=1)


def test_branches_are_joined_by_a_concatenation():
    assert described(follow(Forked(), torch.zeros(2, 4), 9)) == [
        ">input",
        "input>left",
        "left>wide",
        "input>right",
        "right>masked_fill",
        "wide+masked_fill>concatenate",
        "concatenate>output",
    ]


def test_what_changes_no_shape_stands_in_the_box_before_it():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    graph = follow(model, torch.zeros(2, 1, 9, 9), 9)
    assert [box.lines for box in graph.boxes.values()][1:-1] == [
        ("Conv2d 3x3, stride 2", "BatchNorm2d", "ReLU"),
        ("MaxPool2d 2x2, stride 2",),
        ("Flatten",),
    ]
    assert graph.boxes[1].parameters == 40 + 8


def test_an_activation_that_a_skip_leaves_stays_a_box():
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.function = nn.Linear(4, 4), nn.ReLU()

        def forward(self, inputs):
            before = self.layer(inputs)
            return before + self.function(before)

    assert described(follow(Skips(), torch.zeros(2, 4), 9))[2:] == [
        "layer>function",
        "layer+function>add",
        "add>output",
    ]


def test_blocks_that_are_closed_and_alike_are_one_box():
    model = nn.Sequential(*[Residual() for _ in range(3)], nn.Linear(4, 2))
    graph = follow(model, torch.zeros(2, 4), 1)
    assert described(graph) == [">input", "input>0 - 2", "0 - 2>3", "3>output"]
    assert graph.boxes[1].lines == ("3 x Residual",) and graph.boxes[1].parameters == 3 * 58
    assert len(follow(model, torch.zeros(2, 4), 2).boxes) == 3 * 3 + 3


def test_inputs_and_outputs_have_their_names():
    class Named(nn.Module):
        def forward(self, inputs):
            return {"합": inputs["왼쪽"] + inputs["오른쪽"], "same": inputs["왼쪽"]}

    inputs = {"왼쪽": torch.zeros(2, 3), "오른쪽": torch.zeros(2, 3)}
    assert described(follow(Named(), inputs, 9)) == [
        ">왼쪽",
        ">오른쪽",
        "왼쪽+오른쪽>add",
        "add>합",
        "왼쪽>same",
    ]


def test_outputs_for_training_alone_are_drawn_and_told_apart():
    class Helped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output, self.helper = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, inputs):
            if not self.training:
                return self.output(inputs)
            return WithAuxiliary(self.output(inputs), {"help": self.helper(inputs)}, 1.0, 0.3)

    graph = follow(Helped().eval(), torch.zeros(2, 4), 9)
    assert described(graph)[-2:] == ["output>output", "helper>help"]
    assert [box.lines[0] for box in graph.boxes.values()][-2:] == ["", "in training alone, "]


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_packed_sequences_keep_their_way(kind):
    class Packs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.cell = nn.Embedding(5, 3), kind(3, 4, batch_first=True)

        def forward(self, inputs):
            lengths = (inputs != 0).sum(dim=1)
            packed = nn.utils.rnn.pack_padded_sequence(self.embedding(inputs), lengths, batch_first=True)
            return nn.utils.rnn.pad_packed_sequence(self.cell(packed)[0], batch_first=True)[0][:, -1]

    assert described(follow(Packs(), torch.ones(2, 6, dtype=torch.int64), 9)) == [
        ">input",
        "input>embedding",
        "embedding>cell",
        "cell>output",
    ]


def test_following_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    follow(model, torch.randn(2, 4), 9)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training and not any(layer._forward_hooks for layer in model.modules())
