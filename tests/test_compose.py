"""YAML files and overrides become plain values, and mistakes become messages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dltrain import compose, config_files, multirun
from dltrain.errors import ConfigError
from dltrain.overrides import quote


def problems(function, *arguments) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        function(*arguments)
    return caught.value.problems


def parsed(override: str):
    return OverridesParser.create().parse_override(quote(override)).value()


# --- quoting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "한글.txt",
        "한글 문장 (최종).txt",
        "a b",
        "it's",
        'say "hi"',
        "~/data.txt",
        "a=b",
        "#1",
        "a&b",
        "C:\\data\\x.txt",
        "(a",
        "(최종) 말.txt",
        "a\\",
        "a (1)\\",
        "a\\'b",
        "100%",
        "말이; 법이다",
        "가,나 (다)",
    ],
)
def test_a_value_needs_no_quotes_of_its_own(value):
    assert parsed(f"data.path={value}") == value


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("null", None),
        ("true", True),
        ("[1,2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("'1'", "1"),
        ('"한글"', "한글"),
        ("val/loss", "val/loss"),
        ("", ""),
    ],
)
def test_a_value_that_means_something_keeps_its_meaning(value, meaning):
    override = f"key={value}"
    assert quote(override).removeprefix("++") == override
    assert parsed(override) == meaning


@hypothesis_settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1))
def test_any_text_can_be_a_file_name(text):
    """What Hydra takes for text stays that text; what it takes for a number or a list is meant so."""
    quoted = quote(f"data.path={text}")
    if text[0] in "'\"[{" or quoted == f"data.path={text}":
        return
    assert OverridesParser.create().parse_override(quoted).value() == text


# --- composing --------------------------------------------------------------------------------------------


def test_values_and_choices():
    composed = compose.compose(["model=lstm", "data=korean_text", "optimizer.lr=0.3", "~callbacks.tensorboard"])
    assert composed.choices["model"] == "lstm"
    assert composed.container["optimizer"]["lr"] == 0.3
    assert composed.container["trainer"]["max_epochs"] == 200  # the data set says so
    assert "tensorboard" not in composed.container["callbacks"]
    assert "hydra" not in composed.container
    assert set(composed.container) >= set(config_files.GROUPS) - {"experiment"}


def test_an_interpolation_is_resolved():
    composed = compose.compose(["trainer.evaluation_batch_size=${trainer.batch_size}", "trainer.batch_size=7"])
    assert composed.container["trainer"]["evaluation_batch_size"] == 7


def test_an_experiment_chooses_and_the_command_line_has_the_last_word():
    composed = compose.compose(["experiment=iris_softmax", "optimizer.lr=0.5", "model=mlp", "~model.init"])
    assert composed.choices["data"] == "iris" and composed.choices["model"] == "mlp"
    assert composed.container["optimizer"] == {**composed.container["optimizer"], "name": "sgd", "lr": 0.5}


def test_folders_of_ones_own_come_first_and_leave_no_trace(tmp_path, monkeypatch):
    for name, hidden in (("one", 1), ("two", 2)):
        path = tmp_path / name / "model" / "mlp.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"name: mlp\nhidden: [{hidden}]\n")
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", str(tmp_path / "two"))
    assert compose.compose([]).container["model"]["hidden"] == [2]
    assert compose.compose([], [tmp_path / "one"]).container["model"]["hidden"] == [1]
    assert os.environ["DLTRAIN_CONFIG_PATH"] == str(tmp_path / "two")
    monkeypatch.delenv("DLTRAIN_CONFIG_PATH")
    assert compose.compose([], [tmp_path / "one"]).container["model"]["hidden"] == [1]
    assert "DLTRAIN_CONFIG_PATH" not in os.environ
    with pytest.raises(ConfigError, match="three does not exist"):
        compose.compose([], [tmp_path / "three"])


def test_composing_anew_after_a_mistake_works():
    assert problems(compose.compose, ["model=lsmt"]) == ["no model named 'lsmt'. Did you mean 'lstm'?"]
    assert compose.compose(["model=lstm"]).container["model"]["name"] == "lstm"


def test_a_setting_of_another_option_names_that_option():
    assert problems(compose.compose, ["optimizer.momentum=0.9", "optimizer.centered=true"]) == [
        "no setting 'optimizer.momentum'. It belongs to optimizer=lars, optimizer=madgrad, optimizer=momentum, "
        "optimizer=muon, optimizer=nesterov, optimizer=rmsprop and optimizer=sgd.",
        "no setting 'optimizer.centered'. It belongs to optimizer=rmsprop.",
    ]


def test_a_broken_file_that_is_not_chosen_is_in_nobodys_way(tmp_path):
    path = tmp_path / "optimizer" / "broken.yaml"
    path.parent.mkdir()
    path.write_text("lr: [\n")
    (problem,) = problems(compose.compose, ["optimizer.centered=true"], [tmp_path])
    assert "It belongs to optimizer=rmsprop" in problem


KEYS = list(config_files.flatten(compose.compose([]).container))


@hypothesis_settings(max_examples=3, phases=[Phase.generate])
@given(key=st.sampled_from(KEYS), place=st.integers(0, 30), letter=st.sampled_from("qxz"))
def test_a_slip_in_any_key_is_answered_with_a_key_that_is_there(key, place, letter):
    place = min(place, len(key))
    slip = key[:place] + letter + key[place:]
    if slip.partition(".")[0] not in config_files.GROUPS:
        return  # as 'seqed': near, but the word alone may be nearer to another
    (problem,) = problems(compose.compose, [f"{slip}=1"])
    assert problem.startswith(f"no setting '{slip}'.")
    assert "Did you mean" in problem or " has: " in problem


# --- a saved config ---------------------------------------------------------------------------------------


def test_overrides_of_a_saved_config():
    saved = {"a": {"b": 1, "c": [1, 2]}, "d": "x"}
    assert compose.override_values(saved, ["a.b=3", "a.c=[5]", "d=한글 (1)"]) == {
        "a": {"b": 3, "c": [5]},
        "d": "한글 (1)",
    }
    assert saved == {"a": {"b": 1, "c": [1, 2]}, "d": "x"}


def test_mistakes_in_overrides_of_a_saved_config():
    saved = {"a": {"b": 1}, "d": "x", "model": {"name": "mlp"}}
    overrides = ["a.bb=3", "+e=1", "~d", "a.b=1,2", "d=3", "model=lsmt", "experiment=sine"]
    found = problems(compose.override_values, saved, overrides)
    assert len(found) == 6
    assert found[:2] == ["no model named 'lsmt'. Did you mean 'lstm'?", "no setting 'a.bb'. Did you mean 'a.b'?"]
    assert all("here only key=value can be used" in problem for problem in found[2:5])
    assert found[5] == "'experiment=sine': cannot be chosen for a config that is composed already"


def test_a_group_of_a_saved_config_is_chosen_anew():
    saved = {"model": {"name": "mlp", "hidden": [3]}, "callbacks": {"checkpoint": {"name": "checkpoint", "mine": 1}}}
    changed = compose.override_values(saved, ["model.hidden=5", "model=lstm", "callbacks=[checkpoint,ema]"])
    assert changed["model"]["name"] == "lstm" and changed["model"]["hidden"] == 5 and "init_from" in changed["model"]
    assert list(changed["callbacks"]) == ["checkpoint", "ema"] and changed["callbacks"]["checkpoint"]["mine"] == 1
    assert compose.override_values(saved, ["~callbacks.checkpoint"])["callbacks"] == {}
    assert problems(compose.override_values, saved, ["~callbacks.chekpoint"]) == [
        "'~callbacks.chekpoint': no callback 'chekpoint'. Did you mean 'checkpoint'?"
    ]
    values = ["optimizer.groups={a.*: {lr: 1e-4}}", "callbacks.checkpoint.mine=2"]
    groups = {"optimizer": {"groups": {"a.*": {"weight_decay": 0}}}, **saved}
    changed = compose.override_values(groups, values)
    assert changed["optimizer"]["groups"] == {"a.*": {"weight_decay": 0, "lr": 1e-4}}


# --- multiruns --------------------------------------------------------------------------------------------


def test_hydras_command_line_leaves_the_arguments_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pytest", "x"])
    quick = ["model=rnn", "trainer.max_steps=1", "callbacks=none", "sweep.workers=1", "sweep.report=false"]
    sweep = multirun.start(["seed=1,2", "data.path=null", "data=korean_text", *quick], [])
    multirun.drive(sweep)
    saved = [yaml.safe_load(path.read_text()) for path in sorted(sweep.trials.glob("*/config.yaml"))]
    assert [config["seed"] for config in saved] == [1, 2]
    import sys

    assert sys.argv == ["pytest", "x"]
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_a_group_of_names_may_bring_names_of_its_own():
    container = compose.compose(["data=csv", "data.columns={zip: category, note: skip}"]).container
    assert container["data"]["columns"] == {"zip": "category", "note": "skip"}


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("data.columns={방 수: category, 동네: skip}", "columns", {"방 수": "category", "동네": "skip"}),
        ("data.target=[가격, 주차]", "target", ["가격", "주차"]),
        ("data.inputs={wide: [방 수], deep: [동네]}", "inputs", {"wide": ["방 수"], "deep": ["동네"]}),
    ],
)
def test_names_in_brackets_may_be_korean_and_have_spaces(override, key, value):
    assert compose.compose(["data=csv", override]).container["data"][key] == value


def test_small_numbers_beside_korean_names_are_numbers():
    overrides = ["data=csv", "loss=cross_entropy", "loss.class_weights={고양이: 1e-1, 개: 2}"]
    assert compose.compose(overrides).container["loss"]["class_weights"] == {"고양이": 0.1, "개": 2}


@pytest.mark.parametrize(
    "groups", ['{"features.*":{lr:1e-4,weight_decay:0}}', "{features.*:{lr:1e-4, weight_decay: 0}}"]
)
def test_colons_need_no_space(groups):
    container = compose.compose([f"optimizer.groups={groups}"]).container
    assert container["optimizer"]["groups"] == {"features.*": {"lr": 1e-4, "weight_decay": 0}}


def test_names_that_a_preset_has_stay_beside_those_that_are_added():
    container = compose.compose(["data=insurance_fraud", "data.columns={나이: number}"]).container
    assert container["data"]["columns"] == {"CUST_ID": "id", "나이": "number"}


def test_a_bracket_that_is_left_open_is_shown_as_it_was_typed():
    with pytest.raises(ConfigError, match=r"^'data\.inputs=\{wide: \[방' cannot be read: "):
        compose.compose(["data=csv", "data.inputs={wide: [방"])


def test_hydras_folder_of_a_run_is_refused_with_ours():
    with pytest.raises(ConfigError, match=r"^hydra\.run\.dir=x: Hydra makes no folder here\. .*: run_dir=x$"):
        compose.compose(["data=iris", "hydra.run.dir=x"])
