"""What holds of every registered loss, on every kind of task that it fits."""

from __future__ import annotations

import pytest
import torch
from losses.conftest import FITTING, TASKS, example, on_all_that_it_fits, right

from dltrain import losses, registry
from dltrain.data import IGNORED

ONE_OF_EACH = ("regression", "binary", "multiclass")  # where all kinds would take long and say no more


def test_every_loss_but_auto_says_which_tasks_it_fits():
    assert set(losses.FITS) == set(registry.names("loss")) - {"auto"}


@on_all_that_it_fits
def test_the_gradient_is_the_slope(build, name, kind):
    outputs, targets = example(name, kind)
    loss = build(name, kind)
    assert torch.autograd.gradcheck(lambda value: loss(value, targets), outputs.requires_grad_())


@on_all_that_it_fits
def test_the_loss_is_least_where_the_outputs_are_right(build, name, kind):
    outputs, targets = example(name, kind)
    loss = build(name, kind)
    least = loss(right(name, kind, targets), targets).item()
    assert loss(outputs, targets).item() > least + 0.05
    if name != "poisson":  # whose least value depends on the targets
        assert least == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in FITTING if n == "ctc" or k in ONE_OF_EACH])
def test_following_the_gradient_makes_the_outputs_right(build, name, kind):
    outputs, targets = example(name, kind)
    loss = build(name, kind)
    start, least = loss(outputs, targets).item(), loss(right(name, kind, targets), targets).item()
    optimizer = torch.optim.Adam([outputs.requires_grad_()], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss(outputs, targets).backward()
        optimizer.step()
    assert loss(outputs, targets).item() - least < 0.15 * (start - least)
    if targets.dtype == torch.int64 and name != "ctc":
        assert torch.equal(outputs.argmax(dim=-1), targets)
    elif kind != "regression" and name != "ctc":
        assert torch.equal(outputs > 0, targets > 0)


@on_all_that_it_fits
def test_the_loss_of_a_batch_is_the_mean_of_its_samples(build, name, kind):
    outputs, targets = example(name, kind)
    loss = build(name, kind)
    alone = torch.stack([loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(len(outputs))])
    torch.testing.assert_close(loss(outputs, targets), alone.mean())
    torch.testing.assert_close(loss.of_each(outputs, targets), alone)


@on_all_that_it_fits
def test_the_gradients_of_parts_by_their_share_add_up_to_that_of_the_whole(build, name, kind):
    outputs, targets = example(name, kind)
    loss = build(name, kind)
    if loss.per_step:
        targets[0, 1:] = IGNORED  # so that the first part has fewer steps that count
    outputs.requires_grad_()
    (whole,) = torch.autograd.grad(loss(outputs, targets), outputs)
    total = losses.count_targets(targets) if loss.per_step else len(targets)
    for part in (slice(0, 2), slice(2, 6)):
        count = losses.count_targets(targets[part]) if loss.per_step else len(targets[part])
        (loss(outputs[part], targets[part]) * count / total).backward()
    torch.testing.assert_close(outputs.grad, whole)


@on_all_that_it_fits
def test_a_sample_of_weight_2_counts_as_if_it_were_there_twice(build, name, kind):
    outputs, targets = example(name, kind)
    loss = build(name, kind)
    twice = torch.tensor([0, 1, 2, 3, 3, 5])  # the fourth stands for the fifth too
    weights = torch.tensor([1.0, 1, 1, 2, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(loss(outputs, targets, weights), loss(outputs[twice], targets[twice]))
    torch.testing.assert_close(loss(outputs, targets, torch.ones(6, dtype=torch.float64)), loss(outputs, targets))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@on_all_that_it_fits
def test_extreme_outputs_give_finite_losses_and_gradients(build, name, kind, dtype):
    outputs, targets = example(name, kind)
    size = 40 if name == "poisson" else 1e4  # a rate of exp(10,000) is no number
    outputs = (size * outputs.sign()).to(dtype).requires_grad_()
    targets = targets if targets.dtype == torch.int64 else targets.float()
    loss = build(name, kind)(outputs, targets)
    loss.backward()
    assert loss.isfinite() and outputs.grad.isfinite().all() and outputs.grad.dtype == dtype


@on_all_that_it_fits
def test_outputs_of_zero_as_of_zero_weights_have_a_gradient(build, name, kind):
    """But for directions: the angle of a row of zeros is unknown."""
    outputs, targets = example(name, kind)
    outputs = torch.zeros_like(outputs).requires_grad_()
    build(name, kind)(outputs, targets).backward()
    assert outputs.grad.isfinite().all()
    assert outputs.grad.any() or (name, kind) == ("cosine_distance", "regression")


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in FITTING if TASKS[k].per_step])
def test_steps_without_a_target_do_not_count(build, name, kind):
    outputs, targets = example("", kind)
    targets = targets.clamp(min=1) if name == "ctc" else targets
    shorter = targets.clone()
    shorter[:, 2:] = IGNORED
    loss = build(name, kind, **({"zero_infinity": True} if name == "ctc" else {}))
    ones = torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(loss(outputs, shorter, ones), loss(outputs, shorter))
    if name != "ctc":  # to which every step belongs
        torch.testing.assert_close(loss(outputs, shorter), loss(outputs[:, :2], targets[:, :2]))


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in FITTING if TASKS[k].per_step])
def test_a_batch_without_any_target_has_no_loss_and_no_gradient(build, name, kind):
    outputs, targets = example(name, kind)
    outputs.requires_grad_()
    loss = build(name, kind)(outputs, torch.full_like(targets, IGNORED))
    loss.backward()
    assert loss.item() == 0 and not outputs.grad.any()


def test_what_an_evaluation_computes_first_serves_the_training_too(build):
    loss = build("cross_entropy", "multiclass", class_weights={"dog": 3.25})
    outputs, targets = example("cross_entropy", "multiclass")
    with torch.inference_mode():
        loss(outputs, targets)
    outputs = outputs.clone().requires_grad_()
    loss(outputs, targets).backward()
    assert outputs.grad.any()
