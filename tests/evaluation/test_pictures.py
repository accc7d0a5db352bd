"""The pictures of an evaluation, and its JSON as text."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest
from evaluations import TASKS
from PIL import Image

from dltrain import evaluation
from dltrain.evaluation import pictures, writing

OF_CLASSES = ["confusion_matrix.png", "calibration.svg", "precision_recall.svg", "roc.svg"]
FILES = {
    "binary": OF_CLASSES,
    "classes": OF_CLASSES,
    "many classes": OF_CLASSES,
    "labels": OF_CLASSES,
    "steps": OF_CLASSES,
    "next token": ["calibration.svg"],
    "values": ["residuals.svg"],
    "heads": [
        *(f"kind-{name}" for name in OF_CLASSES),
        *(f"sold-{name}" for name in OF_CLASSES),
        "price-residuals.svg",
    ],
}


TITLE = "어떤 run, test"


@pytest.fixture(scope="module")
def drawn_before():
    """The pictures by the kind of task, which are drawn once."""
    return {}


@pytest.fixture
def draw(parts_of, drawn_before):
    """Returns a function that gives the pictures of a kind of task, drawn from what a file of them holds."""

    def drawn(name):
        if name not in drawn_before:
            found = evaluation.of(parts_of(TASKS[name]), "validation", resamples=0)
            drawn_before[name] = dict(pictures.draw(json.loads(writing.as_text(found)), TITLE))
        return drawn_before[name]

    return drawn


@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_task_has_its_pictures(name, draw):
    drawn = draw(name)
    assert list(drawn) == FILES[name]
    for file, content in drawn.items():
        if file.endswith(".svg"):
            assert ElementTree.fromstring(content).tag.endswith("svg")
            assert "<text" not in content  # letters are shapes, so that Korean shows anywhere
        else:
            assert Image.open(io.BytesIO(content)).width > 100


def test_the_same_evaluation_gives_the_same_pictures(draw, parts_of):
    found = evaluation.of(parts_of(TASKS["classes"]), "validation", resamples=0)
    assert list(pictures.draw(found, TITLE)) == list(draw("classes").items())


def test_names_of_targets_become_names_of_files(parts_of):
    found = evaluation.of(parts_of(TASKS["heads"]), "validation", resamples=0)
    kind = {"confusion": found["targets"]["kind"]["confusion"]}
    found["targets"] = dict.fromkeys(["집값 (만원)/평", "집값/만원/평", "?", "/"], kind)
    names = [name for name, _ in pictures.draw(found, "run")]
    stems = ["집값_만원_평", "집값_만원_평_2", "target", "target_2"]
    assert names == [f"{stem}-confusion_matrix.png" for stem in stems]


def test_json_has_a_line_for_each_key_and_one_for_a_list_of_numbers():
    value = {"a": [1, 2.5, None], "b": {"c": "글", "d": [[1, 2], [3, 4]]}, "e": [{"f": 1}, {"f": 2}], "g": {}, "h": []}
    text = writing.as_text(value)
    assert json.loads(text) == value
    assert text.splitlines() == [
        "{",
        '  "a": [1, 2.5, null],',
        '  "b": {',
        '    "c": "글",',
        '    "d": [[1, 2], [3, 4]]',
        "  },",
        '  "e": [',
        "    {",
        '      "f": 1',
        "    },",
        "    {",
        '      "f": 2',
        "    }",
        "  ],",
        '  "g": {},',
        '  "h": []',
        "}",
    ]
