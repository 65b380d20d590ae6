"""Samples of a line → a drawing (pure): MOS each way over the last minutes, and when it was down. Lengths are the drawing's own; colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.console.technician.samples import EVERY_S, KEPT, Sample
from appliance.failover.quality import FAIR_MOS, GOOD_MOS

WIDTH: Final = 320
HEIGHT: Final = 96
TOP_MOS: Final = 4.5
SPAN_S: Final = EVERY_S * KEPT
BREAK_S: Final = 3 * EVERY_S
"""Between two samples that are further apart nothing is drawn: nobody asked, or nobody answered."""


@dataclass(frozen=True, slots=True)
class Graph:
    """``to``, ``back``: SVG paths; ``downs``: x and width of each time that the line was down; ``good``, ``fair``: heights above which voice is well, and can be understood."""

    to: str
    back: str
    downs: tuple[tuple[float, float], ...]
    good: float
    fair: float
    lowest: float | None
    last: float | None


def graph(samples: Sequence[Sample], now: float) -> Graph:
    """Of one line, the oldest sample first."""
    values = [value for each in samples for value in (each.to, each.back) if value is not None]
    last = samples[-1] if samples else None
    return Graph(
        _path(samples, now, lambda each: each.to),
        _path(samples, now, lambda each: each.back),
        tuple(_downs(samples, now)),
        _y(GOOD_MOS),
        _y(FAIR_MOS),
        min(values, default=None),
        min((value for value in (last.to, last.back) if value is not None), default=None) if last else None,
    )


def _path(samples: Sequence[Sample], now: float, value: Callable[[Sample], float | None]) -> str:
    words: list[str] = []
    before: float | None = None
    for each in samples:
        mos = value(each)
        if mos is None or now - each.at > SPAN_S:
            before = None
            continue
        joined = before is not None and each.at - before <= BREAK_S
        words.append(f"{'L' if joined else 'M'}{_x(each.at, now):.1f} {_y(mos):.1f}")
        before = each.at
    return " ".join(words)


def _downs(samples: Sequence[Sample], now: float) -> list[tuple[float, float]]:
    made: list[tuple[float, float]] = []
    for each in samples:
        if each.up or now - each.at > SPAN_S:
            continue
        x, width = _x(each.at, now), WIDTH * EVERY_S / SPAN_S
        if made and x <= sum(made[-1]) + width:
            made[-1] = made[-1][0], x + width - made[-1][0]
        else:
            made.append((x, width))
    return [(round(x, 1), round(width, 1)) for x, width in made]


def _x(at: float, now: float) -> float:
    return WIDTH * (1 - (now - at) / SPAN_S)


def _y(mos: float) -> float:
    return round(HEIGHT * (TOP_MOS - mos) / (TOP_MOS - 1), 1)
