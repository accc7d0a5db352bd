"""The encoder and decoder, and the attention between them."""

from __future__ import annotations

import pytest
import torch

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError

TOKENS = InputSpec((6,), "int64", vocabulary_size=9, padding="right")
PAIRS = Task("seq2seq", {"source": TOKENS, "target": TOKENS}, 9, per_step=True)


@pytest.fixture
def build(settings_of):
    def model(task: Task = PAIRS, **changes):
        torch.manual_seed(0)
        settings = settings_of("model", "seq2seq", **{"hidden": 4, "embedding": 3, **changes})
        return registry.build("model", settings, task=task).double().eval()

    return model


def test_an_output_depends_on_no_later_token_of_the_target(build):
    model = build()
    source = torch.tensor([[1, 2, 3]])
    target = torch.tensor([[1, 4, 5, 6]])
    other = torch.tensor([[1, 4, 8, 8]])
    before, after = model({"source": source, "target": target}), model({"source": source, "target": other})
    assert torch.equal(before[:, :2], after[:, :2]) and not torch.equal(before[:, 2], after[:, 2])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("attention", [True, False])
def test_padding_of_the_source_changes_nothing(build, attention, cell):
    model, target = build(attention=attention, cell=cell), torch.tensor([[1, 4]])
    short = model({"source": torch.tensor([[3, 2]]), "target": target})
    padded = model({"source": torch.tensor([[3, 2, 0, 0, 0]]), "target": target})
    torch.testing.assert_close(short, padded)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("attention", [True, False])
def test_a_token_at_a_time_gives_what_all_at_once_give(build, attention, cell):
    model = build(attention=attention, cell=cell)
    source, target = torch.tensor([[3, 2, 7]]), torch.tensor([[1, 4, 5]])
    states, state = model.encode(source)
    steps = []
    for place in range(3):
        logits, state = model.decode(target[:, place : place + 1], state, states, source)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), model({"source": source, "target": target}))


def test_attention_is_that_of_luong(build):
    model = build()
    source, target = torch.tensor([[3, 2, 7]]), torch.tensor([[1]])
    states, state = model.encode(source)
    hidden = model.decoder(model.target_embedding(target), *state)[0][0, 0]
    weights = torch.softmax(states[0] @ (model.attention.weight @ hidden), dim=0)
    context = weights @ states[0]
    joined = torch.tanh(model.join(torch.cat([context, hidden])))
    expected = model.output(joined)
    torch.testing.assert_close(model({"source": source, "target": target})[0, 0], expected)


def test_without_attention_the_source_is_seen_through_the_first_state_alone(build):
    model = build(attention=False)
    assert model.attention is None and model.join is None
    source, target = torch.tensor([[3, 2, 7]]), torch.tensor([[1, 4]])
    states, state = model.encode(source)
    with_states, _ = model.decode(target, state, states, source)
    without, _ = model.decode(target, state, torch.zeros_like(states), source)
    assert torch.equal(with_states, without)
    other, _ = model.decode(target, tuple(part + 1 for part in state), states, source)
    assert not torch.equal(with_states, other)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_decoder_begins_with_what_both_directions_have_read(build, cell):
    model = build(cell=cell)
    source = torch.tensor([[3, 2, 7]])
    states, state = model.encode(source)
    assert len(state) == {"gru": 1, "lstm": 2}[cell] and all(part.shape == (1, 1, 4) for part in state)
    torch.testing.assert_close(state[0][0, 0], torch.cat([states[0, -1, :2], states[0, 0, 2:]]))


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 2 * 9 * 3 + 2 * 3 * (3 * 2 + 2 * 2 + 2 * 2) + 3 * (3 * 4 + 4 * 4 + 2 * 4) + 16 + 8 * 4 + 4 + 4 * 9 + 9),
        ({"attention": False}, 2 * 9 * 3 + 2 * 3 * (3 * 2 + 2 * 2 + 2 * 2) + 3 * (3 * 4 + 4 * 4 + 2 * 4) + 4 * 9 + 9),
        (
            {"attention": False, "cell": "lstm"},
            2 * 9 * 3 + 2 * 4 * (3 * 2 + 2 * 2 + 2 * 2) + 4 * (3 * 4 + 4 * 4 + 2 * 4) + 4 * 9 + 9,
        ),
    ],
)
def test_the_parameters_are_those_of_its_cells(build, changes, parameters):
    assert sum(parameter.numel() for parameter in build(**changes).parameters()) == parameters


def test_other_data_are_refused(build):
    with pytest.raises(ConfigError, match=r"^model\.name = 'seq2seq': it writes one sequence of tokens from another, "):
        build(Task("multiclass", TOKENS, 3))


def test_an_odd_number_of_hidden_units_is_refused(dltrain):
    answer = dltrain("check", "model=seq2seq", "model.hidden=5")
    assert answer.code == 2
    assert answer.err == "error: model: hidden = 5: must be even, half of it for each direction of the encoder\n"
