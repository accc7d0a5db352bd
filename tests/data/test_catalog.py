"""The table of data sets is whole, and says of the files what their publishers say."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import pytest
import realdata

from dltrain import config_files
from dltrain.catalog import DATASETS, find
from dltrain.errors import ConfigError

FILES = [(d.name, file) for d in DATASETS.values() for choice in d.choices for file in choice]


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_an_entry_says_all_that_a_person_wants_to_know(dataset):
    assert find(dataset.name) is dataset
    assert dataset.task and dataset.shape and dataset.rights
    assert (dataset.origin == "files") == bool(dataset.choices)
    assert dataset.homepage.startswith("https://") or dataset.origin == "made" or dataset.rights == "not public"
    assert dataset.can_download or not dataset.choices or dataset.holds


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_every_entry_is_a_data_set_that_can_be_trained_on(dataset):
    assert {dataset.name, *dataset.also} <= set(config_files.options("data", []))


@pytest.mark.parametrize(("dataset", "file"), FILES)
def test_what_can_be_downloaded_has_a_size_and_a_hash(dataset, file):
    assert bool(file.urls) == bool(file.hash) == bool(file.size)
    if file.urls:
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.hash)
        assert all(re.match(r"https?://[\w.-]+/", url) for url in file.urls)


def test_names_of_files_are_their_own():
    for dataset in DATASETS.values():
        names = [file.name for choice in dataset.choices for file in choice]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("dataset", "place"),
    [
        ("california_housing", "tabular/california_housing.csv"),
        ("chatbot", "korean/ChatbotData.csv"),
        ("sf_temps", "series/sf_temps.csv"),
    ],
)
def test_hashes_of_real_files(dataset, place):
    content = realdata.need(place).read_bytes()
    (file,) = (file for name, file in FILES if name == dataset and place.endswith(file.name))
    algorithm, _, expected = file.hash.partition(":")
    assert len(content) == file.size
    assert hashlib.new(algorithm, content).hexdigest() == expected


def test_an_unknown_name():
    with pytest.raises(ConfigError, match=r"^no data set named 'nmsc'. Did you mean 'nsmc'\?$"):
        find("nmsc")


def test_the_table_is_there_without_anything_heavy():
    heavy = "('torch', 'numpy', 'pooch', 'rich')"
    code = f"import sys, dltrain.catalog, dltrain.files; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
