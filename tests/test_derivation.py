"""A config that is derived from a composed one is the config that composing would give, to the last byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dltrain import compose, config_files, derivation, hydra_config
from dltrain.errors import ConfigError
from dltrain.overrides import quote
from dltrain.run import dump_yaml

FIXED = ["data=csv", "data.target=가격", "~callbacks.tensorboard", "trainer.batch_size=16"]


def by_hydra(overrides: list[str], folders: list[Path] | None = None) -> str:
    """Returns what Hydra composes of overrides, nothing derived."""

    def refuse(*_):
        raise KeyError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "derive", refuse)
        return dump_yaml(compose.compose(overrides, folders).container)


def derived(overrides: list[str], folders: list[Path] | None = None) -> str:
    return dump_yaml(compose.compose(overrides, folders).container)


def words(values: dict[str, str]) -> list[str]:
    return [f"{key}={text}" for key, text in values.items()]


def refused(overrides: list[str], folders: list[Path] | None = None) -> None:
    """Sees that overrides with a mistake are not derived: what is told of it is found where Hydra composes."""
    with hydra_config.searching(folders or []), pytest.raises((KeyError, *compose._UNUSABLE)):
        derivation.derive([quote(override) for override in overrides])


def message_of(function, *arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.fixture
def composings(monkeypatch) -> list[list[str]]:
    """What Hydra is asked to compose, with nothing composed before."""
    real, asked = hydra_config.unresolved, []

    def noted(overrides, root=None):
        asked.append(overrides)
        return real(overrides, root)

    for module in (hydra_config, compose):
        monkeypatch.setattr(module, "unresolved", noted)
    monkeypatch.setattr(derivation, "_kept", {})
    return asked


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
def test_it_is_what_composing_gives_and_not_composed_anew(kind, composings):
    overrides = [*FIXED, *words(VALUES[kind])]
    assert derived(overrides) == by_hydra(overrides)
    composings.clear()
    derived(overrides)
    assert composings == []


def test_values_of_single_settings_are_not_composed(composings):
    for overrides in ([], ["optimizer.lr=1"], ["optimizer.lr=2", "seed=3"], ["data.columns={zip: skip}"]):
        compose.compose(["data=csv", *overrides, "~callbacks.tensorboard"])
    assert composings == [["data=csv", "~callbacks.tensorboard"]]


ORDERS = {
    "the last of two values": ["trainer.batch_size=1", "trainer.batch_size=2"],
    "names on names": ["data.columns={zip: skip}", "data.columns={zip: category, year: number}"],
    "a name, and then names": ["data.columns={zip: skip}", "data.columns.zip=id", "++data.columns={zip: category}"],
    "names, and then a name": ["data.columns={zip: skip}", "data.columns.zip=id"],
    "set, and others removed": ["optimizer.lr=1", "trainer.max_epochs=3", "~callbacks.tensorboard"],
    "set below, all of it set, and added": [
        "callbacks.early_stopping.patience=3",
        "callbacks.early_stopping={patience: 4}",
        "+callbacks.early_stopping.mine=1",
    ],
    "set in a list, and the list forced": ["model.hidden.0=3", "++model.hidden=[4,5]", "model.hidden.1=6"],
    "set, and removed": ["callbacks.tensorboard.graph=false", "~callbacks.tensorboard"],
    "added, and set": ["+optimizer.mine=1", "optimizer.mine=2"],
    "forced, and set": ["++optimizer.lr=1", "optimizer.lr=2"],
    "set, and forced": ["optimizer.lr=2", "++optimizer.lr=1"],
    "set, and an option chosen": ["optimizer.nesterov=true", "optimizer=sgd"],
    "an option twice": ["optimizer=sgd", "optimizer=rmsprop"],
    "an experiment, and what differs": ["experiment=iris_softmax", "optimizer.lr=0.5", "model=mlp", "~model.init"],
    "a setting of Hydra's": ["hydra.job.name=mine", "seed=2"],
    "a package of Hydra's": ["optimizer.lr=3", "+model@extra=mlp"],
}


@pytest.mark.parametrize("kind", ORDERS)
def test_overrides_hold_in_their_order(kind):
    overrides = ["data=csv", *ORDERS[kind]]
    assert derived(overrides) == by_hydra(overrides)


WRONG_ORDERS = {
    "removed, and set": ["~callbacks.tensorboard", "callbacks.tensorboard.graph=false"],
    "set, and added": ["optimizer.mine=2", "+optimizer.mine=1"],
    "a package of a setting": ["seed@x=3"],
    "an empty package of a setting": ["optimizer.lr@=1"],
    "no key": ["=3"],
    "removed twice": ["~callbacks.tensorboard", "~callbacks.tensorboard"],
}


@pytest.mark.parametrize("kind", WRONG_ORDERS)
def test_a_wrong_order_is_left_to_hydra(kind):
    refused(["data=csv", *WRONG_ORDERS[kind]])


def test_one_does_not_change_the_next():
    before = derived(FIXED)
    overrides = [*FIXED, "model.hidden=[1]", "data.columns={방수: skip}", "optimizer.groups={a: {lr: 1}}"]
    changed = compose.compose(overrides)
    changed.container["model"]["hidden"].append(2)
    changed.container["optimizer"]["groups"]["a"]["lr"] = 2
    changed.container["callbacks"].clear()
    changed.choices.clear()
    assert derived(FIXED) == before
    assert derived(overrides) == by_hydra(overrides)
    assert compose.compose(FIXED).choices["data"] == "csv"
    assert compose.compose([*FIXED, "data.columns={동네: id}"]).container["data"]["columns"] == {"동네": "id"}


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
    for values in ({"trainer.batch_size": "8", "seed": "3"}, {"trainer.batch_size": "7", "optimizer": "sgd"}):
        overrides = ["model=fed", *words(values)]
        assert derived(overrides, [mine]) == by_hydra(overrides, [mine])
    model = compose.compose(["model=fed", "trainer.batch_size=8", "seed=3"], [mine]).container["model"]
    assert (model["hidden"], model["norm"]) == ([8, 3], "adam")
    model = compose.compose(["model=fed", "trainer.batch_size=8", "model.hidden=[1]"], [mine]).container["model"]
    assert model["hidden"] == [1]


def test_a_variable_of_the_environment_is_not_written_down(monkeypatch):
    monkeypatch.setenv("DLTRAIN_TEST_PATH", "secret.csv")
    value = "${oc.env:DLTRAIN_TEST_PATH}"
    assert compose.compose([*FIXED, f"data.path={value}"]).container["data"]["path"] == value


# --- YAML files that change -------------------------------------------------------------------------------


def hidden(*arguments) -> object:
    return compose.compose(*arguments).container["model"]["hidden"]


def test_a_yaml_file_that_is_changed_is_read_again(mine):
    path = mine / "model" / "own.yaml"
    path.write_text("name: mlp\nhidden: [1]\n")
    assert hidden(["model=own"], [mine]) == [1]
    status = path.stat()
    path.write_text("name: mlp\nhidden: [2]\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as some editors and archives do
    assert hidden(["model=own"], [mine]) == [2]
    entry = (config_files.config_dir() / "train.yaml").read_text(encoding="utf-8")
    (mine / "train.yaml").write_text(entry.replace("\nseed: 0", "\nseed: 3"), encoding="utf-8")
    assert compose.compose([], [mine]).container["seed"] == 3


def test_a_file_that_a_yaml_file_names_is_read_again(mine):
    """Wherever it lies below the folder, and where the folder leads to by a link."""
    elsewhere = mine.parent / "elsewhere"
    elsewhere.mkdir()
    (mine / "shared").symlink_to(elsewhere)
    (mine / "model" / "own.yaml").write_text("defaults: [/shared/widths@_here_]\nname: mlp\n")
    for width in (1, 2):
        (elsewhere / "widths.yaml").write_text(f"hidden: [{width}]\n")
        assert hidden(["model=own"], [mine]) == [width]


def test_a_file_outside_that_a_yaml_file_names_is_read_again(mine):
    (mine / "model" / "own.yaml").write_text("defaults: [mlp, /../widths@_here_, _self_]\n")
    for width in (1, 2):
        (mine.parent / "widths.yaml").write_text(f"hidden: [{width}]\n")
        # An option is looked for from the folder of its group on.
        (mine.parent / "beside.yaml").write_text(f"name: mlp\nhidden: [{width}]\n")
        assert hidden(["model=../../beside"], [mine]) == [width]
        assert hidden(["model=own"], [mine]) == [width]


def test_an_option_that_the_environment_names_is_looked_up_again(monkeypatch):
    for name in ("mlp", "linear"):
        monkeypatch.setenv("DLTRAIN_TEST_MODEL", name)
        assert compose.compose(["model=${oc.env:DLTRAIN_TEST_MODEL}"]).container["model"]["name"] == name


def test_a_group_of_the_users_own_is_no_setting(mine):
    entry = (config_files.config_dir() / "train.yaml").read_text(encoding="utf-8")
    (mine / "train.yaml").write_text(entry.replace("defaults:\n", "defaults:\n  - mygroup: a\n"), encoding="utf-8")
    (mine / "mygroup").mkdir()
    for number, name in enumerate("ab"):
        (mine / "mygroup" / f"{name}.yaml").write_text(f"x: {number}\n")
    for name in "ab":
        overrides = [f"mygroup={name}", "seed=3"]
        assert derived(overrides, [mine]) == by_hydra(overrides, [mine])
    assert compose.compose(["mygroup=b"], [mine]).container["mygroup"] == {"x": 1}
    refused(["mygroup=nope"], [mine])


def test_many_or_large_files_are_left_to_hydra(mine, composings, monkeypatch):
    (mine / "labels").mkdir()
    for number in range(3):
        (mine / "labels" / f"{number}.yaml").write_text("a: 1\n")
    for name, value in (("_MOST_FILES", 2), ("_LARGEST", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(derivation, name, value)
            composings.clear()
            assert hidden(["model=fed"], [mine]) == hidden(["model=fed"], [mine]) == [32, 0]
            assert composings == [["model=fed"]] * 2


def test_folders_that_a_yaml_file_names_are_searched_anew(mine):
    elsewhere = mine.parent / "elsewhere"
    (elsewhere / "model").mkdir(parents=True)
    entry = (config_files.config_dir() / "train.yaml").read_text(encoding="utf-8")
    (mine / "train.yaml").write_text(f"{entry}\nhydra: {{searchpath: ['file://{elsewhere}']}}\n", encoding="utf-8")
    for width in (1, 2):
        (elsewhere / "model" / "own.yaml").write_text(f"name: mlp\nhidden: [{width}]\n")
        assert hidden(["model=own"], [mine]) == [width]


def test_a_folder_that_is_too_large_to_look_at_is_left_to_hydra(mine, composings):
    for number in range(derivation._MOST_FOLDERS):
        (mine / str(number)).mkdir()
    for _ in range(2):
        assert hidden(["model=fed"], [mine]) == [32, 0]
    assert composings.count(["model=fed"]) == 2


def test_a_copy_of_the_files_counts_as_the_files(tmp_path, composings):
    shutil.copytree(config_files.config_dir(), tmp_path / "copy")
    assert derived(["data=iris"]) == dump_yaml(compose.compose(["data=iris"], root=tmp_path / "copy").container)
    assert len(composings) == 1
    path = tmp_path / "copy" / "optimizer" / "adam.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("lr: ", "lr: 1"), encoding="utf-8")
    assert derived(["data=iris"]) != dump_yaml(compose.compose(["data=iris"], root=tmp_path / "copy").container)


def test_what_was_not_asked_for_of_late_is_forgotten(composings, monkeypatch):
    monkeypatch.setattr(derivation, "_MOST_KEPT", 2)
    for data in ("iris", "csv", "iris", "digits", "iris", "csv"):
        compose.compose([f"data={data}"])
    assert composings == [["data=iris"], ["data=csv"], ["data=digits"], ["data=csv"]]


# --- mistakes ---------------------------------------------------------------------------------------------


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
def test_a_mistake_is_left_to_hydra(kind):
    refused([*FIXED, *words(MISTAKES[kind])])


@pytest.mark.parametrize("model", ["lost", "endless", "broken", "tabbed", "list", "latin"])
def test_a_mistake_in_a_yaml_file_is_left_to_hydra(model, mine):
    refused([f"model={model}", "seed=1"], [mine])


def test_a_mistake_is_told_as_composing_tells_it():
    overrides = [*FIXED, *words(MISTAKES["several mistakes"])]
    assert message_of(derived, overrides) == message_of(by_hydra, overrides)


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
@given(overrides=st.lists(st.tuples(st.sampled_from(KEYS), ANY).map("=".join), min_size=2, max_size=5))
def test_any_values_give_what_composing_gives(overrides):
    def result(function) -> str:
        try:
            return function([*FIXED, *overrides])
        except ConfigError as error:
            return f"a mistake: {error}"

    assert result(derived) == result(by_hydra)
