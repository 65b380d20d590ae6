"""Packets that the firewall dropped, and the first SIP request of each source in a minute: by nflog.

Nothing here is proven: the sender of a packet can be invented. Only what a stranger means counts: what opens a connection, and
datagrams to doors that are none. Left out:

* what was sent to a group or to everybody: neighbours look for printers;
* late answers: from a well-known port to one that connections of ours begin at;
* the same door again within ten seconds: a phone that is led astray sends each request eleven times (RFC 3261 section 17.1.2.2);
* ports of voice: a browser tries every way to each of them (ICE, RFC 8445), and phones go on for a moment when a call has ended.

What happens when…

* the kernel doesn't let us read, or stops: it is tried again every few seconds, and ``trouble`` tells;
* more comes than we can read: the kernel drops it (the rule logs 100 a second of them, at most).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.engine.nflog import Logged, Nflog
from appliance.engine.place import engine_namespace
from appliance.firewall.bans.model import Address, Attempt, Outcome, Service, Sign
from appliance.firewall.bans.packets import TCP, Packet, packet, request
from appliance.firewall.bans.service import Desk
from appliance.firewall.machine import this_machine
from appliance.firewall.rules import LOG_GROUP, LOOKED_AT

_log = logging.getLogger("centralino.bans")

AGAIN_S: Final = 5.0
AGAIN_AFTER: Final = 10_000
"""Ms after which the same source at the same door counts again."""
KNOCKED_MAX: Final = 20_000
WELL_KNOWN: Final = 1024
OURS_FROM: Final = 32_768
"""First local port of connections that we begin (Linux: net.ipv4.ip_local_port_range)."""


class Dropped:
    """A feed; see :class:`~appliance.firewall.bans.service.Feed`."""

    name = "nflog"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._media = this_machine().media
        self._knocked: dict[tuple[Address, str], int] = {}
        self.trouble: CentralinoError | None = None

    async def run(self) -> None:
        """Read until it is cancelled."""
        while True:
            try:
                await self._read()
            except CentralinoError as error:
                if self.trouble is None:
                    _log.error("%s (%s)", error.message, error.hint)
                self.trouble = error
            await asyncio.sleep(AGAIN_S)

    async def _read(self) -> None:
        source = await asyncio.to_thread(Nflog, LOG_GROUP, network_namespace=engine_namespace())
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()

        def ready() -> None:
            try:
                for logged in source.read():
                    self.take(logged)
            except CentralinoError as error:
                loop.remove_reader(source.fileno())
                if not broken.done():
                    broken.set_exception(error)

        try:
            loop.add_reader(source.fileno(), ready)
            self.trouble = None
            await broken
        finally:
            loop.remove_reader(source.fileno())
            source.close()

    def take(self, logged: Logged) -> None:
        """Hand over what a packet tells."""
        found = attempt(logged, *self._desk.times(), self._media)
        if found is not None and (found.signs or self._is_news(found)):
            self._desk.take(found)

    def _is_news(self, found: Attempt) -> bool:
        door = found.source, found.account
        last = self._knocked.get(door)
        if last is not None and found.when - last < AGAIN_AFTER:
            return False
        if len(self._knocked) >= KNOCKED_MAX:
            self._knocked.clear()
        self._knocked[door] = found.when
        return True


def attempt(logged: Logged, when: int, wall: int, media: tuple[int, int]) -> Attempt | None:
    """What a packet tells; None: nothing."""
    seen = packet(logged.packet)
    if seen is None:
        return None
    if logged.prefix == LOOKED_AT:
        asked = request(seen.payload)
        if asked is None or not asked.tool:
            return None
        says = f"{asked.method}, {asked.agent}"
        return Attempt(when, wall, seen.source, Service.SIP, Outcome.FAILED, "", says, signs=Sign.ATTACK_TOOL)
    if logged.to_group or _is_to_all(seen) or not _is_meant(seen, media):
        return None
    name = "tcp" if seen.protocol == TCP else "udp"
    asked = request(seen.payload)
    signs = Sign.ATTACK_TOOL if asked is not None and asked.tool else Sign.NONE
    says = f"{asked.method}, {asked.agent}".rstrip(", ") if asked is not None else ""
    account = f"{name}/{seen.port}"
    return Attempt(when, wall, seen.source, Service.DROPPED, Outcome.DROPPED, account, says, signs=signs)


def _is_to_all(seen: Packet) -> bool:
    return seen.target.is_multicast or seen.target.packed == b"\xff" * 4


def _is_meant(seen: Packet, media: tuple[int, int]) -> bool:
    if seen.protocol == TCP:
        return seen.opens
    answers = seen.source_port < WELL_KNOWN and seen.port >= OURS_FROM
    return not answers and not media[0] <= seen.port <= media[1]
