"""Statistics as they are kept (pure): sums per hour, label and direction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.history.labels import COUNTED, Label
from appliance.history.model import Call, Outcome

HOUR_MS: Final = 3_600_000
SUMS: Final = ("calls", "answered", "busy", "no_answer", "cancelled", "failed", "talk_ms", "wait_ms", "lost_wait_ms")
"""Columns that are added up, in this order everywhere."""
ALL_CALLS: Final = 0
"""Id of the label that every call has."""

Cell = tuple[int, int, str]
"""Label id, hour since the epoch (UTC), direction."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over calls. ``failed`` counts those that ended with the engine too.

    ``talk_ms``: from answer to end; ``wait_ms``: ringing of answered calls; ``lost_wait_ms``: ringing of the others.
    """

    calls: int = 0
    answered: int = 0
    busy: int = 0
    no_answer: int = 0
    cancelled: int = 0
    failed: int = 0
    talk_ms: int = 0
    wait_ms: int = 0
    lost_wait_ms: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(*(getattr(self, name) + getattr(other, name) for name in SUMS))

    @property
    def answer_rate(self) -> float | None:
        """Share of calls that were answered, 0–1; None without calls."""
        return self.answered / self.calls if self.calls else None

    @property
    def mean_talk_ms(self) -> float | None:
        """Mean duration of answered calls, milliseconds."""
        return self.talk_ms / self.answered if self.answered else None

    @property
    def mean_wait_ms(self) -> float | None:
        """Mean time until an answered call was answered, milliseconds."""
        return self.wait_ms / self.answered if self.answered else None

    @property
    def mean_lost_wait_ms(self) -> float | None:
        """Mean time that a call rang which wasn't answered, milliseconds."""
        lost = self.calls - self.answered
        return self.lost_wait_ms / lost if lost else None


def figures(call: Call) -> tuple[int, ...]:
    """One call's share in each of :data:`SUMS`."""
    outcome = call.outcome
    answered = outcome is Outcome.ANSWERED
    return (
        1,
        int(answered),
        int(outcome is Outcome.BUSY),
        int(outcome is Outcome.NO_ANSWER),
        int(outcome is Outcome.CANCELLED),
        int(outcome in (Outcome.FAILED, Outcome.ENGINE_FAILURE)),
        call.talk_ms,
        call.ring_ms if answered else 0,
        0 if answered else call.ring_ms,
    )


def added_up(calls: Iterable[tuple[Call, frozenset[Label]]], ids: Mapping[Label, int]) -> dict[Cell, list[int]]:
    """What calls add to the statistics: per label id, hour and direction the sums."""
    cells: dict[Cell, list[int]] = {}
    for call, labels in calls:
        hour, direction, share = call.started // HOUR_MS, call.direction.value, figures(call)
        counted = [ALL_CALLS, *(ids[label] for label in labels if label[0] in COUNTED)]
        for label in counted:
            cell = cells.setdefault((label, hour, direction), [0] * len(SUMS))
            for position, value in enumerate(share):
                cell[position] += value
    return cells
