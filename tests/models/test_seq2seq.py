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


@pytest.mark.parametrize("attention", [True, False])
def test_padding_of_the_source_changes_nothing(build, attention):
    model, target = build(attention=attention), torch.tensor([[1, 4]])
    short = model({"source": torch.tensor([[3, 2]]), "target": target})
    padded = model({"source": torch.tensor([[3, 2, 0, 0, 0]]), "target": target})
    torch.testing.assert_close(short, padded)


def test_a_token_at_a_time_gives_what_all_at_once_give(build):
    model = build()
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
    hidden = model.decoder(model.target_embedding(target), state)[0][0, 0]
    weights = torch.softmax(states[0] @ (model.attention.weight @ hidden), dim=0)
    context = weights @ states[0]
    joined = torch.tanh(model.join(torch.cat([context, hidden])))
    expected = model.output(joined)
    torch.testing.assert_close(model({"source": source, "target": target})[0, 0], expected)


def test_other_data_are_refused(build):
    with pytest.raises(ConfigError, match=r"^model\.name = 'seq2seq': it writes one sequence of tokens from another, "):
        build(Task("multiclass", TOKENS, 3))


def test_an_odd_number_of_hidden_units_is_refused(dltrain):
    answer = dltrain("check", "model=seq2seq", "model.hidden=5")
    assert answer.code == 2
    assert answer.err == "error: model: hidden = 5: must be even, half of it for each direction of the encoder\n"
