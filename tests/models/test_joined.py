"""Models of several named inputs."""

from __future__ import annotations

import pytest
import torch
from training import train

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.models import WithAuxiliary

PARTS = {"wide": InputSpec((3,)), "deep": InputSpec((5,))}
NAMED = Task("regression", PARTS, 1)


@pytest.fixture
def build(settings_of):
    def model(name: str, task: Task, **changes):
        torch.manual_seed(0)
        return registry.build("model", settings_of("model", name, **changes), task=task).eval()

    return model


def test_wide_and_deep_is_the_wide_input_beside_the_end_of_the_deep_one(build):
    model = build("wide_deep", NAMED, hidden=[4], activation="tanh")
    wide, deep = torch.randn(2, 3), torch.randn(2, 5)
    hidden = torch.tanh(model.deep.layers[1](deep))
    expected = torch.cat([wide, hidden], dim=1) @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(model({"wide": wide, "deep": deep}), expected)


def test_wide_and_deep_of_one_input_gives_it_to_both_parts(build):
    model = build("wide_deep", Task("regression", InputSpec((8,)), 1), hidden=[30, 30])
    # the book's model: 8-30-30 beside 8, to 1
    assert sum(p.numel() for p in model.parameters()) == (8 * 30 + 30) + (30 * 30 + 30) + (38 + 1)


def test_wide_and_deep_refuses_other_names(build):
    task = Task("regression", {"left": InputSpec((3,)), "right": InputSpec((5,))}, 1)
    with pytest.raises(ConfigError, match=r"^model\.name = 'wide_deep': it takes inputs named wide and deep, and "):
        build("wide_deep", task)


def test_the_branches_are_joined_in_the_order_of_the_inputs(build):
    model = build("multi_input", NAMED, branch=[2], hidden=[], activation="identity")
    wide, deep = torch.randn(2, 3), torch.randn(2, 5)
    ends = torch.cat([model.branches["wide"].layers(wide), model.branches["deep"].layers(deep)], dim=1)
    torch.testing.assert_close(model({"deep": deep, "wide": wide}), model.output(ends))


@pytest.mark.parametrize("name", ["mlp", "linear", "lstm"])
def test_a_model_of_one_input_refuses_several(build, name):
    with pytest.raises(ConfigError, match=r"^model: this data gives several inputs \(wide, deep\), and the model "):
        build(name, NAMED)


def test_the_deep_part_answers_by_itself_in_training_only(build):
    model = build("wide_deep", NAMED, hidden=[4], auxiliary=0.1)
    inputs = {"wide": torch.randn(2, 3), "deep": torch.randn(2, 5)}
    assert model(inputs).shape == (2, 1)
    given = model.train()(inputs)
    assert isinstance(given, WithAuxiliary)
    assert (given.share, given.auxiliary_share) == (0.9, 0.1)
    torch.testing.assert_close(given.outputs, model.eval()(inputs))
    end = model.deep.layers(inputs["deep"])
    torch.testing.assert_close(given.auxiliary["deep"], model.auxiliary(end))


def test_without_a_share_there_is_no_auxiliary_output(build):
    model = build("wide_deep", NAMED, auxiliary=0.0).train()
    assert model({"wide": torch.randn(2, 3), "deep": torch.randn(2, 5)}).shape == (2, 1)
    assert not [name for name, _ in model.named_parameters() if name.startswith("auxiliary")]


def test_both_losses_are_logged(tmp_path):
    row = train(tmp_path / "run", "model=wide_deep", "model.auxiliary=0.1", "trainer.max_epochs=1").result["last"]
    assert row["train/loss"] == pytest.approx(0.9 * row["train/main_loss"] + 0.1 * row["train/deep_loss"])
    assert "val/deep_loss" not in row
