"""What a training depends on besides its state: noted in each checkpoint, and compared where it is taken up again.

A difference is said, and never a reason to refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dltrain import __version__
from dltrain.callbacks.base import Callback
from dltrain.models import device_of

if TYPE_CHECKING:
    from dltrain.trainer import Trainer

_LITTLE = "the results will differ a little"
_LAST_BITS = "the last bits of the results may differ"

# Condition -> what a person calls it, and what another one means.
_MEANING = {
    "device": ("the device", _LITTLE),
    "precision": ("the precision", _LITTLE),
    "gpu": ("the GPU", _LAST_BITS),
    "cpu": ("the CPU's instructions", _LAST_BITS),
    "torch": ("PyTorch", _LAST_BITS),
    "dltrain": ("dltrain", _LAST_BITS),
}


def of(trainer: Trainer) -> dict[str, Any]:
    """Returns what the results depend on besides the state, and may differ after a resume."""
    device = device_of(trainer.model)
    changes_with_length = trainer.schedule.factor is not None
    return {
        "device": device.type,
        "precision": "fp32" if trainer.autocast is None else "bf16",
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "dltrain": __version__,
        "length": [trainer.settings.max_epochs, trainer.settings.max_steps] if changes_with_length else None,
        "rates": trainer.rates,
        "data": trainer.fingerprint,
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns a note for each condition that is not what it was, of those that the checkpoint knows."""
    before = {**now, **before}
    notes = []
    if before["length"] != now["length"]:
        notes.append(
            "the training has another length than before, and the learning rate follows a schedule: where the "
            "schedule depends on the length, it goes on where the new one would be by now"
        )
    for name, (what, consequence) in _MEANING.items():
        was, is_now = before[name], now[name]
        if was != is_now and (name != "gpu" or (was and is_now)):
            notes.append(f"{what} was {was} before, now it is {is_now}: {consequence}")
    if before["threads"] != now["threads"]:
        notes.append(
            f"the run used {before['threads']} CPU threads before, now {now['threads']}: {_LAST_BITS}. "
            f"device.threads={before['threads']} keeps them"
        )
    return notes


def take_up_callbacks(callbacks: dict[str, Callback], state: dict[str, Any], names: dict[str, str]) -> list[str]:
    """Gives each callback the state that it had; one that has another key now keeps it.

    Args:
        state: of the callbacks that there were, by key.
        names: of these callbacks, by key; a checkpoint of an older version has none.

    Returns:
        A note for each that starts anew, and for each whose state is dropped.
    """
    notes, left = [], dict(state)
    waiting = []
    for key, callback in callbacks.items():
        if key in left and names.get(key, callback.settings.name) == callback.settings.name:
            callback.load_state_dict(left.pop(key))
        else:
            waiting.append(key)
    for key in waiting:
        callback = callbacks[key]
        same = [old for old in left if names.get(old) == callback.settings.name]
        if len(same) == 1:
            callback.load_state_dict(left.pop(same[0]))
            notes.append(f"callbacks.{key} was callbacks.{same[0]} before, and keeps its state")
        elif callback.overrides("state_dict"):
            notes.append(f"callbacks.{key} is new in this run: it starts with what comes from here on")
    notes += [f"callbacks.{key} is gone, and what it had gathered is dropped" for key, own in left.items() if own]
    return notes


def take_up_rates(trainer: Trainer, before: dict[str, Any]) -> list[str]:
    """Lets a learning rate that was changed hold, where the optimizer or the schedule goes by the old one.

    Args:
        before: the conditions that the state was saved under.
    """
    now, old = trainer.rates, before.get("rates")
    if old is None or old == now:
        return []
    for group, was, rate in zip(trainer.step.optimizer.param_groups, old, now, strict=True):
        if was != rate:
            put_rate(trainer.step.optimizer, group)
    notes = []
    if trainer.schedule.observer is not None:
        trainer.schedule.observer.begin_anew()
        notes.append("scheduler: what it had lowered the old learning rate by does not hold for the new one")
    elif trainer.schedule.factor is not None:
        position = trainer.state.epoch if trainer.schedule.interval == "epoch" else trainer.state.step
        share = trainer.schedule.factor(position)
        notes.append(f"scheduler: it takes {share:.3g} of optimizer.lr at this place, which makes {share * now[0]:.4g}")
    return notes


def put_rate(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
    """Puts a group's rate where the optimizer has copies of the old one in its state."""
    for parameter in group["params"]:
        state = optimizer.state.get(parameter, {})
        if isinstance(optimizer, torch.optim.Rprop) and "step_size" in state:  # the rate is where its sizes begin
            state["step_size"].fill_(group["lr"])
        elif isinstance(optimizer, torch.optim.ASGD) and "eta" in state:
            decay = 1 + group["lambd"] * group["lr"] * state["step"]
            state["eta"].copy_(torch.as_tensor(group["lr"] / decay ** group["alpha"]))
