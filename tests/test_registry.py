"""What is registered has its YAML file, and what is not is refused with the nearest name."""

from __future__ import annotations

import dataclasses
import sys
import types

import pytest

import dltrain.schedulers.curves
from dltrain import config, config_files, registry
from dltrain.config import setting
from dltrain.errors import ConfigError

# The callbacks' `default` and `none` are lists of callbacks, no components.
LISTS = {"callbacks": {"default", "none"}}
COMPONENTS = [(kind, name) for kind in registry.BUILT_IN for name in registry.names(kind)]


@dataclasses.dataclass(frozen=True)
class PlainSettings:
    name: str = setting("Name of the component.")


@pytest.fixture
def own_module(monkeypatch):
    """A user's module, and a registry that forgets afterwards what the test registers."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    module = types.ModuleType("my_components")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def function(name: str):
        def built(settings, **runtime):
            return name, settings, runtime

        built.__module__ = module.__name__
        return built

    return function


@pytest.mark.parametrize("kind", registry.BUILT_IN)
def test_the_components_and_the_yaml_files_are_the_same_names(kind):
    files = set(config_files.options(kind, [])) - LISTS.get(kind, set())
    assert files == set(registry.names(kind))


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_the_yaml_file_sets_exactly_the_settings_and_says_what_it_is(kind, name):
    path = config_files.options(kind, [])[name]
    values = config_files.values(path)[kind]
    values = values[name] if kind == "callbacks" else values
    assert set(values) == set(config.field_names(registry.find(kind, name).settings))
    assert values["name"] == name
    assert config_files.description(path)


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_the_yaml_file_passes_the_checks_of_its_settings(kind, name, settings_of):
    assert settings_of(kind, name).name == name


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_setting_has_a_meaning_and_no_default(kind, name):
    settings = registry.find(kind, name).settings
    assert settings.__dataclass_params__.frozen
    for field in dataclasses.fields(settings):
        assert field.metadata["meaning"].strip(), field.name
        # A default here would be a second place that states a value.
        assert field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING, field.name


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_is_described_in_the_code(kind, name):
    entry = registry.find(kind, name)
    assert entry.kind == kind and entry.name == name
    assert entry.factory.__doc__ or name == "auto"


def test_names_are_sorted():
    assert registry.names("optimizer") == sorted(registry.names("optimizer"))


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(ConfigError, match=r"^no model named 'lsmt'\. Did you mean 'lstm'\?$"):
        registry.find("model", "lsmt")


def test_an_unknown_name_near_none_gives_all_names():
    with pytest.raises(ConfigError) as caught:
        registry.find("optimizer", "zzz")
    names = ", ".join(registry.names("optimizer"))
    assert str(caught.value) == f"no optimizer named 'zzz'. There is: {names}."


def test_a_component_of_ones_own_is_found_and_built(own_module):
    registry.register("optimizer", "mine", PlainSettings)(own_module("mine"))
    assert "mine" in registry.names("optimizer")
    assert "sgd" in registry.names("optimizer")
    built = registry.build("optimizer", PlainSettings(name="mine"), parameters=3)
    assert built == ("mine", PlainSettings(name="mine"), {"parameters": 3})


def test_a_component_registered_again_by_its_own_module_is_replaced(own_module):
    for name in ("first", "second"):
        registry.register("optimizer", "mine", PlainSettings)(own_module(name))
    assert registry.build("optimizer", PlainSettings(name="mine"))[0] == "second"


def test_a_name_that_is_taken_is_refused(own_module):
    with pytest.raises(ValueError, match=r"^model/mlp is registered by dltrain\.models\.mlp already$"):
        registry.register("model", "mlp", PlainSettings)(own_module("mlp"))


def test_a_taken_name_is_the_users_mistake_even_before_ours_are_loaded(own_module, monkeypatch):
    # As when `imports` loads a user's module first thing: the built-in components must not fail later instead.
    monkeypatch.setattr(registry, "_loaded", set())
    registry._entries.pop(("scheduler", "cosine"))
    curves = dltrain.schedulers.curves
    monkeypatch.setattr(dltrain.schedulers, "curves", curves)  # put back what the second import replaces
    monkeypatch.delitem(sys.modules, curves.__name__)
    with pytest.raises(ValueError, match=r"^scheduler/cosine is registered by dltrain\.schedulers\.curves already$"):
        registry.register("scheduler", "cosine", PlainSettings)(own_module("cosine"))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"^no kind of component 'modl'\. Did you mean 'model'\?$"):
        registry.register("modl", "mine", PlainSettings)


def test_settings_that_are_no_dataclass_are_refused():
    with pytest.raises(ValueError, match=r"^model/mine: dict must be a dataclass$"):
        registry.register("model", "mine", dict)
