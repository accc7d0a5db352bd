from __future__ import annotations

import pytest
import torch
from torch import nn

from dltrain.data import Data, InputSpec, Samples, Task
from dltrain.errors import CheckpointError, MachineError
from dltrain.export import check

FEATURES = Task("multiclass", InputSpec((4,)), 3)


def source(count, first=0):
    return Samples(torch.arange(first, first + count).float().unsqueeze(1).repeat(1, 4), torch.zeros(count).long())


def data(train=300, validation=100, test=100):
    return Data(FEATURES, source(train), source(validation, 1000), source(test, 2000) if test else None)


def test_inputs_are_of_test_then_of_validation_then_of_training():
    found = list(check.samples(data(), most=230))
    assert [(name, len(inputs)) for name, inputs in found] == [
        ("test", 1),
        ("test", 63),
        ("test", 36),
        ("validation", 64),
        ("validation", 36),
        ("train", 30),
    ]
    assert torch.equal(torch.cat([inputs[:, 0] for _, inputs in found])[:100], torch.arange(2000.0, 2100.0))


def test_training_samples_that_are_evaluated_are_taken_once():
    own = source(10)
    assert [len(inputs) for _, inputs in check.samples(Data(FEATURES, own, own, None))] == [1, 9]


def test_no_more_are_taken_than_are_asked_for():
    assert [len(inputs) for _, inputs in check.samples(data(), most=1)] == [1]
    assert sum(len(inputs) for _, inputs in check.samples(data(2000))) == 1000


def compared(run, model, inputs):
    return check.compare(run, model, FEATURES, iter([("test", inputs)]), "model.onnx")


def test_the_same_model_agrees():
    model = nn.Linear(4, 3)
    found = compared(model, model, torch.randn(5, 4))
    assert found == check.Checked({"test": 5}, 0.0, 0.0) and found.inputs == 5


def test_a_difference_counts_by_the_largest_output_of_its_sample():
    class Outputs(nn.Module):
        def forward(self, inputs):
            return inputs[:, :3]

    inputs = torch.tensor([[2000.0, 0.1, 0.0, 0.0], [0.5, 0.1, 0.0, 0.0]])
    change = torch.tensor([[0.0, 0.01, 0.0], [0.0, 0.0, 4e-6]])
    found = compared(lambda given: given[:, :3] + change, Outputs(), inputs)
    assert found.difference == pytest.approx(0.01) and found.share == pytest.approx(5e-6, rel=0.01)
    with pytest.raises(MachineError) as caught:
        compared(lambda given: given[:, :3] + 100 * change, Outputs(), inputs)
    assert str(caught.value) == (
        "model.onnx does not agree with the model: of 2 inputs the largest difference is 1, 0.0005 of the sample's "
        "largest output (or of 1), and 1e-05 is allowed. Nothing was written"
    )


def test_outputs_that_are_no_numbers_never_agree():
    model = nn.Linear(4, 3)
    with pytest.raises(MachineError, match="the largest difference is inf"):
        compared(lambda inputs: model(inputs) * float("nan"), model, torch.randn(2, 4))
    with pytest.raises(CheckpointError, match=r"^the model gives NaN or infinite outputs, of which nothing can"):
        compared(model, lambda inputs: model(inputs) / 0, torch.randn(2, 4))


def test_outputs_of_another_shape_do_not_agree():
    model = nn.Linear(4, 3)
    with pytest.raises(MachineError, match=r"^model.onnx gives outputs of shape \(2, 2\), and the model \(2, 3\)"):
        compared(lambda inputs: model(inputs)[:, :2], model, torch.randn(2, 4))
