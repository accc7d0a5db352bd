"""What is offered for a word, and that real shells offer it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from commandline import environment
from runfolders import make_run

from dltrain import cli, compose, config_files
from dltrain.commands.completion import SCRIPTS, candidates


@pytest.mark.parametrize("verb", cli.VERBS)
def test_verbs(verb):
    assert verb in candidates([], "")
    assert verb in candidates([], verb[:3])
    assert verb not in candidates(["model=lstm"], "")


@pytest.mark.parametrize("group", config_files.GROUPS)
def test_groups_and_options(group):
    assert f"{group}=" in candidates([], group[:3])
    assert f"{group}=" in candidates(["-m"], group[:3])
    assert candidates([], f"{group}=") == [f"{group}={name}" for name in config_files.options(group)]
    assert group in candidates(["list"], group[:3])


def test_all_that_is_offered_for_a_key_can_be_set():
    offered = {
        key.removesuffix("=") for group in config_files.GROUPS for key in candidates([], f"{group}.") if "." in key
    }
    for key in config_files.flatten(compose.compose([]).container):
        if "." in key and not key.endswith(".name"):
            assert key in offered
    models = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in config_files.options("model", []).values()]
    known = {f"model.{key}" for model in models for key in config_files.flatten(model)}
    known |= set(config_files.flatten(compose.compose([]).container))
    assert {key for key in offered if key.startswith("model.")} <= known


def test_values_and_unknown_words_offer_nothing():
    assert candidates([], "optimizer.lr=0") == []
    assert candidates([], "zzz") == []
    assert candidates(["doctor"], "") == []


def test_shells_and_explained_keys():
    assert candidates(["completion"], "") == list(SCRIPTS)
    assert "optimizer.lr" in candidates(["explain"], "optimizer.l")
    assert not [word for word in candidates(["explain"], "") if "=" in word]


def test_runs(runs):
    found = [str(run) for run in runs]
    for verb in ("resume", "evaluate", "generate", "board"):
        assert candidates([verb], "la") == ["last"]
        assert candidates([verb], "runs/") == found
    assert "trainer.max_epochs=" in candidates(["resume", "last"], "trainer.max_e")


def test_of_many_runs_the_last_ones_that_fit_are_offered(work):
    days = Path("runs/2026-01-02"), Path("runs/2026-01-03")
    for number in range(60):
        make_run(days[1] / f"{number:02}", days=60 - number)
    old, newest = make_run(days[0] / "old", days=90), make_run(Path("runs/sweeps/grid/trials/0/seed-1"), days=0)
    (work / "runs" / "sweeps" / "grid" / "multirun.yaml").write_text("{}")
    offered = candidates(["evaluate"], "")[1:]
    assert offered == [*(f"{days[1]}/{number:02}" for number in range(11, 60)), str(newest.path)]
    assert candidates(["evaluate"], f"{days[0]}/") == [str(old.path)]
    assert candidates(["evaluate"], "runs/s") == [str(newest.path)]


def test_the_hidden_verb_prints_a_line_each(dltrain):
    answer = dltrain("__complete", "1", "--", "dltrain", "trainer.max_")
    assert answer.out.splitlines() == [f"trainer.max_{name}=" for name in ("epochs", "steps", "time", "rollbacks")]
    assert dltrain("__complete", "1", "--", "dltrain").out != ""


def test_completion_works_while_a_file_of_ones_own_is_broken(dltrain, work, monkeypatch):
    path = work / "mine" / "model" / "broken.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("name: [\n")
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", str(work / "mine"))
    assert "model.hidden=" in dltrain("__complete", "1", "--", "dltrain", "model.").out.splitlines()


@pytest.fixture
def path_with_dltrain(tmp_path):
    """Returns a PATH on which dltrain is the one under test."""
    script = tmp_path / "bin" / "dltrain"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dltrain "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


def shell(words, **changes):
    done = subprocess.run(words, env=environment(**changes), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# The line -> its words as bash cuts them (at '=' too), and what bash must offer.
BASH = {
    "dltrain mod": (["dltrain", "mod"], ["model=", "model."]),
    "dltrain model=ls": (["dltrain", "model", "=", "ls"], ["lstm"]),
    "dltrain model=": (["dltrain", "model", "="], list(config_files.options("model", []))),
    "dltrain trainer.max_e": (["dltrain", "trainer.max_e"], ["trainer.max_epochs="]),
    "dltrain evaluate la": (["dltrain", "evaluate", "la"], ["last"]),
    "dltrain  model=lstm  data=ko": (["dltrain", "model", "=", "lstm", "data", "=", "ko"], ["korean_text"]),
    "dltrain list ": (["dltrain", "list", ""], list(config_files.GROUPS)),
    "dltrain zzz": (["dltrain", "zzz"], []),
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(path_with_dltrain, work):
    script = """
        eval "$(dltrain completion bash)"
        shopt -s extglob
        complete -p dltrain >/dev/null || exit 1
        offer() {
            COMP_LINE="$1" COMP_POINT=${#1}; shift
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _dltrain dltrain "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s|' "${COMPREPLY[@]}"; echo
        }
    """
    calls = [
        f"offer {json.dumps(line)} " + " ".join(f"'{word}'" for word in words) for line, (words, _) in BASH.items()
    ]
    shown = shell(["bash", "--norc", "-c", textwrap.dedent(script) + "\n".join(calls)], PATH=path_with_dltrain)
    for line, answer in zip(BASH, shown.splitlines(), strict=True):
        assert [word for word in answer.split("|") if word] == BASH[line][1], line


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(path_with_dltrain, work):
    script = """
        compdef() { : }
        compadd() { while [[ $1 != -- ]] { shift }; shift; print -l -- "$@" }
        eval "$(dltrain completion zsh)"
        words=(dltrain model=ls) CURRENT=2; _dltrain
        words=(dltrain trainer.max_e) CURRENT=2; _dltrain
    """
    shown = shell(["zsh", "-f", "-c", textwrap.dedent(script)], PATH=path_with_dltrain)
    assert shown.split() == ["model=lstm", "trainer.max_epochs="]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(path_with_dltrain, work):
    script = "dltrain completion fish | source; complete -C 'dltrain model=ls'; complete -C 'dltrain trainer.max_e'"
    shown = shell(["fish", "--no-config", "-c", script], PATH=path_with_dltrain, HOME=str(work))
    assert shown.split() == ["model=lstm", "trainer.max_epochs="]
