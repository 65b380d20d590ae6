"""The voice VPN's process besides its keeper: who is connected, and cutting off whose certificate or networks changed.

Asks each daemon's management socket, which serves one asker, and tells everybody else: whoever connects to ``run/vpn.sock`` gets one
JSON object, and the connection is closed.

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
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import CentralinoError
from appliance.engine.openvpn_management import Management
from appliance.engine.unix import listening
from appliance.firewall.bans.reporting import Reporter
from appliance.paths import Paths
from appliance.vpn.branches import Branch, Branches
from appliance.vpn.enrolment.gate import Gate
from appliance.vpn.keeper import Keeper
from appliance.vpn.pki import site_of

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
    """See this module. ``group``: numeric group whose members may ask, None: ours. ``gate``: where new edges enrol, None: nowhere."""

    def __init__(self, keeper: Keeper, paths: Paths, group: int | None = None, gate: Gate | None = None) -> None:
        self._keeper, self._paths, self._group, self._gate = keeper, paths, group, gate
        self._branches = Branches()
        self._report = Reporter(paths.attempts_socket)
        self._watched: dict[str, _Watched] = {}

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; the daemons end with it. :raises RefusedError: ``already_running``."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        self._paths.vpn_socket.parent.mkdir(parents=True, exist_ok=True)
        with listening(self._paths.vpn_socket, SOCKET_MODE) as listener:
            listener.listen(16)
            if self._group is not None:
                os.chown(self._paths.vpn_socket, -1, self._group)
            server = await asyncio.start_unix_server(self._answer, sock=_owned(listener))
            gate = asyncio.create_task(self._keep_gate(stopping))
            try:
                while not stopping.is_set():
                    await asyncio.to_thread(self._keeper.tend)
                    await self._follow()
                    await self._arrived()
                    await self._cut_off()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stopping.wait(), ROUND_S)
            finally:
                server.close()
                stopping.set()
                await gate
                for interface in list(self._watched):
                    await self._unwatch(interface)
                await asyncio.to_thread(self._keeper.stop)
                self._report.close()

    def told(self) -> dict[str, Any]:
        """What whoever asks is told: every branch of the configuration, connected or not."""
        connected = {site_of(row.common_name): row for row in self._branches.rows()}
        ends = {name: each.ends.isoformat() for name, each in self._keeper.living.items()}
        return {
            "at": time.time(),
            "faults": [*self._keeper.faults, *([self._gate.fault] if self._gate and self._gate.fault else [])],
            "alarms": [
                {"id": each.error_id, "severity": each.severity, "message": each.message, "hint": each.hint}
                for each in self._keeper.alarms
            ],
            "daemons": [_daemon(interface, each.management) for interface, each in sorted(self._watched.items())],
            "branches": [
                _branch(site, interface, connected.get(site), ends)
                for site, interface in sorted(self._keeper.sites.items())
            ],
        }

    # Daemons

    async def _follow(self) -> None:
        there = set(self._keeper.sites.values()) | set(self._keeper.interfaces)
        for interface in self._watched.keys() - there:
            await self._unwatch(interface)
        for interface in there - self._watched.keys():
            try:
                management = Management(self._keeper.management(interface))
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
                await asyncio.wait_for(stopping.wait(), ROUND_S)
        await asyncio.to_thread(self._gate.stop)

    async def _arrived(self) -> None:
        """An edge has come in by a new certificate: those that it takes the place of are revoked, and cut off in the next round."""
        for row in self._branches.rows():
            mine = self._keeper.living.get(row.common_name)
            if mine is not None and any(
                each.site == mine.site and (each.generation < mine.generation or each.serial == mine.replaces)
                for each in self._keeper.living.values()
            ):
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
            for row in self._branches.rows():
                cut_off = row.daemon, row.common_name
                if row.common_name not in self._keeper.living and cut_off not in self._keeper.changed:
                    self._keeper.changed.add(cut_off)
                    self._report("vpn", str(row.address), "failed", row.common_name, "certificate no longer good")
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
            await asyncio.wait_for(writer.drain(), SEND_S)
        writer.close()


def _owned(listener: socket.socket) -> socket.socket:
    """A socket of its own for asyncio, which closes it."""
    return socket.socket(fileno=os.dup(listener.fileno()))


def _daemon(interface: str, management: Management) -> dict[str, Any]:
    return {"interface": interface, "standing": management.standing.kind, "alarm": management.standing.alarm}


def _branch(site: str, interface: str, row: Branch | None, ends: dict[str, str]) -> dict[str, Any]:
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
    }
