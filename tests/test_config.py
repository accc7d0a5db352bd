"""What a config may hold, and the one report of all its mistakes."""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dltrain import config, config_files, registry
from dltrain.config import Limits, SweepSettings, field_names
from dltrain.errors import ConfigError


def whole_config() -> dict[str, Any]:
    """Returns the config of `dltrain` without any override, put together without Hydra."""
    options = {
        "device": "auto",
        "trainer": "default",
        "data": "iris",
        "model": "mlp",
        "loss": "auto",
        "optimizer": "adam",
        "scheduler": "constant",
        "sweep": "grid",
    }
    container = config_files.values(config_files.config_dir() / "train.yaml")
    for group, name in options.items():
        merge(container, config_files.values(config_files.options(group, [])[name]))
    for name in ("early_stopping", "checkpoint"):
        merge(container, config_files.values(config_files.options("callbacks", [])[name]))
    return container


def merge(container: dict[str, Any], values: dict[str, Any]) -> None:
    """Puts nested values into a container, as Hydra does: a data set may set something of the trainer too."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(container.get(key), dict):
            merge(container[key], value)
        else:
            container[key] = value


def put(container: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Sets a dotted key and returns the container."""
    *parents, last = key.split(".")
    group = container
    for parent in parents:
        group = group[parent]
    group[last] = value
    return container


def mistakes(container: dict[str, Any]) -> str:
    before = copy.deepcopy(container)
    with pytest.raises(ConfigError) as caught:
        config.load(container)
    assert container == before  # a check changes nothing
    return str(caught.value)


def there_is(kind: str) -> str:
    return f"There is: {', '.join(registry.names(kind))}."


# --- what is right ----------------------------------------------------------------------------------------


def test_the_yaml_files_together_are_a_config():
    container = whole_config()
    loaded = config.load(container)
    values = dataclasses.asdict(loaded)
    for kind, (field, _) in config.SHARED.items():
        values[kind] |= values.pop(field)
    assert values == container
    assert loaded.data == registry.find("data", "iris").settings(**container["data"])
    assert set(loaded.callbacks) == {"early_stopping", "checkpoint"}


def test_the_config_of_a_run_of_0_1_takes_what_every_component_has_from_the_yaml():
    container = whole_config()
    for kind, (_, settings) in config.SHARED.items():
        for name in config.field_names(settings):
            del container[kind][name]
    assert config.load(container) == config.load(whole_config())


def test_what_every_component_has_is_no_key_of_the_top_level():
    container = whole_config()
    container["penalties"] = {"l1": {}, "l2": {}}
    assert "no setting 'penalties'." in mistakes(container)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("model.freeze", 3, "model.freeze = 3: must be a list, each text."),
        ("loss.l1", {"*.weight": -1}, "loss.l1.*.weight = -1: must be a number at least 0."),
        (
            "optimizer.groups",
            {"*.bias": {"lr": 0}},
            "optimizer.groups.*.bias.lr = 0: must be a number above 0 or null.",
        ),
        (
            "model.init",
            "hee",
            "model.init: no scheme of first weights 'hee'. Did you mean 'he'?",
        ),
        ("model.init", "normal -1", "model.init: 'normal -1': needs a number above 0 after normal"),
        ("model.init", "he 2", "model.init: 'he 2': he takes no number"),
    ],
)
def test_what_every_component_has_is_checked(key, value, text):
    assert mistakes(put(whole_config(), key, value)) == text


def test_a_loaded_config_cannot_be_changed():
    loaded = config.load(whole_config())
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.model.dropout = 0.5


@pytest.mark.parametrize(
    ("key", "value", "becomes", "kind"),
    [
        ("optimizer.lr", 1, 1.0, float),
        ("trainer.batch_size", 64.0, 64, int),
        ("seed", 2**63 - 1, 2**63 - 1, int),
        ("trainer.clip_norm", 5, 5.0, float),
        ("trainer.max_epochs", 3.0, 3, int),
    ],
)
def test_a_number_without_loss_takes_the_type_of_its_setting(key, value, becomes, kind):
    loaded = config.load(put(whole_config(), key, value))
    for name in key.split("."):
        loaded = getattr(loaded, name)
    assert loaded == becomes and type(loaded) is kind


def test_a_callback_that_is_null_is_left_out_and_null_leaves_out_all():
    assert set(config.load(put(whole_config(), "callbacks.checkpoint", None)).callbacks) == {"early_stopping"}
    assert config.load(put(whole_config(), "callbacks", None)).callbacks == {}


def test_every_setting_of_the_fixed_groups_has_a_meaning_and_no_default():
    shared = dict(config.SHARED.values())
    groups = (config.Config, config.DeviceSettings, config.TrainerSettings, config.SweepSettings, *shared.values())
    for field in (field for group in groups for field in dataclasses.fields(group) if field.name not in shared):
        assert field.metadata["meaning"].strip(), field.name
        assert field.default is dataclasses.MISSING, field.name


@pytest.mark.parametrize(
    ("group", "settings"),
    [
        ("device", config.DeviceSettings),
        ("trainer", config.TrainerSettings),
        ("sweep", config.SweepSettings),
    ],
)
def test_every_yaml_file_of_the_fixed_groups_sets_exactly_their_settings(group, settings):
    files = config_files.options(group, [])
    assert files
    for path in files.values():
        shared = config_files.entry_values().get(group, {})
        assert {*config_files.values(path)[group], *shared} == set(config.field_names(settings)), path
        assert config_files.description(path), path


# --- one mistake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("optimizer.lr", -1, "optimizer.lr = -1: must be a number above 0."),
        ("optimizer.lr", 0, "optimizer.lr = 0: must be a number above 0."),
        ("optimizer.lr", "fast", "optimizer.lr = 'fast': must be a number above 0."),
        ("optimizer.lr", True, "optimizer.lr = true: must be a number above 0."),
        ("optimizer.lr", None, "optimizer.lr = null: must be a number above 0."),
        ("optimizer.lr", math.nan, "optimizer.lr = nan: must be finite and a number above 0."),
        ("optimizer.lr", math.inf, "optimizer.lr = inf: must be finite and a number above 0."),
        ("optimizer.lr", [0.1], "optimizer.lr = [0.1]: must be a number above 0."),
        ("model.dropout", 1.0, "model.dropout = 1.0: must be a number at least 0 and below 1."),
        ("trainer.batch_size", 0, "trainer.batch_size = 0: must be a whole number at least 1."),
        ("trainer.batch_size", 2.5, "trainer.batch_size = 2.5: must be a whole number at least 1."),
        ("trainer.max_epochs", 0, "trainer.max_epochs = 0: must be a whole number at least 1 or null."),
        ("trainer.clip_norm", 0.0, "trainer.clip_norm = 0.0: must be a number above 0 or null."),
        ("seed", -1, "seed = -1: must be a whole number at least 0 and at most 9223372036854775807."),
        (
            "seed",
            2**64,
            f"seed = {2**64}: must be a whole number at least 0 and at most 9223372036854775807.",
        ),
        ("optimizer.amsgrad", "yes", "optimizer.amsgrad = 'yes': must be true or false."),
        ("optimizer.amsgrad", 1, "optimizer.amsgrad = 1: must be true or false."),
        (
            "optimizer.betas",
            0.9,
            "optimizer.betas = 0.9: must be a list, each a number at least 0 and below 1.",
        ),
        ("optimizer.betas", [0.9, 1.0], "optimizer.betas[1] = 1.0: must be a number at least 0 and below 1."),
        ("optimizer.betas", [0.9], "optimizer: betas = [0.9]: needs two numbers"),
        ("model.hidden", [8, 0], "model.hidden[1] = 0: must be a whole number at least 1."),
        ("model.hidden", [8, "x"], "model.hidden[1] = 'x': must be a whole number at least 1."),
        (
            "model.norm",
            "bach",
            "model.norm = 'bach': must be one of batch, layer or null. Did you mean 'batch'?",
        ),
        ("data.scaling", 1, "data.scaling = 1: must be one of none, standard, minmax."),
        ("data.split_seed", True, "data.split_seed = true: must be a whole number at least 0."),
        ("device.name", "tpux", "device.name = 'tpux': must be one of auto, cpu, cuda."),
        ("device.name", "cud", "device.name = 'cud': must be one of auto, cpu, cuda. Did you mean 'cuda'?"),
        ("run_dir", 3, "run_dir = 3: must be text or null."),
        ("imports", "my_models", "imports = 'my_models': must be a list, each text."),
        ("imports", None, "imports = null: must be a list, each text."),
        ("device", "cpu", "device = 'cpu': must be a group of settings (name, threads, precision)"),
        (
            "callbacks",
            ["progress"],
            f"callbacks = ['progress']: must be a group of callbacks. {there_is('callbacks')}",
        ),
        (
            "data.validation_fraction",
            0.9,
            "data: validation_fraction and test_fraction together must leave samples to train on",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_shown_with_what_is_allowed(key, value, text):
    assert mistakes(put(whole_config(), key, value)) == text


def test_nesterov_without_momentum_is_refused():
    container = whole_config()
    container["optimizer"] = config_files.values(config_files.options("optimizer", [])["sgd"])["optimizer"]
    text = mistakes(put(container, "optimizer.nesterov", True))
    assert text == "optimizer: nesterov=true needs momentum above 0"


def test_a_number_beyond_all_floats_is_a_mistake_and_no_crash():
    text = mistakes(put(whole_config(), "trainer.batch_size", 10**400))
    assert text.startswith("trainer.batch_size = 1000") and text.endswith("...: must be a whole number at least 1.")


def test_a_long_value_is_shortened():
    text = mistakes(put(whole_config(), "optimizer.lr", "x" * 1000))
    assert text == f"optimizer.lr = '{'x' * 56}...: must be a number above 0."


def test_a_training_without_an_end_is_refused():
    text = mistakes(put(whole_config(), "trainer.max_epochs", None))
    assert text == "trainer.max_epochs and trainer.max_steps are both null: give one, or training never ends"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("seed", "seed: no value. Set seed=..., or give it in the YAML file"),
        ("model.hidden", "model.hidden: no value. Set model.hidden=..., or give it in the YAML file"),
        (
            "trainer.accumulate",
            "trainer.accumulate: no value. Set trainer.accumulate=..., or give it in the YAML file",
        ),
        (
            "callbacks.checkpoint.keep_last",
            "callbacks.checkpoint.keep_last: no value. Set callbacks.checkpoint.keep_last=..., "
            "or give it in the YAML file",
        ),
    ],
)
def test_a_setting_without_a_value_is_named(key, text):
    container = whole_config()
    *parents, last = key.split(".")
    group = container
    for parent in parents:
        group = group[parent]
    del group[last]
    assert mistakes(container) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("optimizr", "no setting 'optimizr'. Did you mean 'optimizer'?"),
        ("optimizer.lrr", "no setting 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
        ("model.hiden", "no setting 'model.hiden'. Did you mean 'model.hidden'?"),
        (
            "callbacks.checkpoint.keep_lst",
            "no setting 'callbacks.checkpoint.keep_lst'. Did you mean 'callbacks.checkpoint.keep_last'?",
        ),
        (
            "sweep.zzzzzzzzzzzzzz",
            f"no setting 'sweep.zzzzzzzzzzzzzz'. sweep has: {', '.join(field_names(SweepSettings))}.",
        ),
        (
            "model._target_",
            "model._target_: is refused. A config names registered components (name: ...), never code",
        ),
    ],
)
def test_an_unknown_setting_gets_the_nearest_or_those_beside_it(key, text):
    assert mistakes(put(whole_config(), key, 1)) == text


@pytest.mark.parametrize(
    ("group", "value", "text"),
    [
        ("model", {"name": "lsmt"}, "model.name = 'lsmt': no model named 'lsmt'. Did you mean 'lstm'?"),
        ("loss", {}, f"loss = {{}}: needs a name. {there_is('loss')}"),
        ("loss", {"name": 3}, f"loss = {{'name': 3}}: needs a name. {there_is('loss')}"),
        ("scheduler", "cosine", f"scheduler = 'cosine': needs a name. {there_is('scheduler')}"),
        ("scheduler", None, f"scheduler = null: needs a name. {there_is('scheduler')}"),
    ],
)
def test_a_component_needs_a_registered_name(group, value, text):
    assert mistakes(put(whole_config(), group, value)) == text


def test_an_unknown_callback_is_named_with_its_place():
    container = put(whole_config(), "callbacks.mine", {"name": "progres"})
    assert mistakes(container) == (
        "callbacks.mine.name = 'progres': no callbacks named 'progres'. Did you mean 'progress'?"
    )


# --- several mistakes -------------------------------------------------------------------------------------


def test_all_mistakes_are_reported_at_once():
    container = whole_config()
    put(container, "optimizer.lr", -1)
    put(container, "optimizer.betta", [0.9])
    put(container, "trainer.batch_size", "many")
    put(container, "model", {"name": "mpl"})
    put(container, "sed", 1)
    del container["data"]["scaling"]
    assert mistakes(container) == (
        "6 mistakes in the config:\n"
        "  1. trainer.batch_size = 'many': must be a whole number at least 1.\n"
        "  2. data.scaling: no value. Set data.scaling=..., or give it in the YAML file\n"
        "  3. model.name = 'mpl': no model named 'mpl'. Did you mean 'mlp'?\n"
        "  4. optimizer.lr = -1: must be a number above 0.\n"
        "  5. no setting 'optimizer.betta'. Did you mean 'optimizer.betas'?\n"
        "  6. no setting 'sed'. Did you mean 'seed'?"
    )


def test_a_wrong_value_is_reported_once_where_settings_are_compared():
    # __post_init__ compares settings of which one could not be converted: no crash, and no second report.
    container = put(whole_config(), "data.validation_fraction", "half")
    assert mistakes(container) == "data.validation_fraction = 'half': must be a number at least 0 and below 1."


# --- modules of one's own ---------------------------------------------------------------------------------


@pytest.fixture
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def test_a_module_is_imported_from_the_working_directory_and_from_a_search_path(working_directory):
    (working_directory / "own_here.py").write_text("VALUE = 1\n")
    (working_directory / "configs").mkdir()
    (working_directory / "configs" / "own_there.py").write_text("VALUE = 2\n")
    container = put(whole_config(), "imports", ["own_here", "own_there"])
    config.load(container, (working_directory / "configs",))
    assert (sys.modules["own_here"].VALUE, sys.modules["own_there"].VALUE) == (1, 2)


def test_a_module_that_is_not_there_is_reported_with_the_places(working_directory):
    folder = working_directory / "configs"
    container = put(whole_config(), "imports", ["own_missing", "own_missing.part"])
    with pytest.raises(ConfigError) as caught:
        config.load(container, (folder,))
    remedy = "--config-dir DIR looks in DIR too, as config_dir=DIR does in Python"
    places = f"in {working_directory}, {folder} or in the installed packages. {remedy}"
    assert str(caught.value) == (
        "2 mistakes in the config:\n"
        f"  1. imports: no module 'own_missing' {places}\n"
        f"  2. imports: no module 'own_missing.part' {places}"
    )


def test_a_file_in_place_of_a_module_is_told_the_module(working_directory):
    (working_directory / "own_file.py").touch()
    assert mistakes(put(whole_config(), "imports", ["configs/own_file.py"])) == (
        f"imports: no module 'configs/own_file.py' in {working_directory} or in the installed packages. A module is "
        "named without folder and .py: imports=[own_file]; --config-dir DIR looks in DIR too, as config_dir=DIR does "
        "in Python"
    )


def test_a_missing_part_of_a_package_that_is_there_is_no_missing_dependency(working_directory):
    (working_directory / "own_package").mkdir()
    (working_directory / "own_package" / "__init__.py").touch()
    text = mistakes(put(whole_config(), "imports", ["own_package.models"]))
    assert text == (
        f"imports: no module 'own_package.models' in {working_directory} or in the installed packages. "
        "--config-dir DIR looks in DIR too, as config_dir=DIR does in Python"
    )


def test_what_a_module_itself_lacks_is_named(working_directory):
    (working_directory / "own_needy.py").write_text("import own_dependency\n")
    text = mistakes(put(whole_config(), "imports", ["own_needy"]))
    assert text == "imports: module 'own_needy' needs 'own_dependency', which is not installed"


def test_a_module_that_fails_is_reported_with_its_line(working_directory):
    path = working_directory / "own_broken.py"
    path.write_text("value = 1\nvalue / 0\n")
    text = mistakes(put(whole_config(), "imports", ["own_broken"]))
    assert text == f"imports: module 'own_broken' failed: ZeroDivisionError: division by zero ({path}:2)"


# --- the parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(), ""),
        (Limits(min=1), "at least 1"),
        (Limits(above=0, max=1), "above 0 and at most 1"),
        (Limits(min=0, below=0.5), "at least 0 and below 0.5"),
        (Limits(choices=("a", "b")), "one of a, b"),
    ],
)
def test_limits_say_what_they_allow(limits, text):
    assert str(limits) == text


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_limits_allow_their_ends_only_where_they_say_so(low, high, value):
    assert Limits(min=low, max=high).allow(value) == (low <= value <= high)
    assert Limits(above=low, below=high).allow(value) == (low < value < high)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (bool, "true or false"),
        (list[str], "a list, each text"),
        (dict[str, Any], "a group of names and values"),
        (Literal["a", "b"], "one of a, b"),
    ],
)
def test_a_type_is_described_in_words(kind, text):
    assert config.described(kind) == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_any_value_is_converted_or_reported_never_both(value):
    for kind in (int, float, bool, str, int | None, list[float], list[int] | None, Literal["a"]):
        problems: list[str] = []
        result = config.convert(value, kind, "key", problems, Limits())
        assert not problems or all(problem.startswith("key") for problem in problems)
        if not problems and not isinstance(value, list):
            assert result == value


def test_the_known_keys_are_those_of_the_chosen_components():
    known = dict(config.known_keys(whole_config()))
    assert {
        "seed",
        "trainer.batch_size",
        "device.threads",
        "model.hidden",
        "optimizer.betas",
        "sweep.name",
        "sweep.trials",
        "sweep.seed",
        "sweep.space",
        "sweep.metric",
    } <= set(known)
    assert "callbacks.checkpoint.keep_last" in known
    assert "model.embedding" not in known  # of another model
    assert all(described.meaning for described in known.values())
