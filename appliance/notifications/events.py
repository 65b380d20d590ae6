"""The catalogue of events, and what is told of each (pure): facts of the history and names of the document → an event's data.

``docs/notifications.md`` is checked against it. To add an event: give it a type in ``model.py`` and an entry here, write the notice
where it happens, in that transaction (:mod:`appliance.history.outbox`).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core.document import Document
from appliance.history.model import Direction
from appliance.notifications.model import EventField, EventType
from appliance.organisation.model import Person
from appliance.pbx.extensions.model import Device, Extension

_F: Final = EventField
_BEGUN: Final = (
    _F.DIRECTION, _F.CALLER, _F.CALLER_NAME, _F.CALLED, _F.USER, _F.DID, _F.TRUNK, _F.SITE, _F.START,
)  # fmt: skip
_OVER: Final = (
    *_BEGUN, _F.REACHED, _F.ANSWER, _F.END, _F.DURATION, _F.RINGING, _F.OUTCOME, _F.QUALITY, _F.TRANSFERS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventKind:
    """One event: when it happens, which fields it has, and what is always in it."""

    description: str
    fields: tuple[EventField, ...] = ()
    always: tuple[str, ...] = ("call",)


EVENTS: Final[dict[EventType, EventKind]] = {
    EventType.STARTED: EventKind("A call began: the first phone or line is being called.", _BEGUN),
    EventType.ANSWERED: EventKind("Somebody answered, or a service did.", (*_BEGUN, _F.REACHED, _F.ANSWER)),
    EventType.JOINED: EventKind(
        "A call became part of another one by a transfer. It is this call's last event: the other call goes on with both.",
        always=("call", "into"),
    ),
    EventType.MISSED: EventKind("Somebody here was called and didn't answer, whoever gave up. The end follows.", _OVER),
    EventType.ENDED: EventKind("A call is over. It is the last event of every call.", (*_OVER, _F.HISTORY_ID)),
    EventType.ALARM_RAISED: EventKind("Something needs attention.", always=("alarm", "severity", "message", "raised")),
    EventType.ALARM_CLEARED: EventKind(
        "What an alarm told of is over.", always=("alarm", "severity", "message", "raised", "cleared")
    ),
}
"""Every event."""

FIELDS: Final[dict[EventField, str]] = {
    _F.DIRECTION: "`internal`, `inbound`, `outbound` or `emergency`",
    _F.CALLER: "extension, or number in E.164 form; null when it is withheld",
    _F.CALLER_NAME: "what was shown as the caller's name",
    _F.CALLED: "what was dialled; of a call from outside, the number that was called",
    _F.REACHED: "extension or number that answered, or null",
    _F.USER: "whom of us it concerns, `{id, name, extension}`: who called outside or inside, who was called from outside",
    _F.DID: "of a call from outside: our public number that was called",
    _F.TRUNK: "id of the line it came in or left by, or null",
    _F.SITE: "id of the site of the caller's phone; of a call from outside, of the phone that answered or was called",
    _F.START: "when it began",
    _F.ANSWER: "when it was answered, or null",
    _F.END: "when it ended",
    _F.DURATION: "seconds from the answer to the end; 0 when it wasn't answered",
    _F.RINGING: "seconds that it rang",
    _F.OUTCOME: "`answered`, `busy`, `no_answer`, `cancelled`, `failed` or `engine_failure`",
    _F.QUALITY: "`{loss_percent, jitter_ms, round_trip_ms}`, the worst of all legs, each null when it wasn't measured; null when nothing was",
    _F.TRANSFERS: "list of `{kind, by, of, to}`: who sent whom to whom",
    _F.HISTORY_ID: "the call's number in the history",
}
"""Every field of an event about a call. Times are RFC 3339 in UTC, to the millisecond."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the document knows: extension → its person, device → its site."""

    people: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> Names:
        """Those of a document."""
        people, extensions = document.all(Person), document.all(Extension)
        sites = {}
        for device in document.all(Device).values():
            owner = extensions.get(device.extension)
            site = device.site or (None if owner is None else owner.site)
            if site is not None:
                sites[device.id] = site
        found = {}
        for extension in extensions.values():
            person = people.get(extension.person or "")
            if person is not None:
                found[extension.number] = (person.id, person.name)
        return cls(found, sites)


def body(type: str, time: int, stream: str, facts: Mapping[str, Any], names: Names, wanted: Collection[str]) -> str:
    """An event as it is sent: JSON with type, timestamp and data (Standard Webhooks, payload structure).

    :param wanted: names of fields; empty: all.
    """
    kind = EVENTS[EventType(type)]
    if type.startswith("alarm."):
        data = {name: timestamp(facts[name]) if name in ("raised", "cleared") else facts[name] for name in kind.always}
    elif type == EventType.JOINED:
        data = {"call": stream, "into": facts["into"]}
    else:
        told = _told(facts, names)
        data = {"call": stream, **{f.value: told[f] for f in kind.fields if not wanted or f.value in wanted}}
    whole = {"type": type, "timestamp": timestamp(time), "data": data}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _told(facts: Mapping[str, Any], names: Names) -> dict[EventField, Any]:
    inbound = facts["direction"] == Direction.INBOUND
    return {
        _F.DIRECTION: facts["direction"],
        _F.CALLER: facts["from_extension"] or facts["from_number"] or None,
        _F.CALLER_NAME: facts["from_name"],
        _F.CALLED: facts["dialled"],
        _F.REACHED: facts["reached"] or None,
        _F.USER: _user(facts["called_extension"] if inbound else facts["from_extension"], names),
        _F.DID: facts["dialled"] if inbound else None,
        _F.TRUNK: facts["trunk"] or None,
        _F.SITE: _site(facts, names, inbound=inbound),
        _F.START: timestamp(facts["started"]),
        _F.ANSWER: timestamp(facts.get("answered")),
        _F.END: timestamp(facts.get("ended")),
        _F.DURATION: round(facts.get("talk_ms", 0) / 1000, 3),
        _F.RINGING: round(facts.get("ring_ms", 0) / 1000, 3),
        _F.OUTCOME: facts.get("outcome"),
        _F.QUALITY: _quality(facts),
        _F.TRANSFERS: facts.get("transfers", []),
        _F.HISTORY_ID: facts.get("history_id"),
    }


def _site(facts: Mapping[str, Any], names: Names, *, inbound: bool) -> str | None:
    """As it was recorded; while the call goes on, where the document says that the phone stands."""
    if inbound:
        return facts["reached_site"] or names.sites.get(facts["called_device"]) or facts["from_site"] or None
    return facts["from_site"] or names.sites.get(facts["from_device"])


def _user(extension: str, names: Names) -> dict[str, str | None] | None:
    if not extension:
        return None
    id, name = names.people.get(extension, (None, None))
    return {"id": id, "name": name, "extension": extension}


def _quality(facts: Mapping[str, Any]) -> dict[str, float | None] | None:
    found = {name: facts.get(name) for name in ("loss_percent", "jitter_ms", "round_trip_ms")}
    return None if all(value is None for value in found.values()) else found


def timestamp(millis: int | None) -> str | None:
    """RFC 3339, UTC, to the millisecond."""
    if millis is None:
        return None
    when = datetime.datetime.fromtimestamp(millis / 1000, datetime.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
