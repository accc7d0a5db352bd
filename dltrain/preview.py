"""What a model will see of a data set, as lines of text: its first samples, and what its targets are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from rich.cells import cell_len

from dltrain.console import number
from dltrain.data import IGNORED, Batch, Data, InputSpec, Source, Task, Tensors
from dltrain.preview_features import Feature, features_of, unscaled

# More classes, features or tokens than this are not all shown.
MOST_CLASSES = 20
MOST_FEATURES = 60
MOST_TOKENS = 40
MOST_STEPS = 8

# Samples of a source that cannot be asked for all its targets at once.
_COUNTED = 1000


def lines(data: Data, split: str, count: int) -> Iterator[str]:
    """Yields what there is to say about the inputs, the targets and the first ``count`` samples of a split."""
    batch = data.splits[split].head(count)
    targets = [
        (name or "target", list(_target_texts(data, name, tensor, task)))
        for name, tensor, task in targets_of(data.task, batch.targets)
    ]
    if batch.weights is not None:
        targets.append(("weight in the loss", [number(weight) for weight in batch.weights.tolist()]))
    yield ""
    yield f"the first {batch.size} of {split}, as a model gets them:"
    inputs = list(inputs_of(data.task, batch))
    for place, (name, tensor, spec) in enumerate(inputs, 1):
        shown = targets if place == len(inputs) else []
        yield f"  {name or 'inputs'}: {spec.dtype} {'x'.join(map(str, spec.shape))}{_vocabulary_note(spec)}"
        yield from (f"  {line}" for line in _sample_lines(data, name, tensor, spec, shown))
    for name, _, task in targets_of(data.task, batch.targets):
        yield ""
        yield from _summary(data, name, task)


def inputs_of(task: Task, batch: Batch) -> Iterator[tuple[str, torch.Tensor, InputSpec]]:
    if isinstance(batch.inputs, dict):
        specs = task.inputs if isinstance(task.inputs, dict) else {}
        for name, tensor in batch.inputs.items():
            yield name, tensor, specs.get(name) or InputSpec(tuple(tensor.shape[1:]))
    else:
        yield "", batch.inputs, task.input


def targets_of(task: Task, targets: Tensors) -> Iterator[tuple[str, torch.Tensor, Task]]:
    if isinstance(targets, dict):
        yield from ((name, tensor, task.heads.get(name, task)) for name, tensor in targets.items())
    else:
        yield "", targets, task


def _vocabulary_note(spec: InputSpec) -> str:
    return "" if spec.vocabulary_size is None else f", {spec.vocabulary_size:,} tokens with the padding"


# --- inputs -----------------------------------------------------------------------------------------------


def _sample_lines(
    data: Data, name: str, inputs: torch.Tensor, spec: InputSpec, targets: list[tuple[str, list[str]]]
) -> Iterator[str]:
    """Yields the samples of one input, and with them their targets: a column each of a table, else a line each."""
    pieces = _pieces(data, name)
    if inputs.dim() == 2 and spec.dtype == "int64":
        texts = [_tokens(row, pieces) for row in inputs.tolist()]
    elif inputs.dim() == 2 and len(pieces) > inputs.shape[1]:  # a place for each token but padding and the unknown
        texts = [_bag(row, pieces[1:]) for row in inputs.tolist()]
    elif inputs.dim() == 2:
        below = [[f"-> {title}", *texts] for title, texts in targets]
        yield from _columns(features_of(data, name, inputs.shape[1]), inputs, below)
        return
    elif inputs.dim() == 3:
        texts = [_steps(row) for row in inputs]
    else:
        texts = [f"{number(float(row.min()))} to {number(float(row.max()))}" for row in inputs.float()]
    for place, text in enumerate(texts):
        named = ", ".join(f"{title} {shown[place]}" for title, shown in targets)
        yield f"{place + 1}  {text}" + (f"  -> {named}" if named else "")


def _tokens(row: list[int], pieces: Sequence[str]) -> str:
    """Returns a row of token numbers with their pieces; the padding is only counted."""
    kept = [token for token in row if token != 0]
    shown = [f"{_piece(token, pieces)}({token})" for token in kept[:MOST_TOKENS]]
    more = f" and {len(kept) - MOST_TOKENS} more" if len(kept) > MOST_TOKENS else ""
    padding = f"  + {len(row) - len(kept)} padding" if len(kept) < len(row) else ""
    return " ".join(shown) + more + padding


def _bag(row: list[float], pieces: Sequence[str]) -> str:
    """Returns the tokens of a text whose order is not kept, with how often each one occurs."""
    found = [f"{_piece(token, pieces)} {value:g}" for token, value in enumerate(row) if value]
    more = f" and {len(found) - MOST_TOKENS} more" if len(found) > MOST_TOKENS else ""
    return ", ".join(found[:MOST_TOKENS]) + more


def _piece(token: int, pieces: Sequence[str]) -> str:
    """Returns what a token stands for; a space is made visible."""
    piece = pieces[token] if 0 <= token < len(pieces) else "?"
    return {" ": "␣", "\n": "⏎"}.get(piece, piece)


def _pieces(data: Data, name: str) -> Sequence[str]:
    """Returns the piece of each token number, from what the data keeps of its text."""
    codec: Any = data.preprocessing
    for key in (name, "text", "codec"):
        if isinstance(codec, dict) and isinstance(codec.get(key), dict):
            codec = codec[key]
    vocabulary = codec.get("vocabulary") if isinstance(codec, dict) else None
    return ["<pad>", *vocabulary] if isinstance(vocabulary, list) else []


def _columns(features: list[Feature], inputs: torch.Tensor, below: list[list[str]]) -> Iterator[str]:
    """Yields a line for each feature with each sample's value, before scaling too where that is known."""
    shown = features[:MOST_FEATURES]
    rows = [
        [feature.name, *map(feature.text, inputs[:, place].double().tolist())] for place, feature in enumerate(shown)
    ]
    yield from aligned([*rows, *below])
    if len(shown) < len(features):
        yield f"and {len(features) - len(shown)} more features"
    if any(feature.is_scaled for feature in shown):
        yield "(in brackets: before scaling)"


def _steps(series: torch.Tensor) -> str:
    """Returns the last steps of a (T, D) series, which are nearest to what is predicted."""
    steps = [number(float(step[0])) if len(step) == 1 else _numbers(step) for step in series[-MOST_STEPS:]]
    return ("... " if len(series) > MOST_STEPS else "") + "  ".join(steps)


def _numbers(values: torch.Tensor) -> str:
    shown = " ".join(number(float(value)) for value in values[:MOST_STEPS])
    return f"[{shown}{' ...' if len(values) > MOST_STEPS else ''}]"


# --- targets ----------------------------------------------------------------------------------------------


def _target_texts(data: Data, name: str, targets: torch.Tensor, task: Task) -> Iterator[str]:
    """Yields the target of each sample."""
    for row in targets:
        if task.kind == "regression":
            yield _values(row.flatten(), task)
        elif task.kind == "multilabel":
            yield ", ".join(_class(place, task) for place in torch.nonzero(row).flatten().tolist()) or "none"
        elif row.dim() == 1 and task.kind != "binary":  # a target at each step
            pieces = task.class_names or _pieces(data, name or "target")
            yield _tokens([token for token in row.tolist() if token != IGNORED], pieces)
        else:
            yield _class(int(row.item()), task)


def _values(row: torch.Tensor, task: Task) -> str:
    """Returns the values of one regression target, and what they are in its own unit."""
    seen = _numbers(row) if len(row) > 1 else number(float(row))
    if len(task.target_scale) != len(row):
        return seen
    triples = list(zip(row.double().tolist(), task.target_shift, task.target_scale, strict=True))
    more = " ..." if len(triples) > MOST_STEPS else ""
    return f"{seen} ({' '.join(unscaled(*triple) for triple in triples[:MOST_STEPS])}{more})"


def _class(place: int, task: Task) -> str:
    return task.class_names[place] if place < len(task.class_names) else str(place)


# --- the targets of all samples ---------------------------------------------------------------------------


def _summary(data: Data, name: str, task: Task) -> Iterator[str]:
    """Yields how often each class occurs in each split, or how large the values are."""
    splits = data.splits
    if data.evaluates_training_data:
        splits = {split: source for split, source in splits.items() if split != "validation"}
    known = {split: _all_targets(source, name) for split, source in splits.items()}
    title = f"{name}: " if name else ""
    counted = {
        split: f"{split} (first {len(targets):,})" if part else split for split, (targets, part) in known.items()
    }
    if task.kind == "regression":
        yield f"{title}target, in its own unit"
        header = ["", "min", "mean", "max", "deviation"]
        rows = [[counted[split], *_range(targets, task)] for split, (targets, _) in known.items()]
        yield from (f"  {line}" for line in aligned([header, *rows]))
        return
    counts = {split: _class_counts(targets, task) for split, (targets, _) in known.items()}
    total: Counter[int] = sum(counts.values(), Counter())
    places = sorted(total) if len(total) <= MOST_CLASSES else [place for place, _ in total.most_common(MOST_CLASSES)]
    what = "token" if task.kind in ("next_token", "seq2seq") else "class"
    yield f"{title}{what} counts" + (
        f", the {MOST_CLASSES} most frequent of {len(total):,}" if len(total) > len(places) else ""
    )
    pieces = task.class_names or _pieces(data, name or "target")
    names = [_piece(place, pieces) if pieces else str(place) for place in places]
    rows = [
        [shown, *(f"{counts[split][place]:,}" for split in known)] for shown, place in zip(names, places, strict=True)
    ]
    yield from (f"  {line}" for line in aligned([["", *counted.values()], *rows]))


def _all_targets(source: Source, name: str) -> tuple[torch.Tensor, bool]:
    """Returns the targets of all samples, or (and True) of the first ones where a source gives no more at once."""
    targets: Any = getattr(source, "targets", None)
    if isinstance(targets, dict):
        targets = targets.get(name)
    if isinstance(targets, torch.Tensor):
        return targets, False
    head = source.head(_COUNTED).targets
    return (head[name] if isinstance(head, dict) else head), len(source) > _COUNTED


def _class_counts(targets: torch.Tensor, task: Task) -> Counter[int]:
    if task.kind == "multilabel":
        return Counter({place: int(count) for place, count in enumerate(targets.sum(dim=0).tolist())})
    flat = targets.flatten().long()
    if flat.numel() and task.kind in ("next_token", "seq2seq"):
        flat = flat[flat > 0]  # neither padding nor steps without a target
    places, counts = flat[flat != IGNORED].unique(return_counts=True)
    return Counter(dict(zip(places.tolist(), counts.tolist(), strict=True)))


def _range(targets: torch.Tensor, task: Task) -> list[str]:
    """Returns the least, mean, largest value and the deviation, over all outputs."""
    values = targets.reshape(len(targets), -1).double()
    scale = torch.ones(values.shape[1]).double()
    if len(task.target_scale) == values.shape[1]:
        scale = torch.tensor(task.target_scale).double()
        values = values * scale + torch.tensor(task.target_shift).double()
    if not values.numel():
        return ["", "", "", ""]
    figures = (values.min(), values.mean(), values.max(), values.std(correction=0))
    return [unscaled(float(figure / scale[0]), 0, float(scale[0])) for figure in figures]


def aligned(rows: list[list[str]]) -> Iterator[str]:
    """Yields rows of cells as lines: the first cell to the left, the others to the right, two places between them."""
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        first, *rest = zip(row, cells, strict=True)
        yield ("".join(first) + "".join(f"  {space}{cell}" for cell, space in rest)).rstrip()
