"""The client of OpenVPN's management interface against the real one, with two branches, one by IPv4 and one by IPv6."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.engine.openvpn_management import CommandRefusedError, Management, management_lines
from appliance.engine.openvpn_messages import ClientStep
from appliance.engine.openvpn_status import Snapshot, Standing
from appliance.vpn.branches import Branch, Branches
from tests.hil.agents.network import Network
from tests.hil.agents.openvpn_pair import Client, Server
from tests.unit.hub.loops import until

NETWORK = "192.168.7.0/24"
TUNNEL = "10.99.0.1"


class Vpn:
    """A server that can be managed, and the branches milan (IPv4, with a network behind it) and rome (IPv6)."""

    def __init__(self, net: Network) -> None:
        self.socket = net.work / "management"
        lines = [*management_lines(self.socket, "root", "root"), "route 192.168.7.0 255.255.255.0"]
        networks = {"milan": "iroute 192.168.7.0 255.255.255.0"}
        self.server = Server(net.host("centre"), net.work / "vpn", *lines, networks=networks)
        self.milan = Client(net.host("milan"), self.server, "milan")
        self.rome = Client(net.host("rome"), self.server, "rome", ipv6=True)

    def kill_server(self) -> None:
        """As the kernel does when memory runs out."""
        assert self.server.child is not None
        self.server.child.signal(signal.SIGKILL)
        self.server.child.wait()


@pytest.fixture
def vpn() -> Iterator[Vpn]:
    with Network() as net:
        made = Vpn(net)
        made.server.start()
        yield made


@contextlib.asynccontextmanager
async def managing(path: Path) -> AsyncIterator[tuple[Management, Branches]]:
    """A client of the interface, and the live view of what it tells."""
    management, branches = Management(path, refresh_s=0.5), Branches()
    loop = asyncio.get_running_loop()

    async def follow() -> None:
        with management.subscribe() as subscription:
            async for item in subscription:
                branches.take("udp", item, loop.time())

    tasks = [asyncio.create_task(management.run()), asyncio.create_task(follow())]
    try:
        yield management, branches
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def started(*daemons: Client | Server) -> None:
    await asyncio.gather(*(asyncio.to_thread(daemon.start) for daemon in daemons))


def talk(client: Client, packets: int) -> None:
    """Packets of 200 bytes through the tunnel."""
    with contextlib.closing(client.host.socket()) as sender:
        for _ in range(packets):
            sender.sendto(bytes(200), (TUNNEL, 9))


def row(branches: Branches, name: str) -> Branch:
    return next(each for each in branches.rows() if each.common_name == name)


def test_branches_come_talk_and_go(vpn: Vpn) -> None:
    async def work() -> None:
        async with managing(vpn.socket) as (management, branches):
            await management.up(5)
            assert (await management.version()).program.startswith("OpenVPN 2.6")
            assert await management.clients() == ()
            await started(vpn.milan, vpn.rome)
            await until(lambda: len(branches.rows()) == 2, "both are there")
            milan, rome = branches.rows()
            assert (str(milan.address), str(rome.address)) == (vpn.milan.host.address, vpn.rome.host.address6)
            assert (milan.version or "").startswith("2.6")
            assert milan.platform == "linux"
            assert [str(network) for network in milan.networks] == [NETWORK]
            assert milan.cipher in {"AES-256-GCM", "CHACHA20-POLY1305"}
            assert milan.serial != rome.serial
            assert {str(milan.virtual4), str(rome.virtual4)} == {"10.99.0.2", "10.99.0.3"}
            await asyncio.to_thread(talk, vpn.rome, 100)
            await until(lambda: row(branches, "rome").received > rome.received + 20_000, "rome's bytes are counted")
            await until(lambda: (row(branches, "rome").received_rate or 0) > 8_000, "and its rate")
            assert row(branches, "milan").received < 20_000
            assert (await management.traffic()).clients == 2

    asyncio.run(work())


def test_ending_clients(vpn: Vpn) -> None:
    async def work() -> None:
        async with managing(vpn.socket) as (management, branches):
            await management.up(5)
            await started(vpn.milan, vpn.rome)
            await until(lambda: len(branches.rows()) == 2, "both are there")
            milan, rome = row(branches, "milan"), row(branches, "rome")
            # By number: told to connect again, which it does at once.
            await management.kill(milan.cid)
            await until(lambda: row(branches, "milan").cid not in {milan.cid, rome.cid}, "milan is back as another")
            # By name: gone when the call returns, and told, so that it doesn't wait for a time-out of five seconds.
            assert await management.kill_common_name("rome") == 1
            assert rome.cid not in {client.cid for client in await management.clients()}
            await until(lambda: any(each.common_name == "rome" for each in branches.rows()), "rome is back", 3)
            # By number: told to end.
            rome = row(branches, "rome")
            await management.kill(rome.cid, message="HALT")
            assert vpn.rome.child is not None
            await asyncio.to_thread(vpn.rome.child.wait)
            with pytest.raises(CommandRefusedError):
                await management.kill(milan.cid)
            assert await management.kill_common_name("nobody") == 0

    asyncio.run(work())


def test_a_server_that_is_killed_and_comes_again(vpn: Vpn) -> None:
    async def work() -> None:
        async with managing(vpn.socket) as (management, branches):
            await management.up(5)
            await started(vpn.milan)
            await until(branches.rows, "milan is there")
            with management.subscribe() as subscription:
                await asyncio.to_thread(vpn.kill_server)
                await until(lambda: management.standing.kind == "gone", "the loss is noticed", 1)
                assert branches.rows() == []
                with pytest.raises(UnavailableError):
                    await management.clients()
                await started(vpn.server)
                assert vpn.milan.child is not None
                vpn.milan.child.signal(signal.SIGUSR1)  # it would notice by itself, at its time-out
                await management.up(2)
                pid = vpn.server.child and vpn.server.child.process.pid
                assert management.snapshot is None or management.snapshot.pid == pid
                await until(branches.rows, "milan is back, and seen", 4)
                subscription.close()
                items = [item async for item in subscription]
            kinds = [item.kind for item in items if isinstance(item, Standing)]
            assert kinds[0] == "up"
            assert kinds[-1] == "up"
            assert "gone" in kinds
            assert any(isinstance(item, ClientStep) and item.step == "ESTABLISHED" for item in items)
            # A restart of its own keeps the connection, and loses the clients.
            await management.signal("SIGUSR1")
            await until(lambda: branches.rows() == [], "nobody is there", 3)
            assert management.standing.kind == "up"

    asyncio.run(work())


def test_only_one_may_come_and_only_who_was_named(vpn: Vpn) -> None:
    async def work() -> None:
        with socket.socket(socket.AF_UNIX) as other:
            other.setblocking(False)
            other.connect(str(vpn.socket))
            async with managing(vpn.socket) as (management, _):
                await until(lambda: "taken by another" in management.standing.alarm, "the slot is taken", 4)
                other.close()
                await management.up(2)
                await until(lambda: management.snapshot, "it is our turn")
                with management.subscribe() as subscription:
                    assert isinstance(await subscription.get(), Standing)
                    assert isinstance(await subscription.get(), Snapshot)
        text = vpn.server.config.read_text().replace("management-client-user root", "management-client-user nobody")
        vpn.server.config.write_text(text)
        vpn.server.stop()
        await started(vpn.server)
        async with managing(vpn.socket) as (management, _):
            await until(lambda: "refuses this process" in management.standing.alarm, "we aren't the one", 4)
            assert management.snapshot is None

    asyncio.run(work())
