"""One training step: its gradients, its update, and what it reports."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain import optimizers, registry, steps
from dltrain.data import IGNORED, Batch, InputSpec, Task
from dltrain.errors import ConfigError
from dltrain.losses import Loss, MeanLoss
from dltrain.models import WithAuxiliary

LOSS: Loss = MeanLoss(nn.functional.cross_entropy)


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    return Batch(torch.randn(12, 5), torch.randint(3, (12,)))


@pytest.fixture
def build(settings_of):
    """Builds a step over a small network; its weights are the same each time."""

    def built(optimizer: str = "sgd", *, accumulate: int = 1, clip_norm=None, autocast=None, **changes):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        chosen = optimizers.build(settings_of("optimizer", optimizer, **changes), model.named_parameters())
        return steps.build(model, LOSS, chosen, clip_norm=clip_norm, accumulate=accumulate, autocast=autocast)

    return built


def weights(step) -> torch.Tensor:
    return nn.utils.parameters_to_vector(step.model.parameters()).detach().clone()


def gradients(step) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in step.parameters])


def test_a_step_of_sgd_is_the_rate_times_the_gradient(build, batch):
    step = build(lr=0.25)
    step.forward(batch)[0].backward()
    expected = weights(step) - 0.25 * gradients(step)
    step.clear_gradients()
    step(batch)
    torch.testing.assert_close(weights(step), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_a_step_reports_loss_and_outputs_of_the_weights_that_it_started_from(optimizer, build, batch):
    step = build(optimizer)
    with torch.no_grad():
        expected_loss, expected_outputs, _ = step.forward(batch)
    loss, outputs, _ = step(batch)
    assert loss.shape == () and outputs.shape == (12, 3)
    assert torch.equal(loss, expected_loss) and torch.equal(outputs, expected_outputs)
    assert not loss.requires_grad and not outputs.requires_grad
    assert float(step.forward(batch)[0].detach()) < float(loss)


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_no_gradients_are_left_after_an_update(optimizer, build, batch):
    step = build(optimizer)
    step(batch)
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_without_an_update_gradients_add_up_and_weights_stay(build, batch):
    step = build(accumulate=2)
    before = weights(step)
    step(batch, share=0.5, update=False)
    one = gradients(step)
    step(batch, share=0.5, update=False)
    torch.testing.assert_close(gradients(step), 2 * one)
    assert torch.equal(weights(step), before)


def test_shares_by_samples_give_the_gradient_of_all_samples(build, batch):
    step = build(accumulate=3)
    for part in (slice(0, 5), slice(5, 10), slice(10, 12)):
        size = part.stop - part.start
        step(Batch(batch.inputs[part], batch.targets[part]), share=size / 12, update=False)
    accumulated = gradients(step)
    step.clear_gradients()
    step.forward(batch)[0].backward()
    torch.testing.assert_close(accumulated, gradients(step))


@pytest.mark.parametrize("norm", [0.01, 1e6])
def test_gradients_are_clipped_to_the_norm_and_not_stretched(norm, build, batch):
    free, clipped = build(lr=1.0), build(lr=1.0, clip_norm=norm)
    before = weights(free)
    free(batch)
    clipped(batch)
    change = weights(free) - before
    expected = change * min(1.0, norm / float(change.norm()))
    torch.testing.assert_close(weights(clipped) - before, expected, rtol=1e-4, atol=1e-6)


class WithHelp(nn.Module):
    """A model with an auxiliary output in training."""

    def __init__(self):
        super().__init__()
        self.body, self.main, self.early = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs):
        hidden = self.body(inputs).tanh()
        if not self.training:
            return self.main(hidden)
        return WithAuxiliary(self.main(hidden), {"early": self.early(hidden)}, share=0.9, auxiliary_share=0.1)


def test_an_auxiliary_output_adds_its_share_of_the_loss_in_training_alone(batch, settings_of):
    torch.manual_seed(1)
    model = WithHelp()
    rule = optimizers.build(settings_of("optimizer", "sgd"), model.named_parameters())
    step = steps.build(model, LOSS, rule, clip_norm=None, accumulate=1, autocast=None)
    with torch.no_grad():
        given = model(batch.inputs)
        main, early = LOSS(given.outputs, batch.targets), LOSS(given.auxiliary["early"], batch.targets)
    result = step(batch)
    torch.testing.assert_close(result.loss, 0.9 * main + 0.1 * early)
    assert {name: float(term) for name, term in result.terms.items()} == {
        "main_loss": pytest.approx(float(main)),
        "early_loss": pytest.approx(float(early)),
    }
    assert result.outputs.shape == (12, 3) and not result.outputs.requires_grad
    assert not any(term.requires_grad for term in result.terms.values())
    model.eval()
    assert step.forward(batch).terms == {}


def test_a_penalty_is_added_to_the_loss_and_told_apart(build, batch):
    plain, penalised = build(lr=0.1), build(lr=0.1)
    weight = penalised.model[0].weight
    penalised.penalty = lambda: 0.01 * weight.square().sum()
    expected = 0.01 * float(weight.detach().square().sum())
    before, moved = weight.detach().clone(), plain.model[0].weight
    result, loss = penalised(batch), plain(batch).loss
    assert float(result.terms["main_loss"]) == float(loss)
    assert float(result.terms["penalty"]) == pytest.approx(expected)
    assert float(result.loss) == pytest.approx(float(loss) + expected)
    torch.testing.assert_close(weight, moved - 0.1 * 0.02 * before)


def test_autocast_computes_in_bf16_and_reports_fp32(build, batch):
    half, full = build(autocast=torch.autocast("cpu", dtype=torch.bfloat16)), build()
    (loss, outputs, _), exact = half(batch), full(batch).loss
    assert loss.dtype == outputs.dtype == torch.float32
    assert loss != exact and float(loss) == pytest.approx(float(exact), rel=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in half.model.parameters())


def test_lbfgs_evaluates_the_loss_several_times_an_update(build, batch):
    step = build("lbfgs")
    calls = []
    step.model.register_forward_hook(lambda *_: calls.append(1))
    step(batch)
    assert len(calls) > 2


def test_lbfgs_clips_too(build, batch):
    step = build("lbfgs", line_search=None, max_iterations=1, clip_norm=0.01)
    before = weights(step)
    step(batch)
    # The first iteration of LBFGS goes min(1, 1 / |g|_1) times the rate along the gradient.
    assert 0 < float((weights(step) - before).norm()) <= 0.01


def test_lbfgs_cannot_accumulate(build):
    with pytest.raises(ConfigError, match=r"trainer\.accumulate = 4: optimizer=lbfgs"):
        build("lbfgs", accumulate=4)


def test_frozen_parameters_stay(settings_of, batch):
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = optimizers.build(settings_of("optimizer", "sgd"), model.named_parameters())
    step = steps.build(model, LOSS, optimizer, clip_norm=1.0, accumulate=1, autocast=None)
    step(batch)
    assert torch.equal(model[0].weight, before) and len(step.parameters) == 3


def test_steps_of_sequences_of_different_length_count_the_same_over_an_update(settings_of):
    task = Task("next_token", InputSpec((6,), "int64", vocabulary_size=9), 9, per_step=True)
    torch.manual_seed(0)
    model = registry.build("model", settings_of("model", "gru", hidden=5), task=task)
    loss = registry.build("loss", settings_of("loss", "auto"), task=task)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    step = steps.build(model, loss, optimizer, clip_norm=None, accumulate=2, autocast=None)
    inputs, targets = torch.randint(1, 9, (3, 6)), torch.randint(1, 9, (3, 6))
    targets[0, 1:] = IGNORED  # one target in the first part, twelve in the second
    before = weights(step)
    loss(model(inputs), targets).backward()
    expected = before - gradients(step)
    step.clear_gradients()
    step(Batch(inputs[:1], targets[:1]), share=1 / 3, update=False)
    step(Batch(inputs[1:], targets[1:]), share=2 / 3, update=True)
    torch.testing.assert_close(weights(step), expected)
    step(Batch(inputs[:1], targets[:1]))  # the next update starts to count anew
    assert weights(step).isfinite().all() and step._num_targets is None
