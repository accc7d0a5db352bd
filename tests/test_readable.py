"""What is told of samples in words."""

from __future__ import annotations

import pytest

from dltrain.data import IGNORED
from dltrain.data.text.tokens import END, START, UNKNOWN, TextCodec, Vocabulary
from dltrain.readable import text_of, with_unknown


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([3, IGNORED, 2, IGNORED, IGNORED], "집에 <unk>"),
        ([IGNORED, IGNORED, 2], "<unk> <unk>"),
        ([IGNORED, IGNORED], ""),
        ([3, 4, 2], "집에 가요"),
    ],
)
def test_words_of_a_true_answer_that_the_model_cannot_say_are_shown_as_unknown(answer, told):
    codec = TextCodec("word", Vocabulary((START, END, "집에", "가요", UNKNOWN)), 5)
    assert text_of(with_unknown(answer, codec), codec) == told
