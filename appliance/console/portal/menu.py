"""Pages that aren't about a kind of the document: where they stand in the menu, and who sees them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.access.permissions import Subject
from appliance.i18n import later


@dataclass(frozen=True, slots=True)
class Place:
    """One entry. ``area``: shown to whoever may look at that; ``whole``: and not only at some site's."""

    endpoint: str
    label: str
    area: str
    whole: bool = False

    def open_to(self, subject: Subject) -> bool:
        """Whether somebody finds it in the menu."""
        if self.whole:
            return any(grant.everywhere and grant.covers(self.area, "", edit=False) for grant in subject.grants)
        return subject.may(self.area)


PLACES: Final[dict[str, tuple[Place, ...]]] = {
    later("Now"): (
        Place("live.dashboard", later("Dashboard"), "calls"),
        Place("live.panel", later("Phones and calls"), "calls"),
        Place("branches.listed", later("Branches now"), "branch"),
    ),
    later("Calls"): (
        Place("flow.show", later("Call flow"), "did"),
        Place("calls.listed", later("Call history"), "history"),
        Place("statistics.show", later("Statistics"), "history"),
    ),
    later("Firewall"): (
        Place("firewall.shown", later("Who may reach what"), "firewall", whole=True),
        Place("firewall.bans", later("Bans"), "firewall", whole=True),
    ),
    later("Notifications"): (Place("deliveries.listed", later("Deliveries"), "system"),),
}
"""Topic → its entries; before those of the document."""


def places(subject: Subject) -> list[tuple[str, list[Place]]]:
    """What somebody finds in the menu besides the document."""
    found = [(topic, [each for each in entries if each.open_to(subject)]) for topic, entries in PLACES.items()]
    return [(topic, entries) for topic, entries in found if entries]
