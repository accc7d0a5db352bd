"""A callback from a file of the user's: it works without a fork, and its mistakes are told as theirs."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path

import pytest
from commandline import DLTRAIN, environment, only_run

from dltrain import user_code

QUICK = ("data=iris", "trainer.max_epochs=2", "trainer.batch_size=45", "device=cpu")  # 2 updates an epoch
_numbers = itertools.count()  # a module is imported once, so each test has one of its own name

START = '''\
"""What a user would write."""

from dataclasses import dataclass

from dltrain import registry
from dltrain.callbacks.base import HOOKS, Callback
from dltrain.config import setting


@dataclass(frozen=True)
class Settings:
    name: str = setting("Name of the callback.")
    prefix: str = setting("What its lines begin with.")


@registry.register("callbacks", "mine", Settings)
class Mine(Callback):
'''
YAML = """\
# @package callbacks.mine
# Counts
name: mine
prefix: seen
"""
COUNTS = """\
    def __init__(self, settings, *, context):
        super().__init__(settings, context=context)
        self.count = 0

    def seen(self, hook):
        self.count += 1
        with open(self.settings.prefix, "a") as file:
            file.write(f"{self.count} {hook}\\n")

    def on_fit_start(self, trainer): self.seen("on_fit_start")
    def on_epoch_start(self, trainer): self.seen("on_epoch_start")
    def on_step_end(self, trainer): self.seen("on_step_end")
    def on_validation_end(self, trainer): self.seen("on_validation_end")
    def on_epoch_end(self, trainer): self.seen("on_epoch_end")
    def on_checkpoint(self, trainer): self.seen("on_checkpoint")
    def on_fit_end(self, trainer): self.seen("on_fit_end")
    def on_exception(self, trainer, error): self.seen(f"on_exception {error}")
    def result(self): return {"counted": self.count}
    def state_dict(self): return {"count": self.count}
    def load_state_dict(self, state): self.count = state["count"]
"""


@pytest.fixture
def mine(work: Path):
    """Returns a function that writes the user's files, and gives the arguments with which they are used."""

    def write(body: str, more: str = "") -> tuple[list[str], Path]:
        module = f"my_callbacks_{next(_numbers)}"
        Path("conf/callbacks").mkdir(parents=True, exist_ok=True)
        Path("conf/callbacks/mine.yaml").write_text(YAML, encoding="utf-8")
        path = work / f"{module}.py"
        path.write_text(START + body + more, encoding="utf-8")
        return ["--config-dir", "conf", f"imports=[{module}]", "callbacks=[default,mine]", *QUICK], path

    return write


def line_of(path: Path, text: str) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return f"{path}:{next(number for number, line in enumerate(lines, 1) if text in line)}"


def hooks(path: Path) -> list[str]:
    return [line.split(" ", 1)[1] for line in path.read_text(encoding="utf-8").splitlines()]


STEP = ["on_step_end", "on_checkpoint"]
EPOCH = ["on_epoch_start", *STEP, "on_step_end", "on_validation_end", "on_epoch_end", "on_checkpoint"]


def test_its_hooks_fire_in_order_and_its_state_and_settings_come_back(dltrain, work, mine):
    arguments, _ = mine(COUNTS)
    assert dltrain(*arguments).code == 0
    run = only_run(work)
    expected = ["on_fit_start", *EPOCH, *EPOCH, "on_checkpoint", "on_fit_end"]
    assert hooks(work / "seen") == expected
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["counted"] == len(expected)
    answer = dltrain("resume", "last", "trainer.max_epochs=3", "callbacks.mine.prefix=later")
    assert answer.code == 0, answer.err
    assert hooks(work / "later") == ["on_fit_start", *EPOCH, "on_checkpoint", "on_fit_end"]
    first = int((work / "later").read_text(encoding="utf-8").split()[0])
    assert first == len(expected) - 1  # all that it had counted when the state was saved: neither of the last two


def test_it_is_listed_as_ours_are_and_its_settings_are_known(dltrain, mine, monkeypatch):
    arguments, _ = mine(COUNTS)
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", "conf")
    answer = dltrain("list", "callbacks")
    assert answer.code == 0 and "mine" in answer.out and "Counts" in answer.out
    answer = dltrain(*arguments, "callbacks.mine.prefx=a")
    assert answer.code == 2 and "callbacks.mine.prefx" in answer.err and "Did you mean" in answer.err


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            "    def on_epoch_finished(self, trainer): ...\n",
            "callbacks.mine: Mine.on_epoch_finished ({place}) is no hook and would never be called. Did you mean "
            "'on_epoch_end'? The hooks are on_fit_start, on_epoch_start, on_step_end, on_validation_end, "
            "on_epoch_end, on_checkpoint, on_fit_end, on_exception",
        ),
        (
            "    def on_epoch_end(self): ...\n",
            "callbacks.mine: Mine.on_epoch_end ({place}) is called with (self, trainer): let it take these",
        ),
        (
            "    def on_exception(self, trainer): ...\n",
            "callbacks.mine: Mine.on_exception ({place}) is called with (self, trainer, error): let it take these",
        ),
    ],
)
def test_a_method_that_is_no_hook_is_told_before_anything_is_written(body, problem, dltrain, work, mine):
    arguments, path = mine(body)
    answer = dltrain(*arguments)
    assert answer.code == 2
    assert answer.err.strip() == "error: " + problem.format(place=line_of(path, "def on_"))
    assert not (work / "runs").exists()


HELPER = """

def helper(trainer):
    return trainer.row["val/lost"]  # no such figure
"""


@pytest.mark.parametrize("hook", ["on_fit_start", "on_epoch_start", "on_step_end", "on_epoch_end", "on_fit_end"])
def test_an_error_in_a_hook_names_callback_hook_and_lines(hook, dltrain, work, mine):
    arguments, path = mine(f"    def {hook}(self, trainer):\n        helper(trainer)\n", HELPER)
    answer = dltrain(*arguments, "callbacks=[checkpoint,mine]", "report=false")
    assert answer.code == 1
    assert answer.err.splitlines() == [
        f"error: callbacks.mine, {hook}: KeyError: 'val/lost'",
        f"  {line_of(path, '    helper(trainer)')}: helper(trainer)",
        f'  {line_of(path, "no such figure")}: return trainer.row["val/lost"]  # no such figure',
        "This is a mistake in a module of yours; DLTRAIN_TRACEBACK=1 shows how dltrain came there",
    ]
    result = json.loads((only_run(work) / "result.json").read_text(encoding="utf-8"))
    assert (result["status"], result["error"]) == ("failed", "KeyError: 'val/lost'")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    def __init__(self, settings, *, context):\n        settings.nope\n", "__init__: AttributeError: "),
        ("    def state_dict(self):\n        return {'a': 1 / 0}\n", "state_dict: ZeroDivisionError: division by zero"),
        ("    def result(self):\n        return {'a': 1 / 0}\n", "result: ZeroDivisionError: division by zero"),
        ("    def figures(self, row):\n        return {'a': row['b']}\n", "figures: KeyError: 'b'"),
        ("    def on_step_end(self, trainer):\n        trainer.loss @ 3\n", "on_step_end: TypeError: "),
    ],
)
def test_an_error_in_anything_else_of_it_too(body, told, dltrain, mine):
    arguments, path = mine(body)
    answer = dltrain(*arguments, "callbacks=[checkpoint,mine]", "report=false")
    first, *lines = answer.err.splitlines()
    assert answer.code == 1 and first.startswith(f"error: callbacks.mine, {told}")
    assert len(lines) == 2 and lines[0].startswith(f"  {path}:")


def test_a_state_that_it_cannot_take_is_its_own_mistake_and_not_one_of_the_checkpoint(dltrain, work, mine):
    arguments, path = mine("    def load_state_dict(self, state):\n        state['count']\n")
    assert dltrain(*arguments).code == 0
    before = (only_run(work) / "metrics.jsonl").read_bytes()
    answer = dltrain("resume", "last", "trainer.max_epochs=3")
    assert answer.code == 1
    assert answer.err.startswith("error: callbacks.mine, load_state_dict: KeyError: 'count'\n")
    assert line_of(path, "state['count']") in answer.err
    assert (only_run(work) / "metrics.jsonl").read_bytes() == before


def test_a_state_that_cannot_be_saved_names_its_callback_and_the_place(dltrain, mine):
    arguments, _ = mine("    def state_dict(self):\n        return {'seen': [1, {2, 3}]}\n")
    answer = dltrain(*arguments, "callbacks=[checkpoint,mine]", "report=false")
    assert answer.code == 1
    assert answer.err.strip() == (
        "error: callbacks.mine, state_dict: TypeError: callbacks/mine/seen/1: a set cannot stand in a checkpoint; use "
        "tensors, numbers, text, lists and dicts"
    )


@pytest.mark.slow
def test_the_whole_traceback_is_there_for_whom_asks_in_a_real_process(work, mine):
    arguments, _ = mine("    def on_step_end(self, trainer):\n        raise ValueError('값')\n")
    for asked in ("0", "1"):
        done = subprocess.run(
            [*DLTRAIN, *arguments],
            capture_output=True,
            text=True,
            cwd=work,
            env=environment(DLTRAIN_TRACEBACK=asked),
            timeout=60,
            check=False,
        )
        assert done.returncode == 1 and "error: callbacks.mine, on_step_end: ValueError: 값" in done.stderr
        assert ("Traceback" in done.stderr, "trainer.py" in done.stderr) == (asked == "1", asked == "1")


def test_a_mistake_of_our_own_is_not_said_to_be_theirs():
    try:
        user_code.told(3)  # type: ignore[arg-type]
    except AttributeError as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without this test
        assert user_code.told(error) is None and not user_code.was_at_work(error)
    assert user_code.place(3) == ""
