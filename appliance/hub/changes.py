"""Live state → what to tell those who look: each object of the rooms as it is, when it is another than was said last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from appliance.hub import views
from appliance.hub.channels import Channels
from appliance.hub.directory import Directory

if TYPE_CHECKING:
    from appliance.hub.live import Contact


class State(Protocol):
    """What is known of the engine."""

    directory: Directory
    channels: Channels
    contacts: dict[str, dict[str, Contact]]
    registrations: dict[str, str]
    settings: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Change:
    """One object of a room as it is now; ``data`` None: it is no more. ``kind`` names what it is."""

    room: str
    kind: str
    id: str
    data: Mapping[str, Any] | None


@dataclass(slots=True)
class Dirty:
    """What may be another than was said last, by id; of calls the channels know it themselves."""

    extensions: set[str] = field(default_factory=set)
    trunks: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    everything: bool = False


class Said:
    """What was said last of a state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._published: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._members: dict[str, set[str]] = {}
        self._call_of: dict[str, str] = {}
        self._on_link: dict[str, set[str]] = {}

    def call_of(self, channel: str) -> str:
        """The call that a channel belonged to; empty: none."""
        return self._call_of.get(channel, "")

    def changes(self, dirty: Dirty) -> list[Change]:
        """What is different now, and remember it as said."""
        if dirty.everything:
            dirty.extensions |= set(self._state.directory.extensions) | self._told("extension")
            dirty.trunks |= set(self._state.directory.trunks) | self._told("trunk")
            dirty.links |= set(self._state.directory.links) | self._told("link")
            self._state.channels.dirty |= set(self._state.channels.all)
        found = self._call_changes(dirty)
        for kind, ids, view in (
            ("extension", dirty.extensions, self._extension),
            ("trunk", dirty.trunks, self._trunk),
            ("link", dirty.links, self._link),
        ):
            found += [change for id in sorted(ids) if (change := self._change(kind, id, view(id))) is not None]
        return found

    def _told(self, kind: str) -> set[str]:
        return {id for of_kind, id in self._published if of_kind == kind}

    def _call_changes(self, dirty: Dirty) -> list[Change]:
        touched, self._state.channels.dirty = self._state.channels.dirty, set()
        gone = {call for id in touched if (call := self._call_of.get(id))}
        for call in gone:
            touched |= self._members.pop(call, set())
        for id in touched:
            self._call_of.pop(id, None)
        done: set[str] = set()
        made: dict[str, dict[str, Any] | None] = {}
        for id in sorted(touched):
            if id in done or id not in self._state.channels.all:
                continue
            members = self._state.channels.together(id)
            done |= members
            for other in {key for each in members if (key := self._call_of.get(each))}:
                self._members.pop(other, None)
                gone.add(other)
            key = views.call_key(self._state.channels, members)
            self._members[key] = members
            self._call_of.update(dict.fromkeys(members, key))
            made[key] = views.call(self._state.directory, self._state.channels, key, members)
        for call in gone:
            made.setdefault(call, None)
        return self._publish_calls(made, dirty)

    def _publish_calls(self, made: Mapping[str, dict[str, Any] | None], dirty: Dirty) -> list[Change]:
        found = []
        for key in sorted(made, key=lambda item: (made[item] is not None, item)):
            view = made[key]
            before = self._published.get(("call", key))
            self._count_links(key, view, dirty)
            if (change := self._change("call", key, view)) is not None:
                found.append(change)
                for party in (*(before or {}).get("parties", ()), *(view or {}).get("parties", ())):
                    dirty.extensions.add(party["extension"])
                    dirty.trunks.add(party["trunk"])
        return found

    def _count_links(self, key: str, view: Mapping[str, Any] | None, dirty: Dirty) -> None:
        sites = {party["site"] for party in view["parties"]} if view else set[str]()
        for id, link in self._state.directory.links.items():
            calls = self._on_link.setdefault(id, set())
            if (key in calls) != ({link.first, link.second} <= sites):
                calls.symmetric_difference_update({key})
                dirty.links.add(id)

    def _change(self, kind: str, id: str, data: Mapping[str, Any] | None) -> Change | None:
        before = self._published.get((kind, id))
        if data == before:
            return None
        if data is None:
            del self._published[kind, id]
        else:
            self._published[kind, id] = data
        return Change(f"{kind}s", kind, id, data)

    def _extension(self, id: str) -> dict[str, Any] | None:
        """How an extension is; None: the document has none with this id."""
        entry = self._state.directory.extensions.get(id)
        if entry is None:
            return None
        ids = {leg for device in entry.devices for leg in self._state.channels.of(device=device)}
        mine = [
            (key, party)
            for key in sorted({self._call_of[leg] for leg in ids if leg in self._call_of})
            for party in self._published.get(("call", key), {}).get("parties", ())
            if party["extension"] == id
        ]
        values = {name: values.get(id, "") for name, values in self._state.settings.items()}
        devices = [views.device(device, self._state.contacts.get(device, {}).values()) for device in entry.devices]
        return views.extension(entry, mine, devices, values)

    def _trunk(self, id: str) -> dict[str, Any] | None:
        """How a trunk is; None: the document has none with this id."""
        entry = self._state.directory.trunks.get(id)
        if entry is None:
            return None
        contacts = self._state.contacts.get(f"trunk-{id}", {}).values()
        calls = len(self._state.channels.of(trunk=id))
        return views.trunk(entry, self._state.registrations.get(entry.account), contacts, calls)

    def _link(self, id: str) -> dict[str, Any] | None:
        """How a thin link is; None: the document has none with this id."""
        entry = self._state.directory.links.get(id)
        return None if entry is None else views.link(entry, len(self._on_link.get(id, ())))

    def all(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """All of it: room → id → object."""
        found: dict[str, dict[str, Mapping[str, Any]]] = {"extensions": {}, "calls": {}, "trunks": {}, "links": {}}
        for (kind, id), data in self._published.items():
            found[f"{kind}s"][id] = data
        return found
