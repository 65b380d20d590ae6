"""A centre with the voice VPN's own process and daemons, and branches by real OpenVPN, for :mod:`bench.vpn`."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.core.document import Document
from appliance.engine.processes import noted
from appliance.engine.unix import connect
from appliance.paths import Paths
from appliance.vpn import configured
from appliance.vpn.layout import installation
from appliance.vpn.pki import Authority
from appliance.vpn.plan import branch_lines, daemons
from bench.processes import cpu_seconds
from tests.hil.agents.network import Host, Network
from tests.hil.agents.openvpn import Edge
from tests.hil.agents.process import Child, eventually
from tests.hil.system import objects

POLL_S: Final = 0.25
Row = tuple[str, dict[str, Any]]


@dataclass
class Ground:
    """``cores``: as many as the plan is told; the document has ``sites``; ``lowest``: branches leave the CPU to the centre, as if they had
    machines of their own."""

    net: Network
    work: Path
    cores: int
    sites: int
    lowest: bool = False
    centre: Host = field(init=False)
    edges: Host = field(init=False)
    process: Child = field(init=False)
    clients: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.centre, self.edges = (
            self.net.host(f"centre-{self.work.name}").join("provider"),
            self.net.host(f"edges-{self.work.name}", "provider"),
        )
        self.paths = Paths(self.work, self.work)
        self.authority = Authority(self.paths.vpn)
        self.authority.create()
        self.document = self._document()
        self.daemons = daemons(self.document, installation(self.paths.vpn, self.cores))

    @property
    def outside(self) -> str:
        """The centre's address outside the tunnels."""
        return self.centre.address_on("provider")

    def network(self, number: int) -> ipaddress.IPv4Network:
        """A branch's phones."""
        return ipaddress.IPv4Network((0x0A00_0000 + number * 256, 24))

    def _document(self) -> Document:
        rows: list[Row] = [
            ("company", {"id": "demo", "name": "Demo Srl"}),
            ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": self.outside}]}),
            ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24"]}),
        ]  # fmt: skip
        for number in range(1, self.sites + 1):
            site = {
                "id": f"site-{number}",
                "name": f"Site {number}",
                "company": "demo",
                "networks": [str(self.network(number))],
            }
            rows += [("site", site), ("branch", {"id": site["id"], "site": site["id"], "number": number})]
        return Document.of(objects(rows))

    def start(self) -> None:
        """The generation, and the process that keeps the daemons."""
        fresh = self.paths.engine.config / "gen-000001"
        for name, text in configured.files(self.daemons).items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text)
        self.paths.engine.current.symlink_to(fresh)
        env = {"CENTRALINO_STATE": str(self.work), "CENTRALINO_ENGINE_NETNS": self.centre.namespace}
        self.process = Child([sys.executable, "-m", "appliance.vpn"], self.work / "vpn.log", env=env)
        eventually(lambda: len(self.pids()) == len(self.daemons), f"daemons run: {self.process.text()}", 30)

    def enrol(self, number: int, device: str | None = None) -> Path:
        """A branch's configuration. ``device``: None: it has no interface, and brings no traffic."""
        edge, site = Edge(), f"site-{number}"
        lines = [*branch_lines(self.document, site, self.cores), *edge.lines(self.authority.enrol(site, edge.csr))]
        own = [f"dev {device}"] if device else ["dev null", "ifconfig-noexec"]
        left_out = {"verb 3"} | (set() if device else {"dev-type tun"})
        config = self.work / f"{site}.conf"
        config.touch(0o600)
        config.write_text(
            "\n".join([*own, "route-noexec", *(each for each in lines if each not in left_out), "verb 1"]) + "\n"
        )
        return config

    def admitted(self) -> int:
        """Branches that the daemons would let in now."""
        return sum(1 for each in self.daemons for _ in self.paths.vpn.clients(each.interface).iterdir())

    def connect(self, number: int, config: Path) -> None:
        lowest = ["nice", "-n", "10"] if self.lowest else []
        log = config.with_suffix(".log").open("ab")
        with log:
            argv = self.edges.argv([*lowest, "openvpn", "--config", str(config)])
            self.clients[f"site-{number}"] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def route(self, number: int, device: str) -> None:
        """Packets of a branch's phones go through its tunnel, those for them end here."""
        show = ["ip", "address", "show", "dev", device]
        eventually(
            lambda: "inet " in self.edges.run(show, check=False).stdout,
            f"{device} is up: {(self.work / f'site-{number}.log').read_text()[-2000:]}",
        )
        address = str(self.network(number)[1])
        self.edges.run(["ip", "address", "add", f"{address}/32", "dev", "lo"])
        self.edges.run(["ip", "route", "add", "192.0.2.0/24", "dev", device, "metric", str(100 + number)])

    def since(self) -> dict[str, float]:
        """Sites that are connected, and since when (the daemons tell whole seconds)."""
        said = b""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connect(connection, self.paths.vpn_socket)
                while chunk := connection.recv(65536):
                    said += chunk
        except OSError:
            return {}
        return {each["site"]: float(each["since"]) for each in json.loads(said)["branches"] if each["connected"]}

    def all_in(self, after: float, deadline_s: float, numbers: Iterable[int] = ()) -> float | None:
        """Wait until everybody (or these branches) is in that came in after this moment; seconds from it to the last; None: not in time."""
        end, sites = time.time() + deadline_s, [f"site-{number}" for number in numbers] or list(self.clients)
        while time.time() < end:
            found = self.since()
            if all(found.get(site, 0) >= int(after) for site in sites):
                return max(max(found[site] for site in sites) + 1 - after, 0.0)
            time.sleep(POLL_S)
        return None

    def pids(self) -> list[int]:
        """Of the daemons."""
        files = sorted(self.paths.vpn.run.glob("*.pid"))
        return [pid for pid in map(noted, files) if pid is not None]

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU so far: of the daemons, of their keeper, of the branches that live."""
        living = [each.pid for each in self.clients.values() if each.poll() is None]
        return {
            "daemons": sum(map(cpu_seconds, self.pids())),
            "keeper": cpu_seconds(self.process.process.pid),
            "clients": sum(map(cpu_seconds, living)),
        }

    def kill_daemons(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        for client in self.clients.values():
            client.kill()
        for client in self.clients.values():
            client.wait()
        if hasattr(self, "process"):
            self.process.stop(10)


@contextlib.contextmanager
def ground(net: Network, work: Path, cores: int, sites: int, *, lowest: bool = False) -> Iterator[Ground]:
    """``work``: a directory that OpenVPN's user may enter."""
    work.mkdir(mode=0o711)
    made = Ground(net, work, cores, sites, lowest)
    try:
        made.start()
        yield made
    finally:
        made.stop()
