"""A live TensorBoard in a browser: ``dltrain board`` on two runs, one of images and one of Korean texts."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browsing import eventually
from commandline import DLTRAIN, environment
from PIL import Image

from dltrain import cli

pytestmark = pytest.mark.slow

CALLBACKS = "callbacks=[default,histograms,confusion_matrix,predictions,worst_errors,pr_curves,embeddings]"
REVIEWS = [(f"{'정말 좋은' if n % 2 else '아주 나쁜'} 영화 {n % 7}편", "긍정" if n % 2 else "부정") for n in range(80)]


@dataclass(frozen=True)
class Board:
    url: str
    folder: Path


@pytest.fixture(scope="module")
def board(tmp_path_factory) -> Iterator[Board]:
    """TensorBoard on two trained runs, as a user starts and ends it."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "reviews.csv").write_text("text,label\n" + "".join(f"{a},{b}\n" for a, b in REVIEWS), encoding="utf-8")
    runs = (
        ("images", ["data=digits", "model=lenet5"]),
        ("texts", ["data=text_csv", "data.path=reviews.csv", "model=text_cnn"]),
    )
    before = Path.cwd()
    os.chdir(folder)
    try:
        for name, overrides in runs:
            options = [CALLBACKS, "trainer.max_epochs=3", "report=false", f"run_dir=runs/day/{name}"]
            assert cli.run([*overrides, *options]) == 0
    finally:
        os.chdir(before)
    command = [*DLTRAIN, "board", "--all"]
    started = {"cwd": folder, "env": environment(), "text": True, "start_new_session": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **started) as process:
        try:
            found = re.match(r"TensorBoard: (http://127\.0\.0\.1:\d+/)", process.stdout.readline())
            assert found is not None
            yield Board(found[1], folder)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


@pytest.fixture
def tab(board, look) -> Callable[[str], object]:
    """Returns a function that opens a tab; when the test is over, nothing may have gone wrong or left the machine."""
    opened = []

    def open_one(name):
        opened.append(look(f"{board.url}#{name}"))
        return opened[-1]

    yield open_one
    for watched in opened:
        assert watched.troubles == []
        elsewhere = [address for address in watched.requests if not address.startswith(board.url)]
        assert elsewhere == []  # not even for its fonts: TensorBoard brings them


def curves(page, place: str) -> int:
    """Returns how many lines of several points are drawn; a locator looks into the parts of TensorBoard as well."""
    drawn = page.locator(f"{place} path").evaluate_all("paths => paths.map((path) => path.getAttribute('d') || '')")
    return sum(path.count("L") + path.count("C") >= 2 for path in drawn)


def told(page, selector: str) -> list[str]:
    """Returns the texts of what fits a selector, in whichever frame of the page it stands."""
    return [text for frame in page.frames for text in frame.locator(selector).all_inner_texts()]


def test_every_tab_is_there(tab):
    page = tab("timeseries").page
    names = (
        "TIME SERIES",
        "SCALARS",
        "IMAGES",
        "GRAPHS",
        "DISTRIBUTIONS",
        "HISTOGRAMS",
        "TEXT",
        "PR CURVES",
        "HPARAMS",
    )
    active = page.locator("[role=tab]:visible")
    eventually(lambda: set(names) <= {text.strip().upper() for text in active.all_inner_texts()})


def test_the_curves_of_the_scalars_are_drawn(tab):
    watched = tab("scalars")
    page = watched.page
    eventually(lambda: page.get_by_text("gradient_norm/all").count() > 0)
    eventually(lambda: curves(page, "g.render-area") >= 2)
    watched.shoot("tensorboard-scalars")


def test_the_time_series_are_drawn(tab):
    watched = tab("timeseries")
    page = watched.page
    page.get_by_role("combobox", name="Filter tags (regex)").fill("train/loss")
    chart = page.locator("line-chart canvas").first
    chart.wait_for()
    eventually(lambda: is_coloured(chart.screenshot()))
    watched.shoot("tensorboard-timeseries")


def is_coloured(picture: bytes) -> bool:
    """Tells whether a picture has lines that are neither grey nor white."""
    with Image.open(io.BytesIO(picture)) as image:
        saturation = image.convert("HSV").getchannel("S")
    return sum(saturation.histogram()[80:]) > 50


def test_pictures_are_shown_with_korean_in_them(tab, board):
    watched = tab("images")
    page = watched.page
    pictures = page.locator("tf-image-loader img")
    eventually(lambda: pictures.count() >= 3)
    sizes = "pictures => pictures.map((picture) => [picture.naturalWidth, picture.naturalHeight])"
    eventually(lambda: all(width for width, _ in pictures.evaluate_all(sizes)))
    with Image.open(board.folder / "runs" / "day" / "texts" / "confusion_matrix" / "last.png") as korean:
        assert list(korean.size) in pictures.evaluate_all(sizes)
    watched.shoot("tensorboard-images")


def test_texts_are_shown_in_korean(tab):
    watched = tab("text")
    page = watched.page
    page.get_by_text("predictions", exact=True).first.wait_for()
    for heading in page.locator("tf-category-paginated-view button.heading").all():
        if heading.locator("xpath=..").locator(".content").count() == 0:
            heading.click()
    eventually(lambda: page.get_by_text("영화").count() > 0)
    assert page.get_by_text("부정").count() > 0
    watched.shoot("tensorboard-text")


def test_the_graph_is_drawn(tab):
    watched = tab("graphs")
    page = watched.page
    nodes = page.locator("svg g.node")
    names = "nodes => nodes.map((node) => node.getAttribute('data-name'))"
    eventually(lambda: {"input", "output"} < set(nodes.evaluate_all(names)))
    watched.shoot("tensorboard-graphs")


def test_histograms_are_drawn(tab):
    watched = tab("histograms")
    page = watched.page
    eventually(lambda: page.get_by_text("gradients", exact=True).count() > 0)
    eventually(lambda: curves(page, "g.histogram") >= 3)
    watched.shoot("tensorboard-histograms")


def test_the_hyper_parameters_stand_side_by_side(tab):
    watched = tab("hparams")
    page = watched.page
    for text in ("lenet5", "text_cnn", "model.name"):
        eventually(lambda text=text: page.get_by_text(text).count() > 0)
    watched.shoot("tensorboard-hparams")


def test_curves_of_precision_and_recall_are_drawn(tab):
    watched = tab("pr_curves")
    page = watched.page
    eventually(lambda: page.get_by_text(re.compile("^pr_curves/")).count() > 0)
    eventually(lambda: curves(page, "g.render-area") >= 2)
    watched.shoot("tensorboard-pr-curves")


def test_the_projector_shows_the_samples(tab):
    watched = tab("projector")
    page = watched.page
    eventually(lambda: told(page, ".numDataPoints") in (["180"], ["8"]))  # images, or texts
    eventually(lambda: len(told(page, "canvas")) >= 1)
    watched.shoot("tensorboard-projector")
