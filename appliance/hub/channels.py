"""The engine's channels as they are now, and which of them belong together (pure).

Which channels make one call is a function of what they are now, never of what happened before: channels belong together
that share a linked id (a channel has that of the first one of its call), a bridge, or that are the two halves of a
Local channel. So a hub that looks for the first time and one that has followed every event see the same calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.pbx.extensions.consultation import WAIT

DOWN, RING, RINGING, UP = 0, 4, 5, 6
"""States of the engine (``ast_channel_state``): ``RING``: the caller's own, ``RINGING``: a called one's."""
PLACED_FROM: Final = 9_000_000_000
"""Counters of ids from here on are given by the hub, to the channels that it has the engine begin; the engine's own begin at 0."""
_TRUNK: Final = "trunk-"
_UNKNOWN: Final = ("<unknown>", "(null)")


@dataclass(slots=True)
class Channel:
    """One channel. ``up``: when it was answered, ms since 1970, 0: not seen. ``held``: told that it is on hold.

    ``dialled``: what a caller dialled; empty for called channels. ``origin``: number of a caller from outside, E.164.
    ``asked``: whether ``dialled`` and ``origin`` of a call from outside, or one that was placed, are known to be right.
    ``waits_for``: name of the channel that consulted somebody while this one waited, last; ``consulted``: how its own last
    consultation ended, a status of the engine's Dial.
    """

    id: str
    name: str
    link: str
    state: int = DOWN
    bridge: str = ""
    held: bool = False
    number: str = ""
    caller_name: str = ""
    context: str = ""
    dialled: str = ""
    origin: str = ""
    caller: bool = False
    asked: bool = False
    up: int = 0
    device: str = ""
    trunk: str = ""
    local: str = ""
    waits_for: str = ""
    consulted: str = ""

    def __post_init__(self) -> None:
        self.rename(self.name)

    def rename(self, name: str) -> None:
        """Take another name: ``PJSIP/reception-1@tls.x7k2-0000002a`` or ``Local/201~5@group-late-00000001;1``."""
        self.name = name
        technology, _, rest = name.partition("/")
        self.device = self.trunk = self.local = ""
        if technology == "PJSIP":
            endpoint = rest.rpartition("-")[0].partition("@")[0]
            self.trunk = endpoint.removeprefix(_TRUNK) if endpoint.startswith(_TRUNK) else ""
            self.device = "" if self.trunk else endpoint
        elif technology == "Local":
            self.local = rest.rpartition(";")[0]

    @property
    def placed(self) -> bool:
        """Whether the hub had the engine begin it: a phone that rings so that its user calls somebody."""
        return age(self.id)[1] >= PLACED_FROM

    @property
    def emergency(self) -> bool:
        """Whether it makes an emergency call, by where in the dialplan it is."""
        return self.context.startswith(("sos.", "emergency"))


def age(id: str) -> tuple[int, int]:
    """Order of ids in time: ``centralino-1795405632.17`` → (1795405632, 17); what has another form comes first."""
    seconds, _, counter = id.rpartition("-")[2].partition(".")
    return (int(seconds), int(counter)) if seconds.isdecimal() and counter.isdecimal() else (0, 0)


def clean(value: str | None) -> str:
    """A value of the engine's, without its words for "none"."""
    return "" if value is None or value in _UNKNOWN else value


class Channels:
    """All channels by id, with the indices by which they find each other. ``dirty``: whose call may look different now."""

    def __init__(self) -> None:
        self.all: dict[str, Channel] = {}
        self.dirty: set[str] = set()
        self._groups: dict[str, set[str]] = {}
        self._of_owner: dict[tuple[str, str], set[str]] = {}

    def of(self, *, device: str = "", trunk: str = "") -> frozenset[str]:
        """Ids of all channels of a device, or of a trunk."""
        return frozenset(self._of_owner.get((device, trunk), ()))

    def _own(self, channel: Channel) -> None:
        if channel.device or channel.trunk:
            self._of_owner.setdefault((channel.device, channel.trunk), set()).add(channel.id)

    def _disown(self, channel: Channel) -> None:
        owned = self._of_owner.get((channel.device, channel.trunk))
        if owned is not None:
            owned.discard(channel.id)
            if not owned:
                del self._of_owner[channel.device, channel.trunk]

    def add(self, channel: Channel) -> None:
        """A new channel, or one in place of another with the same id."""
        self.remove(channel.id)
        self.all[channel.id] = channel
        self._own(channel)
        for key in self._keys(channel):
            self._groups.setdefault(key, set()).add(channel.id)
        self.touch(channel)

    def remove(self, id: str) -> Channel | None:
        """Forget a channel."""
        channel = self.all.get(id)
        if channel is None:
            return None
        self.touch(channel)
        for key in self._keys(channel):
            self._leave(key, id)
        self._disown(channel)
        return self.all.pop(id)

    def move(self, channel: Channel, *, link: str | None = None, bridge: str | None = None) -> None:
        """Give it another linked id or bridge."""
        self.touch(channel)
        for key in self._keys(channel):
            self._leave(key, channel.id)
        channel.link = channel.link if link is None else link
        channel.bridge = channel.bridge if bridge is None else bridge
        for key in self._keys(channel):
            self._groups.setdefault(key, set()).add(channel.id)
        self.touch(channel)

    def rename(self, channel: Channel, name: str) -> None:
        """Another name, which may make it another device's."""
        for key in self._keys(channel):
            self._leave(key, channel.id)
        self._disown(channel)
        channel.rename(name)
        self._own(channel)
        for key in self._keys(channel):
            self._groups.setdefault(key, set()).add(channel.id)
        self.touch(channel)

    def touch(self, channel: Channel) -> None:
        """It, and all that it belongs together with, may look different."""
        self.dirty.add(channel.id)
        for key in self._keys(channel):
            self.dirty |= self._groups.get(key, frozenset())

    def others_in_bridge(self, channel: Channel) -> Iterator[Channel]:
        """Whom it is bridged with."""
        if channel.bridge:
            for id in self._groups.get(f"b{channel.bridge}", ()):
                if id != channel.id:
                    yield self.all[id]

    def waiting(self, members: Iterable[str]) -> list[Channel]:
        """Those among channels of one call that wait while somebody is consulted; it may be a Local channel, for whom is
        behind it."""
        found = (self.all[id] for id in members)
        return [each for each in found if each.context == WAIT and not any(True for _ in self.others_in_bridge(each))]

    def waits(self, members: Iterable[str]) -> Mapping[str, str]:
        """Phones and trunks that wait so → name of the channel that consults."""
        found: dict[str, str] = {}
        for channel in self.waiting(members):
            found |= {id: channel.waits_for for id in self.joined(channel.id) if not self.all[id].local}
        return found

    def together(self, id: str) -> set[str]:
        """Ids of all channels that belong together with this one."""
        found, waiting = {id}, [id]
        while waiting:
            for key in self._keys(self.all[waiting.pop()]):
                fresh = self._groups[key] - found
                found |= fresh
                waiting.extend(fresh)
        return found

    def talking(self, members: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Who hears whom among channels of one call: sets of phones and trunks that are joined by bridges, also through
        Local channels."""
        left = {id for id in members if self.all[id].bridge}
        joined: dict[str, frozenset[str]] = {}
        while left:
            found = self.joined(left.pop())
            left -= found
            phones = frozenset(id for id in found if not self.all[id].local)
            joined.update(dict.fromkeys(phones, phones))
        return joined

    def joined(self, id: str) -> set[str]:
        """Ids of the channels that hear each other, by bridges and Local channels; with its own."""
        found, waiting = set[str](), [id]
        while waiting:
            channel = self.all[waiting.pop()]
            found.add(channel.id)
            keys = [f"b{channel.bridge}"] if channel.bridge else []
            keys += [f"l{channel.local}"] if channel.local else []
            waiting.extend({id for key in keys for id in self._groups[key]} - found)
        return found

    @staticmethod
    def _keys(channel: Channel) -> Iterator[str]:
        yield f"c{channel.link}"
        if channel.bridge:
            yield f"b{channel.bridge}"
        if channel.local:
            yield f"l{channel.local}"

    def _leave(self, key: str, id: str) -> None:
        group = self._groups.get(key)
        if group is not None:
            group.discard(id)
            if not group:
                del self._groups[key]
