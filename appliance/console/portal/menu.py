"""Pages that aren't about a kind of the document: where they stand in the menu, and who sees them there."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.access.permissions import Subject
from appliance.i18n import _


@dataclass(frozen=True, slots=True)
class Place:
    """One entry. ``area``: shown to whoever may look at that."""

    endpoint: str
    label: str
    area: str


def _all() -> dict[str, tuple[Place, ...]]:
    """Topic → its entries, in the reader's language; before those of the document."""
    return {
        _("Now"): (
            Place("live.dashboard", _("Dashboard"), "calls"),
            Place("live.panel", _("Phones and calls"), "calls"),
        )
    }


def places(subject: Subject) -> list[tuple[str, list[Place]]]:
    """What somebody finds in the menu besides the document."""
    found = [(topic, [each for each in entries if subject.may(each.area)]) for topic, entries in _all().items()]
    return [(topic, entries) for topic, entries in found if entries]
