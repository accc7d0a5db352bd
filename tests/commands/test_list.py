"""Every option is listed with what it is."""

from __future__ import annotations

import re

import pytest

from dltrain import config_files

OPTIONS = [(group, name) for group in config_files.GROUPS for name in config_files.options(group, [])]


def test_list_shows_every_group(dltrain):
    shown = dltrain("list").out
    for group, meaning in config_files.GROUPS.items():
        assert f"{group}: {meaning}\n" in shown


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_every_option_is_described(group, name, dltrain):
    (description,) = re.findall(rf"^  {group}={name} +(.*)$", dltrain("list", group).out, re.MULTILINE)
    assert len(description) > 3
    assert not description.startswith(("@", "name:"))


def test_the_plural_and_one_group_alone(dltrain):
    assert dltrain("list", "models").out == dltrain("list", "model").out
    assert "optimizer=" not in dltrain("list", "model").out


def test_options_of_ones_own_are_listed_before_and_instead_of_ours(dltrain, work, monkeypatch):
    for name, text in {"tiny": "# The smallest\nname: mlp\n", "mlp": "# My own\nname: mlp\n"}.items():
        path = work / "mine" / "model" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", str(work / "mine"))
    shown = dltrain("list", "model").out
    assert re.search(r"model=tiny +The smallest\n", shown)
    assert re.search(r"model=mlp +My own\n", shown)
    assert shown.count("model=mlp ") == 1
