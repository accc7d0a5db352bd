"""Finding YAML files, and reading them without Hydra."""

from __future__ import annotations

import os

import pytest
import yaml

from dltrain import config_files


@pytest.fixture
def folder(tmp_path):
    def write(group: str, name: str, text: str, root: str = "configs"):
        path = tmp_path / root / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_folder_of_yaml_files_has_the_entry_and_every_group():
    folder = config_files.config_dir()
    assert (folder / "train.yaml").is_file()
    groups = {path.name for path in folder.iterdir() if path.is_dir()}
    assert groups <= {*config_files.GROUPS, "hydra"}
    entry = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))
    listed = [name for item in entry["defaults"] if isinstance(item, dict) for name in item]
    assert set(listed) == {*config_files.GROUPS, "hydra"}


@pytest.mark.parametrize("group", config_files.GROUPS)
def test_every_yaml_file_is_described_in_one_line_and_parses(group):
    for path in config_files.options(group, []).values():
        assert 0 < len(config_files.description(path)) <= 100, path
        assert isinstance(config_files.values(path), dict)


@pytest.mark.parametrize("group", config_files.GROUPS)
def test_no_yaml_file_names_a_target_or_repeats_a_key(group):
    class Strict(yaml.SafeLoader):
        """Refuses a key that stands twice, of which PyYAML would take the last."""

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), node.start_mark
        assert "_target_" not in keys
        return dict(zip(keys, (loader.construct_object(value, deep=True) for _, value in node.value), strict=True))

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    for path in config_files.options(group, []).values():
        yaml.load(path.read_text(encoding="utf-8"), Loader=Strict)


def test_a_users_file_hides_ours_and_the_first_folder_wins(folder, tmp_path):
    first = folder("model", "mlp", "name: mlp\n", root="first")
    folder("model", "mlp", "name: mlp\n", root="second")
    second = folder("model", "my_net", "name: my_net\n", root="second")
    found = config_files.options("model", [tmp_path / "first", tmp_path / "second"])
    assert found["mlp"] == first and found["my_net"] == second
    assert found["linear"].parent.parent == config_files.config_dir()
    assert list(found) == sorted(found)


def test_the_users_folders_are_those_given_then_those_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", os.pathsep.join([str(tmp_path / "b"), "", str(tmp_path / "c")]))
    assert config_files.user_dirs([str(tmp_path / "a")]) == [tmp_path / name for name in "abc"]
    monkeypatch.delenv("DLTRAIN_CONFIG_PATH")
    assert config_files.user_dirs() == []


def test_options_look_into_the_environments_folders_unless_told(monkeypatch, folder, tmp_path):
    path = folder("model", "my_net", "name: my_net\n")
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", str(tmp_path / "configs"))
    assert config_files.options("model")["my_net"] == path
    assert "my_net" not in config_files.options("model", [])


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("# What it is\nname: x\n", "What it is"),
        ("# @package _global_\n# 무엇인가\nname: x\n", "무엇인가"),
        ("# First\n# second\nname: x\n", "First"),
        ("name: x\n# too late\n", ""),
        ("", ""),
    ],
)
def test_the_description_is_the_first_comment_that_is_none_of_hydras(folder, text, description):
    assert config_files.description(folder("model", "x", text)) == description


@pytest.mark.parametrize(
    ("group", "text", "values"),
    [
        ("model", "name: x\nunits: [1, 2]\n", {"model": {"name": "x", "units": [1, 2]}}),
        ("model", "", {"model": {}}),
        ("model", "defaults:\n  - mlp\nname: x\n", {"model": {"name": "x"}}),
        ("data", "# @package _global_\ndata:\n  name: x\nseed: 1\n", {"data": {"name": "x"}, "seed": 1}),
        ("callbacks", "# @package callbacks.x\nname: x\n", {"callbacks": {"x": {"name": "x"}}}),
    ],
)
def test_values_stand_where_hydra_puts_them(folder, group, text, values):
    assert config_files.values(folder(group, "x", text)) == values


def test_the_values_of_the_entry_stand_at_the_top():
    values = config_files.values(config_files.config_dir() / "train.yaml")
    assert values == {
        "seed": 0,
        "run_dir": None,
        "resume": False,
        "report": True,
        "imports": [],
        "model": {"init_from": None, "freeze": [], "unfreeze_epoch": None, "unfreeze_after": {}, "freeze_after": {}},
        "loss": {"l1": {}, "l2": {}},
        "optimizer": {"groups": {}},
        "sweep": {
            "trials": None,
            "seed": 0,
            "space": {},
            "metric": None,
            "direction": None,
            "seeds": 1,
            "workers": "auto",
            "pruner": None,
            "prune_after": None,
            "max_time": None,
            "stop_when": None,
            "max_failures": None,
            "refine": None,
            "report": True,
        },
    }


def test_the_config_of_an_old_run_gets_what_is_new():
    old = {"seed": 3, "run_dir": None, "imports": [], "model": {"name": "lstm", "hidden": 7}, "mine": {"name": "x"}}
    new = config_files.completed(old)
    assert new["seed"] == 3 and new["resume"] is False and new["mine"] == {"name": "x"}
    assert new["model"]["hidden"] == 7
    assert new["model"]["peepholes"] is False and new["model"]["init_from"] is None
    assert "data" not in new  # what an old config lacks as a whole is no setting that is new


def test_the_callbacks_of_an_old_run_get_what_is_new_each_under_its_own_key():
    mine, other = {"name": "my_callback", "size": 3}, {"every": 2}
    old = {"saves": {"name": "checkpoint", "monitor": "val/f1", "keep_last": 7}, "mine": mine, "other": other}
    new = config_files.completed({"callbacks": old})["callbacks"]
    assert new["mine"] == mine and new["other"] == other
    assert new["saves"]["monitor"] == "val/f1" and new["saves"]["keep_last"] == 7
    assert new["saves"]["keep_every_epochs"] is None


def test_what_an_entry_says_of_a_group_is_new_too():
    values = config_files.entry_values()["sweep"]
    assert config_files.completed({"sweep": {"name": "grid"}})["sweep"] == {**values, "name": "grid"}


@pytest.mark.parametrize(
    ("value", "flat"),
    [
        ({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}, {"a.b": 1, "a.c.d": [1, 2], "e": None}),
        ({"a": {}}, {"a": {}}),
        ({1: {2: 3}}, {"1.2": 3}),
    ],
)
def test_a_nested_mapping_is_flattened_to_dotted_keys(value, flat):
    assert config_files.flatten(value) == flat
