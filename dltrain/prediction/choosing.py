"""Which family of inputs a run takes, from what its data set keeps, and what answers them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data import InputSpec, Tensors
from dltrain.data.images.decoding import Form
from dltrain.data.tables.content import open_table
from dltrain.data.tables.preprocessing import TablePreprocessing
from dltrain.data.tables.sniffing import Format
from dltrain.data.text.tokens import TextCodec
from dltrain.errors import ConfigError, DataError
from dltrain.models.seq2seq import Seq2Seq
from dltrain.prediction.answering import answers
from dltrain.prediction.answers import PREDICTION, Answers
from dltrain.prediction.image_files import ImageSource, image_source, lists_images
from dltrain.prediction.inputs_image import ImageInputs, Scaling, by_channel, by_pixel
from dltrain.prediction.inputs_series import SeriesForm, SeriesInputs
from dltrain.prediction.inputs_table import TableInputs, names_of_numbers, of_numbers, of_streamed, plain_name
from dltrain.prediction.inputs_text import TextInputs, Use, last_steps
from dltrain.prediction.model import Trained
from dltrain.prediction.options import Family, Reading, refuse_probabilities
from dltrain.prediction.predictor import Answerer
from dltrain.prediction.rows import Columns, Inputs
from dltrain.prediction.tables import open_new_table
from dltrain.prediction.texts import open_texts
from dltrain.prediction.wanted import ANY_FORMAT, EMPTY_WORDS, NewTable, Wanted

# The highest grey value of ``digits``.
_DIGITS_HIGHEST = 16.0


class Takes:
    """What a run takes.

    Attributes:
        family: of inputs.
        names: of its outputs where it predicts several values.
    """

    def __init__(self, trained: Trained) -> None:
        """
        Raises:
            CheckpointError: ``task.json`` is damaged.
            ConfigError: the data set keeps nothing of how inputs are made.
        """
        self.trained, self._settings = trained, trained.config.data
        self.family: Family = _family(trained)
        self.names: Sequence[str] = ()
        if self.family == "series":
            has_values = trained.task.kind == "regression"
            self.series: SeriesForm = trained.keeping(
                lambda kept: SeriesForm.of(kept, self._settings, has_values=has_values)
            )
            self.names = self.series.names

    # --- tables -------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> Wanted:
        """What is looked for in a table."""
        if self.family == "series":
            return Wanted(self.series.needed)
        names = list(self.preprocessing.features)
        if "table" in self.trained.kept or "numbers" in self.trained.kept:
            return Wanted(names)
        return Wanted(names, by_place=True, alias=lambda name: plain_name(name, names))

    @functools.cached_property
    def preprocessing(self) -> TablePreprocessing:
        def read(kept: dict[str, Any]) -> TablePreprocessing:
            if "table" in kept:
                found = TablePreprocessing.from_dict(kept["table"])
            elif "numbers" in kept:
                found = of_streamed(kept)
            else:
                found = of_numbers(kept, names_of_numbers(self._settings, self._spec))
            for feature in found.features.values():
                float(feature.shift), float(feature.scale), float(feature.fill or 0)  # which damaged ones are not
            return found

        found: TablePreprocessing = self.trained.keeping(read)
        return found

    @property
    def _spec(self) -> InputSpec:
        return self.trained.task.input

    def of_table(self, table: NewTable) -> Inputs:
        if self.family == "series":
            return SeriesInputs(table, self.series)
        kept = self.trained.kept
        shape = None if "table" in kept or len(self._spec.shape) == 1 else self._spec.shape
        return TableInputs(
            table,
            self.preprocessing,
            empty_words=tuple(getattr(self._settings, "empty_words", EMPTY_WORDS)),
            decimal=kept.get("decimal"),
            one_hot_of_all=bool(kept.get("one_hot")),
            shape=shape,
        )

    # --- images -------------------------------------------------------------------------------------------

    def of_images(self, source: ImageSource, *, invert: bool = False) -> Inputs:
        channels, height, width = self._spec.shape
        how = str(self.trained.kept.get("resize") or getattr(self._settings, "resize", "stretch"))
        scaling, mean = self._scaling()
        return ImageInputs(source, Form(channels, (height, width), how), scaling, mean=mean, invert=invert)

    def _scaling(self) -> tuple[Scaling, float | None]:
        """Returns what scales images, and the mean of the training's bytes where that is known."""

        def read(kept: dict[str, Any]) -> tuple[Scaling, float | None]:
            shift, scale = [float(value) for value in kept["shift"]], [float(value) for value in kept["scale"]]
            if len(shift) == self._spec.shape[0]:
                return by_channel(shift, scale), float(np.mean(shift)) if any(shift) else None
            mean = float(np.mean(shift)) * 255 / _DIGITS_HIGHEST
            return by_pixel(shift, scale, _DIGITS_HIGHEST), mean if any(shift) else None

        found: tuple[Scaling, float | None] = self.trained.keeping(read)
        return found

    # --- texts --------------------------------------------------------------------------------------------

    @property
    def text_column(self) -> str:
        """The column with the texts, as the training had it."""
        return str(self.trained.kept.get("text") or getattr(self._settings, "source", "text"))

    def of_texts(self, table: NewTable, column: str) -> Inputs:
        kinds: dict[str, Use] = {"next_token": "next", "seq2seq": "answer"}
        use = kinds.get(self.trained.task.kind, "class")
        codec = self.trained.keeping(lambda kept: TextCodec.from_dict(kept["source"] if use == "answer" else kept))
        return TextInputs(table, column, codec, use)

    # --- all ----------------------------------------------------------------------------------------------

    def opened(self, path: Path | None, reading: Reading) -> Inputs:
        """Opens new inputs.

        Args:
            path: None is standard input.

        Raises:
            DataError: they are not there, or not of the kind that the run takes.
            ConfigError: they cannot be read as is told.
        """
        settings = self._settings
        reading.check(self.family, path)
        if self.family == "images" and not (self.is_digits and _is_table(path)):
            return self.of_images(image_source(path, reading.column), invert=reading.invert)
        if self.family == "texts":
            return self._texts_of(path, reading)
        if self.is_digits and path is not None and lists_images(path, reading.column):
            return self.of_images(image_source(path, reading.column), invert=reading.invert)
        if self.is_digits and (reading.invert or reading.column):
            option = "--invert" if reading.invert else f"--column {reading.column}"
            source = "standard input" if path is None else str(path)
            raise ConfigError(
                f"{option}: {source} is no list of images but a table of pixels, which is taken as it stands. Leave "
                f"out {option.partition(' ')[0]}"
            )
        form = settings.format if hasattr(settings, "format") else ANY_FORMAT
        if self.family == "series":
            form = Format(settings.delimiter, settings.encoding, "auto", settings.decimal, self.series.empty_words)
        return self.of_table(open_new_table(path, self.wanted, reading.form(form)))

    def _texts_of(self, path: Path | None, reading: Reading) -> Inputs:
        if path is not None and not path.is_fifo():
            _refuse_missing(path)
        settings, own = self._settings, self.text_column
        encoding, delimiter = (str(getattr(settings, name, "auto")) for name in ("encoding", "delimiter"))
        form = reading.form(Format(delimiter, encoding, "auto", "auto", ()))
        quoting = bool(getattr(settings, "quoting", settings.name != "nsmc"))
        if reading.column is not None:
            wanted = Wanted([reading.column], quoting=quoting, option="--column")
        else:
            hint = ". Where the texts stand in another column, name it with --column"
            wanted = Wanted([own], quoting=quoting, hint=hint)
        is_table = reading.column is not None or "delimiter" in form.given
        return self.of_texts(*open_texts(path, wanted, form, as_lines=reading.as_lines, is_table=is_table))

    @property
    def is_digits(self) -> bool:
        """Tells whether each pixel has a scaling of its own: then a table of pixels will do as well as images."""
        return self.family == "images" and len(self.trained.kept.get("shift") or ()) > self._spec.shape[0]

    def answerer(self, show_all: bool | None) -> Answerer:
        """Returns what answers batches of these inputs.

        Args:
            show_all: the probabilities of all classes; None shows them where the classes are few.

        Raises:
            ConfigError: the model cannot answer texts, or has no probabilities that could be shown.
        """
        trained = self.trained
        if trained.task.kind == "seq2seq":
            if show_all:
                raise refuse_probabilities("texts")
            return _writing(trained)
        told = Answers(trained.task, trained.loss, names=self.names, show_all=show_all)
        if show_all and not told.has_probabilities:
            raise refuse_probabilities(told.kind)

        def answer(inputs: Tensors) -> Columns:
            outputs = trained.outputs(inputs)
            return told.of(last_steps(inputs, outputs) if trained.task.kind == "next_token" else outputs)

        return Answerer(told.columns, answer)


def _refuse_missing(path: Path) -> None:
    """
    Raises:
        DataError: there is no such file, so that it may be meant for a text.
    """
    if path.exists() or path.is_symlink():
        return
    try:
        open_table(path, str(path))[0].close()
    except DataError as error:
        raise DataError(
            f"{error} A text itself is given through a pipe: echo 'TEXT' | dltrain predict RUN -"
        ) from error


def _is_table(path: Path | None) -> bool:
    return path is None or path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet", ".txt"))


def _family(trained: Trained) -> Family:
    kept, inputs = trained.kept, trained.task.inputs
    if "table" in kept or "numbers" in kept:
        return "table"
    if "window" in kept and "columns" in kept:
        return "series"
    if "vocabulary" in kept or (trained.task.kind == "seq2seq" and "source" in kept):
        return "texts"
    if not isinstance(inputs, dict) and inputs.vocabulary_size is None:
        count, shift = int(np.prod(inputs.shape)), kept.get("shift")
        scaled = len(shift) if isinstance(shift, list) else None
        if len(inputs.shape) == 3 and inputs.shape[0] in (1, 3) and scaled in (inputs.shape[0], count):
            return "images"
        if scaled in (None, count):
            return "table"
    raise ConfigError(
        f"{trained.folder.path}: its data={trained.config.data.name} keeps nothing of how inputs are made for the "
        "model, so new ones cannot be. --split test predicts its own"
    )


def _writing(trained: Trained) -> Answerer:
    model, task = trained.model, trained.task
    if not isinstance(model, Seq2Seq):
        raise ConfigError(
            f"{trained.folder.path} is a run of model={trained.config.model.name}, and only seq2seq answers new texts"
        )
    assert isinstance(task.inputs, dict)
    longest = task.inputs["target"].shape[0]
    target: TextCodec = trained.keeping(lambda kept: TextCodec.from_dict(kept["target"]))

    def answer(inputs: Tensors) -> Columns:
        assert isinstance(inputs, dict)
        found = answers(model, inputs["source"].to(trained.device), target, longest)
        return {PREDICTION: np.array([*found, None], dtype=object)[:-1]}

    return Answerer({PREDICTION: False}, answer)
