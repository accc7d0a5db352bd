"""``predictions``: what the model says of some validation samples, and what it writes, as the training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dltrain import generate, registry
from dltrain.album import Album, file_name, is_due, title
from dltrain.callbacks.base import Callback, RunContext
from dltrain.config import Config, setting
from dltrain.data import Batch, Data, Samples, Source
from dltrain.data.text.ragged import RaggedSamples
from dltrain.data.text.tokens import PADDING, TextCodec
from dltrain.errors import CheckpointError, ConfigError
from dltrain.evaluate import apart, outputs_of
from dltrain.generate import Choice
from dltrain.models import device_of
from dltrain.models.seq2seq import Seq2Seq
from dltrain.readable import Entry, Reader, Told, codec_of, table, text_of
from dltrain.text_tables import aligned, markdown

if TYPE_CHECKING:
    from dltrain.losses import Loss
    from dltrain.trainer import Trainer

_WRITING = ("next_token", "seq2seq")

# Where no prompts are given, a language model goes on from the beginnings of so many samples, of so many tokens.
_BEGINNINGS = 4
_BEGINNING_TOKENS = 3


@dataclass(frozen=True)
class PredictionsSettings:
    name: str = setting("Name of the callback.")
    every_epochs: int = setting("Shows them after every so many epochs.", min=1)
    samples: int = setting("How many samples are shown, the same each time, spread over the validation split.", min=1)
    prompts: list[str] = setting(
        "What a model that writes text is given besides; without any, a language model goes on from samples."
    )
    num_tokens: int = setting("Tokens that a language model writes.", min=1)
    beam: int = setting("Texts that the search for the likeliest keeps; 1 takes the likeliest token each time.", min=1)
    temperature: float = setting("0 searches the likeliest text; above, tokens are drawn, the same each time.", min=0)


@registry.register("callbacks", "predictions", PredictionsSettings)
class Predictions(Callback):
    """Shows samples with what is true and what is predicted; of a model that writes, the text that it writes.

    ``predictions/`` in the run folder holds a text file for each time, and a picture where the samples are images;
    TensorBoard has the same.
    """

    settings: PredictionsSettings

    def __init__(self, settings: PredictionsSettings, *, context: RunContext) -> None:
        super().__init__(settings, context=context)
        self._album = Album(context.folder.predictions, context.board)
        self._choice = Choice(settings.beam, settings.temperature, context.config.seed)
        self._prompts: list[list[int]] = []
        self._places: list[int] = []
        self._batch: Batch | None = None

    @classmethod
    def mistakes(
        cls, key: str, settings: Any, *, config: Config, data: Data, model: nn.Module | None, loss: Loss | None
    ) -> list[str]:
        if settings.prompts and data.task.kind not in _WRITING:
            return [
                f"{key}.prompts: this {data.task.kind} data has no model write text. They go with next_token and "
                f"seq2seq data; leave them out, and samples of the data are shown"
            ]
        problems = []
        codec = codec_of(data, "source")
        for prompt in settings.prompts:
            try:
                if codec is not None:
                    generate.read_prompt(codec, prompt, quietly=True)
            except ConfigError as error:
                problems += [f"{key}.prompts: {problem}" for problem in error.problems]
        return problems

    def on_fit_start(self, trainer: Trainer) -> None:
        self._album.begin(trainer, self.settings.every_epochs)
        data = self.context.data
        self._places, chosen = spread(data.validation, self.settings.samples)
        device = device_of(trainer.model)
        self._batch = chosen.map(lambda tensor: tensor.to(device))
        codec = codec_of(data, "source")
        if codec is None or data.task.kind not in _WRITING:
            return
        self._prompts = [generate.read_prompt(codec, prompt) for prompt in self.settings.prompts]
        if not self._prompts and data.task.kind == "next_token":
            self._prompts = list(_beginnings(chosen, codec))

    def on_validation_end(self, trainer: Trainer) -> None:
        if not is_due(trainer, self.settings.every_epochs):
            return
        entries = self._entries(trainer)
        heading = title(trainer)
        self._album.samples(self.context.data, entries, "predictions", heading, trainer)
        text = f"{heading}\n\n{aligned(*table(entries))}"
        written = self._written(trainer)
        if written:
            for before, after in written:
                text += f"\n{_one_line(before)}\n  -> {after.replace(_BREAK, _INDENTED)}\n"
            rows = [list(pair) for pair in written]
            self._album.board.text("generated", markdown(["prompt", "written"], rows), trainer.row["step"])
        self._album.write(f"{file_name(trainer)}.txt", text)

    def _entries(self, trainer: Trainer) -> list[Entry]:
        """Returns the samples with what the model predicts of each; for pairs with the answer that it writes."""
        reader, batch = Reader(self.context.data, trainer.step.loss), self._batch
        assert batch is not None
        with apart(trainer.model):
            outputs = outputs_of(trainer.model, batch.inputs, trainer.autocast)
            entries = reader.entries(self._places, batch, outputs)
            if isinstance(trainer.model, Seq2Seq) and isinstance(batch.inputs, dict):
                rows = batch.inputs["source"].cpu().tolist()
                answers = [self._answer(trainer.model, row, place) for place, row in enumerate(rows)]
                entries = [
                    Entry(entry.place, {"": Told(entry.told[""].true, answer)}, entry.inputs)
                    for entry, answer in zip(entries, answers, strict=True)
                ]
        return entries

    def _written(self, trainer: Trainer) -> list[tuple[str, str]]:
        """Returns each prompt, and what the model writes."""
        codec, model = codec_of(self.context.data, "source"), trainer.model
        if codec is None or not self._prompts:
            return []
        with apart(model):
            if isinstance(model, Seq2Seq):
                answers = [self._answer(model, prompt, place) for place, prompt in enumerate(self._prompts)]
            else:
                answers = [self._go_on(model, codec, prompt, place) for place, prompt in enumerate(self._prompts)]
        return [(text_of(prompt, codec), answer) for prompt, answer in zip(self._prompts, answers, strict=True)]

    def _answer(self, model: Seq2Seq, prompt: list[int], place: int) -> str:
        data = self.context.data
        source, target = codec_of(data, "source"), codec_of(data, "target")
        assert source is not None and target is not None and isinstance(data.task.inputs, dict)
        longest = data.task.inputs["target"].shape[0]
        numbers = [number for number in prompt if number != PADDING]
        try:
            return generate.answered(model, source, target, numbers, longest, self._choice.of_prompt(place))
        except CheckpointError:
            return _NOTHING

    def _go_on(self, model: nn.Module, codec: TextCodec, prompt: list[int], place: int) -> str:
        try:
            choice = self._choice.of_prompt(place)
            return generate.continued(model, codec, prompt, self.settings.num_tokens, choice)
        except CheckpointError:
            return _NOTHING


_BREAK, _INDENTED = "\n", "\n     "


def _one_line(prompt: str) -> str:
    return prompt.replace(_BREAK, " ⏎ ")


# What stands for a text where the model gives no chances any more; the trainer finds that out by itself.
_NOTHING = "(the model gives NaN)"


def spread(source: Source, count: int) -> tuple[list[int], Batch]:
    """Returns places of samples and the samples, as a model sees them, on the CPU.

    They lie evenly from the first to the last, so that data in the order of their classes show all of these; of a
    source that is read from its beginning they are the first.
    """
    places = torch.linspace(0, len(source) - 1, min(count, len(source))).long().unique()
    if isinstance(source, Samples):
        batch = Batch(source.inputs, source.targets).map(lambda tensor: tensor[places])
        return places.tolist(), batch if source.transform is None else source.transform(batch, places, None)
    if isinstance(source, RaggedSamples):
        return places.tolist(), source.take(places).head(len(places))
    head = source.head(count)
    return list(range(head.size)), head


def _beginnings(batch: Batch, codec: TextCodec) -> Iterator[list[int]]:
    """Yields the first tokens of some samples, without an unknown one, that begin with different tokens."""
    assert isinstance(batch.inputs, torch.Tensor)
    seen: set[int] = set()
    for row in batch.inputs.tolist():
        beginning = [number for number in row if number != PADDING][:_BEGINNING_TOKENS]
        if beginning and codec.vocabulary.unknown not in beginning and beginning[0] not in seen:
            seen.add(beginning[0])
            yield beginning
        if len(seen) == _BEGINNINGS:
            return
