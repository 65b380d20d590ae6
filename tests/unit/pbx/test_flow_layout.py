"""The layered layout: whatever graph comes, boxes don't overlap and arrows go forward, but for those that close loops."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from appliance.pbx.flow.layout import Arrow, Box, Layout, layout

HEIGHTS = st.integers(20, 400)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Box[int]], list[Arrow[int]]]:
    count = draw(st.integers(0, 14))
    boxes = [
        Box(name, draw(st.integers(50, 300)), draw(HEIGHTS), draw(st.sampled_from([0, 0, 0, 2])))
        for name in range(count)
    ]
    if not boxes:
        return [], []
    names = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(names, names), max_size=24))
    heights = [box.height for box in boxes]
    arrows = [
        Arrow(one, other, draw(st.integers(0, heights[one])), draw(st.integers(0, heights[other])))
        for one, other in pairs
    ]
    return boxes, arrows


def rectangle(box: Box[int], made: Layout[int]) -> tuple[int, int, int, int]:
    place = made.places[box.name]
    return place.x, place.y, place.x + box.width, place.y + box.height


@given(graphs())
def test_boxes_don_t_overlap_and_lie_within(graph: tuple[list[Box[int]], list[Arrow[int]]]) -> None:
    boxes, arrows = graph
    made = layout(boxes, arrows)
    assert set(made.places) == {box.name for box in boxes}
    found = [rectangle(box, made) for box in boxes]
    for left, top, right, bottom in found:
        assert 0 <= left < right <= made.width
        assert 0 <= top < bottom <= made.height
    for one, other in combinations(found, 2):
        apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
        assert apart, (one, other)
    for box in boxes:
        assert made.places[box.name].column >= box.least


@given(graphs())
def test_arrows_go_forward_but_for_loops(graph: tuple[list[Box[int]], list[Arrow[int]]]) -> None:
    boxes, arrows = graph
    made = layout(boxes, arrows)
    assert len(made.lines) == len(arrows)
    forward: dict[int, set[int]] = {box.name: set() for box in boxes}
    for arrow, line in zip(arrows, made.lines, strict=True):
        source, target = made.places[arrow.source], made.places[arrow.target]
        assert line.points[0] == (source.x + boxes[arrow.source].width, source.y + arrow.start)
        assert line.points[-1] == (target.x, target.y + arrow.end)
        if not line.back:
            forward[arrow.source].add(arrow.target)
            assert source.column < target.column
            assert [x for x, _y in line.points] == sorted(x for x, _y in line.points)
    for arrow, line in zip(arrows, made.lines, strict=True):
        if line.back:  # only what closes a loop goes back
            assert arrow.source == arrow.target or arrow.source in reached(forward, arrow.target)


def reached(forward: dict[int, set[int]], start: int) -> set[int]:
    found, waiting = {start}, [start]
    while waiting:
        waiting += [name for name in forward[waiting.pop()] if name not in found and not found.add(name)]  # type: ignore[func-returns-value]
    return found


@given(graphs())
def test_arrows_pass_through_no_box(graph: tuple[list[Box[int]], list[Arrow[int]]]) -> None:
    """Where they cross a column they are level, and no box is there; those that go back stay in the gaps and below."""
    boxes, arrows = graph
    made = layout(boxes, arrows)
    found = [rectangle(box, made) for box in boxes]
    floor = max((bottom for _left, _top, _right, bottom in found), default=0)
    for line in made.lines:
        for (x0, y0), (x1, y1) in zip(line.points[1:-1], line.points[2:-1], strict=False):
            if line.back and x0 != x1:
                assert y0 == y1 > floor
                continue
            for left, top, right, bottom in found:
                if min(x0, x1) < right and left < max(x0, x1):  # it is in that box's column
                    assert y0 == y1
                    assert not top <= y0 <= bottom
                elif line.back:
                    assert x0 == x1


@given(graphs())
def test_the_same_graph_gives_the_same_picture(graph: tuple[list[Box[int]], list[Arrow[int]]]) -> None:
    assert layout(*graph) == layout(*graph)


def test_a_chain_is_one_straight_line() -> None:
    boxes = [Box(name, 100, 50) for name in "abcd"]
    chain = [Arrow(one, other, 25, 25) for one, other in ("ab", "bc", "cd")]
    made = layout(boxes, chain)
    assert [made.places[name].column for name in "abcd"] == [0, 1, 2, 3]
    assert {y for line in made.lines for _x, y in line.points} == {25}
    made = layout(boxes, [*chain, Arrow("a", "d", 25, 25)])  # which goes around b and c
    assert [made.places[name].column for name in "abcd"] == [0, 1, 2, 3]
    assert len(made.lines[3].points) == 7
    assert not any(line.back for line in made.lines)


def test_thousands_in_a_row_are_placed_without_recursion() -> None:
    boxes = [Box(number, 100, 50) for number in range(2000)]
    made = layout(boxes, [Arrow(number, (number + 1) % 2000, 10, 10) for number in range(2000)])
    assert sum(line.back for line in made.lines) == 1
    assert made.places[1999].column == 1999
