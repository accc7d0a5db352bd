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


@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_task_has_its_pictures(name, parts_of, monkeypatch):
    found = evaluation.of(parts_of(TASKS[name]), "validation", resamples=0)
    drawn = dict(pictures.draw(json.loads(writing.as_text(found)), "어떤 run, test"))
    assert list(drawn) == FILES[name]
    for file, content in drawn.items():
        if file.endswith(".svg"):
            assert ElementTree.fromstring(content).tag.endswith("svg")
            assert "<text" not in content  # letters are shapes, so that Korean shows anywhere
        else:
            assert Image.open(io.BytesIO(content)).width > 100


def test_the_same_evaluation_gives_the_same_pictures(parts_of):
    found = evaluation.of(parts_of(TASKS["classes"]), "validation", resamples=0)
    assert list(pictures.draw(found, "run")) == list(pictures.draw(found, "run"))


def test_names_of_targets_become_names_of_files(parts_of):
    found = evaluation.of(parts_of(TASKS["heads"]), "validation", resamples=0)
    found["targets"] = dict.fromkeys(["집값 (만원)/평", "집값/만원/평", "?", "/"], found["targets"]["price"])
    names = [name for name, _ in pictures.draw(found, "run")]
    stems = ["집값_만원_평", "집값_만원_평_2", "target", "target_2"]
    assert names == [f"{stem}-residuals.svg" for stem in stems]


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
