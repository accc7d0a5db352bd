"""Averages take the model's place bit for bit, and statistics of normalisation are computed anew."""

from __future__ import annotations

import pytest
import torch
from killing import assert_same
from torch import nn
from torch.optim.swa_utils import update_bn

from dltrain import averages
from dltrain.data import Batch
from dltrain.errors import CheckpointError


class Tied(nn.Module):
    """An embedding whose weights are those of the output too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(5, 3), nn.BatchNorm1d(3)
        self.output = nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("scratch", torch.ones(2), persistent=False)


def copied(weights: averages.Weights) -> averages.Weights:
    return {name: tensor.clone() for name, tensor in weights.items()}


def test_the_mean_of_several_weights_is_that_of_double_precision_and_counts_are_the_newest():
    several = [
        {"weight": torch.tensor([scale, 1.0]), "half": torch.tensor([scale]).half(), "count": torch.tensor(number)}
        for number, scale in enumerate((1e-8, 1.0, -1.0))
    ]
    mean = averages.mean_of(iter(several))
    assert_same(mean["weight"], torch.tensor([1e-8 / 3, 1.0]))  # which a sum of single precision would lose
    assert mean["half"].dtype == torch.float16 and mean["count"] == 2
    assert several[0]["weight"][0] == 1e-8, "what it was given is as it was"


def test_weights_of_different_models_have_no_mean():
    for other in ({"weight": torch.ones(3)}, {"bias": torch.ones(2)}):
        with pytest.raises(CheckpointError, match="of models of different shapes, so they have no average"):
            averages.mean_of([{"weight": torch.ones(2)}, other])


def test_parameters_and_saved_buffers_of_floating_numbers_are_averaged():
    names = set(averages.tensors_of(Tied()))
    assert names == {
        "embedding.weight",
        "output.weight",
        *(f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
    }


def test_other_weights_take_the_place_of_the_models_and_go_again_to_the_last_bit():
    model = Tied()
    other = {name: torch.randn_like(tensor) for name, tensor in averages.tensors_of(model).items()}
    other["output.weight"] = other["embedding.weight"].clone()
    own, given, places = copied(dict(model.state_dict())), copied(other), [p.data_ptr() for p in model.parameters()]
    with averages.swapped(model, other):
        assert_same(given, dict(averages.tensors_of(model)))
        assert model.output.weight is model.embedding.weight
        assert places == [p.data_ptr() for p in model.parameters()]
        assert torch.equal(other["norm.running_mean"], own["norm.running_mean"])
    assert_same(own, dict(model.state_dict()))
    assert_same(given, other)


def test_an_error_in_between_gives_the_model_its_weights_back():
    model = nn.Linear(2, 2)
    own = copied(dict(model.state_dict()))
    with pytest.raises(RuntimeError), averages.swapped(model, {"weight": torch.zeros(2, 2)}):
        assert not model.weight.any()
        raise RuntimeError
    assert_same(own, dict(model.state_dict()))


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def test_statistics_are_computed_as_pytorch_computes_them():
    ours, theirs = normalised(), normalised()
    batches = [torch.randn(8, 1, 6, 6) for _ in range(5)]
    averages.renew_statistics(ours, (Batch(inputs, torch.zeros(8)) for inputs in batches))
    update_bn(batches, theirs)
    assert torch.allclose(ours[1].running_mean, theirs[1].running_mean, atol=1e-6)
    assert torch.allclose(ours[1].running_var, theirs[1].running_var, atol=1e-6)


def test_nothing_but_the_statistics_changes_and_dropout_draws_nothing():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[3].eval()  # frozen
    before, modes = copied(dict(model.state_dict())), [module.training for module in model.modules()]
    drawn = torch.get_rng_state()
    inputs = torch.full((4, 3), 5.0) + torch.arange(4.0)[:, None]
    averages.renew_statistics(model, iter([Batch(inputs, torch.zeros(4))]))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(model[1].running_mean, torch.full((3,), 6.5)) and model[1].momentum == 0.1
    before["1.running_mean"], before["1.running_var"] = model[1].running_mean, model[1].running_var
    assert_same(before, dict(model.state_dict()))
    assert modes == [module.training for module in model.modules()]
    assert averages.has_statistics(model) and not averages.has_statistics(model.eval())


def test_a_checkpoint_is_evaluated_with_the_average_where_it_has_one():
    plain, mean, count = torch.zeros(2), torch.ones(2), torch.tensor(3)
    model = {"weight": plain, "count": count}
    assert averages.weights_in({"model": model}) is model
    assert averages.weights_in({"model": model, "callbacks": {"x": {}, "ema": {averages.KEY: None}}}) is model
    found = averages.weights_in({"model": model, "callbacks": {"ema": {averages.KEY: {"weight": mean}}}})
    assert found == {"weight": mean, "count": count}
