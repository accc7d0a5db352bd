"""The projector's files: what its page would read in another way than it stands there."""

from __future__ import annotations

import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from dltrain import projector
from dltrain.board import Board
from dltrain.projector import Points, Projector, _cell, _vectors

# How the page reads a file of labels (parsePointsInfo in its source): each line by itself, the first one as the header.
PAGE = """
const lines = require("fs").readFileSync(0, "utf-8").split("\\n");
const points = [];
let header = null;
for (const line of lines) {
  if (line.trim().length === 0) continue;
  if (header === null) { header = line.split("\\t"); continue; }
  const cells = line.split("\\t"), point = {};
  header.forEach((name, place) => { point[name] = cells[place] === "" ? null : cells[place]; });
  points.push(point);
}
for (const point of points)
  for (const name of header)
    if (point[name] !== null && point[name] !== undefined && !isNaN(point[name])) point[name] = +point[name];
console.log(JSON.stringify(points));
"""


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("말", "말"),
        (" ", "␣"),
        ("  ", "␣␣"),
        ("\n", "⏎"),
        ("\t", "⇥"),
        ("가\t나\n다", "가⇥나⏎다"),
        ("\x00\u2028", "��"),
        ("", ""),
        (" 앞", "' 앞'"),
        ("007", "'007'"),
        ("1e3", "'1e3'"),
        ("0x10", "'0x10'"),
        ("Infinity", "'Infinity'"),
        ("+5", "'+5'"),
        ("12", "12"),
        ("0", "0"),
        ("0.9990", "0.9990"),
        ("-3.5", "-3.5"),
        ("1.2.3", "1.2.3"),
        ("가" * 200, "가" * 119 + "…"),
    ],
)
def test_a_label_is_one_cell(text, cell):
    assert _cell(text) == cell


def test_the_page_shows_each_label_as_it_was(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node, which reads JavaScript")
    labels = [
        "말",
        " ",
        "\n",
        "\u3000",
        "007",
        "1e3",
        "0x1F",
        "-0",
        "+1",
        "12",
        "1.50",
        "constructor",
        "‘’",
        "a\tb",
        "​",
    ]
    lines = [["token", "number"], *([label, str(i)] for i, label in enumerate(labels))]
    text = "".join("\t".join(map(_cell, line)) + "\n" for line in lines)
    read = json.loads(subprocess.run([node, "-e", PAGE], input=text.encode(), capture_output=True, check=True).stdout)
    assert [point["number"] for point in read] == list(range(len(labels)))
    shown = ["말", "␣", "⏎", "␣", "'007'", "'1e3'", "'0x1F'", "'-0'", "'+1'", 12, 1.5, "constructor", "‘’", "a⇥b", "​"]
    assert [point["token"] for point in read] == shown


def test_numbers_are_kept_to_six_digits_and_there_are_three_at_least():
    vectors = torch.tensor([[1.23456789, -2e-9], [float("1e20"), 0.0]])
    assert _vectors(vectors) == "1.23457\t-2e-09\t0\n1e+20\t0\t0\n"


class State:
    epoch, batch = 0, 0


class Trainer:
    state = State()


def points(title: str, count: int = 3, side: int | None = None) -> Points:
    images = None if side is None else torch.full((count, side, side, 3), 200, dtype=torch.uint8)
    return Points(title, torch.ones(count, 4), ["a", "b"], [["x", str(i)] for i in range(count)], images)


def listed(folder) -> ProjectorConfig:
    return text_format.Parse((folder / "projector_config.pbtxt").read_text("utf-8"), ProjectorConfig())


def test_the_list_names_each_once_with_the_newest_first(tmp_path):
    projector = Projector(tmp_path, Board(tmp_path))
    for when in ("epoch-0002", "epoch-10000", "epoch-0002", "epoch-0009"):
        projector.write(when, [points('숨은 "층"'), points("tokens", 5)])
    names = [entry.tensor_name for entry in listed(tmp_path).embeddings]
    assert names == [
        '숨은 "층" (epoch 10000, the newest)',
        "tokens (epoch 10000, the newest)",
        '숨은 "층", epoch 9',
        "tokens, epoch 9",
        '숨은 "층", epoch 2',
        "tokens, epoch 2",
    ]
    assert min(name for name in names if name.startswith("숨")) == names[0]  # which the page shows at first
    assert [list(entry.tensor_shape) for entry in listed(tmp_path).embeddings][:2] == [[3, 4], [5, 4]]


@pytest.mark.parametrize(
    ("count", "side", "largest", "shown"),
    [
        (3, 8, 8192, 8),
        (10, 200, 8192, 64),
        (80, 64, 512, 56),  # as the last one, whose picture of 65 million pixels takes seconds
        pytest.param(20_000, 64, 8192, 57, marks=pytest.mark.slow),
    ],
)
def test_the_picture_of_all_images_is_one_that_the_page_takes(count, side, largest, shown, tmp_path, monkeypatch):
    assert projector._LARGEST_PICTURE == 8192
    monkeypatch.setattr(projector, "_LARGEST_PICTURE", largest)
    Projector(tmp_path, Board(tmp_path)).write("epoch-0001", [points("a", count, side)])
    (entry,) = listed(tmp_path).embeddings
    assert list(entry.sprite.single_image_dim) == [shown, shown]
    picture = Image.open(io.BytesIO((tmp_path / entry.sprite.image_path).read_bytes()))
    columns = int(np.ceil(count**0.5))
    assert picture.size == (columns * shown, columns * shown) and max(picture.size) <= largest
    assert picture.getpixel((0, 0)) == (200, 200, 200)
