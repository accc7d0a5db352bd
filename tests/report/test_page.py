"""The skeleton of a page: that its texts stay texts, that it may load nothing, and that Plotly comes packed."""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import logging
import re
import sys

import pytest
from plotly.offline import get_plotlyjs

from dltrain.errors import MachineError
from dltrain.files import cache_folder
from dltrain.report import markup, page, plotly_source
from dltrain.report.markup import Html
from dltrain.report.page import Chart, Grid, Section

INJECTION = """</script><script>document.title="hacked"</script><img src=x onerror='document.title="hacked"'>"""


def chart(name="one", text="loss", **more):
    return Chart(
        name, page.figure([{"type": "scatter", "y": [1, 2], "name": text}], {"height": 300}), text, 300, **more
    )


def policy(text):
    (found,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    return dict(part.strip().split(" ", 1) for part in found.split(";"))


# --- what stands in it ------------------------------------------------------------------------------------


def test_each_section_has_its_heading_and_is_linked_from_the_contents():
    sections = [Section("Curves", [markup.paragraph("a < b")]), Section("모델", [chart()])]
    text = page.text("mlp on 꽃", [markup.paragraph("lead")], sections, contents=True)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert "<title>mlp on 꽃</title>" in text and "<h1>mlp on 꽃</h1>" in text
    assert re.findall(r'<section id="(.*?)">\n<h2>(.*?)</h2>', text) == [("part-0", "Curves"), ("part-1", "모델")]
    assert '<a href="#part-0">Curves</a> · <a href="#part-1">모델</a>' in text
    assert "<p>a &lt; b</p>" in text
    assert "<nav" not in page.text("t", [], sections)


def test_a_chart_has_a_place_with_its_name_in_words_and_its_figure():
    text = page.text("t", [], [Section("Curves", [chart("loss"), Grid([chart("a"), chart("b", least_width=400)])])])
    assert re.findall(r'class="plot" id="(\w+)" role="img" aria-label="loss" style="(.*?)"', text) == [
        ("loss", "height: 300px"),
        ("a", "height: 300px"),
        ("b", "height: 300px; min-width: 400px"),
    ]
    (figures,) = re.findall(r'<script type="application/json" id="figures">(.*)</script>', text)
    assert list(json.loads(figures)) == ["loss", "a", "b"]
    assert json.loads(figures)["loss"]["data"][0]["y"] == [1, 2]


def test_two_charts_of_one_name_are_a_mistake_of_ours():
    with pytest.raises(AssertionError, match="two plots are named"):
        page.text("t", [], [Section("a", [chart()]), Section("b", [chart()])])


def test_what_is_no_number_is_not_drawn():
    assert json.loads(page.figure([{"y": [1.0, float("nan"), float("-inf")]}], {}))["data"][0]["y"] == [1.0, None, None]


def test_a_page_without_charts_has_no_plotly():
    text = page.text("t", [], [Section("a", [markup.paragraph("b")])])
    assert len(text) < 10_000 and "DecompressionStream" not in text


def test_tables_name_their_rows_and_columns():
    table = markup.table(["class", "F1"], [["가", 0.5], [Html("<b>x</b>"), "y" * 50]], numbers=[1], caption="Classes")
    assert "<caption>Classes</caption>" in table
    assert '<th scope="col">class</th><th scope="col" class="number">F1</th>' in table
    assert '<tr><th scope="row">가</th><td class="number">0.5</td></tr>' in table
    assert '<th scope="row"><b>x</b></th>' in table
    facts = markup.facts([("a<b", "y" * 50)])
    assert f'<tr><th scope="row">a&lt;b</th><td class="long">{"y" * 50}</td></tr>' in facts


def test_an_image_stands_in_the_page_with_what_it_shows():
    image = markup.picture(b"\x89PNG", 'true "3"', 20, 10)
    assert image == '<img src="data:image/png;base64,iVBORw==" alt="true &quot;3&quot;" width="20" height="10">'


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    page.write(tmp_path / "p.html", "t", [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]
    with pytest.raises(MachineError, match="cannot be written"):
        page.write(tmp_path / "none" / "p.html", "t", [], [])


# --- letters ----------------------------------------------------------------------------------------------


def test_korean_letters_come_with_the_page_and_only_where_there_are_some():
    assert "@font-face" not in page.text("digits", [], [Section("Curves", [chart()])])
    for text in (page.text("꽃", [], []), page.text("t", [], [Section("Curves", [chart(text="손실")])])):
        assert '@font-face { font-family: "dltrain-hangul"; src: url(data:font/woff;base64,' in text
    assert page.FONTS.startswith('"dltrain-hangul", ')


# --- harm -------------------------------------------------------------------------------------------------


def test_no_text_becomes_a_part_of_the_page():
    sections = [
        Section(INJECTION, [markup.paragraph(INJECTION), markup.heading(INJECTION), markup.code(INJECTION)]),
        Section("t", [markup.table([INJECTION], [[INJECTION, INJECTION]], caption=INJECTION), chart(text=INJECTION)]),
        Section("d", [markup.details(INJECTION, markup.code(INJECTION)), markup.facts([(INJECTION, INJECTION)])]),
    ]
    text = page.text(INJECTION, [markup.paragraph(INJECTION)], sections, contents=True)
    assert text.count("<script") == text.count("</script") == 4 and "<img" not in text


def test_the_policy_lets_in_nothing_but_what_is_in_the_page():
    text = page.text("꽃", [], [Section("Curves", [chart()])])
    rules = policy(text)
    nonce = rules.pop("script-src")
    assert re.fullmatch(r"'nonce-[0-9a-f]{32}'", nonce)
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "font-src": "data:",
    }
    assert policy(page.text("t", [], []))["script-src"] != nonce
    scripts = re.findall(r"<script([^>]*)>", text)
    runs = [script for script in scripts if "type=" not in script]
    assert len(runs) == 2 and all(script == f" nonce={nonce[7:-1]!r}".replace("'", '"') for script in runs)
    assert not re.search(r"https?:|<script[^>]* src|<link|<iframe|@import", text)


def test_only_a_chart_that_needs_it_may_compile():
    assert "'unsafe-eval'" in policy(page.text("t", [], [Section("a", [chart(compiles=True)])]))["script-src"]


# --- Plotly -----------------------------------------------------------------------------------------------


@pytest.fixture
def unpacked():
    """Lets the source be packed anew, as in a new process."""
    plotly_source.packed.cache_clear()
    yield
    plotly_source.packed.cache_clear()


def kept():
    return list((cache_folder() / "report").glob("*"))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch, unpacked):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


def test_plotly_comes_packed_and_is_what_its_package_has(empty_cache):
    packed = plotly_source.packed()
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert len(packed) < 0.45 * len(get_plotlyjs())
    (path,) = kept()
    assert base64.b64decode(packed) == path.read_bytes()


@pytest.mark.parametrize("damage", [b"", b"no gzip", gzip.compress(b"alert(1)", mtime=0)], ids=str)
def test_what_the_cache_has_is_taken_only_where_it_is_the_same(empty_cache, damage):
    packed = plotly_source.packed()
    (path,) = kept()
    path.write_bytes(damage)
    plotly_source.packed.cache_clear()
    assert plotly_source.packed() == packed
    assert base64.b64decode(packed) == path.read_bytes()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch, unpacked):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "file"))
    assert gzip.decompress(base64.b64decode(plotly_source.packed())).decode() == get_plotlyjs()


def test_plotly_itself_is_not_imported_for_the_page_of_a_run(empty_cache, monkeypatch):
    """All of dltrain that a report needs is imported anew, as in a new process, which would import PyTorch too."""
    log = logging.getLogger("dltrain")
    monkeypatch.setattr(log, "filters", [*log.filters])  # to which the new modules add
    before = dict(sys.modules)
    for name in before:
        if name.partition(".")[0] in ("dltrain", "plotly"):
            del sys.modules[name]
    try:
        importlib.import_module("dltrain.report.run")
        importlib.import_module("dltrain.report.plotly_source").packed()
        assert "dltrain.report.page" in sys.modules and "plotly" not in sys.modules
    finally:
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in ("dltrain", "plotly"):
                del sys.modules[name]
        sys.modules.update(before)
