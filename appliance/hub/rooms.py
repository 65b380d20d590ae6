"""Rooms: snapshots, then deltas with running numbers, each made into text once for all who may see the same (pure).

A frame is a JSON array of messages ``{type, seq, room, data}``; of an object that was known, ``data`` holds the fields that
have changed. ``seq`` counts all messages of the hub; whoever may not see
some sees gaps. A browser that comes back says what it saw last and gets what it missed, as long as the ring still has
it and it may see the same as before (``epoch``), else snapshots.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.access.live import owners
from appliance.hub.subject import Message, Subject, Visible

ROOMS: Final = ("extensions", "calls", "trunks", "links", "branches", "alarms", "me")
"""Rooms that can be subscribed to. ``me``: own extensions and the calls in which they take part."""
OBJECTS: Final = {
    "extension": "extensions", "call": "calls", "trunk": "trunks", "link": "links", "branch": "branches", "alarm": "alarms",
}  # fmt: skip
"""Type of message that says how an object is now → its room. ``<type>_gone`` says that it is no more."""
HAPPENINGS: Final = {"transfer": "calls", "pickup": "calls", "emergency": "alarms"}
"""Type of message about what happened and is no state → its room."""
HUB_TYPES: Final = ("hello", "snapshot", "state", "heartbeat", "error")
"""Types of message about the conversation itself, in the room ``hub``; a snapshot names the room that it is of."""
TYPES: Final = (*HUB_TYPES, *OBJECTS, *(f"{name}_gone" for name in OBJECTS), *HAPPENINGS)
HUB: Final = "hub"
RING: Final = 20_000
"""Messages that are kept for those who come back."""


@dataclass(slots=True)
class Entry:
    """One delta. ``before`` and ``after``: the object as it was and is, None: there was, is none. ``happened``: no object."""

    seq: int
    type: str
    room: str
    id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    happened: bool = False
    owners: frozenset[str] = frozenset()
    _texts: dict[str, str] = field(default_factory=dict)
    _seen: dict[tuple[Any, str], str] = field(default_factory=dict)

    def text(self, room: str, form: str = "") -> str:
        """As JSON, made once for all. ``form``: ``""`` what has changed, ``whole``, or ``gone``."""
        key = f"{room}/{form}"
        made = self._texts.get(key)
        if made is None:
            data: Any = {"id": self.id} if form == "gone" else self.after
            if not form and self.before is not None and self.after is not None:
                data = changed(self.before, self.after)
            made = self._texts[key] = text(f"{self.type}_gone" if form == "gone" else self.type, self.seq, room, data)
        return made

    def for_view(self, subject: Subject, room: str, visible: Visible) -> str:
        """As JSON for those who see what the subject sees; empty: they see nothing of it."""
        key = (subject.view if room != "me" else (subject.view, subject.extensions), room)
        made = self._seen.get(key)
        if made is None:
            made = self._seen[key] = self._shown(subject, room, visible)
        return made

    def _shown(self, subject: Subject, room: str, visible: Visible) -> str:
        before, after = (
            self._seen_by(subject, room, visible, self.before),
            self._seen_by(subject, room, visible, self.after),
        )
        if after is None:  # also what was seen and may not be seen any more
            return "" if before is None else self.text(room, "gone")
        whole = after is self.after
        if before is None:
            return self.text(room, "whole") if whole else text(self.type, self.seq, room, after)
        if whole and before is self.before:
            return self.text(room)
        delta = changed(before, after)
        return text(self.type, self.seq, room, delta) if len(delta) > 1 else ""

    def _seen_by(
        self, subject: Subject, room: str, visible: Visible, data: Mapping[str, Any] | None
    ) -> Mapping[str, Any] | None:
        if data is None or (room == "me" and not owners(self.type, data) & subject.extensions):
            return None
        seen = visible(subject, Message(self.type, room, data))
        return None if seen is None else seen.data


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """``id`` and the fields that have another value now; null for those that aren't there any more."""
    nothing = object()
    found = {key: value for key, value in after.items() if key == "id" or before.get(key, nothing) != value}
    return found | {key: None for key in before if key not in after}


def text(type: str, seq: int, room: str, data: Any) -> str:
    """One message as JSON."""
    return as_json({"type": type, "seq": seq, "room": room, "data": data})


def as_json(data: Any) -> str:
    """Compact JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def frame(messages: Iterable[str]) -> bytes:
    """A frame of messages."""
    return f"[{','.join(messages)}]".encode()


class _Held:
    """An object of a room, and its text once somebody has asked for it."""

    __slots__ = ("_text", "data", "type")

    def __init__(self, type: str, data: Mapping[str, Any]) -> None:
        self.type, self.data, self._text = type, data, ""

    @property
    def text(self) -> str:
        """As JSON."""
        self._text = self._text or as_json(self.data)
        return self._text


class Rooms:
    """What all rooms hold, and the last deltas. ``run`` names this run of the hub: another one has other numbers."""

    def __init__(self, run: str, visible: Visible, ring: int = RING) -> None:
        self.run, self.visible = run, visible
        self.seq = 0
        self._objects: dict[str, dict[str, _Held]] = {room: {} for room in ROOMS}
        self._ring: deque[Entry] = deque(maxlen=ring)

    def epoch(self, subject: Subject) -> str:
        """Changes when numbers begin anew, and when the subject may see something else than before."""
        view = f"{self.run} {subject.view!r} {sorted(subject.extensions)}"
        return hashlib.blake2s(view.encode(), digest_size=8).hexdigest()

    def objects(self, type: str) -> list[Mapping[str, Any]]:
        """All objects of a type as they were told last."""
        return [held.data for held in self._objects[OBJECTS[type]].values()]

    def put(self, type: str, id: str, data: Mapping[str, Any] | None) -> Entry | None:
        """An object is so now (None: is no more); the delta, None: nothing has changed."""
        objects = self._objects[OBJECTS[type]]
        before = objects[id].data if id in objects else None
        if before == data:
            return None
        if data is None:
            del objects[id]
        else:
            objects[id] = _Held(type, data)
        concerned = owners(type, before or {"id": "", "parties": ()}) | owners(type, data or {"id": "", "parties": ()})
        return self._add(Entry(self._next(), type, OBJECTS[type], id, before, data, owners=concerned - {""}))

    def happen(self, type: str, data: Mapping[str, Any]) -> Entry:
        """Something has happened."""
        return self._add(Entry(self._next(), type, HAPPENINGS[type], "", None, data, happened=True))

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _add(self, entry: Entry) -> Entry:
        self._ring.append(entry)
        return entry

    def snapshot(self, subject: Subject, room: str) -> str:
        """All that a subject sees in a room, as a message of type ``snapshot``: data is type → objects.

        After a restart of ours everybody comes at once: of objects that are seen whole the text is kept.
        """
        found: dict[str, list[str]] = {}
        for held in self._all(room):
            if room == "me" and not owners(held.type, held.data) & subject.extensions:
                continue
            whole = Message(held.type, room, held.data)
            seen = self.visible(subject, whole)
            if seen is not None:
                found.setdefault(held.type, []).append(held.text if seen is whole else as_json(seen.data))
        data = ",".join(f'"{type}":[{",".join(texts)}]' for type, texts in found.items())
        return f'{{"type":"snapshot","seq":{self.seq},"room":"{room}","data":{{{data}}}}}'

    def _all(self, room: str) -> Iterator[_Held]:
        for name in ("extensions", "calls") if room == "me" else (room,):
            yield from self._objects[name].values()

    def missed(self, subject: Subject, rooms: Collection[str], epoch: str, seq: int) -> list[str] | None:
        """Messages after ``seq``; None: they can't be told any more."""
        if epoch != self.epoch(subject) or not self._has_after(seq):
            return None
        return [made for entry in self._ring if entry.seq > seq for made in self._for(entry, subject, rooms)]

    def _has_after(self, seq: int) -> bool:
        oldest = self._ring[0].seq if self._ring else self.seq + 1
        return oldest - 1 <= seq <= self.seq

    def _for(self, entry: Entry, subject: Subject, rooms: Collection[str]) -> Iterator[str]:
        if entry.room in rooms and (made := entry.for_view(subject, entry.room, self.visible)):
            yield made
        mine = "me" in rooms and entry.owners & subject.extensions
        if mine and (made := entry.for_view(subject, "me", self.visible)):
            yield made

    def batch(self, entries: Sequence[Entry]) -> Batch:
        """Deltas that go out together."""
        return Batch(self, entries)


class Batch:
    """Some deltas, made into frames for one subject after the other: equal ones are made once."""

    def __init__(self, rooms: Rooms, entries: Sequence[Entry]) -> None:
        self._rooms, self._entries = rooms, entries
        self._common: dict[tuple[Any, frozenset[str]], list[str]] = {}
        self._frames: dict[tuple[Any, frozenset[str]], bytes] = {}
        self._of_owner: dict[str, list[Entry]] = {}
        for entry in entries:
            for owner in entry.owners:
                self._of_owner.setdefault(owner, []).append(entry)

    def frame(self, subject: Subject, rooms: frozenset[str]) -> bytes:
        """What a subject sees of it in these rooms; empty: nothing."""
        key = (subject.view, rooms)
        common = self._common.get(key)
        if common is None:
            shown = (
                entry.for_view(subject, entry.room, self._rooms.visible)
                for entry in self._entries
                if entry.room in rooms
            )
            common = self._common[key] = [made for made in shown if made]
            self._frames[key] = frame(common) if common else b""
        own = list(self._own(subject)) if "me" in rooms else []
        return frame((*common, *own)) if own else self._frames[key]

    def _own(self, subject: Subject) -> Iterator[str]:
        mine = {entry.seq: entry for owner in subject.extensions for entry in self._of_owner.get(owner, ())}
        for seq in sorted(mine):
            if made := mine[seq].for_view(subject, "me", self._rooms.visible):
                yield made
