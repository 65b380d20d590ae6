"""The process: listens where the configuration in force says, with the certificate that the server has now, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.engine.netns import socket_in
from appliance.failover.stamp.reflector import Reflector
from appliance.paths import Paths
from appliance.vpn.addresses import INSIDE_PORT
from appliance.vpn.configured import configured
from appliance.vpn.inside.events import Events
from appliance.vpn.inside.http import Server, tls
from appliance.vpn.inside.measuring import Measuring, mark
from appliance.vpn.inside.reports import Reports
from appliance.vpn.inside.service import Bans, Inside, no_bans
from appliance.vpn.pki import Authority
from appliance.vpn.plan import THIRD_INTERFACE, own_of
from appliance.vpn.slices import Slices

_log = logging.getLogger("centralino.vpn.inside")

ROUND_S: Final = 1.0
FREEBIND: Final = 15
"""``IP_FREEBIND`` of ip(7), which Python doesn't name: the address may come later, with its tunnel."""


class Run:
    """``namespace``: where the tunnels are, None: ours."""

    def __init__(self, paths: Paths, namespace: str | None, bans: Bans = no_bans) -> None:
        self._paths, self._namespace = paths, namespace
        self._reflector = Reflector()
        self._inside = Inside(
            Authority(paths.vpn), Slices(paths.engine.current), Reports(paths.vpn.reports), Events(paths.vpn.events), bans, self._reflector
        )  # fmt: skip
        self._measuring: dict[str, asyncio.BaseTransport] = {}
        self._server: Server | None = None
        self._shown: tuple[int, ...] = ()
        self._fault = ""

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        try:
            while not stopping.is_set():
                await self._tend()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ROUND_S):
                        await stopping.wait()
        finally:
            if self._server is not None:
                await self._server.close()
            for each in self._measuring.values():
                each.close()
            self._inside.close()

    async def _tend(self) -> None:
        fault = ""
        try:
            await self._listen(self._show())
        except CentralinoError as error:
            fault = error.message
        except OSError as error:
            fault = f"{error.filename or 'listening'}: {error.strerror}"
        if fault and fault != self._fault:
            _log.error("%s; tried again every second", fault)
        self._fault = fault

    def _show(self) -> Server:
        """The server's certificate, whenever it was renewed: connections that come go by it."""
        vpn = self._paths.vpn
        stamp = (*_stamp(vpn.server), *_stamp(vpn.root_certificate))
        if self._server is None:
            self._server = Server(tls(str(vpn.root_certificate), str(vpn.server)), self._inside.answer)
        elif stamp != self._shown:
            self._server.context.load_cert_chain(str(vpn.server))
        self._shown = stamp
        return self._server

    async def _listen(self, server: Server) -> None:
        found = configured(self._paths.engine.current)
        wanted = {address for name, each in found.items() if name != THIRD_INTERFACE for address in own_of(each.config)}
        for place in server.places - wanted:
            server.leave(place)
            self._measuring.pop(place).close()
        for place in sorted(wanted - server.places):
            probes = self._bound(place, socket.SOCK_DGRAM)
            mark(probes)
            made, _protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Measuring(self._reflector), sock=probes
            )
            try:
                await server.listen(place, self._bound(place))
            except OSError:
                made.close()
                raise
            self._measuring[place] = made
            _log.info("listens at %s port %d", place, INSIDE_PORT)

    def _bound(self, address: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket_in(self._namespace, family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_IP, FREEBIND, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, INSIDE_PORT))
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        return listener


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
