"""Reports in a browser: they are drawn, answer the mouse, load nothing, show Korean on any machine, and print."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from browsing import OUTPUT, eventually
from imagined_sweeps import Sweep, hostile
from PIL import Image
from training import train

from dltrain.report.run import after_training

pytestmark = pytest.mark.slow

REVIEWS = [(f"{'정말 좋은' if n % 2 else '아주 나쁜'} 영화 {n % 7}편", "긍정" if n % 2 else "부정") for n in range(80)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The reports of a run on images, on Korean texts, on two numbers and on a Korean language; and of a sweep."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "reviews.csv").write_text("text,label\n" + "".join(f"{a},{b}\n" for a, b in REVIEWS), encoding="utf-8")
    callbacks = ("checkpoint", "histograms")
    runs = {
        "images": ["data=digits", "model=lenet5", "trainer.max_epochs=4", "optimizer=adam"],
        "texts": ["data=text_csv", f"data.path={folder / 'reviews.csv'}", "model=text_cnn", "trainer.max_epochs=3"],
        "plane": ["data=iris", "data.measures=[petal_length, petal_width]", "model=mlp", "trainer.max_epochs=20"],
        "language": ["data=korean_text", "model=lstm", "trainer.max_epochs=30", "optimizer=adam"],
    }
    found = {}
    for name, overrides in runs.items():
        after_training(train(folder / name, *overrides, callbacks=callbacks))
        found[name] = folder / name / "report.html"
    sweep = hostile(lambda space: Sweep(folder / "sweep", space))
    (folder / "sweep").mkdir()
    sweep.write()
    found["sweep"] = folder / "sweep" / "report.html"
    return found


@pytest.fixture
def opened(pages, look):
    """Returns a function that opens a report and waits until all is drawn."""

    def open_one(name, **options):
        watched = look(pages[name].as_uri(), **options)
        watched.wait_until_drawn()
        return watched

    return open_one


# The plots of each page, with the number of curves, fields or groups of points that each has at least.
PLOTS = {
    "images": {"loss": 3, "metric-0": 2, "learning-rate": 1, "gradients": 8, "evaluation-confusion": 2},
    "texts": {"loss": 3, "evaluation-confusion": 2, "evaluation-roc": 2, "evaluation-calibration": 2},
    "plane": {"loss": 3, "regions": 4, "evaluation-confusion": 2},
    "language": {"loss": 3, "evaluation-calibration": 2},
    "sweep": {"plot-0": 3, "plot-1": 1, "plot-2": 1},
}


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_drawn_and_nothing_leaves(name, opened, pages):
    watched = opened(name)
    page = watched.page
    drawn = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".plot")].map((plot) => [plot.id, {
             traces: plot.data.length,
             shapes: [...plot.querySelectorAll("path.js-line, path.point, .point path, .bars path, .contourlevel path")]
               .filter((path) => (path.getAttribute("d") || "").length > 5).length,
             pictures: plot.querySelectorAll(".hm image, canvas").length,
             width: plot.querySelector("svg.main-svg").getBoundingClientRect().width,
           }]))"""
    )
    assert all(own["width"] > 200 for own in drawn.values())
    assert all(own["shapes"] + own["pictures"] >= 1 for own in drawn.values()), drawn
    for plot, traces in PLOTS[name].items():
        assert drawn[plot]["traces"] >= traces, plot
    assert watched.requests == [pages[name].as_uri()]
    assert watched.troubles == []
    assert page.title() == page.inner_text("h1") and "hacked" not in page.title()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.query_selector_all(".plot.notice") == []
    assert picture_has_colours(watched.shoot(f"report-{name}"))


def picture_has_colours(path: Path) -> bool:
    return len(Image.open(path).convert("P").getcolors()) > 10


def test_pointing_at_a_curve_tells_its_values_and_a_click_takes_it_away(opened):
    page = opened("images").page
    plot = page.locator("#loss")
    plot.scroll_into_view_if_needed()
    box = page.locator("#loss .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5, steps=10)
    page.wait_for_selector("#loss .hoverlayer text", state="attached")
    told = page.evaluate("[...document.querySelectorAll('#loss .hoverlayer text')].map((t) => t.textContent).join(' ')")
    assert re.search(r"training : [\d.]+", told) and re.search(r"validation : [\d.]+", told)
    page.mouse.move(0, 0)
    page.locator("#loss .legendtoggle").first.click()
    eventually(lambda: page.evaluate("document.getElementById('loss').data[0].visible") == "legendonly")
    page.locator("#loss .updatemenu-button").nth(1).click()
    eventually(lambda: page.evaluate("document.getElementById('loss').layout.yaxis.type") == "log")


def test_the_pictures_of_the_worst_errors_are_there(opened):
    page = opened("images").page
    sizes = page.evaluate("[...document.querySelectorAll('.cards img')].map((i) => [i.naturalWidth, i.alt])")
    assert len(sizes) > 20 and all(width > 0 and "predicted" in alt for width, alt in sizes)


# --- Korean -----------------------------------------------------------------------------------------------

# Whether a font draws two letters as what they are: not alike, and not as the box for a letter that it lacks.
_GLYPHS = """(family) => {
  const drawn = (letter) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    const pen = canvas.getContext("2d");
    pen.font = `40px ${family}`;
    pen.fillText(letter, 8, 48);
    return [...pen.getImageData(0, 0, 64, 64).data].filter((_, place) => place % 4 === 3).join();
  };
  return [drawn("긍"), drawn("부"), drawn("\\u{10fffd}"), drawn(" ")];
}"""


def draws_with_own_font(page, selector: str) -> bool:
    """Tells whether letters of an element are drawn with the font that came with the page."""
    session = page.context.new_cdp_session(page)
    for domain in ("DOM", "CSS"):
        session.send(f"{domain}.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    found = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    return any(font["familyName"].startswith("NanumSquareRound") and font["isCustomFont"] for font in found)


def test_korean_is_shown_on_a_machine_without_korean_fonts(opened):
    watched = opened("texts", without_korean=True)
    page = watched.page
    assert page.evaluate("document.fonts.check('16px dltrain-hangul', '긍부')")
    places = page.evaluate(
        """() => {
          const tick = [...document.querySelectorAll("#evaluation-confusion .ytick text")];
          tick.forEach((text) => { text.id = text.textContent; });
          document.querySelectorAll("tbody th").forEach((th) => { if (th.textContent === "긍정") th.id = "cell"; });
          return tick.map((text) => text.textContent);
        }"""
    )
    assert sorted(places) == ["긍정", "부정"]
    for selector in ("text[id='긍정']", "text[id='부정']", "#cell"):
        assert draws_with_own_font(page, selector), selector
        family = page.evaluate("(s) => getComputedStyle(document.querySelector(s)).fontFamily", selector)
        one, other, box, nothing = page.evaluate(_GLYPHS, family)
        assert len({one, other, box, nothing}) == 4
    # The control: without the page's own font, this browser draws the same box for both.
    one, other, *_ = page.evaluate(_GLYPHS, "sans-serif")
    assert one == other
    watched.shoot("report-texts-without-korean-fonts")
    assert watched.troubles == []


def test_what_a_language_model_writes_is_shown_there_too(opened):
    watched = opened("language", without_korean=True)
    page = watched.page
    page.evaluate(
        """() => { [...document.querySelectorAll("h2")].find((h) => h.textContent === "What it writes")
             .parentNode.id = "writes"; }"""
    )
    for selector in ("#writes tbody th", "#writes td.long"):  # of Korean alone and bold, and with spaces
        assert draws_with_own_font(page, selector), selector
    watched.shoot("report-language-without-korean-fonts")


# --- paper ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["images", "texts", "plane", "sweep"])
def test_a_printed_page_has_everything_and_no_empty_sheet(name, opened, tmp_path):
    watched = opened(name)
    page = watched.page
    content = page.pdf(format="A4")
    (tmp_path / "page.pdf").write_bytes(content)
    sheets = len(re.findall(rb"/Type\s*/Page\b", content))
    assert sheets > 1
    title = page.title().encode("utf-16-be").hex().upper()
    assert page.title().encode() in content or title.encode() in content.upper()
    if shutil.which("pdftoppm") is None:
        return
    subprocess.run(["pdftoppm", "-r", "40", "-png", "page.pdf", "sheet"], cwd=tmp_path, check=True)
    pictures = sorted(tmp_path.glob("sheet-*.png"))
    assert len(pictures) == sheets
    for place, path in enumerate(pictures):
        with Image.open(path) as sheet:
            ink = sheet.convert("L").point(lambda level: 255 * (level < 200)).getbbox()
            assert ink is not None, f"sheet {place + 1} is empty"
            assert ink[2] <= sheet.width - 8, f"sheet {place + 1} is cut off at the right"
    keep_sheets(pictures, OUTPUT / f"report-{name}-printed.png")


def keep_sheets(pictures: list[Path], path: Path) -> None:
    """Keeps the sheets of a print side by side, five in a row."""
    sheets = [Image.open(picture).convert("RGB") for picture in pictures]
    width, height = sheets[0].size
    whole = Image.new("RGB", (min(5, len(sheets)) * (width + 4), -(-len(sheets) // 5) * (height + 4)), "grey")
    for place, sheet in enumerate(sheets):
        whole.paste(sheet, (place % 5 * (width + 4), place // 5 * (height + 4)))
    OUTPUT.mkdir(exist_ok=True)
    whole.save(path)


# --- what cannot run the scripts --------------------------------------------------------------------------


def test_an_old_browser_says_why_it_draws_nothing(pages, browsers):
    context = browsers.browser(without_korean=False).new_context()
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(pages["plane"].as_uri())
    page.wait_for_selector("html[data-plots=failed]", state="attached")
    texts = {place.inner_text() for place in page.query_selector_all(".plot.notice")}
    why = "this browser is too old. Chrome 80, Firefox 113 and Safari 16.4 can do it"
    assert texts == {f"The plot cannot be drawn: {why}."}
    assert "accuracy" in page.inner_text("table >> nth=1")
    context.close()


def test_without_javascript_the_tables_are_there_and_the_page_says_what_is_not(pages, browsers):
    context = browsers.browser(without_korean=False).new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["plane"].as_uri())
    assert "The plots need JavaScript" in page.content()
    assert page.locator("noscript p").inner_text().startswith("The plots need JavaScript")
    context.close()


class Unasked(http.server.BaseHTTPRequestHandler):
    """Notes whoever asks for anything."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger():
    """The address of a server that nobody should ask for anything."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unasked)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Unasked.asked.clear()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_html_that_was_smuggled_in_neither_runs_nor_loads(pages, look, tmp_path, stranger):
    """The second line of defence: what was not escaped by mistake is stopped by the page's own policy."""
    hack = "document.title='hacked'"
    bad = (
        f'<script>{hack}</script><img src=\'{stranger}/x.png\' onerror="{hack}"><svg onload="{hack}"></svg>'
        f"<style>@import url({stranger}/x.css); body {{ background: url({stranger}/y.png) }}</style>"
        f"<iframe src='{stranger}/x.html'></iframe><script src='{stranger}/x.js'></script>"
    )
    text = pages["plane"].read_text(encoding="utf-8").replace("<main>", f"<main>{bad}")
    (tmp_path / "bad.html").write_text(text, encoding="utf-8")
    watched = look((tmp_path / "bad.html").as_uri())
    watched.wait_until_drawn()
    assert watched.page.title() != "hacked"
    assert len([trouble for trouble in watched.troubles if "Content Security Policy" in trouble]) >= 5
    assert Unasked.asked == []
