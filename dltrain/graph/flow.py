"""How samples flow through a model: its layers and functions as boxes, and which of them gives what to which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from dltrain.data import Tensors
from dltrain.layers import as_it_was, watched
from dltrain.models import FittedModel, RuleModel, WithAuxiliary, count_parameters


@dataclass(frozen=True)
class Box:
    """Something that gives a tensor.

    Attributes:
        role: "input", "output", "layer", "block" (a layer that has others inside) or "function".
        name: dotted name of the layer; that of the input or output; empty for a function.
        lines: what it is, in words: a line for each of the layers that stand in it.
        output: shape without the batch.
    """

    role: str
    name: str
    lines: tuple[str, ...]
    output: tuple[int, ...]
    parameters: int = 0


@dataclass
class Graph:
    """Boxes by number, in the order in which they are computed, and pairs of them: (giver, taker)."""

    boxes: dict[int, Box] = field(default_factory=dict)
    edges: set[tuple[int, int]] = field(default_factory=set)

    def givers(self, taker: int) -> list[int]:
        return sorted(giver for giver, other in self.edges if other == taker)

    def takers(self, giver: int) -> list[int]:
        return sorted(taker for other, taker in self.edges if other == giver)


def follow(model: nn.Module, inputs: Tensors, depth: int) -> Graph:
    """Sends samples through a model and returns how they flow, as in training.

    Args:
        inputs: (B, ...), on the model's device.
        depth: a layer so many levels inside the model is one box, whatever is inside it.
    """
    recorder = _Recorder(model, depth)
    recorder.add_inputs(inputs)
    watching = watched(model, recorder.enter, recorder.leave, with_kwargs=True)
    with as_it_was(model), torch.no_grad(), watching, recorder:
        model.train(not isinstance(model, (RuleModel, FittedModel)))
        outputs = model(inputs)
    recorder.add_outputs(outputs)
    return _alike_joined(_chains_joined(_reaching_an_output(recorder.graph)))


# Functions that only show their input in another form: they get no box.
_FORMS = {
    *("view", "reshape", "flatten", "unflatten", "transpose", "permute", "squeeze", "unsqueeze", "contiguous", "to"),
    *("getitem", "get", "split", "chunk", "unbind", "clone", "detach", "expand", "expand_as", "float", "long", "cpu"),
    *("pack_padded_sequence", "pad_packed_sequence", "type", "t", "swapaxes", "movedim", "narrow", "select"),
    *("view_as", "reshape_as", "index_select", "split_with_sizes"),
}  # fmt: skip
_WORDS = {
    "cat": "concatenate",
    "concat": "concatenate",
    "iadd": "add",
    "radd": "add",
    "imul": "mul",
    "rmul": "mul",
    "rsub": "sub",
}


class _Recorder(TorchFunctionMode):
    """Notes each layer that is called, and each function that is called between layers.

    Which box a tensor came from is told by the tensor itself: all of them are held until the end, so that no two have
    the same identity.
    """

    def __init__(self, model: nn.Module, depth: int) -> None:
        super().__init__()
        self.graph = Graph()
        self.model, self.depth = model, depth
        self._names = {module: name for name, module in model.named_modules()}
        self._sources: dict[int, int] = {}
        self._held: list[torch.Tensor] = []
        self._inside: list[nn.Module] = []  # a layer that is one box, and the layers that it is calling
        self._given: set[int] = set()  # the boxes that gave its input

    def add_inputs(self, inputs: Tensors) -> None:
        for name, tensor in (inputs if isinstance(inputs, dict) else {"input": inputs}).items():
            self._add(
                Box("input", name, (f"{str(tensor.dtype).removeprefix('torch.')}, ",), _shape(tensor)), (), tensor
            )

    def add_outputs(self, outputs: Any) -> None:
        named = {"output": outputs}
        if isinstance(outputs, WithAuxiliary):
            named = {"output": outputs.outputs, **outputs.auxiliary}
        for group, given in named.items():
            for name, tensor in (given if isinstance(given, dict) else {group: given}).items():
                use = "in training alone, " if group != "output" else ""
                self._add(Box("output", name, (use,), _shape(tensor)), self._boxes_of([tensor]), None)

    def enter(self, module: nn.Module, positional: Any, named: Any) -> None:
        if self._inside:
            self._inside.append(module)
        elif self._is_box(module):
            self._inside.append(module)
            self._given = self._boxes_of([positional, named])

    def _is_box(self, module: nn.Module) -> bool:
        name = self._names[module]
        level = name.count(".") + 1 if name else 0
        is_leaf = next(module.children(), None) is None
        # A model that is no more than functions of its own parameters is looked into; a layer is not.
        return level >= self.depth or (is_leaf and (bool(name) or type(module).__module__.startswith("torch.")))

    def leave(self, module: nn.Module, given: Any, output: Any) -> Any:
        if not self._inside:
            return None
        self._inside.pop()
        if self._inside:
            return None
        if isinstance(output, torch.Tensor) and id(output) in map(id, _tensors(given)):
            with torch._C.DisableTorchFunction():
                output = output.view_as(output)  # a layer that has nothing to do; its box gives a tensor of its own
        if isinstance(module, nn.Identity) and len(self._given) == 1:
            self._mark(output, next(iter(self._given)))
            return output
        role = "layer" if next(module.children(), None) is None else "block"
        size = count_parameters(module)
        name = self._names[module] or "(model)"
        self._add(Box(role, name, (_kind(module),), _shape(output), size), self._given, output)
        return output

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._inside:
            self._note(getattr(func, "__name__", type(func).__name__).strip("_"), (args, kwargs or {}), result)
        return result

    def _note(self, name: str, given: Any, result: Any) -> None:
        """Notes what a function between layers gave."""
        sources = self._boxes_of([given])
        if name == "setitem":  # writes into its first argument
            result = given[0][0]
        if not sources or not any(True for _ in _tensors(result)):
            return
        if len(sources) == 1 and name in _FORMS:
            self._mark(result, next(iter(sources)))
        elif next(_tensors(result)).dtype != torch.bool:  # a mask, and what is counted from it, says where, not what
            self._add(Box("function", "", (_WORDS.get(name, name),), _shape(result)), sources, result)

    def _add(self, box: Box, givers: Iterable[int], result: Any) -> None:
        number = len(self.graph.boxes)
        self.graph.boxes[number] = box
        self.graph.edges |= {(giver, number) for giver in givers}
        self._mark(result, number)

    def _mark(self, result: Any, box: int) -> None:
        for tensor in _tensors(result):
            self._sources[id(tensor)] = box
            self._held.append(tensor)

    def _boxes_of(self, given: Any) -> set[int]:
        return {self._sources[id(tensor)] for tensor in _tensors(given) if id(tensor) in self._sources}


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yields the tensors in a value, however deep in tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(next((tensor.shape[1:] for tensor in _tensors(value)), ()))


def _kind(module: nn.Module) -> str:
    """Returns a layer's class, with the size of its window."""
    kind, window, stride = type(module).__name__, getattr(module, "kernel_size", None), getattr(module, "stride", None)
    if not isinstance(window, (int, tuple)):
        return kind
    windows = window if isinstance(window, tuple) else (window,) * (2 if kind.endswith("2d") else 1)
    strides = stride if isinstance(stride, tuple) else (stride,)
    by = "x".join(map(str, windows))
    return f"{kind} {by}" + (f", stride {strides[0]}" if strides[0] not in (1, None) else "")


# --- fewer boxes ------------------------------------------------------------------------------------------


def _reaching_an_output(graph: Graph) -> Graph:
    """Returns the graph without what no output depends on; inputs stay."""
    needed = {number for number, box in graph.boxes.items() if box.role in ("input", "output")}
    for number in sorted(graph.boxes, reverse=True):  # a giver has a smaller number than its takers
        if any(taker in needed for taker in graph.takers(number)):
            needed.add(number)
    boxes = {number: box for number, box in graph.boxes.items() if number in needed}
    return Graph(boxes, {edge for edge in graph.edges if needed.issuperset(edge)})


def _chains_joined(graph: Graph) -> Graph:
    """Returns the graph with each layer that changes no shape (an activation, a normalisation) in the box before it."""

    def joined(first: Box, second: Box) -> Box | None:
        if second.role != "layer" or first.role not in ("layer", "function") or first.output != second.output:
            return None
        if any(word in second.lines[0] for word in ("Conv", "Linear", "RNN", "LSTM", "GRU", "Pool")):
            return None
        size = first.parameters + second.parameters
        return replace(first, name=first.name or second.name, lines=first.lines + second.lines, parameters=size)

    return _joined(graph, joined)


def _alike_joined(graph: Graph) -> Graph:
    """Returns the graph with blocks that look the same, one after another, as one box."""

    def joined(first: Box, second: Box) -> Box | None:
        kind, times = _times(first)
        if "block" not in (first.role, second.role) or first.role != second.role or second.lines != (kind,):
            return None
        if first.output != second.output or first.parameters != times * second.parameters:
            return None
        name = f"{first.name.partition(' - ')[0]} - {second.name}"
        size = first.parameters + second.parameters
        return replace(first, name=name, lines=(f"{times + 1} x {kind}",), parameters=size)

    return _joined(graph, joined)


def _times(box: Box) -> tuple[str, int]:
    """Returns the kind of a box, and how many there are in it."""
    count, by, kind = box.lines[0].partition(" x ")
    return (kind, int(count)) if by and count.isdecimal() else (box.lines[0], 1)


def _joined(graph: Graph, joined: Any) -> Graph:
    """Returns the graph in which a box has taken in the only taker of what it gives, where ``joined`` says so."""
    boxes, edges = dict(graph.boxes), set(graph.edges)
    result = Graph(boxes, edges)
    for number in sorted(graph.boxes):
        while number in boxes and len(takers := result.takers(number)) == 1 and result.givers(takers[0]) == [number]:
            both = joined(boxes[number], boxes[takers[0]])
            if both is None:
                break
            following = result.takers(takers[0])
            boxes[number] = both
            del boxes[takers[0]]
            edges -= {(number, takers[0]), *((takers[0], other) for other in following)}
            edges |= {(number, other) for other in following}
    return result
