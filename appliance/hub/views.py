"""How extensions, calls, trunks and links look in messages of the hub (pure). Fields are described in docs/hub.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from appliance.hub.channels import DOWN, RINGING, UP, Channel, Channels, age
from appliance.hub.directory import Directory, ExtensionEntry, LinkEntry, TrunkEntry
from appliance.pbx.extensions.consultation import TAKEN_BACK

if TYPE_CHECKING:
    from appliance.hub.live import Contact

Party = dict[str, Any]


def call_key(channels: Channels, members: Iterable[str]) -> str:
    """Id of a call: the oldest linked id of its channels, as in the history."""
    return min((channels.all[id].link for id in members), key=lambda link: (age(link), link))


def call(directory: Directory, channels: Channels, key: str, members: Iterable[str]) -> dict[str, Any] | None:
    """One call; None: nobody takes part, it is an affair of the engine's own."""
    legs = sorted((channels.all[id] for id in members if not channels.all[id].local), key=lambda leg: age(leg.id))
    if not any(leg.device or leg.trunk for leg in legs):
        return None
    talking, waits = channels.talking(members), channels.waits(members)
    parties = [party(directory, leg, channels, talking.get(leg.id, frozenset()), waits=leg.id in waits) for leg in legs]
    answered = [leg.up for leg in legs if leg.state == UP and leg.up]
    return {
        "id": key,
        "state": _state(parties),
        "direction": _direction(legs),
        "dialled": next((leg.dialled for leg in legs if leg.caller), ""),
        "trunk": next((leg.trunk for leg in legs if leg.trunk), ""),
        "started": age(key)[0] * 1000,
        "answered": min(answered, default=None),
        "parties": parties,
        "consultation": _consultation(legs, channels, talking, waits),
    }


_ENDED: Final = {
    "BUSY": "busy", "NOANSWER": "no_answer", "CANCEL": "taken_back", TAKEN_BACK: "taken_back", "ANSWER": "ended",
}  # fmt: skip
"""Status of the engine's Dial → how a consultation ended; whatever else: ``unreachable``."""


def _consultation(
    legs: Sequence[Channel], channels: Channels, talking: Mapping[str, frozenset[str]], waits: Mapping[str, str]
) -> dict[str, Any] | None:
    """Somebody who asks somebody else while the first party waits, or how that ended; None: there was nothing of the kind."""
    for held, name in sorted(waits.items()):
        by = next((each for each in legs if each.name == name), None)
        if by is not None:
            called = [each for each in legs if not each.caller and each.state != UP]
            to = talking.get(by.id, frozenset()) - {by.id} or frozenset(each.id for each in called)
            rings = any(each.state >= RINGING for each in called)
            state = "talking" if any(channels.others_in_bridge(by)) else "ringing" if rings else "calling"
            return {"by": by.id, "held": held, "to": sorted(to, key=age), "state": state}
    ended = next((leg for leg in legs if leg.consulted), None)
    if ended is None:
        return None
    return {"by": ended.id, "held": None, "to": [], "state": _ENDED.get(ended.consulted, "unreachable")}


def _state(parties: Sequence[Party]) -> str:
    states = {item["state"] for item in parties}
    if any(len(item["with"]) for item in parties):
        return "held" if states & {"held", "holding"} else "up"
    if states & {"ringing", "dialing"}:
        return "ringing"
    return "up" if "up" in states else "ringing"


def _direction(legs: Sequence[Channel]) -> str:
    if any(leg.emergency for leg in legs):
        return "emergency"
    if legs[0].trunk and legs[0].caller:
        return "inbound"
    return "outbound" if any(leg.trunk and not leg.caller for leg in legs) else "internal"


def party(
    directory: Directory, leg: Channel, channels: Channels, talking: frozenset[str], *, waits: bool = False
) -> Party:
    """One party of a call. ``waits``: while somebody else is consulted."""
    extension = directory.extension_of.get(leg.device, "")
    entry = directory.extensions.get(extension)
    trunk = directory.trunks.get(leg.trunk)
    return {
        "id": leg.id,
        "role": "caller" if leg.caller else "called",
        "state": "held" if waits else _party_state(leg, channels),
        "extension": extension,
        "device": leg.device,
        "trunk": leg.trunk,
        "site": directory.place.get(leg.device, "") or (trunk.site if trunk else ""),
        "number": number(directory, leg),
        "name": entry.name if entry else leg.caller_name if leg.caller or leg.device else "",
        "with": sorted(talking - {leg.id}, key=age),
        "since": leg.up or None if leg.state == UP else None,
    }


def _party_state(leg: Channel, channels: Channels) -> str:
    if leg.state == UP:
        if any(other.held for other in channels.others_in_bridge(leg)):
            return "holding"
        return "held" if leg.held and leg.bridge else "up"
    if leg.caller:
        return "calling"
    return "ringing" if leg.state >= RINGING else "dialing"


def number(directory: Directory, leg: Channel) -> str:
    """How people call a party: its extension's number; outside, the caller's number in E.164, or what was dialled."""
    entry = directory.extensions.get(directory.extension_of.get(leg.device, ""))
    if entry is not None:
        return entry.number
    return leg.origin if leg.trunk and leg.caller else leg.number


def device(id: str, contacts: Iterable[Contact]) -> dict[str, Any]:
    """A device: where it is registered."""
    found = next(iter(sorted(contacts, key=lambda contact: contact.uri)), None)
    if found is None:
        return {"id": id, "state": "absent", "address": "", "since": None}
    state = "unreachable" if found.status == "Unreachable" else "registered"
    return {"id": id, "state": state, "address": address(found.uri), "since": found.since or None}


def address(uri: str) -> str:
    """Host and port of a SIP URI: ``sip:x@192.0.2.11:16000;transport=udp`` → ``192.0.2.11:16000``."""
    return uri.partition(":")[2].rpartition("@")[2].partition(";")[0]


def extension(
    entry: ExtensionEntry,
    parts: Sequence[tuple[str, Party]],
    devices: list[dict[str, Any]],
    settings: Mapping[str, str],
) -> dict[str, Any]:
    """An extension. ``parts``: its parts in calls, each with the id of the call."""
    states = {part["state"] for _, part in parts}
    registered = any(item["state"] == "registered" for item in devices)
    if states & {"up", "held", "calling"}:
        state = "busy"
    elif "ringing" in states:
        state = "ringing"
    elif "holding" in states:
        state = "hold"
    elif not registered:
        state = "unreachable"
    else:
        state = "dnd" if settings["dnd"] else "idle"
    return {
        "id": entry.id,
        "number": entry.number,
        "name": entry.name,
        "site": entry.site,
        "state": state,
        "dnd": bool(settings["dnd"]),
        "forward": settings["forward"],
        "locked": bool(settings["lock"]),
        "devices": devices,
        "calls": sorted({key for key, _ in parts}),
    }


def trunk(entry: TrunkEntry, registration: str | None, contacts: Iterable[Contact], calls: int) -> dict[str, Any]:
    """A trunk. ``reachable`` None: it isn't asked (probes are off), or hasn't answered yet."""
    known = {"Reachable": True, "Unreachable": False}
    return {
        "id": entry.id,
        "name": entry.name,
        "site": entry.site,
        "registration": (registration or "unregistered") if entry.account else "none",
        "reachable": next((known[item.status] for item in contacts if item.status in known), None),
        "calls": calls,
        "max_calls": entry.max_calls,
    }


def link(entry: LinkEntry, calls: int) -> dict[str, Any]:
    """A thin link: calls with parties at both of its sites."""
    return {"id": entry.id, "sites": [entry.first, entry.second], "calls": calls, "max_calls": entry.max_calls}


__all__ = ["DOWN", "address", "call", "call_key", "device", "extension", "link", "number", "party", "trunk"]
