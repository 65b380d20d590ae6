"""A centre whose configuration the test writes, one branch with an edge of ours and two lines, and a host behind it.

with edge_ground() as ground:
    ground.commit("198.51.100.10")
    ground.enrol()
    ground.start_centre()
    ground.start_edge()
    ground.reached(1)
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import Moment, system_clock
from appliance.core.document import Document
from appliance.edge.identity import Identity
from appliance.edge.paths import EdgePaths
from appliance.failover import plan as failover
from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import digest_in, script
from appliance.paths import Paths
from appliance.vpn import configured
from appliance.vpn.asking import told
from appliance.vpn.inside.reports import Reports
from appliance.vpn.layout import installation
from appliance.vpn.pki import Authority
from appliance.vpn.plan import daemons
from appliance.vpn.slices import Slices, plan, signed
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.system import objects

SITE = "torino"
NETWORKS = ["203.0.113.0/24"]
TRIAL_S = 5


@dataclass
class Ground:
    """A centre whose configuration the test writes, an edge, a host behind it."""

    net: Network
    centre: Host
    edge: Host
    lan: Host
    work: Path
    authority: Authority
    children: list[Child] = field(default_factory=list)
    generations: int = 0

    @property
    def paths(self) -> Paths:
        return Paths(self.work, self.work)

    @property
    def edge_paths(self) -> EdgePaths:
        return EdgePaths(self.work / "edge")

    @property
    def env(self) -> dict[str, str]:
        return {
            "CENTRALINO_STATE": str(self.work),
            "CENTRALINO_ENGINE_NETNS": self.centre.namespace,
            "CENTRALINO_EDGE": str(self.edge_paths.top),
        }

    def commit(self, *addresses: str, lines: Sequence[dict[str, Any]] = (), **more: Any) -> None:
        """Put another generation in force, as the applier does."""
        places = [{"host": address} for address in addresses]
        document = Document.of(
            objects(
                [
                    ("company", {"id": "demo", "name": "Demo Srl"}),
                    ("site", {"id": SITE, "name": "Torino", "company": "demo", "networks": NETWORKS}),
                    (
                        "concentrator",
                        {"id": "vpn", "name": "VPN", "addresses": places, "pool6": "fd00:1:2:3::/64", **more},
                    ),
                    ("branch", {"id": SITE, "site": SITE, "number": 1}),
                    *(("wan_line", {"id": line["name"], "site": SITE, **line}) for line in lines),
                ]
            )
        )
        self.generations += 1
        fresh = self.paths.engine.config / f"gen-{self.generations:06d}"
        files = {
            **configured.files(daemons(document, installation(self.paths.vpn, 1))), **plan.files(document, 1), **failover.files(document, 1),
        }  # fmt: skip
        for name, text in {**files, ".revision": str(self.generations)}.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text)
        link = self.paths.engine.current.with_name("current.new")
        link.symlink_to(fresh)
        link.rename(self.paths.engine.current)
        rules, kernel = script(promise(document, Machine())), Kernel(self.centre.namespace)
        if kernel.digest() != digest_in(rules):  # those that are in force already aren't loaded again
            kernel.load(rules)

    def enrol(self) -> None:
        """By hand."""
        identity = Identity(self.edge_paths)
        granted = self.authority.enrol(SITE, identity.prepare())
        slice = signed(Slices(self.paths.engine.current).of(SITE), self.authority.signer())
        identity.install(granted.chain, granted.root, granted.tls_crypt_key, slice)

    def start_centre(self, modules: Sequence[str] = ("appliance.vpn", "appliance.vpn.inside")) -> None:
        for module in modules:
            log = self.work / f"{module}.log"
            self.children.append(Child([sys.executable, "-m", module], log, env=self.env))

    def start_edge(self, argv: list[str] | None = None, **env: str) -> Child:
        words = argv or ["-m", "appliance.cli", "edge", "run", "--keep-clock", "--trial", str(TRIAL_S)]
        child = self.edge.start([sys.executable, *words], self.work / "edge.log", env={**self.env, **env})
        self.children.append(child)
        return child

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "appliance.cli", "edge", "status", "--json"],
            env={**os.environ, **self.env}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return dict(json.loads(done.stdout)) if not done.returncode else {}

    def told(self) -> dict[str, Any]:
        """What the centre's process says of the branch, and of all that isn't well."""
        return told(self.paths.vpn_socket)

    def report(self) -> dict[str, Any]:
        return Reports(self.paths.vpn.reports).of(SITE) or {}

    def in_force(self) -> tuple[int, bool]:
        """Revision of the edge's slice, and whether it is on trial."""
        state = Identity(self.edge_paths).current
        assert state is not None
        return state.slice.revision, state.trial is not None

    def reached(self, revision: int) -> None:
        def looked() -> bool:
            found = self.report()
            return (found.get("standing"), found.get("revision")) == ("confirmed", revision) and self.in_force() == (
                revision,
                False,
            )

        try:
            eventually(looked, f"the edge has revision {revision}", 20)
        except AssertionError:
            logs = [path.read_text()[-3000:] for path in (self.work / "edge.log", self.edge_paths.log / "openvpn.log")]
            logs += [path.read_text()[-1500:] for path in sorted(self.work.glob("appliance*.log"))]
            pytest.fail("\n----\n".join([str(self.report()), str(self.status()), *logs]))

    def log(self) -> str:
        return (self.work / "edge.log").read_text()


@contextlib.contextmanager
def edge_ground(clock: Callable[[], Moment] = system_clock) -> Iterator[Ground]:
    """See this module. ``clock``: the authority's at its beginning."""
    require_root()
    with tempfile.TemporaryDirectory(prefix="centralino-edge-") as folder, Network() as net:
        work = Path(folder)  # pytest's own are closed to OpenVPN's user
        work.chmod(0o711)
        centre, edge = net.host("centre", "provider", number=10), net.host("edge", "provider").join("branch", 1)
        for host in (centre, edge):
            host.join("isp-two")
        centre.run(["ip", "address", "add", "198.51.100.50/24", "dev", "eth0"])
        edge.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        lan = net.host("lan", "branch")
        lan.run(["ip", "route", "add", "default", "via", edge.address_on("branch")])
        authority = Authority(Paths(work, work).vpn, clock)
        authority.create()
        made = Ground(net, centre, edge, lan, work, authority)
        try:
            yield made
        finally:
            for child in reversed(made.children):
                child.stop()
            for run in (made.paths.vpn.run, made.edge_paths.run):
                for file in sorted(run.rglob("*.pid")):  # holders before their relays
                    with contextlib.suppress(OSError, ValueError, IndexError):  # of a test that killed its keeper
                        os.kill(int(file.read_text().split()[0]), signal.SIGKILL)
