"""Muon: what it trains and what AdamW does, and that both are PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain import optimizers
from dltrain.config import GroupSettings
from dltrain.errors import ConfigError


class Network(nn.Module):
    """A part of each sort, with gradients that are those of a random batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(9, 4)
        self.kernels = nn.Conv1d(4, 4, 3, padding=1)
        self.norm = nn.LayerNorm(4)
        self.hidden = nn.Linear(4, 6)
        self.deeper = nn.Linear(6, 5)
        self.output = nn.Linear(5, 3)
        self.tokens, self.classes = torch.randint(9, (7, 4)), torch.randint(3, (7,))

    def forward(self) -> torch.Tensor:
        steps = self.kernels(self.embedding(self.tokens).transpose(1, 2)).mean(dim=2)
        logits = self.output(torch.tanh(self.deeper(torch.tanh(self.hidden(self.norm(steps))))))
        return nn.functional.cross_entropy(logits, self.classes)


def names(optimizer, part: int) -> list[str]:
    return [name for group in optimizer.parts[part].param_groups for name in group["param_names"]]


def build(settings_of, network, groups=None, **changes):
    return optimizers.build(settings_of("optimizer", "muon", **changes), network.named_parameters(), groups)


def test_hidden_matrices_belong_to_muon_and_the_rest_to_adamw(settings_of):
    network = Network()
    optimizer = build(settings_of, network)
    assert names(optimizer, 0) == ["hidden.weight", "deeper.weight"]
    assert {*names(optimizer, 0), *names(optimizer, 1)} == {name for name, _ in network.named_parameters()}
    assert names(build(settings_of, network, adamw_for=["*embed*"]), 0)[-1] == "output.weight"
    # The last matrix of the model is its output, whether it is trained or not.
    assert names(build(settings_of, network, {"output.*": GroupSettings(frozen=True)}), 0)[-1] == "deeper.weight"


def test_it_is_torchs_muon_and_torchs_adamw_bit_for_bit(settings_of):
    ours, theirs = Network(), Network()
    step = optimizers.plain_step(build(settings_of, ours))
    named = dict(theirs.named_parameters())
    matrices = [named.pop(name) for name in ("hidden.weight", "deeper.weight")]
    muon = torch.optim.Muon(matrices, lr=0.001, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(named.values(), lr=0.001, weight_decay=0.01, fused=True)
    for _ in range(4):
        ours.zero_grad()
        ours().backward()
        step()
        theirs.zero_grad()
        theirs().backward()
        optimizers.plain_step(muon)()
        optimizers.plain_step(adamw)()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_update_of_a_matrix_is_nearly_orthogonal(settings_of):
    network = Network()
    before = network.hidden.weight.detach().clone()
    optimizer = build(settings_of, network, lr=0.1, weight_decay=0, scale="original")
    network.hidden.weight.grad = torch.randn(6, 4)
    optimizers.plain_step(optimizer)()
    moved = (before - network.hidden.weight.detach()) / (0.1 * (6 / 4) ** 0.5)
    # Five iterations leave singular values between 0.68 and 1.13 (Jordan et al. 2024).
    assert all(0.6 < value < 1.2 for value in torch.linalg.svdvals(moved))


def test_the_rate_of_adamw_goes_with_the_rates_of_the_groups(settings_of):
    groups = {"hidden.*": GroupSettings(lr=0.04)}
    optimizer = build(settings_of, Network(), groups, lr=0.02, adamw_lr=0.001, scale="original")
    rates = {group["param_names"][0]: group["lr"] for group in optimizer.param_groups}
    assert rates == {
        "deeper.weight": 0.02,
        "hidden.weight": 0.04,
        "embedding.weight": 0.001,
        "hidden.bias": pytest.approx(0.002),
    }
    assert optimizers.learning_rates(optimizer) == {
        "lr": 0.02,
        "lr/hidden.*": 0.04,
        "lr/adamw": 0.001,
        "lr/adamw hidden.*": pytest.approx(0.002),
    }


def test_a_rate_that_a_schedule_sets_reaches_both(settings_of):
    network, still = Network(), Network()
    optimizer = build(settings_of, network)
    optimizer.load_state_dict(optimizer.state_dict())  # which puts new groups into place
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    network().backward()
    optimizers.plain_step(optimizer)()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), still.parameters(), strict=True))


def test_a_model_without_hidden_matrices_is_refused(settings_of):
    with pytest.raises(
        ConfigError,
        match=r"^optimizer\.name = 'muon': the model has no hidden matrix that it could train, only what belongs to "
        r"AdamW\. Take optimizer=adamw$",
    ):
        build(settings_of, nn.Linear(3, 2))


def test_a_pattern_for_adamw_that_fits_nothing_is_told(settings_of):
    with pytest.raises(
        ConfigError, match=r"^optimizer\.adamw_for: no parameter fits 'outputs\.\*'\. Did you mean 'output\.bias'\?$"
    ):
        build(settings_of, Network(), adamw_for=["outputs.*"])
