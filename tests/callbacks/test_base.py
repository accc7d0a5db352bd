"""The contract of callbacks, and what holds for each of them."""

from __future__ import annotations

import re

import pytest
import torch
from training import build_trainer, configure, train

from dltrain import registry
from dltrain.callbacks import base
from dltrain.callbacks.base import HOOKS, Callback
from dltrain.checkpoint import pack, unpack

OURS = registry.names("callbacks")


def test_the_hooks_are_the_methods_of_the_base_and_stand_in_its_text():
    assert set(HOOKS) == {name for name in vars(Callback) if name.startswith("on_")}
    text = (base.__doc__ or "").partition("\n\nFigures")[0]
    named = re.findall(r"on_\w+", text)
    assert set(named) == set(HOOKS)
    assert next(hook for hook in HOOKS if hook != "on_exception") == named[0] == "on_fit_start"


def test_a_callback_overrides_only_what_it_defines():
    class Own(Callback):
        def on_epoch_end(self, trainer) -> None: ...

    class Further(Own): ...

    assert [hook for hook in HOOKS if Further.overrides(hook)] == ["on_epoch_end"]


SHORT = ("trainer.batch_size=32", "trainer.max_epochs=3")
SETTINGS = {"early_stopping": ("callbacks.early_stopping.patience=9",)}  # which lets it train to the end


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    return train(tmp_path_factory.mktemp("without") / "run", *SHORT)


@pytest.mark.parametrize("name", OURS)
def test_each_callback_works_alone_and_its_state_comes_back_through_a_checkpoint(name, without, tmp_path):
    overrides = (*SHORT, *SETTINGS.get(name, ()))
    alone = train(tmp_path / "alone", *overrides, callbacks=(name,))
    for one, other in zip(alone.trainer.model.parameters(), without.trainer.model.parameters(), strict=True):
        if alone.result.get("test_weights", "last") == "last":
            assert torch.equal(one, other)
    assert alone.trainer.row["train/loss"] == without.trainer.row["train/loss"]
    if not alone.trainer.callbacks[name].overrides("averaged_weights"):
        assert alone.trainer.row["val/loss"] == without.trainer.row["val/loss"]
    content = pack({"state": alone.trainer.callbacks[name].state_dict()})
    fresh = build_trainer(tmp_path / "fresh", *overrides, callbacks=(name,)).callbacks[name]
    fresh.load_state_dict(unpack(content, tmp_path)["state"])
    assert pack({"state": fresh.state_dict()}) == content


def test_settings_stand_in_yaml_and_nowhere_else(tmp_path):
    for name in OURS:
        assert configure(tmp_path, callbacks=(name,))[0].callbacks[name].name == name
