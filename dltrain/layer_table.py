"""The tree of a model's layers as rows: as deep as asked for, and repeated layers as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dltrain.layers import Cost, Layer, total


@dataclass(frozen=True)
class Row:
    """A layer, or several alike, one after another.

    Attributes:
        name: of the layer, or of the first and the last of several.
        kind: class of the layer, with the number of them where there are several.
        output: shape without the batch; None where the layer is not called itself.
        called: whether it, or a layer inside it, is.
        cost: of all of them, with what is inside where that has no rows of its own.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    called: bool
    cost: Cost


def rows(model: Layer, depth: int) -> list[Row]:
    """Returns the layers that are at most so many levels inside the model; deeper ones are part of theirs.

    What a layer has besides those inside it (parameters of its own, a product of its own) gets a row as well, so
    that the rows add up to the model.
    """
    if not model.inner:
        return [Row(model.name or "(model)", model.kind, model.output, model.called, total(model))]
    return list(_inside(model, depth))


def _inside(layer: Layer, depth: int) -> Iterator[Row]:
    alike: list[Layer] = []
    for inner in layer.inner:
        if alike and _look(inner) != _look(alike[0]):
            yield from _of(alike, depth)
            alike = []
        alike.append(inner)
    yield from _of(alike, depth)
    if layer.own != Cost():
        yield Row(layer.name or "(model)", f"{layer.kind} itself", layer.output, layer.called, layer.own)


def _of(alike: list[Layer], depth: int) -> Iterator[Row]:
    """Yields the rows of neighbours that look the same."""
    first, last = alike[0], alike[-1]
    if depth > 1 and first.inner:
        for layer in alike:
            yield from _inside(layer, depth - 1)
        return
    cost = sum((total(layer) for layer in alike[1:]), total(first))
    several = len(alike) > 1
    name = f"{first.name} - {last.name.rpartition('.')[2]}" if several else first.name
    yield Row(name, f"{len(alike)} x {first.kind}" if several else first.kind, first.output, first.called, cost)


def _look(layer: Layer) -> tuple[object, ...]:
    """Returns what two layers have in common that a reader would call the same."""
    own = replace(layer.own, kept=0)  # which of two layers keeps a tensor is a matter of order
    return layer.kind, layer.output, own, tuple(_look(inner) for inner in layer.inner)


def fitting_depth(model: Layer, most: int) -> int:
    """Returns the greatest depth at which there are at most so many rows, and at least 1."""
    depth = 1
    while depth < _deepest(model) and len(rows(model, depth + 1)) <= most:
        depth += 1
    return depth


def _deepest(layer: Layer) -> int:
    return 1 + max((_deepest(inner) for inner in layer.inner), default=-1)
