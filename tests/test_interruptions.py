"""What ends a training before its time, a budget or a signal: nothing is lost, and it goes on to the same bits."""

from __future__ import annotations

import pytest
from killing import assert_same, what_counts
from sweeping import QUICK as QUICK_SWEEP
from sweeping import trained, trials_of
from training import result_of, resume, rows_of, train

from dltrain.errors import ConfigError, TimeUp

RAGGED = ("data=iris", "trainer.batch_size=32")  # 3 batches an epoch
NO_TIME = "trainer.max_time=1.0e-9"


# --- trainer.max_time -------------------------------------------------------------------------------------


def test_a_run_whose_time_is_up_saves_says_how_to_go_on_and_comes_to_the_same_bits(tmp_path):
    common = (*RAGGED, "model=mlp", "model.dropout=0.3", "trainer.max_epochs=2")
    folder = tmp_path / "run"
    with pytest.raises(TimeUp) as caught:
        train(folder, *common, NO_TIME, callbacks=("checkpoint",))
    assert str(caught.value) == (
        f"stopped after trainer.max_time=1e-09 at step 1; its state is saved. Go on with: dltrain resume {folder}"
    )
    assert caught.value.exit_code == 124
    assert result_of(folder)["status"] == "interrupted" and result_of(folder)["steps"] == 1
    for step in (2, 3, 4, 5):  # each process has a budget of its own, and does one step at least
        with pytest.raises(TimeUp, match=f"at step {step};"):
            resume(folder)
    assert resume(folder) is not None  # with the last step nothing is left that could be put off
    train(tmp_path / "whole", *common, callbacks=("checkpoint",))
    whole, parts = what_counts(tmp_path / "whole"), what_counts(folder)
    assert parts["config"]["trainer"].pop("max_time") == 1e-9 and whole["config"]["trainer"].pop("max_time") is None
    assert_same(whole, parts)
    assert result_of(folder)["status"] == "done"


def test_a_run_may_go_on_with_another_budget(tmp_path):
    with pytest.raises(TimeUp):
        train(tmp_path, *RAGGED, "trainer.max_epochs=2", NO_TIME, callbacks=("checkpoint",))
    outcome = resume(tmp_path, "trainer.max_time=1h")
    assert outcome is not None and outcome.result["stop_reason"] == "reached max_epochs=2"


def test_without_a_checkpoint_callback_it_says_that_nothing_is_saved(tmp_path):
    with pytest.raises(TimeUp, match=r"at step 1; without a checkpoint callback its state is not saved\. Go on with"):
        train(tmp_path, *RAGGED, NO_TIME)


def test_a_row_that_is_due_is_written_before_it_stops(tmp_path):
    with pytest.raises(TimeUp):
        train(tmp_path, *RAGGED, "trainer.evaluate_every_steps=1", NO_TIME, callbacks=("checkpoint",))
    assert [(row["step"], row.get("partial")) for row in rows_of(tmp_path)] == [(1, None)]


def test_time_that_is_not_used_up_changes_nothing(tmp_path):
    outcome = train(tmp_path, *RAGGED, "trainer.max_epochs=1", "trainer.max_time=1:00:00")
    assert outcome.trainer.completed and outcome.result["stop_reason"] == "reached max_epochs=1"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("soon", ": 'soon' is no length of time. Write 90s, 30m, 1h30m, 7d, 1:30:00 or a number of seconds"),
        ("0", ": 0 is no time to work in. Write more than 0: 90s, 30m, 1h30m, 7d, 1:30:00 or a number of seconds"),
        ("[1]", " = [1]: must be text or a number or null."),
        ("true", " = true: must be text or a number or null."),
    ],
)
def test_a_budget_that_is_none_is_a_mistake_of_the_config(value, problem, tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "run", f"trainer.max_time={value}")
    assert str(caught.value) == f"trainer.max_time{problem}"
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_version_without_it_goes_on(dltrain, work):
    quick = ("data=iris", "model.hidden=[4]", "run_dir=run", "~callbacks.tensorboard", "trainer.max_epochs=2")
    assert dltrain(*quick, "trainer.max_time=1e-9").code == 124
    config = work / "run" / "config.yaml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "max_time" not in line), encoding="utf-8")
    assert dltrain("resume", "run").code == 0


def test_in_a_multirun_it_ends_one_trial_and_the_others_go_on(work, capsys):
    words = ("trainer.max_time=1.0e-9", "trainer.max_epochs=1,2", "trainer.evaluate_every_steps=1")
    sweep = trained(work / "mine", *QUICK_SWEEP, *words)
    results = [sweep.trial(trial).read_result() for trial in range(2)]
    assert [(result["status"], result["steps"]) for result in results] == [("interrupted", 1), ("interrupted", 1)]
    assert [trial.status for trial in trials_of(sweep)] == ["done", "done"]
    assert capsys.readouterr().err.count(": val/loss ") == 2
