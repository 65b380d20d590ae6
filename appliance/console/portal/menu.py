"""Pages that aren't about a kind of the document: where they stand in the menu, and who sees them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.access.permissions import Subject
from appliance.i18n import later


@dataclass(frozen=True, slots=True)
class Place:
    """One entry. ``area``: shown to whoever may look at that."""

    endpoint: str
    label: str
    area: str


PLACES: Final[dict[str, tuple[Place, ...]]] = {
    later("Now"): (
        Place("live.dashboard", later("Dashboard"), "calls"),
        Place("live.panel", later("Phones and calls"), "calls"),
    ),
    later("Calls"): (
        Place("flow.show", later("Call flow"), "did"),
        Place("calls.listed", later("Call history"), "history"),
        Place("statistics.show", later("Statistics"), "history"),
    ),
    later("Notifications"): (Place("deliveries.listed", later("Deliveries"), "system"),),
}
"""Topic → its entries; before those of the document."""


def places(subject: Subject) -> list[tuple[str, list[Place]]]:
    """What somebody finds in the menu besides the document."""
    found = [(topic, [each for each in entries if subject.may(each.area)]) for topic, entries in PLACES.items()]
    return [(topic, entries) for topic, entries in found if entries]
