"""Recurrent layers that are computed step by step: the variants that PyTorch's fused kernels do not have.

Parameters have the names, shapes and order of gates of ``nn.LSTM`` and ``nn.GRU``, so that weights can be moved
between them and are initialised alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

State = tuple[torch.Tensor, ...]  # hidden (B, H), or projected (B, P), and of an LSTM its cell (B, H)
Weights = dict[str, torch.Tensor]  # of one layer and direction, by name without the ending that tells which


class StepwiseRNN(nn.RNNBase, ABC):
    """Recurrent layers, one upon the other, each read forward or both ways."""

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Maps (B, T, D) to the last layer's states, (B, T, H), or (B, T, 2H) forward and backward side by side.

        Args:
            lengths: (B,) steps of each sequence; a state stays as it is over the padding behind them.
        """
        is_step = None
        if lengths is not None:
            is_step = (torch.arange(steps.shape[1], device=steps.device) < lengths.unsqueeze(1)).unsqueeze(2)
        for layer in range(self.num_layers):
            if layer:
                steps = functional.dropout(steps, self.dropout, self.training)
            states = self._read(steps, is_step, f"_l{layer}", backward=False)
            if self.bidirectional:
                states = torch.cat((states, self._read(steps, is_step, f"_l{layer}_reverse", backward=True)), dim=2)
            steps = states
        return steps

    def _read(self, steps: torch.Tensor, is_step: torch.Tensor | None, ending: str, *, backward: bool) -> torch.Tensor:
        """Returns the states (B, T, H) of one layer and direction, each at the step that it has read last.

        Args:
            is_step: (B, T, 1), False at padding; None where there is none.
            ending: of the names of its parameters.
        """
        own = self.named_parameters(recurse=False)
        weights: Weights = {name.removesuffix(ending): value for name, value in own if name.endswith(ending)}
        # What comes from the input needs no state: one product for all steps, with both biases.
        read = functional.linear(steps, weights["weight_ih"], weights["bias_ih"] + weights["bias_hh"]).unbind(dim=1)
        state = self.first_state(steps)
        states = [state[0]] * len(read)
        for time in reversed(range(len(read))) if backward else range(len(read)):
            new = self.step(read[time], state, weights)
            if is_step is not None:
                new = tuple(torch.where(is_step[:, time], *pair) for pair in zip(new, state, strict=True))
            states[time], state = new[0], new
        return torch.stack(states, dim=1)

    def first_state(self, steps: torch.Tensor) -> State:
        """Returns zeros, the state before the first of steps (B, T, D)."""
        return (steps.new_zeros(len(steps), self.hidden_size),)

    @abstractmethod
    def step(self, read: torch.Tensor, state: State, weights: Weights) -> State:
        """Returns the state after a step.

        Args:
            read: (B, gates x H) W x_t + b, what comes from the step's input and from the biases.
            state: h_(t-1), and c_(t-1) of an LSTM.
        """


class StepwiseLSTM(StepwiseRNN):
    """LSTM with peepholes from the cell to its gates, and with a cell that is kept in bounds.

    Its own parameters are ``peephole_l0`` and so on: (3H,) for the gates i, f and o.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, peepholes: bool, cell_clip: float | None, **options: int | float
    ) -> None:
        """
        Args:
            cell_clip: the largest absolute value of a cell; None sets no bound.
            options: those of ``nn.LSTM``.
        """
        super().__init__("LSTM", input_size, hidden_size, **options)  # type: ignore[arg-type]
        self.peepholes, self.cell_clip = peepholes, cell_clip
        if peepholes:
            for layer in range(self.num_layers):
                for ending in ("", "_reverse") if self.bidirectional else ("",):
                    weight = nn.Parameter(torch.empty(3 * hidden_size))
                    self.register_parameter(f"peephole_l{layer}{ending}", weight)
            self.reset_parameters()

    def first_state(self, steps: torch.Tensor) -> State:
        hidden = steps.new_zeros(len(steps), self.proj_size or self.hidden_size)
        return hidden, steps.new_zeros(len(steps), self.hidden_size)

    def step(self, read: torch.Tensor, state: State, weights: Weights) -> State:
        """c_t = f c_(t-1) + i g; h_t = o tanh(c_t).

        With peepholes (Gers and Schmidhuber 2000), i and f see c_(t-1) and o sees c_t. A projected state is
        W_hr h_t (Sak et al. 2014, eq. 6).
        """
        hidden, cell = state
        i, f, g, o = (read + hidden @ weights["weight_hh"].T).chunk(4, dim=1)
        if self.peepholes:
            p_i, p_f, p_o = weights["peephole"].chunk(3)
            i, f = i + p_i * cell, f + p_f * cell
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        if self.cell_clip is not None:
            cell = cell.clamp(-self.cell_clip, self.cell_clip)
        if self.peepholes:
            o = o + p_o * cell
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        if self.proj_size:
            hidden = hidden @ weights["weight_hr"].T
        return hidden, cell


class StepwiseGRU(StepwiseRNN):
    """GRU whose reset gate acts before the product with the recurrent weights (Cho et al. 2014, eq. 5 to 8)."""

    def __init__(self, input_size: int, hidden_size: int, **options: int | float) -> None:
        """
        Args:
            options: those of ``nn.GRU``.
        """
        super().__init__("GRU", input_size, hidden_size, **options)  # type: ignore[arg-type]

    def step(self, read: torch.Tensor, state: State, weights: Weights) -> State:
        """h_t = (1 - z) n + z h_(t-1), with n = tanh(W_n x_t + U_n (r h_(t-1)) + b_n)."""
        (hidden,) = state
        sizes = (2 * self.hidden_size, self.hidden_size)
        (read_gates, read_n), (u_gates, u_n) = read.split(sizes, dim=1), weights["weight_hh"].split(sizes)
        r, z = torch.sigmoid(read_gates + hidden @ u_gates.T).chunk(2, dim=1)
        n = torch.tanh(read_n + (r * hidden) @ u_n.T)
        return ((1 - z) * n + z * hidden,)
