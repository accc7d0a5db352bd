"""The model of a run: its layers as a table and, where they fit on a page, as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from dltrain import layers
from dltrain.data import Tensors
from dltrain.graph import svg
from dltrain.graph.flow import follow
from dltrain.layer_table import Row, fitting_depth, rows
from dltrain.layers import Layer
from dltrain.models import FittedModel, RuleModel, device_of, notes_of
from dltrain.report.markup import Html, facts, heading, paragraph, table
from dltrain.report.page import Block, Section
from dltrain.report.subject import Subject

_MOST_ROWS = 40

# A picture of more boxes cannot be read on a sheet of paper.
_MOST_BOXES = 40


@dataclass(frozen=True)
class _Known:
    """
    Attributes:
        inputs: two samples, on the model's device.
    """

    model: nn.Module
    tree: Layer
    inputs: Tensors


def section(subject: Subject) -> Section | None:
    known = _known(subject)
    if known is None:
        return None
    cost = layers.total(known.tree)
    blocks: list[Block] = [facts(_facts(known.model, cost))]
    blocks += [paragraph(note, "small") for note in notes_of(known.model)]
    if isinstance(known.model, FittedModel):
        blocks.append(paragraph("It is fitted to all training samples at once, and has no layers."))
        return Section("Model", blocks)
    depth = fitting_depth(known.tree, _MOST_ROWS)
    titles = ["layer", "kind", "output", "parameters", *(["FLOPs"] if cost.flops else [])]
    blocks.append(table(titles, (_cells(row)[: len(titles)] for row in rows(known.tree, depth)), numbers=(3, 4)))
    if len(rows(known.tree, 100)) > len(rows(known.tree, depth)):
        blocks.append(paragraph("Layers inside these are left out; dltrain summary --depth shows them.", "small"))
    title = f"{subject.name_of('model')} for {subject.name_of('data')}: {cost.parameters:,} parameters"
    drawn = _picture(known, title)
    if drawn is not None:
        blocks += [heading("As a picture"), drawn]
    return Section("Model", blocks)


def _known(subject: Subject) -> _Known | None:
    """Returns the trained model or, where that is not to be had, one as the config has it; None where neither is."""
    task = subject.task
    if subject.parts is not None:
        model = subject.parts.model
        inputs = layers.example(subject.parts.data.task.inputs, layers.SAMPLES, device_of(model))
        return _Known(model, layers.layers(model, subject.parts.data.task.inputs, costs=subject.looking.costs), inputs)
    if subject.config is None or task is None:
        return None
    from dltrain import sketch

    drawn = sketch.draw(subject.config, task)
    return _Known(drawn.model, drawn.tree, drawn.inputs)


def _facts(model: nn.Module, cost: layers.Cost) -> Iterator[tuple[str, object]]:
    trained = "" if cost.trained == cost.parameters else f", {cost.trained:,} of them trained"
    if isinstance(model, (FittedModel, RuleModel)):
        trained = ", learned without gradients"
    yield "parameters", f"{cost.parameters:,}{trained}"
    if cost.flops:
        yield "FLOPs of a sample, forward", f"{cost.flops:,}"


def _cells(row: Row) -> list[object]:
    shape = "not used" if row.output is None else " x ".join(map(str, row.output)) or "1"
    output = "" if row.called and row.output is None else shape
    return [row.name, row.kind, output, f"{row.cost.parameters:,}", f"{row.cost.flops:,}" if row.cost.flops else ""]


def _picture(known: _Known, title: str) -> Html | None:
    """Returns the model as deep as can be read; None where even its outermost layers are too many."""
    deepest = max((name.count(".") for name, _ in known.model.named_modules()), default=0) + 1
    for levels in range(deepest, 0, -1):
        graph = follow(known.model, known.inputs, levels)
        if len(graph.boxes) <= _MOST_BOXES:
            return Html(f'<div class="drawing">{svg(graph, title)}</div>')
    return None
