"""The branch's end of the pair (pure): datagrams and times in, datagrams out.

What happens when…

* a line is down, or becomes another address: a hello goes out on it again and again, and the path is bound when the centre has heard it;
* a line's router forgets who we are (NAT): the centre asks us to show the address, within a quarter of a second of hearing another one;
* all lines are down: what OpenVPN said last to open its session is kept, and goes out with the first path that is bound;
* the centre's relay has lost what it knew: no packet of ours opens there, no talk comes; a hello begins another session, by all paths;
* OpenVPN's server has been started anew: the centre says another generation, and so do we (:attr:`Edge.generation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from appliance.failover.relay import wire
from appliance.failover.relay.best import Best, pace
from appliance.failover.relay.channel import SPARE, Channel, Way, tag_of
from appliance.failover.relay.keys import SessionKeys, SiteKeys
from appliance.failover.relay.openvpn import OPENINGS, opcode
from appliance.failover.relay.policy import EF, Calling, Choice, Chooser, belongs_to_calls
from appliance.failover.relay.wire import Copying, Hello, Kind, MalformedError, Role

FIRST_S: Final = 0.25
"""Between the first hellos on a path; then one and a half times as long each time …"""
LONGEST_S: Final = 5.0
"""… up to this; on a line that is paid for by what it carries three times that …"""
ALONE_S: Final = 1.0
"""… but not while no path works at all."""
SILENT_S: Final = 1.0
"""A bound path on which nothing has been heard for so long beyond its pace is said hello on again."""
HELD_S: Final = 8.0
"""OpenVPN gives up a session that hasn't opened by then (its ``hand-window``)."""


class Sent(NamedTuple):
    """A datagram to be sent on a path.

    :param tos: the octet that its IP header is to bear.
    """

    path: int
    datagram: bytes
    tos: int


class _Path:
    __slots__ = ("accepted", "bound", "counter", "hello_at", "shown_at", "wait", "way")

    def __init__(self, way: Way) -> None:
        self.way = way
        self.bound = False
        self.counter = self.accepted = 0
        """Of the last hello, and of the last one that was answered."""
        self.wait = FIRST_S
        self.hello_at = self.shown_at = float("-inf")


class Edge:
    """See this module.

    :param epoch: number of this session; larger than of any before.
    :param lines: paths and what their lines are.
    """

    def __init__(self, key: bytes, epoch: int, lines: Mapping[int, Role], copying: Copying) -> None:
        self._key, self._keys = key, SiteKeys.of(key)
        self.epoch, self._copying = epoch, copying
        self._paths = {path: _Path(Way(path, role)) for path, role in lines.items()}
        self._counter = 0
        self._channel: Channel | None = None
        self._nonce = b""
        self._chooser, self._choice, self._wanted = Chooser(copying), Choice(), False
        self._held: tuple[float, bytes, int] | None = None
        self._calling = Calling()
        self._talk_at = self._chosen_at = float("-inf")
        self._talked: dict[int, float] = {}
        self.generation: int | None = None
        """Of OpenVPN's server; another one than before: its client should begin anew at once."""
        self.refused = 0
        """Datagrams that weren't the centre's."""
        self.changed = False
        """Something that :meth:`state` tells is another since whoever writes it down has set this back."""

    @property
    def ways(self) -> dict[int, Way]:
        """By path, for whoever shows them."""
        return {path: each.way for path, each in self._paths.items()}

    @property
    def best(self) -> Best:
        """By which line goes what isn't copied, and why."""
        return self._chooser.best

    @property
    def bound(self) -> frozenset[int]:
        """Paths that the centre has bound."""
        return frozenset(path for path, each in self._paths.items() if each.bound)

    def works(self, path: int, now: float) -> bool:
        """Whether the centre has bound that path, and is heard by it."""
        each = self._paths.get(path)
        return each is not None and each.bound and not self._silent(each, now)

    def cap(self, paths: frozenset[int], now: float) -> list[Sent]:
        """Lines of these paths have carried what they may: they are used when there is no other."""
        changed = [each for path, each in self._paths.items() if each.way.capped is not (path in paths)]
        for each in changed:
            each.way.capped = not each.way.capped
        self._chosen_at = float("-inf")
        return [self._hello(each, now) for each in changed]

    def move(self, path: int) -> None:
        """The far end of a path is to be found at another address: it has yet to show itself there."""
        each = self._paths.get(path)
        if each is not None:
            each.bound, each.wait, each.hello_at = False, FIRST_S, float("-inf")
            self._chosen_at = float("-inf")

    def go_by(self, lines: Mapping[int, Role], copying: Copying) -> None:
        """Other lines, or another way of copying; paths that stay go on."""
        self._copying = self._chooser.copying = copying
        for path in self._paths.keys() - lines.keys():
            del self._paths[path]
        for path, role in lines.items():
            each = self._paths.get(path)
            if each is None:
                each = self._paths[path] = _Path(Way(path, role))
            elif each.way.role is not role:
                each.way.role, each.hello_at, each.bound = (
                    role,
                    float("-inf"),
                    False,
                )  # the centre goes by what hellos say
        if self._channel is not None:
            self._channel.ways = self.ways
        self._choice = self._choice.among(lines)
        self._chosen_at = float("-inf")  # until then nothing waits for the next look

    def state(self) -> dict[str, Any]:
        """What the next process needs to go on; no key."""
        made: dict[str, Any] = {"counter": self._counter, "generation": self.generation, "bound": sorted(self.bound)}
        if self._channel is not None:
            made |= {"nonce": self._nonce.hex(), "channel": self._channel.state()}
        return made

    def resume(self, state: dict[str, Any], now: float, spare: int = SPARE) -> None:
        """Go on with a session after a restart. ``spare``: how many numbers may have been used since. :raises KeyError: it is none; so :raises TypeError: and :raises ValueError:."""
        self._counter = int(state["counter"]) + spare
        self.generation = state["generation"]
        if "nonce" not in state:
            return
        nonce = bytes.fromhex(state["nonce"])
        keys = SessionKeys.of(self._key, self.epoch, nonce)
        channel = Channel(keys.up, keys.down, int(state["channel"]["tag"]))
        channel.ways = self.ways
        channel.resume(state["channel"], spare)
        channel.ways = {path: way for path, way in channel.ways.items() if path in self._paths}
        self._channel, self._nonce = channel, nonce
        for path in state["bound"]:
            if path in self._paths:
                self._paths[path].bound = True
                self._paths[path].way.meter.last = now  # silence begins now
        self.tick(now)

    # From OpenVPN's client

    def client(self, payload: bytes, tos: int, now: float) -> list[Sent]:
        """A packet of the client's."""
        if belongs_to_calls(tos, payload):
            if opcode(payload) in OPENINGS:
                self._held = (now, payload, tos)
            else:
                self._calling.heard(now)
        return self._out(payload, tos, self._choice.of(tos, payload), now)

    def _out(self, payload: bytes, tos: int, ways: tuple[Way, ...], now: float) -> list[Sent]:
        if self._channel is None:
            return []
        return [Sent(way.path, datagram, tos) for way, datagram in self._channel.data(payload, ways, now)]

    # From a path

    def heard(self, path: int, datagram: bytes, now: float) -> tuple[bytes | None, list[Sent]]:
        """A datagram that came by a path: OpenVPN's packet for the client, and what is to be sent."""
        kind = wire.kind_of(datagram)
        try:
            if kind in (Kind.CHALLENGE, Kind.WELCOME):
                return None, self._opening(kind, path, datagram, now)
            if kind < 0 or kind > Kind.TALK or self._channel is None or tag_of(datagram) != self._channel.tag:
                raise MalformedError
            opened = self._channel.open(datagram, now)
        except MalformedError:
            self.refused += 1
            return None, []
        if opened.talk is not None:
            return None, self._told(self._channel, opened.way, opened.talk, now)
        return opened.payload, []

    def _opening(self, kind: int, path: int, datagram: bytes, now: float) -> list[Sent]:
        each = self._paths.get(path)
        if each is None:
            raise MalformedError
        if kind == Kind.CHALLENGE:
            asked = wire.challenge(datagram, self._keys.centre)
            if (asked.path, asked.epoch) != (path, self.epoch) or now - each.shown_at < FIRST_S / 5:
                return []
            each.shown_at = now
            return [self._hello(each, now, asked.cookie)]
        welcome = wire.welcome(datagram, self._keys.centre)
        if (welcome.path, welcome.epoch) != (path, self.epoch) or not each.accepted < welcome.counter <= each.counter:
            return []  # sent again by somebody
        return self._welcomed(each, welcome, now)

    def _welcomed(self, each: _Path, welcome: wire.Welcome, now: float) -> list[Sent]:
        if self._channel is None or (welcome.nonce, welcome.tag) != (self._nonce, self._channel.tag):
            self._begin(welcome)
        worked = any(other.bound and not self._silent(other, now) for other in self._paths.values())
        again = self._silent(each, now)
        each.bound, each.wait, each.accepted = True, FIRST_S, welcome.counter
        each.way.meter.last = now
        self.generation = welcome.generation
        self._chosen_at = float("-inf")
        self.changed = True
        made = self.tick(now)
        if self._held is not None and now - self._held[0] < HELD_S and (not worked or again):
            made += self._out(self._held[1], self._held[2], (each.way,), now)
        return made

    def _begin(self, welcome: wire.Welcome) -> None:
        """Another session at the centre: all paths have to be bound anew."""
        keys = SessionKeys.of(self._key, self.epoch, welcome.nonce)
        self._channel = Channel(keys.up, keys.down, welcome.tag)
        self._nonce = welcome.nonce
        for each in self._paths.values():
            capped = each.way.capped
            each.way = Way(each.way.path, each.way.role)
            each.way.capped = capped
            each.bound, each.wait, each.hello_at = False, FIRST_S, float("-inf")
            self._channel.ways[each.way.path] = each.way

    def _told(self, channel: Channel, way: Way, talk: bytes, now: float) -> list[Sent]:
        if wire.is_padding(talk):
            return [Sent(way.path, channel.talk(wire.got(talk), way, now), EF)]
        size = wire.size_got(talk)
        if size is not None:
            way.sizes.answered(size, now)
            return []
        try:
            report = wire.report(talk)
        except MalformedError:
            return []
        if report is not None:
            self._wanted, self.generation = report.copies, report.generation
            for told in report.paths:
                each = self._paths.get(told.path)
                if each is not None:
                    each.way.outlook.reported(told, now)
        return []

    # By time

    def tick(self, now: float) -> list[Sent]:
        """What is due. To be called twenty times a second."""
        made = [self._hello(each, now) for each in self._paths.values() if self._hello_due(each, now)]
        if self._channel is None:
            return made
        idle = self.idle(now)
        if now - self._chosen_at >= 0.1:
            self._chosen_at = now
            ways = [each.way for each in self._paths.values() if each.bound]
            self._choice = self._chooser.choose(ways, now, idle=idle, wanted=self._wanted)
        for each in self._paths.values():
            if each.bound:
                made += self._talks(self._channel, each.way, now, idle=idle)
        return made

    def idle(self, now: float) -> bool:
        """Whether nobody has called of late."""
        return self._calling.idle(now)

    def _talks(self, channel: Channel, way: Way, now: float, *, idle: bool) -> list[Sent]:
        made = []
        if now - self._talked.get(way.path, float("-inf")) >= self.best.pace(way, idle=idle):
            self._talked[way.path] = now
            ours = [each for each in self._paths.values() if each.bound]
            report = wire.Report(
                0, self._chooser.troubled, tuple(each.way.meter.told(each.way.path, now) for each in ours)
            )
            made.append(Sent(way.path, channel.talk(report.packed(), way, now), EF))
        for size in way.sizes.due(now, rarely=idle and way.role is Role.METERED):
            made.append(Sent(way.path, channel.talk(wire.padding(size), way, now), EF))
        return made

    def _silent(self, each: _Path, now: float) -> bool:
        return now - each.way.meter.last > SILENT_S + pace(each.way.role, idle=self.idle(now))

    def _hello_due(self, each: _Path, now: float) -> bool:
        if each.bound and not self._silent(each, now):
            return False
        longest = LONGEST_S * (3 if each.way.role is Role.METERED else 1)
        if not any(other.bound and not self._silent(other, now) for other in self._paths.values()):
            longest = ALONE_S
        if now - each.hello_at < min(each.wait, longest):
            return False
        each.wait = min(each.wait * 1.5, longest)
        return True

    def _hello(self, each: _Path, now: float, cookie: bytes = bytes(wire.MAC)) -> Sent:
        self._counter += 1
        each.counter, each.hello_at = self._counter, now
        way = each.way
        hello = Hello(way.path, way.role, self._copying, way.capped, self._keys.name, self.epoch, self._counter, cookie)
        return Sent(way.path, hello.signed(self._keys.edge), EF)
