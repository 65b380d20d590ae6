"""A branch's edge by real OpenVPN: it takes what is committed at the centre, goes back from what cuts it off, renews, finds the time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.access.clock import DAY, system_clock
from appliance.core.document import Document
from appliance.edge.identity import Identity
from appliance.edge.paths import EdgePaths
from appliance.firewall.kernel import Kernel
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import script
from appliance.paths import Paths
from appliance.vpn import configured
from appliance.vpn.inside.reports import Reports
from appliance.vpn.layout import installation
from appliance.vpn.pki import Authority, timekeeping
from appliance.vpn.plan import daemons
from appliance.vpn.slices import Slices, plan, signed
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.system import objects

SITE = "torino"
NETWORKS = ["203.0.113.0/24"]
NOBODY = "198.51.100.250"
TRIAL_S = 5


@dataclass
class Ground:
    """A centre whose configuration the test writes, an edge, a host behind it."""

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

    def commit(self, *addresses: str, **more: Any) -> None:
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
                ]
            )
        )
        self.generations += 1
        fresh = self.paths.engine.config / f"gen-{self.generations:06d}"
        files = {**configured.files(daemons(document, installation(self.paths.vpn, 1))), **plan.files(document, 1)}
        for name, text in {**files, ".revision": str(self.generations)}.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text)
        link = self.paths.engine.current.with_name("current.new")
        link.symlink_to(fresh)
        link.rename(self.paths.engine.current)
        Kernel(self.centre.namespace).load(script(promise(document, Machine())))

    def enrol(self) -> None:
        """By hand."""
        identity = Identity(self.edge_paths)
        granted = self.authority.enrol(SITE, identity.prepare())
        slice = signed(Slices(self.paths.engine.current).of(SITE), self.authority.signer())
        identity.install(granted.chain, granted.root, granted.tls_crypt_key, slice)

    def start_centre(self) -> None:
        for module in ("appliance.vpn", "appliance.vpn.inside"):
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


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    require_root()
    # The edge was enrolled long ago, so its certificate is due for renewal.
    monkeypatch.setattr(timekeeping, "RELEASED", timekeeping.RELEASED - 2 * timekeeping.YEAR)
    with tempfile.TemporaryDirectory(prefix="centralino-edge-") as folder, Network() as net:
        work = Path(folder)  # pytest's own are closed to OpenVPN's user
        work.chmod(0o711)
        centre, edge = net.host("centre", "provider", number=10), net.host("edge", "provider").join("branch", 1)
        centre.run(["ip", "address", "add", "198.51.100.50/24", "dev", "eth0"])
        edge.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        lan = net.host("lan", "branch")
        lan.run(["ip", "route", "add", "default", "via", edge.address_on("branch")])

        def long_ago() -> Any:
            now = system_clock()
            return replace(now, wall=now.wall - 250 * DAY)

        authority = Authority(Paths(work, work).vpn, long_ago)
        authority.create()
        made = Ground(centre, edge, lan, work, authority)
        try:
            yield made
        finally:
            for child in reversed(made.children):
                child.stop()
            for file in (*made.paths.vpn.run.glob("*.pid"), *made.edge_paths.run.glob("*.pid")):
                with contextlib.suppress(OSError, ValueError, IndexError):  # of a test that killed its keeper
                    os.kill(int(file.read_text().split()[0]), signal.SIGKILL)


def test_an_edge_follows_the_centre_and_goes_back_by_itself_from_what_cuts_it_off(ground: Ground) -> None:
    ground.commit("198.51.100.10")
    ground.enrol()
    first = Identity(ground.edge_paths).current
    assert first is not None
    ground.start_centre()
    agent = ground.start_edge()
    ground.reached(1)

    # Its certificate was due: it has another by now, and the former is nobody's any more.
    def renewed() -> bool:
        state = Identity(ground.edge_paths).current
        return state is not None and state.certificate != first.certificate and state.trial is None

    eventually(renewed, "the certificate is renewed", 15)
    eventually(lambda: len(Authority(ground.paths.vpn).living(SITE)) == 1, "the former is revoked", 5)
    assert ground.report()["way"] == {"host": "198.51.100.10", "port": 1194}

    # The centre gets another address, before the old one: the edge comes in by it.
    ground.commit("198.51.100.50", "198.51.100.10")
    ground.reached(2)
    assert ground.report()["way"]["host"] == "198.51.100.50"
    assert set(ground.report()["ways"]) == {"198.51.100.10 1194", "198.51.100.50 1194"}

    # A slice that cuts it off; and the agent is killed while that is on trial.
    ground.commit(NOBODY)
    eventually(lambda: ground.in_force() == (3, True), "it is on trial", 10)
    agent.signal(signal.SIGKILL)
    agent.wait()
    ground.start_edge()
    eventually(lambda: ground.in_force() == (2, False), "it went back", 3 * TRIAL_S)
    eventually(lambda: ground.report().get("standing") == "rolled_back", "the centre is told", 10)
    assert ground.report()["revision"] == 3
    assert "wasn't reached" in ground.report()["why"]
    assert ground.status()["refused"]["revision"] == 3

    # What changes nothing of OpenVPN's own lines disturbs no tunnel.
    pid = (ground.edge_paths.run / "openvpn.pid").read_text()
    ground.commit("198.51.100.50", "198.51.100.10")
    eventually(lambda: not ground.status().get("refused"), "all is well again", 10)
    assert (ground.edge_paths.run / "openvpn.pid").read_text() == pid

    # Its service is for edges: a host behind one reaches nothing, nor does anybody outside.
    for host, address in ((ground.lan, "172.29.0.1"), (ground.edge, "198.51.100.10"), (ground.lan, "198.51.100.10")):
        with pytest.raises(OSError, match=r"timed out|refused|unreachable"):
            host.connect(address, 8194, 0.5).close()
    ground.edge.connect("172.29.0.1", 8194, 2).close()


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_ten_years_wrong_is_put_right_through_the_tunnel(ground: Ground, years: int) -> None:
    (preload,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    ground.commit("198.51.100.10")
    ground.enrol()
    ground.start_centre()
    off = ground.work / "off"
    off.write_text(f"{years * 365 * 86400:+d}")
    fake = {
        "LD_PRELOAD": str(preload), "FAKETIME_TIMESTAMP_FILE": str(off), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    ground.start_edge(["-m", "tests.hil.edge_child", str(TRIAL_S)], **fake)
    ground.reached(1)
    assert abs(float(off.read_text())) < 10, "seconds off"
    assert "the clock is set from" in ground.log()
    assert json.loads((ground.edge_paths.clock).read_text())["floor"] / 1000 == pytest.approx(time.time(), abs=60)
