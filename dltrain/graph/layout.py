"""Where the boxes of a graph stand: layer below layer (Sugiyama, Tagawa and Toda 1981), edges as straight as can be.

A box stands one layer below the lowest of those that give to it. An edge over several layers passes a point in each of
them, so that it goes around the boxes. Boxes and points of a layer are ordered by the mean place of what they are
joined to in the layer beside it, to and fro, and the order with the fewest crossings is kept.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dltrain.graph.columns import abscissas

GAP_X, GAP_Y = 26.0, 34.0
_SWEEPS = 12
_POINT_WIDTH = 6.0

# A box, by its number, or the place in a layer where an edge passes: (giver, taker, layer).
Place = int | tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """The picture's geometry, in pixels from its upper left corner.

    Attributes:
        centres: of each box.
        paths: of each edge, the points that it passes, its ends included.
        width, height: of the whole.
    """

    centres: dict[int, tuple[float, float]]
    paths: dict[tuple[int, int], list[tuple[float, float]]]
    width: float
    height: float


def place(sizes: Mapping[int, tuple[float, float]], edges: Iterable[tuple[int, int]]) -> Layout:
    """Returns where boxes of these sizes (width, height) stand.

    Args:
        edges: pairs of boxes (giver, taker); a giver has a smaller number than its takers.
    """
    pairs = sorted(edges)
    depths = _depths(sorted(sizes), pairs)
    chains = {(giver, taker): _chain(giver, taker, depths) for giver, taker in pairs}
    joins = [pair for chain in chains.values() for pair in itertools.pairwise(chain)]
    layers = _ordered(_layers(depths, chains), joins)
    widths: dict[Place, float] = {
        item: sizes[item][0] if isinstance(item, int) else _POINT_WIDTH for layer in layers for item in layer
    }
    inner = {join for join in joins if not isinstance(join[0], int) and not isinstance(join[1], int)}
    xs = abscissas(layers, joins, widths, inner, GAP_X) if layers else {}
    heights = [max((sizes[item][1] for item in layer if isinstance(item, int)), default=0.0) for layer in layers]
    tops = [sum(heights[:number]) + GAP_Y * number for number in range(len(layers))]
    middles = {item: tops[number] + heights[number] / 2 for number, layer in enumerate(layers) for item in layer}
    paths = {}
    for (giver, taker), chain in chains.items():
        path = [(xs[giver], middles[giver] + sizes[giver][1] / 2)]
        for item in chain[1:-1]:
            layer = item[2]  # type: ignore[index]
            path += [(xs[item], tops[layer]), (xs[item], tops[layer] + heights[layer])]
        paths[giver, taker] = [*path, (xs[taker], middles[taker] - sizes[taker][1] / 2)]
    width = max((xs[item] + widths[item] / 2 for item in xs), default=0.0)
    return Layout(
        {item: (xs[item], middles[item]) for item in sizes}, paths, width, tops[-1] + heights[-1] if tops else 0.0
    )


def _depths(boxes: list[int], pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Returns the layer of each box: the longest way to it; what nothing gives to stands right above its taker."""
    givers: dict[int, list[int]] = {box: [] for box in boxes}
    takers: dict[int, list[int]] = {box: [] for box in boxes}
    for giver, taker in pairs:
        givers[taker].append(giver)
        takers[giver].append(taker)
    depths: dict[int, int] = {}
    for box in boxes:
        depths[box] = max((depths[giver] + 1 for giver in givers[box]), default=0)
    for box in boxes:
        if not givers[box] and takers[box]:
            depths[box] = min(depths[taker] for taker in takers[box]) - 1
    return depths


def _chain(giver: int, taker: int, depths: dict[int, int]) -> list[Place]:
    passed = range(depths[giver] + 1, depths[taker])
    return [giver, *((giver, taker, layer) for layer in passed), taker]


def _layers(depths: dict[int, int], chains: dict[tuple[int, int], list[Place]]) -> list[list[Place]]:
    """Returns what stands in each layer, in the order in which it is computed."""
    layers: list[list[Place]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for box in sorted(depths):
        layers[depths[box]].append(box)
    for chain in chains.values():
        for item in chain[1:-1]:
            layers[item[2]].append(item)  # type: ignore[index]
    return layers


# --- order ------------------------------------------------------------------------------------------------


def _ordered(layers: list[list[Place]], joins: list[tuple[Place, Place]]) -> list[list[Place]]:
    """Returns the layers in the order, of those that were tried, in which the fewest edges cross."""
    above: dict[Place, list[Place]] = {}
    below: dict[Place, list[Place]] = {}
    for upper, lower in joins:
        above.setdefault(lower, []).append(upper)
        below.setdefault(upper, []).append(lower)
    best, fewest = layers, _crossings(layers, below)
    layers = [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        numbers = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        for number in numbers:
            beside = layers[number - 1 if down else number + 1]
            places = {item: place for place, item in enumerate(beside)}
            _sort_by_mean(layers[number], above if down else below, places)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _sort_by_mean(layer: list[Place], joined: dict[Place, list[Place]], places: dict[Place, int]) -> None:
    """Sorts a layer by the mean place of what its items are joined to; those that are joined to nothing stay."""
    means = {
        item: sum(places[other] for other in joined[item]) / len(joined[item]) for item in layer if joined.get(item)
    }
    moving = iter(sorted(means, key=lambda item: means[item]))
    layer[:] = [next(moving) if item in means else item for item in layer]


def _crossings(layers: list[list[Place]], below: dict[Place, list[Place]]) -> int:
    """Returns how many pairs of edges cross."""
    count = 0
    for layer, lower in itertools.pairwise(layers):
        places = {item: place for place, item in enumerate(lower)}
        ends: list[int] = []
        for item in layer:
            reached = sorted(places[other] for other in below.get(item, []))
            count += sum(len(ends) - bisect_right(ends, end) for end in reached)
            for end in reached:
                insort(ends, end)
    return count
