"""Sweeps whose trials end as they are told to, without any training, for what looks at sweeps."""

from __future__ import annotations

import math

import optuna
from optuna.trial import TrialState

from dltrain.report import plotly_source
from dltrain.sweeps import report
from dltrain.sweeps.folder import SweepFolder
from dltrain.sweeps.leaderboard import Place
from dltrain.sweeps.ledger import Trial

METRIC = "val/loss"
STATES = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
INJECTION = """</script><script>document.title="hacked"</script><img src=x onerror='document.title="hacked"'>"""


def numbers(trial):
    """A space of which each trial has all values."""
    lr = trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True)
    return {"optimizer.lr": f"{lr:.4g}"}, abs(math.log10(lr) + 3) + 0.1


def everything(trial):
    """A space with text, numbers as text, a list of a searched length and a value that depends on another."""
    lr = trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True)
    values = {"optimizer.lr": f"{lr:.4g}"}
    values["data.path"] = trial.suggest_categorical("data.path", ["한글 자료", "뉴스 <기사>", INJECTION])
    values["data.batch_size"] = trial.suggest_categorical("data.batch_size", ["16", "64", "1024"])
    values["optimizer"] = trial.suggest_categorical("optimizer", ["adamw", "sgd"])
    if values["optimizer"] == "sgd":
        values["optimizer.momentum"] = f"{trial.suggest_float('optimizer.momentum', 0, 0.99):.4g}"
    length = trial.suggest_int("model.hidden.length", 1, 3)
    widths = [trial.suggest_int(f"model.hidden.{place}", 16, 512, log=True) for place in range(length)]
    values["model.hidden"] = f"[{','.join(map(str, widths))}]"
    return values, abs(math.log10(lr) + 3) + 0.1 * length + (values["optimizer"] == "sgd")


class Sweep:
    """A sweep of random points, whose trials end as they are told to."""

    def __init__(self, folder, space=numbers, *, higher_is_better=False, metric=METRIC):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.space, self.higher_is_better = SweepFolder(folder), space, higher_is_better
        direction = "maximize" if higher_is_better else "minimize"
        self.study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction=direction)
        self.trials, self.metric = {}, metric

    def add(self, status="done", objective=None, *, reason=None, parts=None, retry_of=None):
        asked = self.study.ask()
        values, value = self.space(asked)
        objective = (-value if self.higher_is_better else value) if objective is None else objective
        number = len(self.trials) if retry_of is None else retry_of
        if retry_of is not None:
            asked.set_user_attr("retry_of", retry_of)
        if status == "pruned":
            asked.report(objective, 1)
        if status in STATES:
            self.study.tell(asked, objective if status == "done" else None, state=STATES[status])
        shown = objective if status == "done" else None
        self.trials[number] = Trial(number, values, status, shown, reason, parts=parts or {})
        return self

    def write(self):
        """Writes the report and returns its text without Plotly's own source."""
        sign = -1 if self.higher_is_better else 1
        order = sorted(self.trials.values(), key=lambda t: (t.objective is None, sign * (t.objective or 0), t.number))
        results = {"": {"epochs": 3, "seconds": 20.5, "test": {"test/loss": 0.125}}}
        places = [Place(trial, results if trial.status == "done" else {}) for trial in order]
        report.write(self.folder, places, self.study, self.metric, self.higher_is_better)
        text = (self.folder.path / "report.html").read_text(encoding="utf-8")
        assert text.count(plotly_source.packed()) <= 1
        return text.replace(plotly_source.packed(), "")


def hostile(sweep):
    """Returns a sweep, of those that ``sweep`` makes, in which each text of a user's is an attack."""

    def space(trial):
        values, objective = everything(trial)
        return {**values, "data.path": INJECTION, f"key{INJECTION}": INJECTION}, objective

    it = sweep(space)
    for _ in range(12):
        it.add()
    return it.add("failed", reason=f"{INJECTION}\n{INJECTION}").add("pruned", reason=INJECTION)
