"""Pairs of texts: what the encoder and the decoder read, and what the decoder is to give."""

from __future__ import annotations

from typing import Any

import pytest
import realdata
import torch

from dltrain import registry
from dltrain.data import IGNORED, Data
from dltrain.data.text.tokens import END, START, UNKNOWN, TextCodec, join

ROWS = "source,target\na b,x y z\nb,x\na,\na c c,y\n"


@pytest.fixture
def load(settings_of, tmp_path):
    def build(content: str = ROWS, **changes: Any) -> Data:
        path = tmp_path / "pairs.csv"
        path.write_text(content, encoding="utf-8")
        changes = {"validation_fraction": 0, "test_fraction": 0, "path": str(path), **changes}
        return registry.build("data", settings_of("data", "pairs_csv", **changes))

    return build


def test_pairs_become_what_an_encoder_and_a_decoder_need(load):
    data = load()
    assert data.task.kind == "seq2seq" and data.task.per_step
    source, target = data.task.inputs["source"], data.task.inputs["target"]
    assert data.preprocessing["source"]["vocabulary"] == [START, END, "a", "b", "c", UNKNOWN]
    assert data.task.class_names == ("<pad>", START, END, "x", "y", "z", UNKNOWN)
    assert (source.shape, source.vocabulary_size, source.padding) == ((3,), 7, "right")
    assert (target.shape, target.vocabulary_size, target.padding) == ((4,), 7, "right")
    assert data.task.output_size == 7
    batch = data.train.head(9)
    assert batch.inputs["source"].tolist() == [[3, 4, 0], [4, 0, 0], [3, 5, 5]]
    assert batch.inputs["target"].tolist() == [[1, 3, 4, 5], [1, 3, 0, 0], [1, 4, 0, 0]]
    assert batch.targets.tolist() == [[3, 4, 5, 2], [3, 2, IGNORED, IGNORED], [4, 2, IGNORED, IGNORED]]
    assert data.notes[0] == "1 of 4 pairs are left out: a text of theirs is empty"


def test_what_is_long_is_cut_and_still_ends(load):
    data = load(max_length=1)
    batch = data.train.head(1)
    assert batch.inputs["source"].tolist() == [[3]]
    assert batch.inputs["target"].tolist() == [[1, 3]] and batch.targets.tolist() == [[3, 2]]
    assert data.notes[1:3] == (
        "column source: 2 of 4 texts are cut to their first 1 tokens",
        "column target: 1 of 4 texts are cut to their first 1 tokens",
    )


def test_an_unknown_token_is_read_but_never_a_target(load):
    data = load(min_count=2)
    assert data.task.class_names == ("<pad>", START, END, "x", "y", UNKNOWN)
    batch = data.train.head(1)
    assert batch.inputs["target"].tolist() == [[1, 3, 4, 5]]
    assert batch.targets.tolist() == [[3, 4, IGNORED, 2]]


def test_an_empty_vocabulary_is_named(load):
    from dltrain.errors import DataError

    with pytest.raises(DataError) as caught:
        load(min_count=3)
    assert str(caught.value) == (
        "pairs.csv, column source: no token appears 3 times in the training texts, so the vocabulary is empty. "
        "Lower data.min_count=3"
    )


def test_the_vocabularies_are_those_of_the_training_pairs(load):
    content = "source,target\n" + "".join(f"s{number},t{number}\n" for number in range(50))
    data = load(content, validation_fraction=0.2, test_fraction=0.2)
    assert [len(source) for source in data.splits.values()] == [30, 10, 10]
    assert len(data.preprocessing["source"]["vocabulary"]) == 33
    unknown = len(data.preprocessing["source"]["vocabulary"])
    assert set(data.test.head(10).inputs["source"].flatten().tolist()) == {unknown}


@pytest.mark.parametrize("tokens", ["word", "syllable", "jamo", "bpe"])
def test_real_questions_and_answers_come_back_as_text(settings_of, tokens):
    path = realdata.need("korean/ChatbotData.csv")
    size = {"vocabulary_size": 2000} if tokens == "bpe" else {"vocabulary_size": None}
    settings = settings_of("data", "pairs_csv", path=str(path), source="Q", target="A", tokens=tokens, **size)
    data = registry.build("data", settings)
    assert [len(source) for source in data.splits.values()] == [9459, 1182, 1182]
    batch = data.train.head(3)
    for name, row, text in (
        ("source", batch.inputs["source"][0], "12시 땡!"),
        ("target", batch.inputs["target"][0][1:], "하루가 또 가네요."),
    ):
        codec = TextCodec.from_dict(data.preprocessing[name])
        assert join(codec.vocabulary.decode(row.tolist()), tokens) == text


def test_every_pair_stays_a_pair_in_shuffled_batches(load):
    content = "source,target\n" + "".join(f"s{n} {'a ' * (n % 5)},t{n} {'b ' * (n % 7)}\n" for n in range(40))
    data = load(content)
    codecs = {name: TextCodec.from_dict(data.preprocessing[name]).vocabulary for name in ("source", "target")}
    seen = []
    for batch in data.train.split(batch_size=8, seed=0, device=torch.device("cpu")).batches(0):
        for source, target in zip(batch.inputs["source"].tolist(), batch.targets.tolist(), strict=True):
            words = codecs["source"].decode(source)
            written = codecs["target"].decode([number for number in target if number != IGNORED])
            assert written[-1] == END and words[0][1:] == written[0][1:]
            seen.append(int(words[0][1:]))
    assert sorted(seen) == list(range(40))


def test_the_chatbot_is_found_by_its_name(settings_of, monkeypatch):
    realdata.need("korean/ChatbotData.csv")
    data = registry.build("data", settings_of("data", "chatbot", root=str(realdata.folder() / "korean")))
    assert data.task.kind == "seq2seq" and len(data.train) == 9459
