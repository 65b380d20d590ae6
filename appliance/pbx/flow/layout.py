"""A layered layout of boxes and arrows (pure), after Sugiyama, Tagawa and Toda (1981): columns from left to right.

The same input gives the same picture. Boxes never overlap; arrows go from left to right but for those that close a loop, which run
through lanes of their own below all boxes. Why our own: ``docs/decisions``, "The call flow is drawn by the server".
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

GAP_X: Final = 60
"""Between columns; units of all lengths are pixels."""
GAP_Y: Final = 20
"""Between boxes of a column."""
THIN: Final = 4
"""Height of the place that an arrow keeps free in a column that it passes."""
LANE: Final = 14
"""Between the lanes of arrows that go back."""
SWEEPS: Final = 8

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Box(Generic[Name]):
    """What is to be placed. ``least``: the column before which it doesn't stand."""

    name: Name
    width: int
    height: int
    least: int = 0


@dataclass(frozen=True, slots=True)
class Arrow(Generic[Name]):
    """From a box's right side, ``start`` below its top, to another's left side, ``end`` below its top."""

    source: Name
    target: Name
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box stands: its left upper corner, and its column."""

    x: int
    y: int
    column: int


@dataclass(frozen=True, slots=True)
class Line:
    """An arrow's way; ``back``: it goes from right to left, to close a loop."""

    points: tuple[tuple[int, int], ...]
    back: bool


@dataclass(frozen=True, slots=True)
class Layout(Generic[Name]):
    """``lines``: one for each arrow, in their order. Everything lies within ``width`` × ``height``."""

    places: Mapping[Name, Place]
    lines: tuple[Line, ...]
    width: int
    height: int


def layout(boxes: Sequence[Box[Name]], arrows: Sequence[Arrow[Name]]) -> Layout[Name]:
    """Place boxes, whose order counts where nothing else decides, and draw the arrows between them."""
    return _Work(boxes, arrows).done()


@dataclass(slots=True)
class _Spot:
    """A box, or the place that an arrow keeps free, in its column."""

    column: int
    height: int
    before: list[tuple[_Spot, int, int]]
    """Neighbours in the column before: the spot, where its arrow starts below its top, where it ends below our top."""
    after: list[tuple[_Spot, int, int]]
    order: float = 0.0
    y: int = 0


class _Work(Generic[Name]):
    def __init__(self, boxes: Sequence[Box[Name]], arrows: Sequence[Arrow[Name]]) -> None:
        self.boxes = {box.name: box for box in boxes}
        self.arrows = arrows
        self.back = _closing([box.name for box in boxes], arrows)
        self.columns_of = self._columns_of()
        self.spots = {box.name: _Spot(self.columns_of[box.name], box.height, [], []) for box in boxes}
        self.columns: list[list[_Spot]] = [[] for _ in range(max(self.columns_of.values(), default=-1) + 1)]
        for spot in self.spots.values():
            self.columns[spot.column].append(spot)
        self.passed = {index: self._chain(arrow) for index, arrow in enumerate(arrows) if index not in self.back}

    def _columns_of(self) -> dict[Name, int]:
        """Each box one column after the last that leads to it."""
        waiting = dict.fromkeys(self.boxes, 0)
        after: dict[Name, list[Name]] = {name: [] for name in self.boxes}
        for index, arrow in enumerate(self.arrows):
            if index not in self.back:
                waiting[arrow.target] += 1
                after[arrow.source].append(arrow.target)
        found = {name: box.least for name, box in self.boxes.items()}
        ready = [name for name, count in waiting.items() if count == 0]
        for name in ready:  # it grows meanwhile
            for target in after[name]:
                found[target] = max(found[target], found[name] + 1)
                waiting[target] -= 1
                if waiting[target] == 0:
                    ready.append(target)
        return found

    def _chain(self, arrow: Arrow[Name]) -> list[_Spot]:
        """Places for an arrow in the columns that it passes; neighbours are told of one another."""
        source, target = self.spots[arrow.source], self.spots[arrow.target]
        passed = [_Spot(column, THIN, [], []) for column in range(source.column + 1, target.column)]
        for spot in passed:
            self.columns[spot.column].append(spot)
        chain = [source, *passed, target]
        for one, other in itertools.pairwise(chain):
            start = arrow.start if one is source else THIN // 2
            end = arrow.end if other is target else THIN // 2
            one.after.append((other, start, end))
            other.before.append((one, start, end))
        return passed

    def done(self) -> Layout[Name]:
        self._put_in_order()
        self._put_at_heights()
        widths, lefts, width = self._lefts()
        places = {name: Place(lefts[spot.column], spot.y, spot.column) for name, spot in self.spots.items()}
        bottom = max((spot.y + spot.height for spot in self.spots.values()), default=0)
        lines = tuple(self._lines(places, widths, lefts, bottom))
        height = max([bottom, *(y for line in lines for _x, y in line.points)], default=0)
        return Layout(places, lines, width, height)

    def _put_in_order(self) -> None:
        """Fewer crossings: each column in the order of its neighbours' middles, forth and back."""
        for column in self.columns:
            for index, spot in enumerate(column):
                spot.order = index
        for sweep in range(SWEEPS):
            forth = sweep % 2 == 0
            for column in self.columns[1:] if forth else self.columns[-2::-1]:
                wanted = {id(spot): _middle(spot, forth=forth) for spot in column}
                column.sort(key=lambda spot: (wanted[id(spot)], spot.order))
                for index, spot in enumerate(column):
                    spot.order = index

    def _put_at_heights(self) -> None:
        """Arrows as straight as the order allows."""
        for column in self.columns:
            _stack(column, [0.0] * len(column))
        for sweep in range(SWEEPS):
            forth = sweep % 2 == 0
            for column in self.columns[1:] if forth else self.columns[-2::-1]:
                _stack(column, [_wished(spot, forth=forth) for spot in column])
        top = min((spot.y for column in self.columns for spot in column), default=0)
        for column in self.columns:
            for spot in column:
                spot.y -= top

    def _lefts(self) -> tuple[list[int], list[int], int]:
        """Widths and left edges of the columns, and the width of all."""
        widths = [0] * len(self.columns)
        for name, column in self.columns_of.items():
            widths[column] = max(widths[column], self.boxes[name].width)
        room = GAP_X // 2 if self.back else 0  # arrows that go back run beside the outer columns too
        lefts, x = [], room
        for spots, width in zip(self.columns, widths, strict=True):
            lefts.append(x)
            x += width + GAP_X if spots else 0
        return widths, lefts, max(0, x - GAP_X + room)

    def _lines(self, places: Mapping[Name, Place], widths: list[int], lefts: list[int], bottom: int) -> Iterator[Line]:
        lane = bottom + GAP_Y
        for index, arrow in enumerate(self.arrows):
            source, target = places[arrow.source], places[arrow.target]
            right = lefts[source.column] + widths[source.column]  # of its column: others in it may be wider
            start = (source.x + self.boxes[arrow.source].width, source.y + arrow.start)
            end = (target.x, target.y + arrow.end)
            if index in self.back:
                # Each has its own way down and up, in the gaps where no boxes are.
                step = 4 + (index * 5) % (GAP_X // 2 - 8)
                out, into = right + step, target.x - step
                yield Line((start, (out, start[1]), (out, lane), (into, lane), (into, end[1]), end), back=True)
                lane += LANE
            else:
                between = [
                    (lefts[spot.column] + across, spot.y + THIN // 2)
                    for spot in self.passed[index]
                    for across in (0, widths[spot.column])
                ]
                yield Line((start, (right, start[1]), *between, end), back=False)


def _closing(names: Sequence[Name], arrows: Sequence[Arrow[Name]]) -> frozenset[int]:
    """Indices of arrows that close a loop on a walk from the boxes that nothing leads to, then from the others, in order."""
    after: dict[Name, list[tuple[int, Name]]] = {name: [] for name in names}
    led_to = {arrow.target for arrow in arrows}
    for index, arrow in enumerate(arrows):
        after[arrow.source].append((index, arrow.target))
    closing: set[int] = set()
    state = dict.fromkeys(names, 0)  # 1: on the way from the start to here; 2: done with
    for start in sorted(names, key=lambda name: name in led_to):
        if state[start]:
            continue
        state[start] = 1
        walk = [(start, iter(after[start]))]
        while walk:
            name, ways = walk[-1]
            way = next(ways, None)
            if way is None:
                state[name] = 2
                walk.pop()
            elif state[way[1]] == 1:
                closing.add(way[0])
            elif state[way[1]] == 0:
                state[way[1]] = 1
                walk.append((way[1], iter(after[way[1]])))
    return frozenset(closing)


def _middle(spot: _Spot, *, forth: bool) -> float:
    """Where in a column's order a spot's neighbours are; its own place where it has none."""
    near = spot.before if forth else spot.after
    if not near:
        return spot.order
    # Arrows that start at different heights of one box come out in that order.
    places = [one.order + ((start if forth else end) / (one.height + 1)) for one, start, end in near]
    return sum(places) / len(places)


def _wished(spot: _Spot, *, forth: bool) -> float:
    """The height at which a spot's arrows from the column before (or after) are straight."""
    near = spot.before if forth else spot.after
    if not near:
        return float(spot.y)
    wishes = [one.y + start - end if forth else one.y + end - start for one, start, end in near]
    return sum(wishes) / len(wishes)


def _stack(column: Sequence[_Spot], wishes: Sequence[float]) -> None:
    """Put a column's spots as near to their wishes as fits, in their order (least squares: pool adjacent violators)."""
    floors = []
    floor = 0
    for spot in column:
        floors.append(floor)
        floor += spot.height + GAP_Y
    pools: list[tuple[float, int]] = []  # mean, how many
    for wish, floor in zip(wishes, floors, strict=True):
        mean, count = wish - floor, 1
        while pools and pools[-1][0] > mean:
            other, several = pools.pop()
            mean = (mean * count + other * several) / (count + several)
            count += several
        pools.append((mean, count))
    levels = [round(mean) for mean, count in pools for _ in range(count)]
    for spot, floor, level in zip(column, floors, levels, strict=True):
        spot.y = floor + level
