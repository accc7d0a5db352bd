"""Where boxes stand: givers above takers, nothing upon another, and edges straight where they can be."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dltrain.graph.layout import Layout, place

SIZE = (80.0, 40.0)


def laid_out(*edges: tuple[int, int]) -> Layout:
    return place({box: SIZE for edge in edges for box in edge}, edges)


def upright(layout: Layout, edge: tuple[int, int]) -> bool:
    return len({round(x, 6) for x, _ in layout.paths[edge]}) == 1


@pytest.mark.parametrize("length", [2, 5])
def test_a_chain_is_upright(length):
    edges = [(number, number + 1) for number in range(length)]
    layout = laid_out(*edges)
    assert all(upright(layout, edge) for edge in edges) and layout.width == SIZE[0]


def test_a_skip_goes_around_what_it_skips():
    layout = laid_out((0, 1), (1, 2), (2, 3), (0, 3))
    assert upright(layout, (1, 2))
    beside = {x for x, _ in layout.paths[0, 3][1:-1]}
    assert len(beside) == 1 and abs(beside.pop() - layout.centres[1][0]) > SIZE[0] / 2


def test_branches_stand_beside_each_other_around_their_middle():
    layout = laid_out((0, 1), (0, 2), (1, 3), (2, 3))
    (left, _), (right, _) = layout.centres[1], layout.centres[2]
    assert layout.centres[0][0] == layout.centres[3][0] == (left + right) / 2


def test_an_input_stands_right_above_what_takes_it():
    layout = laid_out((0, 2), (2, 3), (3, 4), (1, 4))
    assert layout.centres[1][1] == layout.centres[3][1]


def test_edges_that_need_not_cross_do_not():
    layout = laid_out((0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 5))
    (one, _), (two, _), (three, _), (four, _) = (layout.centres[box] for box in (1, 2, 3, 4))
    assert (one < two) == (four < three)


def test_a_graph_of_one_box_and_of_none():
    assert place({0: SIZE}, []).centres == {0: (40.0, 20.0)}
    assert place({}, []) == Layout({}, {}, 0.0, 0.0)


@some.composite
def graphs(draw):
    count = draw(some.integers(2, 14))
    pairs = [(giver, taker) for taker in range(1, count) for giver in range(taker)]
    edges = draw(some.sets(some.sampled_from(pairs), max_size=30))
    widths = draw(some.lists(some.floats(20, 200), min_size=count, max_size=count))
    return {number: (width, 30.0) for number, width in enumerate(widths)}, edges


@given(graphs())
def test_any_graph_can_be_read(graph):
    sizes, edges = graph
    layout = place(sizes, edges)
    assert layout.centres.keys() == sizes.keys() and layout.paths.keys() == set(edges)
    for giver, taker in edges:
        assert layout.centres[giver][1] < layout.centres[taker][1]
        heights = [y for _, y in layout.paths[giver, taker]]
        assert heights == sorted(heights)
    for one, other in combinations(sizes, 2):
        (x, y), (to_x, to_y) = layout.centres[one], layout.centres[other]
        if y == to_y:
            assert abs(x - to_x) > (sizes[one][0] + sizes[other][0]) / 2
    for box, (x, y) in layout.centres.items():
        width, height = sizes[box]
        assert x - width / 2 >= -1e-6 and x + width / 2 <= layout.width + 1e-6
        assert y - height / 2 >= -1e-6 and y + height / 2 <= layout.height + 1e-6
