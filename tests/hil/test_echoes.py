"""Echoes to real kernels, in network namespaces: answered, lost, forged, and nowhere to go."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from appliance.engine.netns import socket_in
from appliance.vpn.echoes import Echoes
from appliance.vpn.quality import Quality
from tests.hil.agents.network import Host, Network, require_root

V4, V6 = "four", "six"


async def until(probe: Callable[[], bool], what: str) -> None:
    for _ in range(1500):
        if probe():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


def test_both_families_are_measured_and_nobody_else_is_believed() -> None:
    require_root()
    with Network() as net:
        centre, branch, forger = net.host("centre"), net.host("branch"), net.host("forger")
        asyncio.run(asyncio.wait_for(_measured(centre, branch, forger), 40))


async def _measured(centre: Host, branch: Host, forger: Host) -> None:
    echoes = Echoes(centre.namespace)
    targets = {V4: ipaddress.ip_address(branch.address), V6: ipaddress.ip_address(branch.address6)}
    nowhere = {"nowhere": ipaddress.ip_address("198.51.100.200")}
    echoes.follow({name: (address, 1) for name, address in (targets | nowhere).items()})
    running = asyncio.create_task(echoes.run())
    try:
        await until(lambda: all(echoes.quality(name).loss == 0.0 for name in targets), "both answer")
        assert echoes.trouble == ""
        assert all(0 < (echoes.quality(name).median_ms or 0) < 1000 for name in targets)
        assert echoes.quality("nowhere") == Quality(), "what can't be sent isn't lost"
        for sysctl in ("ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"):
            branch.run(["sh", "-c", f"echo 1 > /proc/sys/net/{sysctl}"])
        with socket_in(forger.namespace, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as way:

            def lost() -> bool:
                """While somebody who even knows what was asked answers all of it in the branch's name."""
                for token in list(echoes._pending):
                    way.sendto(bytes(8) + token + bytes(8), (centre.address, 0))
                way.sendto(bytes(4), (centre.address, 0))
                return all((echoes.quality(name).loss or 0) > 0 for name in targets)

            await until(lost, "both are lost")
        echoes.follow({name: (address, 2) for name, address in targets.items()})
        assert all(echoes.quality(name) == Quality() for name in targets), "another session"
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_without_a_socket_it_says_so() -> None:
    async def work() -> None:
        echoes = Echoes("there-is-none")
        echoes.follow({V4: (ipaddress.ip_address("192.0.2.1"), 1)})
        running = asyncio.create_task(echoes.run())
        await until(lambda: "can't be measured" in echoes.trouble, "it says so")
        assert echoes.quality(V4) == Quality()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
