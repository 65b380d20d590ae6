"""A TURN client (RFC 8656) that asks for what it shouldn't get: by aioice, in a host's namespace.

relayed = attempt(host, (server, 3478), username, password, peers=[("192.0.2.10", 12000)])
relayed.code, relayed.peers     # 0: allowed
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aioice import stun
from aioice.turn import TurnClientTcpProtocol, TurnClientUdpProtocol

from tests.hil.agents.network import Host, in_namespace
from tests.hil.agents.process import DEADLINE_S

Address = tuple[str, int]


@dataclass
class Attempt:
    """`code`: of the allocation; 0: it was made, at `relayed`, for somebody at `mapped`. `peers`: the code of each peer asked for."""

    code: int = 0
    relayed: Address = ("", 0)
    mapped: Address = ("", 0)
    peers: list[int] = field(default_factory=list)


class _Udp(TurnClientUdpProtocol):
    """Tells when it is gone."""

    gone: asyncio.Event

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


class _Tcp(TurnClientTcpProtocol):
    gone: asyncio.Event

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


def attempt(
    host: Host,
    server: Address,
    username: str | None,
    password: str | None,
    *,
    peers: Sequence[Address] = (),
    send: bytes = b"",
    trust: Path | None = None,
    before: Callable[[int], object] = lambda _: None,
) -> Attempt:
    """Ask for a relay, then for each peer, and send what `send` holds to those that are allowed. `trust`: by TLS, with that CA;
    `before` is called with the index of each peer before anything is sent there.

    OSError, TimeoutError: nobody answers."""

    async def ask() -> Attempt:
        client = await _connected(server, username, password, trust)
        client.gone = asyncio.Event()
        made = Attempt()
        try:
            try:
                made.relayed = await asyncio.wait_for(client.connect(), DEADLINE_S)
                made.mapped = client.mapped_address or made.mapped
            except stun.TransactionFailed as error:
                made.code = int(error.response.error_code or 0)
            else:
                for index, peer in enumerate(peers):
                    before(index)
                    made.peers.append(await _peer(client, peer, send))
                await client.delete()
        finally:
            client.transport.close()  # type: ignore[attr-defined]
            await asyncio.wait_for(client.gone.wait(), DEADLINE_S)
        return made

    return in_namespace(host.namespace, lambda: asyncio.run(ask()))


async def _connected(server: Address, username: str | None, password: str | None, trust: Path | None) -> _Udp | _Tcp:
    loop = asyncio.get_running_loop()
    account = (server, username, password, 600, 300)
    if trust is None:
        return (await loop.create_datagram_endpoint(lambda: _Udp(*account), remote_addr=server))[1]
    context = ssl.create_default_context(cafile=str(trust))
    return (await loop.create_connection(lambda: _Tcp(*account), *server, ssl=context))[1]


async def _peer(client: _Udp | _Tcp, peer: Address, send: bytes) -> int:
    try:
        await client.send_data(send, peer)
    except stun.TransactionFailed as error:
        return int(error.response.error_code or 0)
    return 0


def flood(host: Host, server: Address, count: int, source: str = "") -> None:
    """So many requests for a relay, without credentials, each from another port. `source`: an address that is invented."""
    request = struct.pack(">HHI", 3, 8, 0x2112A442) + secrets.token_bytes(12) + struct.pack(">HHI", 0x19, 4, 17 << 24)
    sender, target = socket.inet_aton(source or host.address), socket.inet_aton(server[0])
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, sender, target)
    with host.socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_RAW) as sock:
        for number in range(count):
            udp = struct.pack(">HHHH", 1024 + number, server[1], 8 + len(request), 0)
            sock.sendto(head + udp + request, server)
