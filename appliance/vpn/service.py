"""The voice VPN's process besides its keeper: who is connected, and cutting off whose certificate or networks changed.

Asks each daemon's management socket, which serves one asker, and every branch through its tunnel (:mod:`appliance.vpn.echoes`), and
tells everybody else: whoever connects to ``run/live/vpn.sock`` gets one JSON object, and the connection is closed. Orders come by
``run/vpn.sock`` (:mod:`appliance.vpn.orders`), which fewer processes see.

What happens when…

* a daemon is gone or says nothing: nothing is claimed of its branches, and ``daemons`` tells why;
* a branch that is to be cut off can't be (the daemon doesn't answer): it is tried again at each round; new connections are
  refused already, for its file is gone;
* somebody connects and reads nothing: it is let go after two seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import CentralinoError
from appliance.engine.keeping import telling
from appliance.engine.openvpn_management import Management
from appliance.engine.unix import listening
from appliance.failover.drill import Drill
from appliance.firewall.bans.reporting import Reporter
from appliance.i18n import later
from appliance.paths import Paths
from appliance.vpn.branches import Branch, Branches, Session
from appliance.vpn.echoes import Echoes
from appliance.vpn.enrolment.gate import Gate
from appliance.vpn.enrolment.ordered import Invitations
from appliance.vpn.inside.events import Events
from appliance.vpn.inside.reports import Reports
from appliance.vpn.keeper import Keeper
from appliance.vpn.orders import answer_order
from appliance.vpn.pki import site_of
from appliance.vpn.quality import Quality
from appliance.vpn.slices import Slices

_log = logging.getLogger("centralino.vpn")

ROUND_S: Final = 0.5
SEND_S: Final = 2.0
SOCKET_MODE: Final = 0o660


@dataclass
class _Watched:
    """One daemon: its management socket and the tasks that read it."""

    management: Management
    tasks: tuple[asyncio.Task[None], ...]


class Service:
    """See this module. ``group``: numeric group whose members may ask, None: ours. ``gate``: where new edges enrol, None: nowhere.
    ``invitations``: makes them when ordered, None: only ``centralino vpn enrol`` does."""

    def __init__(
        self,
        keeper: Keeper,
        paths: Paths,
        group: int | None = None,
        gate: Gate | None = None,
        invitations: Invitations | None = None,
    ) -> None:
        self._keeper, self._paths, self._group, self._gate = keeper, paths, group, gate
        self._invitations = invitations
        self._branches = Branches()
        self._report = Reporter(paths.attempts_socket)
        self._drill = Drill(paths.vpn.drill)
        self._events = Events(paths.vpn.events)
        self._drill_faults: list[str] = []
        self._watched: dict[str, _Watched] = {}
        self._echoes = Echoes(keeper.network_namespace)
        self._measured: tuple[Session, ...] = ()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; the daemons end with it. :raises RefusedError: ``already_running``."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        with contextlib.ExitStack() as stack:
            servers = [
                await self._serve(stack, self._paths.vpn_orders_socket, self._take_order),
                await self._serve(stack, self._paths.vpn_socket, self._answer),
            ]
            measuring = asyncio.create_task(self._echoes.run())
            measuring.add_done_callback(_tell_death)
            gate = asyncio.create_task(self._keep_gate(stopping))
            try:
                while not stopping.is_set():
                    await asyncio.to_thread(self._keeper.tend)
                    await self._follow()
                    await self._arrived()
                    await self._cut_off()
                    self._measure()
                    await asyncio.to_thread(self._watch_lines)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ROUND_S):
                            await stopping.wait()
            finally:
                told_to = stopping.is_set()
                for server in servers:
                    server.close()
                measuring.cancel()
                await asyncio.gather(measuring, return_exceptions=True)
                stopping.set()
                await gate
                for interface in list(self._watched):
                    await self._unwatch(interface)
                if told_to:  # a mistake of ours is no reason to end tunnels
                    await asyncio.to_thread(self._keeper.stop)
                self._report.close()

    async def _serve(
        self, stack: contextlib.ExitStack, path: Path, answer: Callable[..., Awaitable[None]]
    ) -> asyncio.Server:
        path.parent.mkdir(parents=True, exist_ok=True)
        listener = stack.enter_context(listening(path, SOCKET_MODE))
        listener.listen(16)
        if self._group is not None:
            os.chown(path, -1, self._group)
        return await asyncio.start_unix_server(answer, sock=_owned(listener))

    def told(self) -> dict[str, Any]:
        """What whoever asks is told: every branch of the configuration, connected or not."""
        connected = {site_of(row.common_name): row for row in self._branches.rows()}
        reports = Reports(self._paths.vpn.reports)
        said = {site: found for site in self._keeper.sites if (found := reports.of(site)) is not None}
        ends = {name: each.ends.isoformat() for name, each in self._keeper.living.items()}
        return {
            "at": time.time(),
            "faults": [
                *self._keeper.faults,
                *self._drill_faults,
                *filter(None, (self._gate.fault if self._gate else "", self._echoes.trouble)),
            ],
            "alarms": [
                {"id": each.error_id, "severity": each.severity, "message": each.message, "hint": each.hint}
                for each in (*self._keeper.alarms, *self._keeper.relays.alarms(), *self._drill.alarms())
            ],
            "daemons": [_daemon(interface, each.management) for interface, each in sorted(self._watched.items())],
            "branches": [
                {
                    **_branch(site, interface, connected.get(site), ends, self._echoes.quality(site)),
                    **self._really(site, connected.get(site)),
                    "edge": said.get(site),
                }
                for site, interface in sorted(self._keeper.sites.items())
            ],
            "addresses": self._addresses(said),
        }

    def _really(self, site: str, row: Branch | None) -> dict[str, Any]:
        """Of a branch that comes in by its relay: its lines, and where it really is, for OpenVPN knows it by an address of this machine's own."""
        lines = self._keeper.relays.lines(site)
        told: dict[str, Any] = {"lines": [asdict(each) for each in lines]} if lines else {}
        if row is not None and row.address.is_loopback:
            told["address"] = (self._keeper.relays.address(site) or "").partition(" ")[0]
        return told

    def _addresses(self, said: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """The centre's addresses of the configuration, and which branches' edges have come in by each, ever."""
        slices, hosts = Slices(self._paths.engine.current), dict[str, list[str]]()
        for site in self._keeper.sites:
            with contextlib.suppress(CentralinoError):
                for each in slices.of(site).remotes:
                    hosts.setdefault(each.host, [])
                break  # all branches have the same addresses
        for site, found in said.items():
            for host in {str(way).partition(" ")[0] for way in found.get("ways", {})} & hosts.keys():
                hosts[host].append(site)
        return [{"host": host, "proven_by": sorted(sites)} for host, sites in hosts.items()]

    def _measure(self) -> None:
        sessions = self._branches.sessions()
        if sessions is not self._measured:
            self._echoes.follow(_targets(sessions))
            self._measured = sessions

    def _watch_lines(self) -> None:
        """What each line would do by itself."""
        self._drill_faults = []
        with telling(self._drill_faults):
            relays = self._keeper.relays
            self._drill.look(lambda: {site: relays.lines(site) for site in relays.protected})

    # Daemons

    async def _follow(self) -> None:
        there = set(self._keeper.sites.values()) | set(self._keeper.interfaces)
        for interface in self._watched.keys() - there:
            await self._unwatch(interface)
        for interface in there - self._watched.keys():
            try:
                management = Management(self._keeper.management(interface), bytecount_s=0)  # the status has them too
            except CentralinoError as error:
                _log.error("%s: %s", interface, error.message)
                continue
            tasks = (
                asyncio.create_task(management.run()),
                asyncio.create_task(self._read(interface, management)),
            )
            self._watched[interface] = _Watched(management, tasks)

    async def _unwatch(self, interface: str) -> None:
        watched = self._watched.pop(interface)
        for task in watched.tasks:
            task.cancel()
        await asyncio.gather(*watched.tasks, return_exceptions=True)
        self._branches.forget(interface)

    async def _read(self, interface: str, management: Management) -> None:
        with management.subscribe() as items:
            async for item in items:
                self._branches.take(interface, item, time.monotonic())

    async def _keep_gate(self, stopping: asyncio.Event) -> None:
        """Beside the rounds: nobody waits to be cut off because the gate is being opened."""
        if self._gate is None:
            return
        while not stopping.is_set():
            await asyncio.to_thread(self._gate.tend)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_S):
                    await stopping.wait()
        await asyncio.to_thread(self._gate.stop)

    async def _arrived(self) -> None:
        """An edge has come in by a new certificate: those that it takes the place of are revoked, and cut off in the next round."""
        for session in self._branches.sessions():
            mine = self._keeper.replacing.get(session.common_name)
            if mine is not None:
                try:
                    ended = await asyncio.to_thread(self._keeper.confirm, mine)
                except CentralinoError as error:
                    _log.error("%s: what it replaces can't be revoked: %s", mine.name, error.message)
                    continue
                _log.info(
                    "%s came in, and %s is revoked", mine.name, ", ".join(each.name for each in ended) or "nothing"
                )

    async def _cut_off(self) -> None:
        """Sessions that go by what is no longer so: a revoked certificate, another network. Who may, is back in a second or two."""
        if not self._keeper.faults:  # also who came in before this process began, and is let in no more
            for each in self._branches.sessions():
                cut_off = each.daemon, each.common_name
                if each.common_name not in self._keeper.living and cut_off not in self._keeper.changed:
                    self._keeper.changed.add(cut_off)
                    why = later("certificate no longer good")
                    if not each.address.is_loopback:  # a relay's: what is revoked is heard by none any more
                        self._report("vpn", str(each.address), "failed", each.common_name, why)
        for interface, name in sorted(self._keeper.changed):
            watched = self._watched.get(interface)
            if watched is None:
                self._keeper.changed.discard((interface, name))
                continue
            try:
                ended = await watched.management.kill_common_name(name)
            except CentralinoError:
                continue  # it doesn't answer: again at the next round
            self._keeper.changed.discard((interface, name))
            if ended:
                _log.info("%s: %s was cut off, what holds for it has changed", interface, name)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(json.dumps(self.told()).encode() + b"\n")
            async with asyncio.timeout(SEND_S):
                await writer.drain()
        writer.close()

    async def _take_order(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer_order(self._keeper.revoke, reader, writer, self._invitations, self._drill, self._events)


def _tell_death(task: asyncio.Task[None]) -> None:
    """Nothing waits for it: branches are looked after, measured or not."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("branches aren't measured any more", exc_info=error)


def _owned(listener: socket.socket) -> socket.socket:
    """A socket of its own for asyncio, which closes it."""
    return socket.socket(fileno=os.dup(listener.fileno()))


def _daemon(interface: str, management: Management) -> dict[str, Any]:
    return {"interface": interface, "standing": management.standing.kind, "alarm": management.standing.alarm}


def _branch(site: str, interface: str, row: Branch | None, ends: dict[str, str], quality: Quality) -> dict[str, Any]:
    if row is None:
        return {"site": site, "interface": interface, "connected": False}
    return {
        "site": site,
        "interface": row.daemon,
        "connected": True,
        "since": row.connected_since,
        "address": str(row.address),
        "inside": [str(each) for each in (row.virtual4, row.virtual6) if each is not None],
        "received": row.received,
        "sent": row.sent,
        "received_rate": row.received_rate,
        "sent_rate": row.sent_rate,
        "cipher": row.cipher,
        "version": row.version,
        "certificate": row.common_name,
        "certificate_ends": ends.get(row.common_name),
        "rtt_ms": _rounded(quality.rtt_ms),
        "rtt_median_ms": _rounded(quality.median_ms),
        "loss": quality.loss,
    }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)


def _targets(sessions: Iterable[Session]) -> dict[str, tuple[IPv4Address | IPv6Address, object]]:
    """Whom to ask: each site at its own address within the tunnel."""
    return {
        site_of(each.common_name): (each.inside, (each.common_name, each.daemon, each.cid, each.connected_since))
        for each in sessions
        if each.inside is not None
    }
