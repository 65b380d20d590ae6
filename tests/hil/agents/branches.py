"""The whole company on the test network: the centre, two internet providers, three branches, a telephone line, and an attacker.

    with company(work) as world:
        world.phone("torino").call("302")
        world.attacker.run([...])

Torino and Roma come in by one provider, Bari by the other; Torino and Roma reach each other through the centre, Bari nobody. The product runs at the
centre: its applier writes the configuration of engine, tunnels and firewall, its keeper starts OpenVPN. ``work``: a directory that
OpenVPN's user may enter. Extensions 301, 302 and 303 are the branches', 201 is at the centre.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from appliance.core.document import Document
from appliance.paths import VpnPaths
from appliance.vpn.keeper import Keeper
from appliance.vpn.pki import Authority
from appliance.vpn.plan import branch_lines
from tests.hil.agents.network import LANS, Host, Network, require_root
from tests.hil.agents.openvpn import UP, Edge
from tests.hil.agents.peer import Provider
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.office import rows
from tests.hil.system import System

SITES: Final = {"torino": "provider", "roma": "provider", "bari": "isp-two"}
"""Site → the LAN of the provider that its edge is at."""
LINE: Final = 30
"""Last part of the address of the provider of the telephone line, which sends back what it hears."""
NUMBERS: Final = {"torino": "301", "roma": "302", "bari": "303"}
Row = tuple[str, dict[str, Any]]


@dataclass
class World:
    """All of it, running."""

    net: Network
    work: Path
    centre: Host
    desk: Host
    attacker: Host
    edges: dict[str, Host]
    phones: dict[str, Host]
    line: Provider
    system: System
    keeper: Keeper
    authority: Authority
    document: Document
    tunnels: dict[str, Child] = field(default_factory=dict)

    def phone(self, site: str, tone_hz: int) -> SoftPhone:
        """A branch's telephone, or the centre's own (``hq``); not yet registered."""
        device = f"{NUMBERS.get(site, '201')}-1"
        host = self.phones.get(site, self.desk)
        work = self.work / f"{device}-{secrets.token_hex(3)}"
        return SoftPhone(host, work, device, self.system.passwords[device], self.centre.address, tone_hz=tone_hz)

    def outside(self, site: str) -> str:
        """Where this branch's tunnel goes."""
        return self.centre.address_on(SITES[site])

    def enrol(self, site: str) -> list[str]:
        """A branch's configuration; whoever had one for the site before is out."""
        edge = Edge()
        lines = edge.lines(self.authority.enrol(site, edge.csr))
        self.keeper.tend()
        return [*branch_lines(self.document, site, 1), *lines]

    def connect(self, site: str, name: str = "") -> Child:
        """The branch comes in."""
        name = name or site
        config = self.work / f"{name}.conf"
        config.touch(0o600)
        config.write_text("\n".join(["dev voice-0", *self.enrol(site)]) + "\n")
        child = self.edges[site].start(["openvpn", "--config", str(config)], self.work / f"{name}.log")
        self.tunnels[site] = child
        eventually(lambda: UP in child.text(), f"{site} is in: {child.text()[-2000:]}")
        return child


@contextlib.contextmanager
def company(work: Path) -> Iterator[World]:
    """Start everything; every branch is in."""
    require_root()
    with Network() as net, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CENTRALINO_VPN", "on")
        patch.setenv("CENTRALINO_FIREWALL", "on")
        centre = net.host("centre", number=10).join("provider", 10).join("isp-two", 10)
        desk, attacker = net.host("desk"), net.host("attacker", "provider")
        line = Provider(net.host("line", "provider", LINE), {})
        edges = {site: net.host(f"edge-{site}", isp).join(site, 1) for site, isp in SITES.items()}
        phones = {site: net.host(f"phone-{site}", site) for site in SITES}
        for site, edge in edges.items():
            edge.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
            phones[site].run(["ip", "route", "add", "default", "via", edge.legs[site][0]])
        centre.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        centre.run(
            ["ip", "route", "add", "default", "via", attacker.address]
        )  # the internet, whatever address it shows
        with System(centre, work, _rows(centre, line)) as system, line:
            state = system.paths.state
            for each in (state, *state.relative_to(work).parents):
                (work / each).chmod((work / each).stat().st_mode | 0o001)
            with system.store() as store:
                document = store.document()
            authority = Authority(VpnPaths(system.paths.vpn.top))
            keeper = Keeper(system.paths.vpn, system.paths.engine.current, authority, centre.namespace)
            keeper.tend()
            assert keeper.faults == ()
            world = World(net, work, centre, desk, attacker, edges, phones, line, system, keeper, authority, document)
            try:
                for site in SITES:
                    world.connect(site)
                yield world
                assert not system.log()
            finally:
                for child in world.tunnels.values():
                    child.signal(signal.SIGTERM)  # each takes a second to say good-bye
                for child in world.tunnels.values():
                    child.stop()
                keeper.stop()


def _rows(centre: Host, line: Provider) -> list[Row]:
    more: list[Row] = [
        ("listener", {"id": "lines", "name": "Lines", "transport": "udp", "address": centre.address_on("provider"), "zone": "trunks"}),
        ("provider", {"id": "telco", "name": "Telco", "probe": False}),
        ("trunk", {"id": "line", "name": "Line", "provider": "telco", "host": line.host.address, "auth": {"type": "address"}}),
        ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": centre.address_on(isp)} for isp in ("provider", "isp-two")]}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24"]}),
    ]  # fmt: skip
    for number, site in enumerate(SITES, 1):
        plain = {
            "class_of_service": "standard",
            "emergency_number": "+390200000200",
            "networks": [f"{LANS[site][0]}0/24"],
        }
        extension, device = f"ext-{NUMBERS[site]}", f"{NUMBERS[site]}-1"
        more += [
            ("site", {"id": site, "name": site, "company": "demo", **plain}),
            ("branch", {"id": site, "site": site, "number": number, "reaches": ["roma"] if site == "torino" else []}),
            ("extension", {"id": extension, "number": NUMBERS[site], "label": f"Desk at {site}", "site": site}),
            ("device", {"id": device, "extension": extension, "slot": 1, "secret": device}),
            ("secret", {"id": device}),
        ]
    return rows(centre.address, more)
