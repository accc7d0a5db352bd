"""A config that is derived from a composed one is the config that composing would give, to the last byte."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dltrain import compose
from dltrain.derivation import Template
from dltrain.errors import ConfigError
from dltrain.run import dump_yaml

FIXED = ["data=csv", "data.target=가격", "~callbacks.tensorboard", "trainer.batch_size=16"]


def composed(overrides: list[str], values: dict[str, str], folders: list[Path]) -> str:
    return dump_yaml(
        compose.compose([*overrides, *(f"{key}={text}" for key, text in values.items())], folders).container
    )


TEMPLATE = Template(FIXED, [])

VALUES = {
    "numbers, one of them in quotes": {"optimizer.lr": "3e-4", "trainer.max_epochs": "7", "data.target": "'1'"},
    "a list, booleans and Korean text": {
        "model.hidden": "[30,20]",
        "trainer.auto_batch_size": "true",
        "data.header": "False",
        "data.path": "한글 (최종).csv",
        "data.target": "'방 수'",
    },
    "an empty list, null and nothing at all": {
        "model.hidden": "[]",
        "callbacks.early_stopping.patience": "null",
        "data.path": "",
    },
    "a setting of a callback, and one that is fixed as well": {
        "callbacks.checkpoint.monitor": "val/accuracy",
        "trainer.batch_size": "5",
    },
    "an option": {"optimizer": "sgd"},
    "an option that others follow": {"device": "cpu", "device.threads": "1"},
    "an option and a setting of its own": {"optimizer": "sgd", "optimizer.momentum": "0.9"},
    "the same, the setting first": {"optimizer.momentum": "0.9", "optimizer": "sgd"},
    "several options of a group": {"callbacks": "[default,ema]", "callbacks.ema.decay": "0.5"},
    "a group that Hydra can read": {"data.columns": "{zip: skip, year: number}"},
    "a group that Hydra cannot read": {"data.columns": "{방수: skip, 동 네: category}"},
    "a list that Hydra cannot read": {"data.target": "[가격, 주 차]"},
    "a group of groups": {"optimizer.groups": "{layers.*:{lr:1e-4}}"},
    "a place in a list": {"data.empty_words.0": "없음"},
    "an interpolation": {"trainer.evaluation_batch_size": "${trainer.batch_size}", "trainer.batch_size": "9"},
    "a new key": {"+optimizer.mine": "1"},
    "nothing that is swept": {},
}


@pytest.mark.parametrize("kind", VALUES)
def test_it_is_what_composing_gives_and_not_composed_anew(kind, monkeypatch):
    expected = composed(FIXED, VALUES[kind], [])
    monkeypatch.setattr(compose, "compose", lambda *_: pytest.fail("it was composed, and not derived"))
    assert dump_yaml(TEMPLATE.with_values(VALUES[kind])) == expected


def test_one_does_not_change_the_next():
    before = dump_yaml(TEMPLATE.with_values({}))
    changed = TEMPLATE.with_values({"model.hidden": "[1]", "data.columns": "{방수: skip}", "data.target": "other"})
    changed["model"]["hidden"].append(2)
    changed["callbacks"].clear()
    assert dump_yaml(TEMPLATE.with_values({})) == before
    assert TEMPLATE.with_values({"data.columns": "{동네: id}"})["data"]["columns"] == {"동네": "id"}


def test_groups_that_are_fixed_stay_beside_those_that_are_swept():
    fixed, values = ["data=csv", "data.columns={방수: skip, 동네: number}"], {"data.columns": "{동네: category}"}
    container = Template(fixed, []).with_values(values)
    assert dump_yaml(container) == composed(fixed, values, [])
    assert container["data"]["columns"] == {"방수": "skip", "동네": "category"}


@pytest.fixture
def mine(work) -> Path:
    """A folder of YAML files of the user's, whose model is as wide as a batch is large."""
    for name, text in {
        "fed": 'name: mlp\nhidden: ["${trainer.batch_size}", "${seed}"]\nnorm: ${optimizer.name}\n',
        "lost": 'name: mlp\nhidden: ["${trainer.batchsize}"]\n',
        "endless": "name: mlp\nhidden: ${model.norm}\nnorm: ${model.hidden}\n",
        "broken": "name: mlp\nhidden: [\n",
        "tabbed": "name: mlp\n\thidden: [3]\n",
        "list": "- 1\n- 2\n",
    }.items():
        path = work / "mine" / "model" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# A model\n{text}", encoding="utf-8")
    (work / "mine" / "model" / "latin.yaml").write_bytes("name: mlp # Größe\n".encode("latin-1"))
    return work / "mine"


def test_an_interpolation_of_a_yaml_file_follows_what_is_swept(mine):
    template = Template(["model=fed"], [mine])
    for values in ({"trainer.batch_size": "8", "seed": "3"}, {"trainer.batch_size": "7", "optimizer": "sgd"}):
        assert dump_yaml(template.with_values(values)) == composed(["model=fed"], values, [mine])
    model = template.with_values({"trainer.batch_size": "8", "seed": "3"})["model"]
    assert (model["hidden"], model["norm"]) == ([8, 3], "adam")
    assert template.with_values({"model.hidden": "[1]"})["model"]["hidden"] == [1]


def test_a_variable_of_the_environment_is_not_written_down(monkeypatch):
    monkeypatch.setenv("DLTRAIN_TEST_PATH", "secret.csv")
    values = {"data.path": "${oc.env:DLTRAIN_TEST_PATH}"}
    assert TEMPLATE.with_values(values)["data"]["path"] == values["data.path"]


# --- mistakes ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def each_is_composed_once():
    """What is derived and what is composed come to the same mistake by composing the same, which takes long."""
    real, known = compose.compose, {}

    def once(overrides, config_dirs=None, root=None):
        key = (*overrides, *(config_dirs or []), root)
        if key not in known:
            try:
                known[key] = real(overrides, config_dirs, root)
            except ConfigError as error:
                known[key] = error
        if isinstance(known[key], ConfigError):
            raise known[key]
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "compose", once)
        yield


def message_of(function, *arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        function(*arguments)
    return str(caught.value)


MISTAKES = {
    "a setting of another option": {"optimizer.momentum": "0.9"},
    "several mistakes": {"optimizer.lrr": "0.1", "model": "lsmt", "trainer.batchsize": "3", "modle": "mlp"},
    "a callback that was removed": {"callbacks.tensorboard.graph": "false"},
    "a bracket that is left open": {"model.hidden": "[3"},
    "several values": {"optimizer.lr": "0.1,0.2"},
    "no value": {"model.hidden": "???"},
    "a variable that is not set": {"data.path": "${oc.env:DLTRAIN_TEST_NOT_SET}"},
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_told_as_composing_tells_it(kind):
    with each_is_composed_once():
        assert message_of(TEMPLATE.with_values, MISTAKES[kind]) == message_of(composed, FIXED, MISTAKES[kind], [])


@pytest.mark.parametrize("model", ["lost", "endless", "broken", "tabbed", "list", "latin"])
def test_a_mistake_in_a_yaml_file_is_told_as_composing_tells_it(model, mine, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CONFIG_PATH", str(mine))  # latin.yaml is looked for there
    values = {"model": model, "seed": "1"}
    with each_is_composed_once():
        assert message_of(Template([], []).with_values, values) == message_of(composed, [], values, [])


# --- any values -------------------------------------------------------------------------------------------

WORDS = st.text(st.sampled_from("가나 ab1.:,-=[]{}()'\"\\$#~%"), max_size=6)
ANY = st.one_of(
    st.integers(-3, 10**9).map(str),
    st.floats(allow_nan=False).map(repr),
    st.lists(st.integers(0, 99), max_size=3).map(str),
    st.dictionaries(st.sampled_from(["a", "가", "b c"]), st.sampled_from(["skip", "1", "null"]), max_size=2).map(
        lambda group: "{" + ", ".join(f"{name}: {value}" for name, value in group.items()) + "}"
    ),
    st.sampled_from(["null", "true", "False", "''", "'가 나'", "inf", "1_000", "010", "${seed}", "yes", "0x1f"]),
    WORDS,
)


KEYS = ["seed", "data.path", "data.columns", "model.hidden"]


@hypothesis_settings(max_examples=5)
@given(values=st.dictionaries(st.sampled_from(KEYS), ANY, min_size=2))
def test_any_values_give_what_composing_gives(values):
    def result(function, *arguments) -> str:
        try:
            found = function(*arguments)
        except ConfigError as error:
            return f"a mistake: {error}"
        return found if isinstance(found, str) else dump_yaml(found)

    with each_is_composed_once():
        assert result(TEMPLATE.with_values, values) == result(composed, FIXED, values, [])
