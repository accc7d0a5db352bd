"""The x of boxes whose layers and order are known: chains and long edges upright (Brandes and Koepf 2001).

Each item is put straight below the middle one of its givers where it can be, and what stands in one line is moved to
the side as far as it goes. This is done four times, with the layers from the top or the bottom and from the left or
the right, and each item gets the mean of its two middle places.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


def abscissas(
    layers: Sequence[Sequence[Item]],
    joins: Sequence[tuple[Item, Item]],
    widths: Mapping[Item, float],
    inner: set[tuple[Item, Item]],
    gap: float,
) -> dict[Item, float]:
    """Returns the x of each item's middle; the leftmost item begins at 0.

    Args:
        layers: from the top, each from the left.
        joins: pairs of items in neighbouring layers: (upper, lower).
        inner: those joins that are the middle of a long edge, and come first where two cross.
        gap: pixels between neighbours.
    """
    crossing = _crossing(layers, joins, inner)
    free = [join for join in joins if join not in crossing]
    runs: list[dict[Item, float]] = []
    for from_top in (True, False):
        for from_left in (True, False):
            turned = [list(layer) if from_left else list(layer)[::-1] for layer in layers]
            pairs = free if from_top else [(lower, upper) for upper, lower in free]
            lines = _lines(turned if from_top else turned[::-1], pairs)
            xs = _compacted(turned, lines, widths, gap)
            runs.append(xs if from_left else {item: -x for item, x in xs.items()})
    return _balanced(runs, widths)


def _crossing(
    layers: Sequence[Sequence[Item]], joins: Sequence[tuple[Item, Item]], inner: set[tuple[Item, Item]]
) -> set[tuple[Item, Item]]:
    """Returns the joins that cross the middle of a long edge."""
    numbers = {item: number for number, layer in enumerate(layers) for item in layer}
    places = {item: place for layer in layers for place, item in enumerate(layer)}
    long: dict[int, list[tuple[int, int]]] = {}
    for upper, lower in inner:
        long.setdefault(numbers[upper], []).append((places[upper], places[lower]))
    return {
        (upper, lower)
        for upper, lower in joins
        if (upper, lower) not in inner
        and any((places[upper] - above) * (places[lower] - below) < 0 for above, below in long.get(numbers[upper], []))
    }


def _lines(layers: Sequence[Sequence[Item]], pairs: Sequence[tuple[Item, Item]]) -> dict[Item, Item]:
    """Returns the first item of the upright line in which each item stands.

    Args:
        pairs: (of the layer before, of this layer).
    """
    before: dict[Item, list[Item]] = {}
    for giver, taker in pairs:
        before.setdefault(taker, []).append(giver)
    first = {item: item for layer in layers for item in layer}
    for previous, layer in pairwise(layers):
        places = {item: place for place, item in enumerate(previous)}
        last = -1  # lines may not cross: the place in the layer before that was used last
        for item in layer:
            givers = sorted(before.get(item, []), key=lambda giver: places[giver])
            for middle in sorted({(len(givers) - 1) // 2, len(givers) // 2}) if givers else ():
                if places[givers[middle]] > last:
                    first[item], last = first[givers[middle]], places[givers[middle]]
                    break
    return first


def _compacted(
    layers: Sequence[Sequence[Item]], lines: dict[Item, Item], widths: Mapping[Item, float], gap: float
) -> dict[Item, float]:
    """Returns the x of each item where all lines stand as far left as they can, and then as near to the right one."""
    room: dict[Item, dict[Item, float]] = {line: {} for line in lines.values()}  # line -> those right of it
    count = dict.fromkeys(room, 0)
    for layer in layers:
        for left, right in pairwise(layer):
            one, other, needed = lines[left], lines[right], (widths[left] + widths[right]) / 2 + gap
            count[other] += other not in room[one]
            room[one][other] = max(needed, room[one].get(other, 0.0))
    xs = dict.fromkeys(room, 0.0)
    order = [line for line, left in count.items() if left == 0]
    for line in order:  # grows while it is read
        for other, needed in room[line].items():
            xs[other] = max(xs[other], xs[line] + needed)
            count[other] -= 1
            if count[other] == 0:
                order.append(other)
    for line in reversed(order):
        if room[line]:
            xs[line] = max(xs[line], min(xs[other] - needed for other, needed in room[line].items()))
    return {item: xs[line] for item, line in lines.items()}


def _balanced(runs: list[dict[Item, float]], widths: Mapping[Item, float]) -> dict[Item, float]:
    """Returns the mean of the two middle places, the runs moved to one border of the narrowest of them."""
    borders = [
        (min(x - widths[item] / 2 for item, x in xs.items()), max(x + widths[item] / 2 for item, x in xs.items()))
        for xs in runs
    ]
    width = min(right - left for left, right in borders)
    moves = [-left if number % 2 == 0 else width - right for number, (left, right) in enumerate(borders)]
    result = {}
    for item in runs[0]:
        places = sorted(xs[item] + move for xs, move in zip(runs, moves, strict=True))
        result[item] = (places[1] + places[2]) / 2
    left = min(x - widths[item] / 2 for item, x in result.items())
    return {item: x - left for item, x in result.items()}
