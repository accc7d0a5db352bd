"""Texts as the training encoded its own: with a class to find, to be gone on with, or to be answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch

from dltrain.data import Batch, Tensors
from dltrain.data.text.ragged import Bag
from dltrain.data.text.tokenizing import cutter, normalized
from dltrain.data.text.tokens import PADDING, TextCodec
from dltrain.prediction.cell_problems import shortened
from dltrain.prediction.rows import Inputs, Places, Rows
from dltrain.prediction.wanted import NewTable

Use = Literal["class", "next", "answer"]

# What a person calls a token, where it is not called as its kind.
_UNITS = {"bpe": "piece", "jamo": "letter"}

_NOTHING_KNOWN = "the model has seen nothing of it in its training"


class TextInputs(Inputs):
    """The texts of one column."""

    def __init__(self, table: NewTable, column: str, codec: TextCodec, use: Use) -> None:
        """
        Args:
            use: what the model makes of a text: its class, the token after it, or an answer to it.
        """
        self.where, self.columns, self._table = table.where, table.names, table
        self._column, self._codec, self._use = column, codec, use
        self._cut = cutter(codec.kind, codec.tokenizer)
        self._unknown = self._empty = 0  # texts of which the model knows nothing, and those in which nothing stands

    def rows(self, keep: Sequence[str], most: int) -> Iterator[Rows]:
        yield from self._table.rows(list(dict.fromkeys([self._column, *keep])), most)

    def close(self) -> None:
        self._table.close()

    def name_of(self, rows: Rows, place: int) -> str:
        return self._table.name_of(rows.numbers[place])

    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Places, Tensors]]:
        import pyarrow as pa

        texts = [text or "" for text in rows.cells[self._column].cast(pa.string()).to_pylist()]
        places = rows.good
        cut = self._cut([normalized(texts[place]) for place in places])
        numbers: dict[int, list[int]] = {}
        for place, tokens in zip(places.tolist(), cut, strict=True):
            found = self._numbers(tokens)
            self._count(tokens, found)
            if isinstance(found, str):
                rows.problems[place] = found
            else:
                numbers[place] = found
        in_order = np.array(sorted(numbers, key=lambda place: len(numbers[place])), dtype=np.int64)  # little padding
        for first in range(0, len(in_order), size):
            some = in_order[first : first + size]
            yield some, self._tensors([numbers[place] for place in some.tolist()])

    def _numbers(self, tokens: list[str]) -> list[int] | str:
        """Returns the numbers of a text's tokens as the training would cut them off, or why there are none."""
        codec, unknown = self._codec, self._codec.vocabulary.unknown
        numbers = codec.vocabulary.encode(tokens)
        if self._use == "class" and unknown is not None:  # as in training, an empty text is one unknown token
            return numbers[: codec.context] or [unknown]
        if not numbers:
            return "the text is empty"
        if -1 in numbers:
            return f"the model has not seen '{shortened(tokens[numbers.index(-1)])}' in its training"
        if self._use != "class" and all(number == unknown for number in numbers):
            return _NOTHING_KNOWN
        return numbers[-codec.context :] if self._use == "next" else numbers[: codec.context]

    def _count(self, tokens: list[str], found: list[int] | str) -> None:
        """Counts a text that has a class all the same, though there is nothing in it that the class could hang on."""
        if self._use != "class" or isinstance(found, str):
            return
        if not tokens:
            self._empty += 1
        elif all(number == self._codec.vocabulary.unknown for number in found):
            self._unknown += 1

    def _tensors(self, texts: list[list[int]]) -> Tensors:
        codec = self._codec
        is_window = self._use == "next" and codec.form == "windows"
        width = codec.context if is_window else max(map(len, texts))
        padded = torch.full((len(texts), width), PADDING, dtype=torch.int64)
        for row, text in enumerate(texts):
            padded[row, slice(width - len(text), None) if is_window else slice(len(text))] = torch.tensor(text)
        if codec.form in ("multi_hot", "counts"):
            bag = Bag(len(codec.vocabulary) - 2, codec.form == "counts")
            return bag(Batch(padded, padded), torch.arange(len(texts)), None).inputs
        return {"source": padded} if self._use == "answer" else padded

    def notes(self) -> Iterator[str]:
        yield from self._table.notes
        found = []
        if self._unknown:
            has, unit = "has" if self._unknown == 1 else "have", _UNITS.get(self._codec.kind, self._codec.kind)
            found.append(f"{_counted(self._unknown)} {has} no {unit} that the model knows")
        if self._empty:
            found.append(f"{_counted(self._empty)} {'is' if self._empty == 1 else 'are'} empty")
        if found:
            told = " and ".join(found)
            yield f"{told}: what is predicted there hangs on nothing in the text"


def _counted(number: int) -> str:
    return f"{number:,} text{'' if number == 1 else 's'}"


def last_steps(inputs: Tensors, outputs: Tensors) -> Tensors:
    """Returns the outputs (B, K) after the last token of each text, of outputs (B, K) or (B, T, K)."""
    assert isinstance(inputs, torch.Tensor) and isinstance(outputs, torch.Tensor)
    if outputs.dim() == 2:
        return outputs
    lengths = (inputs != PADDING).sum(dim=1).to(outputs.device)
    return outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1]
