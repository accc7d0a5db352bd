"""First weights of a network, by scheme, for the whole of it or by the names of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from dltrain import patterns
from dltrain.errors import did_you_mean

# A scheme, or schemes by pattern of parameter names: {"*": he, "output.*": "normal 0.001"}. The last that fits holds.
Init = str | dict[str, str]

MEANING = (
    "First weights: glorot (uniform; zero biases, orthogonal recurrent weights and forget bias 1, as Keras does), "
    "glorot_normal, he, lecun, orthogonal, inverse_root (1/sqrt(n)), 'normal 0.01', 'truncated_normal 0.02', "
    "'constant 0.5', zeros or torch (PyTorch's own); or schemes by pattern of parameter names, as "
    "{*: he, output.*: normal 0.001}, of which the last that fits holds."
)


def _inverse_root(weight: torch.Tensor) -> None:
    """U(-1/sqrt(n), 1/sqrt(n)) with n the fan-in (LeCun et al. 1998, Efficient BackProp, as it is often taught)."""
    bound = 1 / math.sqrt(_fan_in(weight))
    nn.init.uniform_(weight, -bound, bound)


def _lecun(weight: torch.Tensor) -> None:
    """Normal with variance 1 / fan-in (LeCun et al. 1998, eq. 16), which SELU needs (Klambauer et al. 2017)."""
    nn.init.normal_(weight, 0.0, 1 / math.sqrt(_fan_in(weight)))


def _he(weight: torch.Tensor) -> None:
    """Normal with variance 2 / fan-in (He et al. 2015, eq. 10)."""
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _fan_in(weight: torch.Tensor) -> int:
    return weight[0].numel()


# Schemes of weights of two or more dimensions; what has fewer (biases) becomes 0.
_PLAIN: dict[str, Callable[[torch.Tensor], object]] = {
    "glorot": nn.init.xavier_uniform_,  # U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)
    "glorot_normal": nn.init.xavier_normal_,
    "he": _he,
    "lecun": _lecun,
    "orthogonal": nn.init.orthogonal_,
    "inverse_root": _inverse_root,
}
# Schemes with a number, its standard deviation or value, and what it is where none is given.
_WITH_NUMBER = {"normal": 0.01, "truncated_normal": 0.02, "constant": 0.5}
SCHEMES = (*_PLAIN, *_WITH_NUMBER, "zeros", "torch")


def check(init: Init) -> None:
    """
    Raises:
        ValueError: a scheme has no such name, or its number is none.
    """
    for text in init.values() if isinstance(init, dict) else [init]:
        _parse(text)


def _parse(text: str) -> tuple[str, float]:
    """Returns a scheme's name and its number; "normal 0.02" is 0.02 wide."""
    name, _, number = text.partition(" ")
    if name not in SCHEMES:
        raise ValueError(f"no scheme of first weights '{name}'.{did_you_mean(name, SCHEMES)}")
    if name not in _WITH_NUMBER:
        if number:
            raise ValueError(f"'{text}': {name} takes no number")
        return name, 0.0
    try:
        value = float(number) if number else _WITH_NUMBER[name]
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (value <= 0 and name != "constant"):
        raise ValueError(f"'{text}': needs a number {'' if name == 'constant' else 'above 0 '}after {name}")
    return name, value


@torch.no_grad()
def initialize(model: nn.Module, init: Init) -> None:
    """Sets the first weights of linear, convolution, embedding and recurrent layers; normalisation keeps its own.

    Weights are drawn by the scheme and biases become 0, but for ``torch``, which leaves a layer as PyTorch made it,
    and ``constant``, which holds for biases as well.

    Raises:
        ConfigError: a pattern fits no parameter that has a first weight to choose, or later ones leave it none.
    """
    schemes = {"*": init} if isinstance(init, str) else init
    places: dict[str, tuple[nn.Module, str]] = {}
    for prefix, layer in model.named_modules():
        if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase)):
            for own, _ in layer.named_parameters(recurse=False):
                places[f"{prefix}.{own}" if prefix else own] = (layer, own)
    holding = patterns.last_fitting("model.init", schemes, places) if places else {}
    for name, (layer, own) in places.items():
        if name in holding:
            _fill(layer, own, *_parse(schemes[holding[name]]))


def _fill(layer: nn.Module, own: str, scheme: str, number: float) -> None:
    """Fills one parameter of a layer."""
    parameter = layer.get_parameter(own)
    if scheme == "torch":
        return
    if scheme == "constant":
        parameter.fill_(number)
    elif parameter.dim() < 2 or scheme == "zeros":
        parameter.zero_()
        if scheme != "zeros" and isinstance(layer, nn.RNNBase) and layer.mode == "LSTM" and own.startswith("bias_ih"):
            _open_forget_gate(layer, parameter)
    elif scheme == "normal":
        nn.init.normal_(parameter, 0.0, number)
    elif scheme == "truncated_normal":
        nn.init.trunc_normal_(parameter, 0.0, number, -2 * number, 2 * number)
    elif scheme.startswith("glorot") and own.startswith("weight_hh"):
        # PyTorch stacks the gates in the rows, Keras in the columns: the same matrix, drawn for all gates at once.
        nn.init.orthogonal_(parameter)
    else:
        # Of embeddings Keras draws from U(-0.05, 0.05) whatever the size. On a dozen words that is a tenth of
        # Glorot's bound, and two LSTM layers upon it learn so slowly that 200 epochs sometimes fall short.
        _PLAIN[scheme](parameter)


def _open_forget_gate(layer: nn.RNNBase, bias: torch.Tensor) -> None:
    """Sets the forget gate's bias to 1 (Jozefowicz, Zaremba and Sutskever 2015); rows: input, forget, cell, output.

    PyTorch adds two biases, of which the second stays 0.
    """
    bias[layer.hidden_size : 2 * layer.hidden_size] = 1.0
