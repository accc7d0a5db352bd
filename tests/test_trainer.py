"""The loop: what its counters mean, when rows and hooks come, what changes a result and what never does."""

from __future__ import annotations

import itertools
import math
import signal
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killing import assert_same, what_counts
from training import (
    FailsAt,
    build_trainer,
    configure,
    register_callback,
    result_of,
    resume,
    rows_of,
    train,
    without_times,
)

from dltrain import __version__, registry
from dltrain.callbacks.base import HOOKS, Callback
from dltrain.checkpoint import CheckpointStore, pack, unpack
from dltrain.data import Samples
from dltrain.data.batching import permutation
from dltrain.errors import CheckpointError, ConfigError, DivergedError
from dltrain.fingerprint import fingerprint
from dltrain.steps import EagerStep
from dltrain.trainer import move
from dltrain.weights import load_weights

EVERY_STEP = ("callbacks.checkpoint.every_steps=1", "callbacks.checkpoint.min_seconds=0")
# 90 training samples; 3 batches of 32 an epoch, the last one of 26.
RAGGED = ("data=iris", "trainer.batch_size=32")


class Watch(Callback):
    """Notes the state, the loss and the rate after each update."""

    def __init__(self, settings, *, context) -> None:
        super().__init__(settings, context=context)
        self.states, self.losses, self.rates = [], [], []

    def on_step_end(self, trainer) -> None:
        self.states.append(tuple(asdict(trainer.state).values()))
        self.losses.append(float(trainer.loss))
        self.rates.append(trainer.step.optimizer.param_groups[0]["lr"])


class Record(Callback):
    """Notes every hook as it fires, over all callbacks of this class."""

    fired: list[str] = []

    def _note(self, hook: str) -> None:
        self.fired.append(hook)


def _recording(hook: str):
    return lambda self, trainer, *error: self._note(hook)


for _hook in HOOKS:
    setattr(Record, _hook, _recording(_hook))


@pytest.fixture
def watch(monkeypatch):
    register_callback(monkeypatch, Watch, "watch")


@pytest.fixture
def record(monkeypatch):
    Record.fired = []
    register_callback(monkeypatch, Record, "record")
    return Record.fired


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


# --- counters ---------------------------------------------------------------------------------------------


def test_each_counter_counts_one_thing(watch, tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, "trainer.max_epochs=2", callbacks=("watch",))
    trainer.fit()
    #                                                   epoch, batch, step, samples
    assert trainer.callbacks["watch"].states == [
        *[(0, 1, 1, 32), (0, 2, 2, 64), (0, 3, 3, 90)],
        *[(1, 1, 4, 122), (1, 2, 5, 154), (1, 3, 6, 180)],
    ]
    assert asdict(trainer.state) == {"epoch": 2, "batch": 0, "step": 6, "samples": 180}
    assert trainer.stop_reason == "reached max_epochs=2"


def test_a_step_is_an_update_also_where_gradients_accumulate(watch, tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, "trainer.accumulate=2", "trainer.max_epochs=2", callbacks=("watch",))
    trainer.fit()
    assert trainer.callbacks["watch"].states == [(0, 2, 1, 64), (0, 3, 2, 90), (1, 2, 3, 154), (1, 3, 4, 180)]


@pytest.mark.parametrize(("limit", "epochs", "steps"), [("max_steps=4", 1, 4), ("max_steps=6", 2, 6)])
def test_training_ends_at_the_first_limit(limit, epochs, steps, tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, f"trainer.{limit}", "trainer.max_epochs=9")
    trainer.fit()
    assert (trainer.state.epoch, trainer.state.step) == (epochs, steps)
    assert trainer.stop_reason == f"reached {limit}"


# --- rows -------------------------------------------------------------------------------------------------


def rows_after(folder, *overrides: str, callbacks=()) -> list[dict]:
    build_trainer(folder, *RAGGED, *overrides, callbacks=callbacks).fit()
    return rows_of(folder)


def places(rows) -> list[tuple]:
    return [(row["epoch"], row["step"], row.get("partial", False)) for row in rows]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.max_epochs=2"], [(1, 3, False), (2, 6, False)]),
        (["trainer.max_steps=4"], [(1, 3, False), (1, 4, True)]),
        (["trainer.max_epochs=5", "trainer.evaluate_every_epochs=2"], [(2, 6, False), (4, 12, False), (5, 15, True)]),
        (["trainer.max_epochs=3", "trainer.evaluate_every_epochs=null"], [(3, 9, True)]),
        (
            ["trainer.max_epochs=2", "trainer.evaluate_every_steps=2"],
            [(0, 2, False), (1, 3, False), (1, 4, False), (2, 6, False)],
        ),
        (
            ["trainer.max_steps=5", "trainer.evaluate_every_steps=3", "trainer.evaluate_every_epochs=null"],
            [(1, 3, False), (1, 5, True)],
        ),
        (
            ["trainer.max_epochs=1", "trainer.evaluate_every_steps=1", "trainer.accumulate=2"],
            [(0, 1, False), (1, 2, False)],
        ),
    ],
)  # fmt: skip
def test_a_row_comes_where_one_is_due_and_once(overrides, expected, tmp_path):
    assert places(rows_after(tmp_path, *overrides)) == expected


def test_a_row_holds_the_training_since_the_row_before(watch, tmp_path):
    trainer = build_trainer(
        tmp_path, *RAGGED, "trainer.max_steps=4", "trainer.evaluate_every_steps=2", callbacks=("watch",)
    )
    trainer.fit()
    one, two, three, four = trainer.callbacks["watch"].losses
    means = [row["train/loss"] for row in rows_of(tmp_path)]
    assert means == pytest.approx([(one + two) / 2, three, four])


def test_the_mean_loss_weighs_each_sample_alike(watch, tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, "trainer.max_epochs=1", callbacks=("watch",))
    trainer.fit()
    one, two, three = trainer.callbacks["watch"].losses
    assert trainer.row["train/loss"] == pytest.approx((32 * one + 32 * two + 26 * three) / 90)


def test_figures_are_plain_numbers_and_those_of_the_final_weights(tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, "trainer.max_epochs=2")
    trainer.fit()
    assert all(type(value) in (int, float) for value in trainer.row.values())
    split = trainer.validation
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(trainer.model(split.stored.inputs), split.stored.targets)
    assert trainer.row["val/loss"] == pytest.approx(float(loss))
    assert trainer.test_figures.keys() == {"loss", "accuracy", "precision", "recall", "f1"}


def test_evaluation_leaves_the_model_in_training_mode(tmp_path):
    trainer = build_trainer(tmp_path, *RAGGED, "model=mlp", "model.dropout=0.5", "trainer.max_epochs=1")
    trainer.model.train()
    trainer._evaluate(trainer.validation)
    assert trainer.model.training


LONGER = [
    ("trainer.evaluate_every_epochs=1",),
    ("trainer.evaluate_every_epochs=2",),
    ("trainer.evaluate_every_epochs=null",),
    ("trainer.evaluate_every_epochs=3", "trainer.evaluate_every_steps=2"),
]


@pytest.mark.parametrize("overrides", LONGER)
def test_an_extended_run_is_an_uninterrupted_one(overrides, tmp_path):
    """4 steps end within an epoch and 6 at its end; both write a row that an uninterrupted run does not have."""
    common = (
        *RAGGED, *overrides, "model=mlp", "model.hidden=[8]", "model.norm=batch", "model.dropout=0.3",
        "scheduler=exponential", "scheduler.interval=step", "optimizer=adamw",
    )  # fmt: skip
    callbacks: tuple[str, ...] = ("checkpoint",)
    if "trainer.evaluate_every_epochs=null" not in overrides:
        common, callbacks = (*common, "callbacks.early_stopping.patience=50"), (*callbacks, "early_stopping")
    train(tmp_path / "whole", *common, "trainer.max_steps=10", callbacks=callbacks)
    whole = what_counts(tmp_path / "whole")
    for first in (4, 6):
        short = tmp_path / f"short-{first}"
        train(short, *common, f"trainer.max_steps={first}", callbacks=callbacks)
        assert resume(short, "trainer.max_steps=10") is not None
        assert_same(whole, what_counts(short))


# --- updates ----------------------------------------------------------------------------------------------


def trained_weights(folder, *overrides: str, step=None) -> torch.Tensor:
    trainer = build_trainer(folder, "data=iris", *overrides, "trainer.max_epochs=3", step=step)
    trainer.fit()
    return weights(trainer)


class WrongShares(EagerStep):
    """Gives each batch of an update the same share, also the smaller last one."""

    def __call__(self, batch, share=1.0, update=True):
        return super().__call__(batch, 0.5, update)


def test_accumulated_batches_are_one_larger_batch(tmp_path):
    halves = ("trainer.batch_size=16", "trainer.accumulate=2", "optimizer.lr=0.5")
    whole = trained_weights(tmp_path / "whole", *RAGGED, "optimizer.lr=0.5")
    accumulated = trained_weights(tmp_path / "accumulated", *halves)
    torch.testing.assert_close(accumulated, whole, rtol=1e-5, atol=1e-6)
    wrong = trained_weights(tmp_path / "wrong", *halves, step=WrongShares)
    assert (wrong - whole).abs().max() > 100 * (accumulated - whole).abs().max()
    assert (wrong - whole).abs().max() > 1e-3


def test_a_lone_last_batch_is_an_update_of_its_own(tmp_path):
    """7 batches of 14 in groups of 3: the last group is one batch of 6."""
    whole = trained_weights(tmp_path / "whole", "trainer.batch_size=42")
    accumulated = trained_weights(tmp_path / "accumulated", "trainer.batch_size=14", "trainer.accumulate=3")
    torch.testing.assert_close(accumulated, whole, rtol=1e-5, atol=1e-6)


def test_clipped_accumulated_gradients_are_those_of_the_larger_batch(tmp_path):
    clip = "trainer.clip_norm=0.05"
    whole = trained_weights(tmp_path / "whole", *RAGGED, clip)
    accumulated = trained_weights(tmp_path / "acc", "trainer.batch_size=16", "trainer.accumulate=2", clip)
    torch.testing.assert_close(accumulated, whole, rtol=1e-5, atol=1e-6)
    free = trained_weights(tmp_path / "free", *RAGGED)
    assert (free - whole).abs().max() > 1e-3


def test_bf16_trains_weights_that_stay_fp32(tmp_path):
    common = ("data=digits", "model=mlp", "optimizer=adam", "optimizer.lr=0.01", "trainer.max_epochs=2")
    trainer = build_trainer(tmp_path, *common, "device.precision=bf16")
    trainer.fit()
    last = rows_of(tmp_path)[-1]
    assert last["val/accuracy"] > 0.85
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())
    full = build_trainer(tmp_path / "fp32", *common)
    full.fit()
    assert full.row["val/loss"] != last["val/loss"]


def test_lbfgs_trains_through_its_closure(tmp_path):
    trainer = build_trainer(
        tmp_path, "optimizer=lbfgs", "trainer.batch_size=90", "trainer.max_epochs=4", "model.init=zeros"
    )
    trainer.fit()
    losses = [row["train/loss"] for row in rows_of(tmp_path)]
    assert losses[0] == pytest.approx(math.log(3))  # of the weights that the first update starts from
    assert losses[-1] < 0.1 and trainer.state.step == 4


def test_a_schedule_by_epoch_shows_in_the_rows(watch, tmp_path):
    schedule = ("scheduler=exponential", "scheduler.gamma=0.5", "optimizer.lr=0.8", "trainer.max_epochs=3")
    trainer = build_trainer(tmp_path, *RAGGED, *schedule, callbacks=("watch",))
    trainer.fit()
    assert [row["lr"] for row in rows_of(tmp_path)] == [0.8, 0.4, 0.2]
    assert trainer.callbacks["watch"].rates == [0.8] * 3 + [0.4] * 3 + [0.2] * 3


def test_a_schedule_by_step_shows_in_the_rows(watch, tmp_path):
    schedule = ("scheduler=exponential", "scheduler.gamma=0.5", "scheduler.interval=step")
    limits = ("optimizer.lr=0.8", "trainer.max_epochs=2", "trainer.accumulate=2")
    trainer = build_trainer(tmp_path, *RAGGED, *schedule, *limits, callbacks=("watch",))
    trainer.fit()
    assert trainer.callbacks["watch"].rates == [0.8, 0.4, 0.2, 0.1]
    assert [row["lr"] for row in rows_of(tmp_path)] == [0.4, 0.1]


# --- hooks ------------------------------------------------------------------------------------------------


def test_hooks_fire_in_the_order_that_the_contract_says(record, tmp_path):
    build_trainer(
        tmp_path, *RAGGED, "trainer.max_epochs=2", "trainer.evaluate_every_steps=2", callbacks=("record",)
    ).fit()
    step = ["on_step_end"]
    row, save = ["on_validation_end"], ["on_checkpoint"]
    assert record == [
        "on_fit_start",
        # steps 1 to 3, the second with a row; the third ends the epoch, which has a row too
        *["on_epoch_start", *step, *save, *step, *row, *save, *step, *row, "on_epoch_end", *save],
        # steps 4 to 6; at the last one both rows are due and one is written
        *["on_epoch_start", *step, *row, *save, *step, *save, *step, *row, "on_epoch_end", *save],
        *save,
        "on_fit_end",
    ]


def test_an_end_within_an_epoch_still_saves_before_the_partial_row(record, tmp_path):
    build_trainer(tmp_path, *RAGGED, "trainer.max_steps=1", callbacks=("record",)).fit()
    assert record == [
        "on_fit_start",
        "on_epoch_start",
        "on_step_end",
        "on_checkpoint",
        "on_checkpoint",
        "on_validation_end",
        "on_fit_end",
    ]


def test_a_method_that_is_no_hook_is_refused(monkeypatch, tmp_path):
    class Misspelled(Callback):
        def on_step_and(self, trainer) -> None: ...

    register_callback(monkeypatch, Misspelled, "misspelled")
    with pytest.raises(ConfigError, match=r"Misspelled\.on_step_and \(.+:\d+\) is no hook and would never be called"):
        build_trainer(tmp_path, callbacks=("misspelled",))


def test_hooks_that_no_callback_uses_cost_nothing(watch, tmp_path):
    ours = ("checkpoint", "early_stopping", "progress", "summary", "tensorboard")
    trainer = build_trainer(tmp_path, callbacks=ours)
    assert trainer._hooks["on_step_end"] == [] == trainer._hooks["on_epoch_start"]
    trainer = build_trainer(tmp_path / "watched", callbacks=(*ours, "watch"))
    assert trainer._hooks["on_step_end"] == [trainer.callbacks["watch"].on_step_end]


def test_the_order_of_callbacks_changes_nothing(tmp_path):
    overrides = (
        *RAGGED, "model=mlp", "model.hidden=[8]", "model.dropout=0.5", "trainer.max_epochs=9", "optimizer.lr=1",
        "trainer.evaluate_every_steps=2", "callbacks.early_stopping.patience=3",
        "callbacks.early_stopping.monitor=val/accuracy", "callbacks.checkpoint.monitor=val/accuracy",
        "callbacks.checkpoint.keep_best=2", "callbacks.tensorboard.histograms_every_epochs=1",
        "callbacks.tensorboard.graph=false",
    )  # fmt: skip
    found = []
    for number, order in enumerate(itertools.permutations(("checkpoint", "early_stopping", "tensorboard"))):
        train(tmp_path / str(number), *overrides, callbacks=order)
        result = result_of(tmp_path / str(number))
        assert "early stopping" in result["stop_reason"]  # otherwise there would be little to mix up
        comparable = {name: value for name, value in result.items() if name not in ("seconds", "last")}
        found.append({**what_counts(tmp_path / str(number)), "result": comparable})
    for other in found[1:]:
        assert_same(found[0], other)


class Fails(Callback):
    """Raises in the hook that a test names."""

    hook = "on_step_end"

    def _raise(self, hook: str) -> None:
        if hook == type(self).hook:
            raise OverflowError(f"out of {hook}")

    def on_fit_start(self, trainer) -> None:
        self._raise("on_fit_start")

    def on_step_end(self, trainer) -> None:
        if trainer.state.step == 2:
            self._raise("on_step_end")

    def on_validation_end(self, trainer) -> None:
        self._raise("on_validation_end")


@pytest.mark.parametrize("hook", ["on_fit_start", "on_step_end", "on_validation_end"])
@pytest.mark.parametrize("order", [("record", "fails"), ("fails", "record")])
def test_a_callback_that_fails_lets_the_others_close(hook, order, record, monkeypatch, tmp_path):
    monkeypatch.setattr(Fails, "hook", hook)
    register_callback(monkeypatch, Fails, "fails")
    with pytest.raises(OverflowError, match=f"out of {hook}"):
        train(tmp_path / "run", *RAGGED, "trainer.max_epochs=2", callbacks=order)
    assert record[-1] == "on_exception" and record.count("on_exception") == 1 and "on_fit_end" not in record
    result = result_of(tmp_path / "run")
    assert result["status"] == "failed" and result["error"] == f"OverflowError: out of {hook}"


def test_a_callback_can_ask_to_stop_and_the_first_reason_stands(monkeypatch, tmp_path):
    class Stops(Callback):
        def on_step_end(self, trainer) -> None:
            trainer.request_stop(f"enough at step {trainer.state.step}")

    register_callback(monkeypatch, Stops, "stops")
    trainer = build_trainer(tmp_path, *RAGGED, callbacks=("stops",))
    trainer.fit()
    assert trainer.state.step == 1 and trainer.stop_reason == "enough at step 1"
    assert rows_of(tmp_path)[-1]["partial"] is True


@pytest.mark.parametrize("order", ["a signal last", "a signal first"])
def test_a_signal_that_comes_after_the_end_was_decided_interrupts_nothing(order, tmp_path, monkeypatch):
    class Stops(Callback):
        def on_validation_end(self, trainer):
            asked = [("enough", None), ("stopped by SIGTERM", signal.SIGTERM)]
            for reason, number in asked if order == "a signal last" else reversed(asked):
                trainer.request_stop(reason, number)

    register_callback(monkeypatch, Stops, "stops")
    trainer = build_trainer(tmp_path, "data=iris", "model=linear", "trainer.max_epochs=9", callbacks=("stops",))
    trainer.fit()
    assert trainer.state.epoch == 1 and trainer.interrupted_by == signal.SIGTERM
    is_last = order == "a signal last"
    assert trainer.completed == is_last and bool(trainer.test_figures) == is_last
    assert trainer.stop_reason == ("enough" if is_last else "stopped by SIGTERM")


# --- a loss that is NaN or infinite -----------------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bad=st.integers(0, 99),
    size=st.sampled_from([1, 13, 32, 90]),
    accumulate=st.integers(1, 4),
    every_steps=st.sampled_from([None, 1, 5]),
    every_epochs=st.sampled_from([None, 1, 2]),
)
def test_the_first_bad_batch_is_named(bad, size, accumulate, every_steps, every_epochs, tmp_path):
    batches = -(-90 // size)
    epoch, batch = divmod(bad, batches)
    step = epoch * -(-batches // accumulate) + batch // accumulate + 1
    trainer = build_trainer(
        tmp_path, f"trainer.batch_size={size}", f"trainer.accumulate={accumulate}",
        f"trainer.max_epochs={epoch + 3}", f"trainer.evaluate_every_steps={every_steps or 'null'}",
        f"trainer.evaluate_every_epochs={every_epochs or 'null'}", step=FailsAt,
    )  # fmt: skip
    trainer.step.batch = bad
    with pytest.raises(DivergedError) as caught:
        trainer.fit()
    assert f"at step {step} (epoch {epoch + 1}, batch {batch + 1})." in str(caught.value)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("sample", [0, 41, 89])
def test_a_value_of_the_data_that_is_not_finite_is_found(value, sample, tmp_path):
    data = registry.build("data", configure(tmp_path)[0].data)
    inputs = data.train.inputs.clone()
    inputs[sample, 2] = value
    poisoned = replace(data, train=Samples(inputs, data.train.targets))
    trainer = build_trainer(tmp_path, "trainer.batch_size=7", "trainer.max_epochs=2", data=poisoned)
    place = permutation(90, seed=0, epoch=0).tolist().index(sample)
    expected = rf"at step {place // 7 + 1} \(epoch 1, batch {place // 7 + 1}\)"
    with pytest.raises(DivergedError, match=expected) as caught:
        trainer.fit()
    assert caught.value.exit_code == 6


def test_divergence_is_reported_and_an_earlier_checkpoint_stays(tmp_path):
    overrides = (*RAGGED, *EVERY_STEP, "model=mlp", "optimizer.lr=1.0e+30")
    train(tmp_path / "run", *RAGGED, *EVERY_STEP, "model=mlp", "trainer.max_epochs=2", callbacks=("checkpoint",))
    folder = tmp_path / "run" / "checkpoints"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(DivergedError, match=r"at step [78] .*Lower optimizer.lr \(now 1e\+30\)"):
        resume(tmp_path / "run", "optimizer.lr=1.0e+30", "trainer.max_epochs=9")
    store = CheckpointStore(folder)
    state, _ = store.load_newest()
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert {name: (folder / name).read_bytes() for name in before if name.startswith("best")} == {
        name: content for name, content in before.items() if name.startswith("best")
    }
    result = result_of(tmp_path / "run")
    assert result["status"] == "failed" and "NaN or infinite" in result["error"]
    with pytest.raises(DivergedError):
        train(tmp_path / "new", *overrides, callbacks=("checkpoint",))


@pytest.mark.parametrize("monitor", ["val/loss", "train/loss", "val/accuracy"])
def test_weights_that_are_not_finite_are_never_saved(monitor, tmp_path):
    """An update by 1e39 leaves infinite weights, while every loss so far was finite."""
    common = (*RAGGED, *EVERY_STEP, f"callbacks.checkpoint.monitor={monitor}", "trainer.evaluate_every_steps=1")
    train(tmp_path / "run", *common, "trainer.max_steps=2", callbacks=("checkpoint",))
    folder = tmp_path / "run" / "checkpoints"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(DivergedError, match="weights became NaN or infinite"):
        resume(tmp_path / "run", "optimizer.lr=1.0e+39", "trainer.max_steps=9")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# --- the whole state --------------------------------------------------------------------------------------


def test_a_state_goes_on_in_another_trainer(tmp_path):
    overrides = (*RAGGED, "model=mlp", "model.dropout=0.5", "optimizer=adam", "trainer.accumulate=2")
    whole = build_trainer(tmp_path / "whole", *overrides, "trainer.max_epochs=2")
    whole.fit()
    first = build_trainer(tmp_path / "first", *overrides, "trainer.max_epochs=1")
    first.fit()
    content = pack(first.state_dict())
    second = build_trainer(tmp_path / "second", *overrides, "trainer.max_epochs=2")
    assert second.load_state_dict(unpack(content, tmp_path)) == []
    second.fit()
    assert torch.equal(weights(second), weights(whole))
    control = build_trainer(tmp_path / "control", *overrides, "trainer.max_epochs=2")
    control.load_state_dict(unpack(content, tmp_path))
    torch.manual_seed(99)  # what a resume without the generators' state would do
    control.fit()
    assert not torch.equal(weights(control), weights(whole))
    assert without_times(rows_of(tmp_path / "second")) == without_times(rows_of(tmp_path / "whole"))[1:]


def test_another_number_of_threads_is_noted(tmp_path):
    trainer = build_trainer(tmp_path)
    state = trainer.state_dict()
    state["made_with"]["threads"] = 7
    (note,) = trainer.load_state_dict(state)
    assert note.startswith("the run used 7 CPU threads before, now 1:") and "device.threads=7 keeps them" in note


def test_the_state_says_what_it_was_made_with(tmp_path):
    plain = build_trainer(tmp_path / "plain", "trainer.max_epochs=3").state_dict()["made_with"]
    here = {
        "gpu": None,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "dltrain": __version__,
        "rates": [0.01],
        "data": fingerprint(registry.build("data", configure(tmp_path)[0].data)),
    }
    assert plain == {"device": "cpu", "precision": "fp32", "threads": 1, "length": None, **here}
    follows = build_trainer(tmp_path / "follows", "trainer.max_epochs=3", "scheduler=cosine", "device.precision=bf16")
    assert follows.state_dict()["made_with"] == {
        "device": "cpu", "precision": "bf16", "threads": 1, "length": [3, None], **here,
    }  # fmt: skip


def test_each_difference_in_how_it_was_made_is_noted(tmp_path):
    trainer = build_trainer(tmp_path, "trainer.max_epochs=3", "scheduler=cosine")
    state = trainer.state_dict()
    assert trainer.load_state_dict(state) == []
    state["made_with"] |= {"device": "cuda", "precision": "bf16", "threads": 1, "length": [2, None]}
    length, device, precision = trainer.load_state_dict(state)
    assert length.startswith("the training has another length than before, and the learning rate follows a schedule")
    assert device == "the device was cuda before, now it is cpu: the results will differ a little"
    assert precision == "the precision was bf16 before, now it is fp32: the results will differ a little"


def test_another_length_is_noted_only_where_a_schedule_changes_the_rate(tmp_path):
    for scheduler, expected in (("constant", 0), ("cosine", 1)):
        shorter, longer = (
            build_trainer(tmp_path / f"{scheduler}-{epochs}", f"scheduler={scheduler}", f"trainer.max_epochs={epochs}")
            for epochs in (2, 4)
        )
        assert len(longer.load_state_dict(shorter.state_dict())) == expected


def test_weights_of_another_model_are_refused_with_their_shapes(tmp_path):
    small = build_trainer(tmp_path / "a", "model=mlp", "model.hidden=[8, 8]")
    large = build_trainer(tmp_path / "b", "model=mlp", "model.hidden=[8, 16]")
    with pytest.raises(CheckpointError) as caught:
        large.load_state_dict(small.state_dict())
    assert str(caught.value) == (
        "the checkpoint is of another model: layers.3.weight has shape (8, 8), the model has (16, 8); "
        "layers.3.bias has shape (8,), the model has (16,); layers.5.weight has shape (3, 8), the model has (3, 16)"
    )
    deep = build_trainer(tmp_path / "c", "model=mlp", "model.hidden=[8, 8, 8]")
    with pytest.raises(CheckpointError, match=r"layers\.7\.weight is missing in the checkpoint"):
        load_weights(deep.model, small.model.state_dict())
    with pytest.raises(CheckpointError, match=r"layers\.7\.weight is not in the model"):
        load_weights(small.model, deep.model.state_dict())


def test_the_state_of_another_optimizer_is_refused(tmp_path):
    state = build_trainer(tmp_path / "a", "optimizer=adam").state_dict()
    other = build_trainer(tmp_path / "b", "optimizer=rmsprop")
    with pytest.raises(CheckpointError, match="saved with the optimizer Adam, and this run has RMSprop"):
        other.load_state_dict(state)


def test_move_keeps_the_structure():
    nested = {"a": [torch.ones(2), 1, {"b": None}], "c": "text"}
    moved = move(nested, torch.device("cpu"))
    assert_same(moved, nested)
