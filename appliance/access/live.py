"""What somebody may see of the live state, and whose calls it may handle (pure): roles, held against what the hub tells.

The area ``calls`` opens calls and the state of extensions, which follows from them; ``device`` where phones are registered; ``trunk``,
``site`` and ``branch`` trunks, the links between sites, and branches of the voice VPN; ``system`` alarms. To edit ``calls`` is to place, transfer and end them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.access.permissions import Grant, Subject
from appliance.core.document import Document
from appliance.pbx.extensions.model import Extension

Reach = frozenset[str] | None
"""Sites that a right reaches; None: everything."""
Data = Mapping[str, Any]
NOWHERE: frozenset[str] = frozenset()
OWN_ROOM = "me"


@dataclass(frozen=True, slots=True)
class View:
    """Rights as far as the live state goes; subjects with equal ones see the same, but for what is their own. ``own``: calls of
    one's own extensions."""

    calls: Reach = NOWHERE
    devices: Reach = NOWHERE
    trunks: Reach = NOWHERE
    links: Reach = NOWHERE
    branches: Reach = NOWHERE
    alarms: bool = False
    own: bool = False


def view_of(grants: Iterable[Grant]) -> View:
    """What a subject's grants let it see."""
    grants = tuple(grants)
    reaching = [grant for grant in grants if not grant.own]
    return View(
        calls=_reach(reaching, "calls"),
        devices=_reach(reaching, "device"),
        trunks=_reach(reaching, "trunk"),
        links=_reach(reaching, "site"),
        branches=_reach(reaching, "branch"),
        alarms=any(grant.covers("system", "", edit=False) for grant in reaching),
        own=any(grant.covers("calls", "", edit=False) for grant in grants),
    )


def own_extensions(document: Document, person: str) -> frozenset[str]:
    """Ids of a person's extensions."""
    return frozenset(id for id, extension in document.all(Extension).items() if extension.person == person)


def may_handle(subject: Subject, document: Document, extension: str, site: str = "") -> bool:
    """Whether calls of an extension may be handled: placed from it, transferred by it, ended. ``site``: where the phone stands, if
    that isn't the extension's."""
    found = document.find(Extension, extension)
    if found is None:
        return any(grant.covers("calls", "", edit=True) and grant.everywhere for grant in subject.grants)
    for grant in subject.grants:
        if grant.covers("calls", "", edit=True):
            reached = grant.sites is None or {found.site, site or found.site} <= grant.sites
            if reached and (not grant.own or found.person == subject.person):
                return True
    return False


def shown(view: View, own: frozenset[str], type: str, room: str, data: Data) -> Data | None:
    """What of an object or a happening somebody may see: the very ``data`` when it is all, a part, or None.

    A call is shown whole to whoever may see one of its parties: they talk to the others. ``own`` counts in :data:`OWN_ROOM` only.
    """
    if room == OWN_ROOM:
        return data if view.own and owners(type, data) & own else None
    match type:
        case "extension":
            return _extension(view, data) if _in(view.calls, data["site"]) else None
        case "call":
            return data if view.calls is None or any(party["site"] in view.calls for party in data["parties"]) else None
        case "trunk":
            # Those at no site are everybody's who may see trunks at all, as in the document.
            return data if _in(view.trunks, data["site"]) or (view.trunks and not data["site"]) else None
        case "link":
            return data if view.links is None or set(data["sites"]) & view.links else None
        case "branch":
            return data if _in(view.branches, data["site"]) else None
        case "alarm":
            return data if view.alarms else None
        case "emergency":
            return data if view.alarms or _in(view.calls, data["site"]) else None
        case _:  # transfer, pickup: numbers of people at any site
            return data if view.calls is None else None


def owners(type: str, data: Data) -> frozenset[str]:
    """Extensions whose own affair an object is."""
    if type == "extension":
        return frozenset((data["id"],))
    if type == "call":
        return frozenset(party["extension"] for party in data["parties"] if party["extension"])
    return frozenset()


def _reach(grants: Iterable[Grant], area: str) -> Reach:
    sites: set[str] = set()
    for grant in grants:
        if grant.covers(area, "", edit=False):
            if grant.sites is None:
                return None
            sites |= grant.sites
    return frozenset(sites)


def _extension(view: View, data: Data) -> Data:
    if _in(view.devices, data["site"]):
        return data
    return {**data, "devices": [{**device, "address": ""} for device in data["devices"]]}


def _in(reach: Reach, site: str) -> bool:
    return reach is None or site in reach
