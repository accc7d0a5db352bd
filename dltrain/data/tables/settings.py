"""The settings of tables, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass

from dltrain.config import setting
from dltrain.data.splitting import SplitSettings
from dltrain.data.tables.content import ENCODINGS
from dltrain.data.tables.kinds import CHOICES
from dltrain.data.tables.sniffing import DELIMITER_NAMES, Format
from dltrain.data.tables.spelling import composed
from dltrain.errors import did_you_mean


@dataclass(frozen=True)
class TableSettings(SplitSettings):
    """Fields in the order in which a table is read, understood, prepared and dealt out."""

    path: str | None = setting("The table: CSV, TSV, either packed with gzip, or Parquet.", path=True)
    root: str | None = setting("Folder in which a preset's file lies; null looks in the known places.", path=True)
    validation_path: str | None = setting(
        "A table of the same columns to evaluate on while training; null takes a share of path.", path=True
    )
    test_path: str | None = setting("A table of the same columns for the test; null takes a share of path.", path=True)
    delimiter: str = setting("What stands between cells: one character, tab, space, or auto.")
    encoding: str = setting("Encoding of the text; auto finds UTF-8, UTF-16 with a mark, and CP949.", choices=ENCODINGS)
    header: bool | str = setting("Whether the first row holds the columns' names: true, false or auto.")
    decimal: str = setting("The decimal mark of numbers; auto finds it.", choices=("auto", ".", ","))
    empty_words: list[str] = setting("Texts that mean an empty cell.")
    target: str | int | list[str | int] | None = setting(
        "The column to predict, by name or by place (0 the first, -1 the last); a list of several gives heads."
    )
    task: str = setting(
        "What the target is: classification, regression, or auto: text and few different whole numbers are classes.",
        choices=("auto", "classification", "regression"),
    )
    target_scaling: str = setting(
        "standard lets the model learn numbers of mean 0 and deviation 1 (errors are told in the target's own unit "
        "all the same), none the numbers themselves.",
        choices=("standard", "none"),
    )
    columns: dict[str, str] = setting(
        f"What single columns are, where it is not found right: {', '.join(CHOICES)}; the last three leave one out."
    )
    inputs: dict[str, list[str]] | None = setting(
        "Columns for each named input of a model that takes several, such as {wide: [a, b], deep: [c]}; null gives "
        "one input of all."
    )
    scaling: str = setting(
        "Numbers: none keeps them, standard gives mean 0 and deviation 1, minmax maps to 0 to 1; learned from the "
        "training rows.",
        choices=("none", "standard", "minmax"),
    )
    categories: str = setting(
        "Categories: one_hot gives a number 0 or 1 for each, embedding leaves codes for the model to embed.",
        choices=("one_hot", "embedding"),
    )
    max_categories: int = setting("A column of more different texts than this is left out as free text.", min=1)
    min_category_count: int = setting(
        "Categories of fewer training rows are 'other', as those are that training has not seen.", min=1
    )
    empty: str = setting(
        "Empty cells of numbers: filled by the mean, median, most_frequent or a constant (empty_value), or their "
        "rows are dropped, or they are an error; drop and error hold for every column.",
        choices=("mean", "median", "most_frequent", "constant", "drop", "error"),
    )
    empty_value: float | None = setting("What fills an empty cell with empty=constant.")
    empty_category: str = setting(
        "Empty cells of categories: other, or the most_frequent category.", choices=("other", "most_frequent")
    )
    class_weights: str | None = setting(
        "balanced lets rare classes count as much in the loss as frequent ones; null counts each row the same.",
        choices=("balanced",),
    )
    sampling: str = setting(
        "natural takes each training row once an epoch, balanced draws each class equally often.",
        choices=("natural", "balanced"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("target", "columns", "inputs"):  # names of columns, as the readers give them
            object.__setattr__(self, field, composed(getattr(self, field)))
        for name, kind in self.columns.items():
            if kind not in CHOICES:
                raise ValueError(f"columns.{name} = '{kind}': must be one of {', '.join(CHOICES)}")
        if self.delimiter != "auto" and self.delimiter not in DELIMITER_NAMES and len(self.delimiter) != 1:
            raise ValueError(f"delimiter = '{self.delimiter}': must be one character, tab, space or auto")
        if self.delimiter in ('"', "\n", "\r", "\0") or not self.delimiter.isascii():
            raise ValueError(f"delimiter = {self.delimiter!r}: must be an ASCII character that cells cannot hold")
        if isinstance(self.header, str) and self.header != "auto":
            hint = did_you_mean(self.header, ("auto", "true", "false")).partition(" There is:")[0]
            raise ValueError(f"header = '{self.header}': must be true, false or auto.{hint}")
        if self.empty == "constant" and self.empty_value is None:
            raise ValueError("empty = 'constant': give empty_value")
        if self.folds is not None and self.test_path is not None:
            raise ValueError("folds and test_path: a fold is its own test, so give only one of them")
        if self.class_weights is not None and self.sampling == "balanced":
            raise ValueError("class_weights and sampling are both balanced: each alone is enough, so give one of them")

    @property
    def format(self) -> Format:
        """How the files are written."""
        header = self.header if isinstance(self.header, str) else str(self.header).lower()
        return Format(self.delimiter, self.encoding, header, self.decimal, tuple(self.empty_words))
