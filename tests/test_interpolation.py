"""Values of the environment: read where they are used, and written and said nowhere."""

from __future__ import annotations

import logging
import os

import pytest
import yaml
from commandline import only_run, start
from omegaconf import OmegaConf

from dltrain import compose, config, hydra_config, interpolation, redaction
from dltrain.errors import ConfigError

SECRET = "canary-4711-sesame"
TABLE = "u,v,y\n" + "".join(f"{number % 7},{number % 5},{number % 2}\n" for number in range(60))
RUN = ["data=csv", "data.path=${oc.env:CANARY}.csv", "data.target=y", "model=linear", "trainer.max_epochs=1",
       "callbacks.checkpoint.min_seconds=0"]  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_is_known_yet(monkeypatch):
    monkeypatch.setattr(redaction, "_known", {})


@pytest.fixture
def secret(monkeypatch, tmp_path):
    """A variable of the environment, and the file that it names."""
    monkeypatch.setenv("CANARY", SECRET)
    (tmp_path / f"{SECRET}.csv").write_text(TABLE, encoding="utf-8")


def kept(**values) -> dict:
    return hydra_config.container_of(OmegaConf.create(values))


def test_only_what_reads_the_environment_stays_an_interpolation(secret):
    assert kept(
        a="${oc.env:CANARY}", b="${a}", c="x-${b}-y", d="${e}", e=3, f=["${oc.env:CANARY}", "${e}"], g={"h": "${..e}"},
        i="${oc.env:NOT_SET_ANYWHERE,default}", j="${oc.decode:${oc.env:NOT_SET_ANYWHERE,5}}", k=None, l="${g}",
    ) == {
        "a": "${oc.env:CANARY}", "b": "${oc.env:CANARY}", "c": "x-${oc.env:CANARY}-y", "d": 3, "e": 3,
        "f": ["${oc.env:CANARY}", 3], "g": {"h": 3}, "i": "${oc.env:NOT_SET_ANYWHERE,default}",
        "j": "${oc.decode:${oc.env:NOT_SET_ANYWHERE,5}}", "k": None, "l": {"h": 3},
    }  # fmt: skip


def test_what_is_kept_is_resolved_where_it_is_used(secret):
    container = kept(
        a="${oc.env:CANARY}", b=["${a}"], c={"d": "${oc.decode:${oc.env:NOT_SET_ANYWHERE,5}}", "e": "${"[:1]}
    )
    assert interpolation.resolved(container) == {"a": SECRET, "b": [SECRET], "c": {"d": 5, "e": "$"}}


def test_a_variable_that_is_not_set_is_named(secret, monkeypatch):
    told = "the environment variable 'NIX' is not set. Set it, or give a default: ${oc.env:NIX,DEFAULT}"
    with pytest.raises(ConfigError) as caught:
        kept(a={"b": "${oc.env:NIX}"})
    assert str(caught.value) == f"a.b: {told}"
    with pytest.raises(ConfigError) as caught:
        interpolation.resolved({"a": {"b": "${oc.env:NIX}"}, "c": ["${oc.env:NIX}"]})
    assert caught.value.problems == [f"a.b: {told}", f"c[0]: {told}"]


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [("KEY", "sesame", True), ("KEY", "abc", False), ("KEY", "12345678", False), ("KEY", "1e-4", False),
     ("HOME", "/home/gildong", False), ("SLURM_JOB_NAME", "my-job", False), ("KEY", "/a/b c", True)],
)  # fmt: skip
def test_what_is_hidden_in_texts(name, value, hidden):
    redaction.note(name, value)
    assert redaction.redacted(f"<{value}>") == (f"<${{oc.env:{name}}}>" if hidden else f"<{value}>")


def test_errors_and_log_lines_hide_it(secret, caplog):
    kept(a="${oc.env:CANARY}")
    assert str(ConfigError(f"no {SECRET}", "b")) == "2 mistakes in the config:\n  1. no ${oc.env:CANARY}\n  2. b"
    log = logging.getLogger("dltrain")
    log.addHandler(caplog.handler)
    log.warning("it is %s, %d", SECRET, 3)
    log.removeHandler(caplog.handler)
    assert caplog.messages[-1] == "it is ${oc.env:CANARY}, 3"


def holding(folder) -> list[str]:
    """Returns the files below a folder, with the secret in them."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_run_goes_on_reads_it_anew_and_writes_it_nowhere(secret, dltrain, work, monkeypatch):
    answers = [dltrain(*RUN)]
    run = only_run(work)
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["path"] == str(work / "${oc.env:CANARY}.csv")
    answers.append(dltrain("resume", "last", "trainer.max_epochs=2"))
    answers.append(dltrain("evaluate", "last"))
    answers.append(dltrain("explain", "data.path", *RUN))
    answers.append(dltrain("check", *RUN))
    answers.append(dltrain("--config", run / "config.yaml", "trainer.max_epochs=2"))
    assert [answer.code for answer in answers] == [0] * 6, [answer.err for answer in answers]
    assert "resume=true" and dltrain(*RUN, f"run_dir={run}", "resume=true", "trainer.max_epochs=3").code == 0
    monkeypatch.delenv("CANARY")
    for verb in (["resume", run, "trainer.max_epochs=4"], ["evaluate", run]):
        answers.append(dltrain(*verb))
        assert answers[-1].code == 2
        assert "data.path: the environment variable 'CANARY' is not set" in answers[-1].err
    monkeypatch.setenv("CANARY", f"{SECRET}-2")  # which names no file
    answers.append(dltrain("resume", run, "trainer.max_epochs=4"))
    assert answers[-1].code == 3
    assert "data.path=" in answers[-1].err
    assert holding(work / "runs") == []
    assert not any(SECRET in answer.out + answer.err for answer in answers[:-1])
    assert f"{SECRET}-2" not in answers[-1].err


@pytest.mark.slow
def test_a_failure_and_a_multirun_write_it_nowhere(secret, work):
    (work / "mine.py").write_text(
        "import os\nfrom dataclasses import dataclass\nfrom dltrain import registry\n"
        "from dltrain.callbacks.base import Callback\nfrom dltrain.config import setting\n"
        "@dataclass(frozen=True)\nclass S:\n    name: str = setting('Name.')\n    key: str = setting('Key.')\n"
        "@registry.register('callbacks', 'fails', S)\nclass Fails(Callback):\n"
        "    def on_epoch_end(self, trainer):\n        raise RuntimeError('wrong key ' + self.settings.key)\n"
    )
    fails = "+callbacks.fails={name: fails, key: '${oc.env:CANARY}'}"
    words = ["imports=[mine]", fails, *RUN]
    for command in (words, ["-m", *words, "seed=0,1"]):
        process = start(*command, cwd=work, CANARY=SECRET, DLTRAIN_TRACEBACK="1")
        out, err = process.communicate(timeout=120)
        assert process.returncode not in (0, 2), err
        assert "wrong key ${oc.env:CANARY}" in err
        assert SECRET not in out + err
    assert holding(work / "runs") == []
    assert len(list(work.glob("runs/**/config.yaml"))) == 3
    assert os.environ["CANARY"] == SECRET


def test_the_printed_config_does_not_show_it(secret, dltrain):
    answer = dltrain("--cfg", "job", *RUN)
    assert answer.code == 0 and "${oc.env:CANARY}" in answer.out and SECRET not in answer.out + answer.err


def test_a_config_without_it_is_loaded_as_it_is(monkeypatch):
    monkeypatch.setattr(interpolation, "resolved", lambda container: pytest.fail("was resolved"))
    config.load(compose.compose([]).container)
