"""Recurrent layers as one loop over the steps: what an exported model computes, which takes any number of steps.

PyTorch's own layers can be exported for sequences of a single length, and packed sequences not at all. The numbers are
the same up to rounding. Training and evaluation do not come here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from dltrain.models.cells import State, StepwiseRNN, Weights

# Maps what a step reads (B, G), the state before it and the weights to the state after it.
Step = Callable[[torch.Tensor, State, Weights], State]


def scanned(
    recurrent: nn.RNNBase, steps: torch.Tensor, lengths: torch.Tensor | None = None, first: State | None = None
) -> tuple[torch.Tensor, State]:
    """Maps steps (B, T, D) to the last layer's states (B, T, H), forward and backward side by side.

    Args:
        lengths: (B,) steps of each sequence; a state stays as it is over the padding behind them.
        first: the states (layers and directions, B, H) before the first step, of an LSTM its cells too; None is zeros.

    Returns:
        The states, and those after the last step, in the form of ``first``.
    """
    is_step = None
    if lengths is not None:
        is_step = (torch.arange(steps.shape[1], device=steps.device) < lengths.unsqueeze(1)).unsqueeze(2)  # (B, T, 1)
    endings = ("", "_reverse") if recurrent.bidirectional else ("",)
    last: list[State] = []
    for layer in range(recurrent.num_layers):
        read: list[torch.Tensor] = []
        for ending in endings:
            state = _zeros(recurrent, steps) if first is None else tuple(part[len(last)] for part in first)
            states, after = _read(recurrent, steps, is_step, state, f"_l{layer}{ending}", backward=bool(ending))
            read.append(states)
            last.append(after)
        steps = torch.cat(read, dim=2)
    return steps, tuple(torch.stack(parts) for parts in zip(*last, strict=True))


def scanned_packed(recurrent: nn.RNNBase, steps: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, State]:
    """Returns what packed sequences give: as ``scanned``, but that the states of the padding are 0.

    An empty sequence counts as one step of padding.
    """
    lengths = lengths.clamp(min=1)
    states, last = scanned(recurrent, steps, lengths)
    is_step = torch.arange(steps.shape[1], device=steps.device) < lengths.unsqueeze(1)
    return states * is_step.unsqueeze(2), last


def _read(
    recurrent: nn.RNNBase,
    steps: torch.Tensor,
    is_step: torch.Tensor | None,
    state: State,
    ending: str,
    *,
    backward: bool,
) -> tuple[torch.Tensor, State]:
    """Returns the states (B, T, H) of one layer and direction, and that after the step that it reads last."""
    from torch._higher_order_ops.scan import scan  # which brings PyTorch's compiler with it

    named = recurrent.named_parameters(recurse=False)
    weights: Weights = {name.removesuffix(ending): value for name, value in named if name.endswith(ending)}
    step, bias = _step(recurrent), weights["bias_ih"]
    if not isinstance(recurrent, nn.GRU):  # whose reset gate acts on the second bias
        bias = bias + weights["bias_hh"]
    given = [F.linear(steps, weights["weight_ih"], bias).transpose(0, 1)]  # (T, B, G)
    given += [] if is_step is None else [is_step.transpose(0, 1)]

    def combined(before: State, read: list[torch.Tensor]) -> tuple[State, torch.Tensor]:
        after = step(read[0], before, weights)
        if len(read) > 1:
            after = tuple(torch.where(read[1], *pair) for pair in zip(after, before, strict=True))
        return after, after[0].clone()  # one tensor may not be given back twice

    after, states = scan(combined, state, given, reverse=backward)
    return states.transpose(0, 1), after


def _zeros(recurrent: nn.RNNBase, steps: torch.Tensor) -> State:
    """Returns the state before the first of steps (B, T, D)."""
    if isinstance(recurrent, StepwiseRNN):
        return recurrent.first_state(steps)
    hidden = steps.new_zeros(steps.shape[0], recurrent.proj_size or recurrent.hidden_size)
    return (hidden, steps.new_zeros(steps.shape[0], recurrent.hidden_size)) if recurrent.mode == "LSTM" else (hidden,)


def _step(recurrent: nn.RNNBase) -> Step:
    if isinstance(recurrent, StepwiseRNN):
        return recurrent.step
    return {"LSTM": _lstm, "GRU": _gru, "RNN_TANH": _rnn(torch.tanh), "RNN_RELU": _rnn(torch.relu)}[recurrent.mode]


def _rnn(function: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    return lambda read, state, weights: (function(read + F.linear(state[0], weights["weight_hh"])),)


def _lstm(read: torch.Tensor, state: State, weights: Weights) -> State:
    hidden, cell = state
    i, f, g, o = (read + F.linear(hidden, weights["weight_hh"])).chunk(4, dim=1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    hidden = torch.sigmoid(o) * torch.tanh(cell)
    return F.linear(hidden, weights["weight_hr"]) if "weight_hr" in weights else hidden, cell


def _gru(read: torch.Tensor, state: State, weights: Weights) -> State:
    """n = tanh(W_n x + b + r (U_n h + c)), with the gates of ``nn.GRU`` in their order r, z, n."""
    (hidden,) = state
    read_r, read_z, read_n = read.chunk(3, dim=1)
    own_r, own_z, own_n = F.linear(hidden, weights["weight_hh"], weights["bias_hh"]).chunk(3, dim=1)
    r, z = torch.sigmoid(read_r + own_r), torch.sigmoid(read_z + own_z)
    n = torch.tanh(read_n + r * own_n)
    return ((1 - z) * n + z * hidden,)
