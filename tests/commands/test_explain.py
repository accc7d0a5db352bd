"""Each setting can be explained, and the file that is named really sets it."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import yaml

from dltrain import compose, config, config_files
from dltrain.commands import explain, train

# Every option of every group in as few configs as there are options of the largest group.
LISTED = {group: list(config_files.options(group, [])) for group in config_files.GROUPS if group != "experiment"}
MIXES = [
    [f"{group}={names[number % len(names)]}" for group, names in LISTED.items()]
    for number in range(max(map(len, LISTED.values())))
]
# An experiment fits the data and the model that it chooses, and no others.
EXPERIMENTS = [[f"experiment={name}"] for name in config_files.options("experiment", [])]


@pytest.fixture(autouse=True, scope="module")
def files_are_read_once():
    """The YAML files are the same in all tests of this module, and reading them takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_files, "values", functools.cache(config_files.values))
        yield


def explained(overrides):
    """Returns each key of the composed config with (setting, value, origin)."""
    arguments = train.parse(list(overrides))
    composed = compose.compose(arguments.overrides)
    known = dict(config.known_keys(composed.container))
    values = config_files.flatten(composed.container)
    files = explain._chosen_keys(composed.choices)
    return {
        key: (known[key], value, explain._origin(key, files, arguments))
        for key, value in values.items()
        if key in known  # an empty group is no setting
    }, values


def holds(path: Path, key: str, value: object) -> bool:
    """Tells whether a YAML file, read without our own code but for its package line, sets a key to a value."""
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text) or {}
    package = re.search(r"^# @package (\S+)$", text, re.MULTILINE)
    prefix = package[1] if package else ("_global_" if path.stem == "train" else path.parent.name)
    parts = key.split(".")
    if prefix != "_global_":
        length = prefix.count(".") + 1
        if parts[:length] != prefix.split("."):
            return False
        parts = parts[length:]
    return leads_to(content, ".".join(parts), value)


def leads_to(content: object, key: str, value: object) -> bool:
    """Follows a dotted key; a pattern of parameter names is a key with dots of its own."""
    if not key:
        return content == value
    names = [str(name) for name in content] if isinstance(content, dict) else []
    return any(
        leads_to(content[name], key[len(name) + 1 :], value) for name in names if f"{key}.".startswith(f"{name}.")
    )


def check(overrides) -> None:
    found, values = explained(overrides)
    unexplained = set(values) - set(found)
    assert not unexplained or unexplained == {"callbacks"}
    for key, (setting, value, origin) in found.items():
        assert setting.meaning.endswith("."), key
        assert setting.type, key
        if origin.startswith("the command line: "):
            assert origin.removeprefix("the command line: ") in overrides
        else:
            assert holds(Path(origin), key, value), f"{key} = {value!r} is not in {origin}"


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [[], *MIXES, *EXPERIMENTS, ["optimizer.lr=0.5", "data=gate"]], ids=" ".join)
def test_every_key_with_every_option_has_a_meaning_and_an_origin(overrides):
    check(overrides)


def test_every_key_of_every_option_is_explained_even_where_that_is_not_chosen(dltrain):
    keys = set()
    for group in LISTED:
        values = [config_files.values(path) for path in config_files.options(group, []).values()]
        of_group = {key for value in values for key in config_files.flatten(value) if key.startswith(f"{group}.")}
        assert of_group, group
        keys |= of_group
    answer = dltrain("explain", *sorted(keys))
    assert answer.code == 0, answer.err
    explanations = answer.out.split("\n\n")
    assert [text.partition("\n")[0] for text in explanations] == sorted(keys)
    for text in explanations:
        assert len(re.findall(r"^  meaning  .+\.$", text, re.MULTILINE)) == 1, text
        assert len(re.findall(r"^  set in   .+/\w+\.yaml$", text, re.MULTILINE)) == 1, text


def test_a_setting(dltrain):
    lines = dltrain("explain", "optimizer.lr", "optimizer=sgd").out.splitlines()
    assert lines[0] == "optimizer.lr"
    assert lines[1].startswith("  meaning  ")
    assert lines[2] == "  type     a number above 0"
    assert lines[3] == "  value    0.01"
    assert lines[4] == f"  set in   {config_files.config_dir() / 'optimizer' / 'sgd.yaml'}"


def test_a_group(dltrain):
    shown = dltrain("explain", "optimizer", "experiment=iris_softmax").out
    assert "  choices  adabelief, adadelta, adafactor" in shown
    assert "  value    sgd\n" in shown


def test_a_setting_of_an_option_that_is_not_chosen(dltrain):
    shown = dltrain("explain", "optimizer.nesterov").out
    assert "(with optimizer=muon, optimizer=sgd)" in shown
    assert re.search(r"set in   \S+/optimizer/muon\.yaml", shown)


def test_the_command_line_and_a_data_set_as_origins(dltrain):
    shown = dltrain("explain", "optimizer.lr", "optimizer.lr=0.3").out
    assert "  value    0.3\n" in shown and "  set in   the command line: optimizer.lr=0.3\n" in shown
    assert re.search(r"set in   \S+/data/gate\.yaml\n", dltrain("explain", "trainer.max_epochs", "data=gate").out)


def test_files_of_ones_own_as_origins(dltrain, work):
    path = work / "mine" / "model" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# Tiny\nname: linear\nbias: false\ninit: zeros\n")
    shown = dltrain("explain", "model.bias", "model=tiny", "--config-dir", "mine").out
    assert f"set in   {path}\n" in shown and "value    false\n" in shown
    printed = dltrain("--cfg", "job", "model=linear").out
    (work / "saved.yaml").write_text(printed)
    shown = dltrain("explain", "model.bias", "--config", "saved.yaml").out
    assert f"set in   {work / 'saved.yaml'}\n" in shown


def test_what_can_be_explained_is_told_beside_what_cannot(dltrain):
    answer = dltrain("explain", "seed", "sed")
    assert answer.code == 2
    assert answer.out.startswith("seed\n")
    assert "no setting 'sed'. Did you mean 'seed'?" in answer.err


def test_the_last_part_of_a_key_alone_finds_the_key(dltrain):
    answer = dltrain("explain", "lr")
    assert answer.code == 2
    assert "no setting 'lr'. Did you mean 'optimizer.lr'?" in answer.err


def test_without_a_key_all_settings_are_listed(dltrain):
    lines = dltrain("explain", "model=lstm").out.splitlines()
    keys = [line.split()[0] for line in lines]
    values = config_files.flatten(compose.compose(["model=lstm"]).container)
    assert sorted(keys) == sorted(values)


def test_a_group_lists_its_settings(dltrain):
    shown = dltrain("explain", "optimizer", "optimizer=sgd").out
    assert re.search(r"^  settings\n    optimizer\.name +sgd ", shown, re.MULTILINE)
    assert re.search(r"^    optimizer\.momentum +0\.\d* +\w", shown, re.MULTILINE)


def test_settings_in_settings_are_explained(dltrain):
    answer = dltrain("explain", "data.augmentation.flip", "data.augmentation", "data=image_folder")
    shown, below = answer.out.split("\n\n")
    assert shown.startswith("data.augmentation.flip\n  meaning  ")
    assert "true or false" in shown and "image_folder.yaml" in shown
    assert "type     a group of settings" in below and "    data.augmentation.rotation" in below


@pytest.mark.parametrize(
    ("key", "given", "kind", "value"),
    [
        ("optimizer.groups.layers.*.bias.lr", "optimizer.groups={layers.*.bias: {lr: 0.1}}", "a number above 0", "0.1"),
        ("loss.l2.*.weight", "loss.l2={'*.weight': 0.1}", "a number at least 0", "0.1"),
        ("model.init.*.weight", "model.init={'*.weight': he}", "text", "he"),
    ],
)
def test_one_pattern_of_a_group_that_the_command_line_gives(key, given, kind, value, dltrain):
    shown, other = dltrain("explain", key, "model.hidden", given).out.split("\n\n")
    assert shown.startswith(f"{key}\n") and f"\n  type     {kind}" in shown and f"\n  value    {value}\n" in shown
    assert shown.endswith(f"  set in   the command line: {given}")
    assert other.startswith("model.hidden\n") and "the command line" not in other
