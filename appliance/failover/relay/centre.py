"""The centre's end of all its pairs (pure): datagrams and times in, datagrams out.

Nothing is kept of whoever can't sign, and nothing is sent to where nobody has shown that he hears: a challenge, shorter than what it answers, is all that a
new address gets. What is not signed never reaches OpenVPN.

What happens when…

* a hello is sent again by somebody, from elsewhere: the challenge goes there, and nobody there can sign the answer; the path stays where it was;
* an edge comes by another address: the path follows when it has shown that it hears there; until then the old one goes on;
* an edge begins another session: its paths, keys and numbers are new; the former session's are forgotten;
* a site's key is no longer good: its session ends at once.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from appliance.failover.relay import wire
from appliance.failover.relay.channel import SPARE, Channel, Way, tag_of
from appliance.failover.relay.keys import NONCE, SessionKeys, SiteKeys
from appliance.failover.relay.policy import EF, Calling, Choice, Chooser, belongs_to_calls
from appliance.failover.relay.wire import Challenge, Copying, Hello, Kind, MalformedError, Report, Role, Welcome

COOKIE_S: Final = 30.0
"""A cookie is good for this long, and up to twice that."""
ASK_S: Final = 0.25
"""Between two challenges to one path that has come from elsewhere."""
FORGET_S: Final = 120.0
"""A path that nothing has come by for so long is sent nothing more."""
GONE_S: Final = 30.0
"""After so long nothing but reports goes there."""
OVER_S: Final = 600.0
"""A session of which nothing has been heard for so long is over."""
_ABOUT: Final = struct.Struct("!QBQ")


class Where(NamedTuple):
    """An address outside, and which of ours it came to."""

    address: bytes
    local: bytes


class Sent(NamedTuple):
    """A datagram to be sent outside."""

    where: Where
    datagram: bytes
    tos: int


class Heard(NamedTuple):
    """What a datagram was.

    :param site: whose packet it is; None: nobody's that OpenVPN is to have.
    """

    site: str | None
    payload: bytes
    sent: list[Sent]


class Draw(Protocol):
    """Octets that nobody can guess."""

    def __call__(self, octets: int, /) -> bytes: ...


class Session:
    """One life of an edge's relay."""

    def __init__(self, site: str, key: bytes, epoch: int, nonce: bytes, tag: int) -> None:
        self.site, self.epoch, self.nonce = site, epoch, nonce
        keys = SessionKeys.of(key, epoch, nonce)
        self.channel = Channel(keys.down, keys.up, tag)
        self.where: dict[int, Where] = {}
        """Where each path's other end has shown to be."""
        self.counters: dict[int, int] = {}
        self.chooser, self.choice, self.wanted = Chooser(), Choice(), False
        self.asked: dict[int, float] = {}
        self.talked: dict[int, float] = {}
        self.calling, self.chosen_at = Calling(), float("-inf")

    def idle(self, now: float) -> bool:
        """Whether nobody there has called of late."""
        return self.calling.idle(now)

    def heard_at(self) -> float:
        """When anything came last, by whichever path."""
        return max((way.meter.last for way in self.channel.ways.values()), default=float("-inf"))


class _Site(NamedTuple):
    key: bytes
    keys: SiteKeys
    name: str


_NOTHING: Final = Heard(None, b"", [])


class Centre:
    """See this module.

    :param draw: where nonces, tags and the cookies' secret come from.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw, self._secret = draw, draw(32)
        self._sites: dict[bytes, _Site] = {}
        self._keys_of: dict[str, list[_Site]] = {}
        self._sessions: dict[int, Session] = {}
        self._by_site: dict[str, Session] = {}
        self.generations: dict[str, int] = {}
        """By site: of the OpenVPN server that it belongs to."""
        self.changed = False
        """Something that :meth:`state` tells is another since whoever writes it down has set this back."""
        self.refused = 0
        """Datagrams that nobody known had signed."""

    @property
    def sessions(self) -> Mapping[str, Session]:
        """By site."""
        return self._by_site

    def let_in(self, keys: Mapping[bytes, str]) -> None:
        """Keys that are good now, and whose they are. A site may have two while it renews its certificate."""
        found = {}
        for key, site in keys.items():
            made = SiteKeys.of(key)
            found[made.name] = _Site(key, made, site)
        self._sites, self._keys_of = found, {}
        for one in found.values():
            self._keys_of.setdefault(one.name, []).append(one)
        for tag, session in list(self._sessions.items()):
            if self._key_of(session) is None:
                self._end(tag)

    def _is_of(self, session: Session, one: _Site) -> bool:
        return session.channel.made_with(SessionKeys.of(one.key, session.epoch, session.nonce).up)

    def _end(self, tag: int) -> None:
        session = self._sessions.pop(tag)
        if self._by_site.get(session.site) is session:
            del self._by_site[session.site]

    def state(self) -> list[dict[str, Any]]:
        """What the next process needs to go on with the sessions; no key."""
        return [
            {
                "site": session.site, "key_name": one.keys.name.hex(), "epoch": session.epoch, "nonce": session.nonce.hex(),
                "copying": session.chooser.copying, "channel": session.channel.state(),
                "where": {path: [part.hex() for part in where] for path, where in session.where.items()},
                "counters": session.counters,
            }
            for session in self._by_site.values()
            if (one := self._key_of(session)) is not None
        ]  # fmt: skip

    def resume(self, state: dict[str, Any], now: float, spare: int = SPARE) -> None:
        """Go on with a session after a restart. ``spare``: how many numbers may have been used since. :raises KeyError: it is none; so :raises TypeError: and :raises ValueError:."""
        one = self._sites[bytes.fromhex(state["key_name"])]
        session = Session(
            one.name, one.key, int(state["epoch"]), bytes.fromhex(state["nonce"]), int(state["channel"]["tag"])
        )
        session.channel.resume(state["channel"], spare)
        session.chooser.copying = Copying(state["copying"])
        session.where = {int(path): Where(*map(bytes.fromhex, where)) for path, where in state["where"].items()}
        session.counters = {int(path): int(counter) for path, counter in state["counters"].items()}
        for way in session.channel.ways.values():
            way.meter.last = now  # silence begins now
        self._sessions[session.channel.tag] = self._by_site[one.name] = session
        self._tick(session, now)

    def _generation(self, session: Session) -> int:
        return self.generations.get(session.site, 0)

    def _key_of(self, session: Session) -> _Site | None:
        return next((one for one in self._keys_of.get(session.site, ()) if self._is_of(session, one)), None)

    # From outside

    def heard(self, datagram: bytes, where: Where, now: float) -> Heard:
        """A datagram that came from outside."""
        kind = wire.kind_of(datagram)
        try:
            if kind == Kind.HELLO:
                return Heard(None, b"", self._hello(datagram, where, now))
            if kind < 0 or kind > Kind.TALK:
                raise MalformedError
            session = self._sessions.get(tag_of(datagram))
            if session is None:
                raise MalformedError
            opened = session.channel.open(datagram, now)
        except MalformedError:
            self.refused += 1
            return _NOTHING
        path = opened.way.path
        sent = []
        if opened.newest and session.where.get(path) != where:
            sent = self._ask(session, path, where, now)
        if opened.talk is not None:
            return Heard(None, b"", sent + self._told(session, opened.way, opened.talk, now))
        if opened.payload is None:
            return Heard(None, b"", sent) if sent else _NOTHING
        return Heard(session.site, opened.payload, sent)

    def _hello(self, datagram: bytes, where: Where, now: float) -> list[Sent]:
        one = self._sites.get(wire.hello_name(datagram))
        if one is None:
            raise MalformedError
        hello = wire.hello(datagram, one.keys.edge)
        session = self._by_site.get(one.name)
        if session is not None and (
            hello.epoch < session.epoch
            or (hello.epoch == session.epoch and hello.counter <= session.counters.get(hello.path, 0))
        ):
            raise MalformedError
        if hello.cookie not in (self._cookie(hello, where, now, step) for step in (0, 1)):
            given = self._cookie(hello, where, now, 0)
            challenge = Challenge(hello.path, hello.epoch, hello.counter, given)
            return [Sent(where, challenge.signed(one.keys.centre), EF)]
        if session is None or session.epoch != hello.epoch or not self._is_of(session, one):
            session = self._begin(one, hello.epoch)
        self._bind(session, hello, where, now)
        welcome = Welcome(
            hello.path, hello.epoch, hello.counter, session.channel.tag, self._generation(session), session.nonce
        )
        return [Sent(where, welcome.signed(one.keys.centre), EF)]

    def _cookie(self, hello: Hello, where: Where, now: float, back: int) -> bytes:
        slot = max(0, int(now / COOKIE_S) - back)
        return wire.cookie(self._secret, (hello.name, *where, _ABOUT.pack(hello.epoch, hello.path, slot)))

    def _begin(self, one: _Site, epoch: int) -> Session:
        former = self._by_site.get(one.name)
        if former is not None:
            self._end(former.channel.tag)
        tag = int.from_bytes(self._draw(4))
        while tag in self._sessions:
            tag = int.from_bytes(self._draw(4))
        session = Session(one.name, one.key, epoch, self._draw(NONCE), tag)
        self._sessions[tag] = self._by_site[one.name] = session
        return session

    def _bind(self, session: Session, hello: Hello, where: Where, now: float) -> None:
        way = session.channel.ways.setdefault(hello.path, Way(hello.path))
        way.role, way.capped = hello.role, hello.capped
        way.meter.last = now
        session.chooser.copying = hello.copying
        session.where[hello.path] = where
        session.counters[hello.path] = hello.counter
        session.asked.pop(hello.path, None)
        self.changed = True
        session.chosen_at = float("-inf")

    def _ask(self, session: Session, path: int, where: Where, now: float) -> list[Sent]:
        """A path's newest packet came from elsewhere: does the edge hear there?"""
        if now - session.asked.get(path, float("-inf")) < ASK_S:
            return []
        one = self._key_of(session)
        if one is None:
            return []
        session.asked[path] = now
        hello = Hello(path, Role.PRIMARY, Copying.ALWAYS, False, one.keys.name, session.epoch, 0)
        challenge = Challenge(path, session.epoch, 0, self._cookie(hello, where, now, 0))
        return [Sent(where, challenge.signed(one.keys.centre), EF)]

    def _told(self, session: Session, way: Way, talk: bytes, now: float) -> list[Sent]:
        if wire.is_padding(talk):
            return self._say(session, way, wire.got(talk), now)
        size = wire.size_got(talk)
        if size is not None:
            way.sizes.answered(size, now)
            return []
        try:
            report = wire.report(talk)
        except MalformedError:
            return []
        if report is not None:
            session.wanted = report.copies
            for told in report.paths:
                each = session.channel.ways.get(told.path)
                if each is not None:
                    each.outlook.reported(told, now)
        return []

    def _say(self, session: Session, way: Way, talk: bytes, now: float) -> list[Sent]:
        where = session.where.get(way.path)
        return [] if where is None else [Sent(where, session.channel.talk(talk, way, now), EF)]

    # From OpenVPN's server

    def server(self, site: str, payload: bytes, tos: int, now: float) -> list[Sent]:
        """A packet of the server's for a site."""
        session = self._by_site.get(site)
        if session is None:
            return []
        if belongs_to_calls(tos, payload):
            session.calling.heard(now)
        ways, where = session.choice.of(tos, payload), session.where
        return [Sent(where[way.path], datagram, tos) for way, datagram in session.channel.data(payload, ways, now)]

    # By time

    def tick(self, now: float) -> list[Sent]:
        """What is due. To be called twenty times a second."""
        for tag, session in list(self._sessions.items()):
            if now - session.heard_at() > OVER_S:
                self._end(tag)
        return [each for session in self._by_site.values() for each in self._tick(session, now)]

    def _tick(self, session: Session, now: float) -> list[Sent]:
        idle = session.idle(now)
        if now - session.chosen_at >= 0.1:
            session.chosen_at = now
            ways = [
                way
                for path, way in session.channel.ways.items()
                if path in session.where and now - way.meter.last < GONE_S
            ]
            session.choice = session.chooser.choose(ways, now, idle=idle, wanted=session.wanted)
        made: list[Sent] = []
        for path, way in session.channel.ways.items():
            if now - way.meter.last > FORGET_S:
                continue
            if now - session.talked.get(path, float("-inf")) >= session.chooser.best.pace(way, idle=idle):
                session.talked[path] = now
                told = tuple(each.meter.told(each.path, now) for each in session.channel.ways.values())
                report = Report(self._generation(session), session.chooser.troubled, told)
                made += self._say(session, way, report.packed(), now)
            for size in way.sizes.due(now, rarely=idle and way.role is Role.METERED):
                made += self._say(session, way, wire.padding(size), now)
        return made
