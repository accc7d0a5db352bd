"""``muon``: hidden matrices by Muon, everything else by AdamW, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from dltrain import patterns, registry
from dltrain.config import setting
from dltrain.errors import ConfigError
from dltrain.optimizers.settings import MOMENTUM, BetasSettings, Groups
from dltrain.optimizers.stepping import plain_step


@dataclass(frozen=True)
class MuonSettings(BetasSettings):
    adamw_lr: float | None = setting("Learning rate of what AdamW trains; null takes lr.", above=0)
    adamw_for: list[str] | None = setting(
        "Patterns of the names of matrices that AdamW trains, as embeddings and output layers should be; null takes "
        "names with 'embed' in them and the last matrix of the model."
    )
    momentum: float = setting(MOMENTUM, min=0, below=1)
    nesterov: bool = setting("Takes the gradient where the momentum leads (Nesterov).")
    iterations: int = setting("Newton-Schulz iterations that make the update orthogonal.", min=1, below=100)
    scale: str = setting(
        "match_rms_adamw makes updates as large as AdamW's, so that a rate of AdamW suits both (Liu et al. 2025); "
        "original scales by sqrt(max(1, rows/columns)) and wants lr near 0.02 beside adamw_lr.",
        choices=("match_rms_adamw", "original"),
    )


class Combined(Optimizer):
    """Several optimizers, each over groups of its own, that act as one.

    The parts share their group dicts and their state with this one. So what sets a learning rate in its groups, or
    saves and loads its state, needs to know nothing of the parts.

    Args:
        parts: optimizers over different parameters; a learning rate is what they all have.
    """

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()
        self._updates = [plain_step(part) for part in parts]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates each parameter that has a gradient; returns what the closure does, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for update in self._updates:
            update()
        return loss

    def __setstate__(self, state: dict[str, Any]) -> None:  # load_state_dict puts new dicts into place with it
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        first = 0
        for part in self.parts:
            last = first + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[first:last], self.state
            first = last


@registry.register("optimizer", "muon", MuonSettings)
def muon(settings: MuonSettings, *, parameters: Groups) -> Optimizer:
    """Muon (Jordan et al. 2024) for hidden matrices, AdamW for the rest: the orthogonal matrix nearest to the momentum.

    Kernels of convolutions are no matrices, and belong to AdamW.

    Raises:
        ConfigError: the model has no hidden matrix, or a pattern of ``adamw_for`` fits nothing.
    """
    names = _hidden_matrices(settings, parameters)
    if not names:
        raise ConfigError(
            "optimizer.name = 'muon': the model has no hidden matrix that it could train, only what belongs to AdamW. "
            "Take optimizer=adamw"
        )
    matrices = _select(parameters, lambda name: name in names)
    others = _select(parameters, lambda name: name not in names)
    share = (settings.adamw_lr or settings.lr) / settings.lr
    if share != 1:
        for group in others:
            group["pattern"] = " ".join(("adamw", group["pattern"])).strip()  # its rate is told apart by it
            if "lr" in group:
                group["lr"] *= share
    parts: list[Optimizer] = [
        torch.optim.Muon(
            matrices,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            ns_steps=settings.iterations,
            adjust_lr_fn=settings.scale,
        )
    ]
    if others:
        parts.append(
            torch.optim.AdamW(
                others,
                lr=settings.lr * share,
                betas=(settings.betas[0], settings.betas[1]),
                eps=settings.eps,
                weight_decay=settings.weight_decay,
                fused=True,
            )
        )
    return Combined(*parts)


def _hidden_matrices(settings: MuonSettings, parameters: Groups) -> set[str]:
    """Returns the names of the parameters that Muon trains.

    Raises:
        ConfigError: a pattern of what AdamW trains fits none.
    """
    matrices = [name for name, parameter in parameters.named.items() if parameter.dim() == 2]
    trained = {name for group in parameters for name in group["param_names"]}
    if settings.adamw_for is None:
        return {name for name in matrices[:-1] if "embed" not in name and name in trained}
    fitting = patterns.fitting("optimizer.adamw_for", settings.adamw_for, parameters.named)
    return (trained & set(matrices)).difference(*fitting.values())


def _select(parameters: Groups, wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Returns the groups with the parameters of these names alone, without those that would be empty."""
    selected = []
    for group in parameters:
        pairs = [
            (name, parameter)
            for name, parameter in zip(group["param_names"], group["params"], strict=True)
            if wanted(name)
        ]
        if pairs:
            names, chosen = zip(*pairs, strict=True)
            selected.append({**group, "params": list(chosen), "param_names": list(names)})
    return selected
