"""Configs cut into pieces say the same as those that are read whole, and damage is told."""

from __future__ import annotations

import json
import math

import pytest
import runfolders
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dltrain import compose, config_files
from dltrain.results import reading
from dltrain.results.reading import ConfigReader


def read(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ConfigReader().read(str(path))


def merged(sections):
    return {key: value for section in sections for key, value in section.items()}


@pytest.mark.parametrize("model", ["mlp", "convnet", "lstm", "ridge", "wide_deep"])
def test_a_config_of_dltrain_is_cut_and_read_as_yaml_reads_it(tmp_path, model):
    container = compose.compose([f"model={model}", "data=iris", "optimizer.lr=3e-5"]).container
    text = yaml.safe_dump(container, allow_unicode=True, sort_keys=False)
    reader = ConfigReader()
    assert reader._cut(text) is not None
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    sections, problem = reader.read(str(tmp_path / "config.yaml"))
    assert problem == "" and merged(sections) == config_files.flatten(container)


TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    st.sampled_from(
        ["한글.txt", "a: b", "- x", "line\nseed: 3", "  lr: 0.5", "\n", "null", "1e-4", "'", '"', "# no", "x\n  y: 1"]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["seed", "model", "data", "imports"]), VALUES, min_size=1))
def test_whatever_stands_in_a_config_is_read_as_yaml_reads_it(tmp_path_factory, container):
    text = yaml.safe_dump(container, allow_unicode=True, sort_keys=False)
    sections, problem = read(tmp_path_factory.mktemp("odd"), text)
    expected = {}
    for key, value in yaml.safe_load(text).items():
        expected.update(config_files.flatten(value, key))
    assert problem == ""
    assert json.dumps(merged(sections)) == json.dumps(reading._plain(expected))


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {lr: 1}\noptimizer: *b\n",
        'data:\n  path: "one\nseed: two"\nseed: 5\n',
        "# mine\nseed: 1\r\nmodel:\r\n  name: mlp\r\n",
        "\ufeffseed: 1\n",
        "model: {name: mlp, hidden: [1, 2]}\n",
        "day: 2026-11-30\n",
        "seed: 1\nseed: 2\n",
    ],
)
def test_what_a_person_writes_into_a_config_is_read_as_yaml_reads_it(tmp_path, text):
    sections, problem = read(tmp_path, text)
    assert problem == ""
    assert merged(sections) == reading._plain(config_files.flatten(yaml.safe_load(text)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: [\n", "is damaged: it is no YAML (line 2)"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("- a\n- b\n", "holds no settings"),
        ("", "holds no settings"),
        ("a: " + "[" * 200_000, "cannot be read"),
        ("a: " + "x" * 1_100_000, "is longer than any config"),
        ("a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
        ), "more than"),
        ("!!python/object/apply:os.system ['touch hacked']", "is damaged"),
    ],
)  # fmt: skip
def test_damage_is_told(tmp_path, text, told):
    sections, problem = read(tmp_path, text)
    assert sections is None and told in problem and str(tmp_path) in problem
    assert not (tmp_path / "hacked").exists()


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "config.yaml").mkdir()
    assert "cannot be read" in ConfigReader().read(str(tmp_path / "config.yaml"))[1]


@pytest.mark.parametrize("text", ["{", "[]", "null", "", "{'a': 1}", '{"status": NaN', "[" * 100_000])
def test_a_damaged_result_is_told(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    assert reading.read_result(str(path))[0] is None and str(path) in reading.read_result(str(path))[1]


def test_a_result_of_odd_types_gives_what_can_be_used(tmp_path):
    path = tmp_path / "result.json"
    odd = {"status": 7, "epochs": "three", "seconds": True, "last": [1], "test": {"test/loss": "x", "test/f1": 1}}
    path.write_text(json.dumps({**odd, "best": {"metric": "val/loss", "value": math.nan}, "steps": 10**400}))
    outcome, _ = reading.read_result(str(path))
    assert (outcome.status, outcome.numbers, outcome.best, outcome.last()) == (None, {}, {}, {})
    assert outcome.test == {"test/loss": None, "test/f1": 1}


def test_the_rows_of_a_run_without_an_end(tmp_path):
    run = runfolders.make_run(tmp_path / "run", [3.0, None, 1.0, 2.0], result={})
    with run.metrics.open("a") as file:
        file.write('{"epoch": 5, "ste')  # the line that a killed process leaves
    outcome, problem = reading.so_far(str(run.metrics), "val/loss")
    assert problem == ""
    assert outcome.numbers == {"epochs": 4, "steps": 12, "seconds": 2.0}
    assert outcome.best == {"metric": "val/loss", "value": 1.0, "epoch": 3, "step": 9}
    assert reading.so_far(str(run.metrics), "val/accuracy")[0].best["value"] == 0.5
    assert reading.so_far(str(tmp_path / "none"), "val/loss")[0].numbers == {}
