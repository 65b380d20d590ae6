"""Figures → bars to draw (pure). Lengths are pixels of the drawing's own; colours are the style sheet's, by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.console.portal.writing import decimal

WIDTH: Final = 720
PLOT_HEIGHT: Final = 200
LEFT: Final = 56
TOP: Final = 16
BELOW: Final = 28
LYING: Final = 280
"""Width of bars that lie: they fit a phone."""
ROW: Final = 42
BAR: Final = 16
VALUES: Final = 56
LABELS_MAX: Final = 16
"""Labels along an axis: fewer where they are so long that they would run into each other."""
LETTER: Final = 7
BETWEEN: Final = 10
_NAME: Final = 38


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of value, a value for each bar; several are stacked. ``style``: its class in the style sheet."""

    name: str
    style: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a bar, and what a pointer resting on it is told."""

    x: float
    y: float
    width: float
    height: float
    style: str
    told: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text: ``anchor`` start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the grid."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    texts: tuple[Text, ...]
    lines: tuple[Line, ...]


def upright(labels: Sequence[str], series: Sequence[Series], unit: str = "", top: float | None = None) -> Chart:
    """Bars side by side: time goes to the right.

    :param top: the greatest value of the axis; None: a round one.
    """
    ceiling, step = _axis(max(_sums(series, len(labels)), default=0), top)
    slot = (WIDTH - LEFT) / max(1, len(labels))
    thick = max(1.0, slot - max(1.0, min(8.0, slot / 4)))
    boxes = []
    for at, label in enumerate(labels):
        y = float(TOP + PLOT_HEIGHT)
        for one in series:
            height = PLOT_HEIGHT * min(one.values[at], ceiling) / ceiling
            y -= height
            if height > 0:
                told = f"{label}: {one.name} {_plain(one.values[at])}{unit}"
                boxes.append(Box(_round(LEFT + slot * at), _round(y), _round(thick), _round(height), one.style, told))
    room = LETTER * max(map(len, labels), default=0) + BETWEEN
    every = max(1, math.ceil(len(labels) / min(LABELS_MAX, (WIDTH - LEFT) // room)))
    texts = [
        Text(_round(LEFT + slot * at + thick / 2), TOP + PLOT_HEIGHT + 18, label)
        for at, label in enumerate(labels)
        if at % every == 0
    ]
    lines = []
    for tick in range(round(ceiling / step) + 1):
        y = _round(TOP + PLOT_HEIGHT - PLOT_HEIGHT * tick * step / ceiling)
        lines.append(Line(LEFT, y, WIDTH, y))
        texts.append(Text(LEFT - 6, y + 4, f"{_plain(tick * step)}{unit}", "end"))
    return Chart(WIDTH, TOP + PLOT_HEIGHT + BELOW, tuple(boxes), tuple(texts), tuple(lines))


def lying(labels: Sequence[str], series: Sequence[Series], said: Sequence[str], top: float | None = None) -> Chart:
    """Bars one below the other, each with its name above and ``said`` behind it."""
    sums = _sums(series, len(labels))
    ceiling = top or max(sums, default=0) or 1
    room = LYING - VALUES
    boxes, texts = [], []
    for at, label in enumerate(labels):
        x, y = 0.0, ROW * at + 18
        for one in series:
            width = room * min(one.values[at], ceiling) / ceiling
            if width > 0:
                told = f"{label}: {one.name} {_plain(one.values[at])}"
                boxes.append(Box(_round(x), y, _round(width), BAR, one.style, told))
            x += width
        short = label if len(label) <= _NAME else f"{label[: _NAME - 1]}…"
        texts.append(Text(0, y - 5, short, "start"))
        texts.append(Text(_round(x + 6), y + 12, said[at], "start"))
    return Chart(LYING, ROW * len(labels), tuple(boxes), tuple(texts), (Line(0, 4, 0, ROW * len(labels) - 4),))


def _sums(series: Sequence[Series], count: int) -> list[float]:
    return [sum(one.values[at] for one in series) for at in range(count)]


def _axis(greatest: float, top: float | None) -> tuple[float, float]:
    """The axis's end and the distance of its ticks: 1, 2 or 5 times a power of ten, whole numbers."""
    if top is not None:
        return top, top / 4
    step = 1.0
    while greatest / step > 5:
        step *= 2.5 if f"{step:.0f}"[0] == "2" else 2
    return max(step, math.ceil(greatest / step) * step), step


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else decimal(value)


def _round(value: float) -> float:
    return round(value, 1)
