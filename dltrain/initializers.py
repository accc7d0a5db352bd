"""First weights of a network, by scheme."""

from __future__ import annotations

import torch
from torch import nn

SCHEMES = ("glorot", "torch", "zeros")
MEANING = (
    "First weights: glorot (uniform, zero biases, orthogonal recurrent weights, forget bias 1, as Keras does), "
    "torch (PyTorch's own) or zeros."
)


@torch.no_grad()
def initialize(model: nn.Module, scheme: str) -> None:
    """Sets the weights of the layers that the scheme covers; normalisation layers keep theirs.

    ``glorot`` draws from U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16).
    """
    if scheme == "torch":
        return
    for layer in model.modules():
        if scheme == "zeros" and isinstance(layer, (nn.Linear, nn.Embedding, nn.RNNBase)):
            for parameter in layer.parameters():
                parameter.zero_()
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()
        elif isinstance(layer, nn.Embedding):
            # Keras draws from U(-0.05, 0.05) whatever the size. On a dozen words that is a tenth of this bound,
            # and two LSTM layers upon it learn so slowly that 200 epochs sometimes fall short.
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.RNNBase):
            _initialize_recurrent(layer)


def _initialize_recurrent(layer: nn.RNNBase) -> None:
    """Glorot input weights, orthogonal recurrent weights, zero biases; LSTM forget gates start at 1.

    PyTorch stacks the gates in the rows, Keras in the columns: the same numbers of fan-in and fan-out, and the
    orthogonal matrix is drawn for all gates at once, as there. The forget bias of 1 is that of Jozefowicz,
    Zaremba and Sutskever 2015; PyTorch adds two biases, of which the second stays 0.
    """
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        elif name.startswith("bias"):
            parameter.zero_()
            if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                parameter[layer.hidden_size : 2 * layer.hidden_size] = 1.0  # rows: input, forget, cell, output
