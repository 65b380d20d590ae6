"""A branch from nothing: invited in the portal, enrolled by command, its edge run as its unit runs it, and a phone behind it registers.

Everything is the product's: portal, hub, applier, engine, firewall, tunnels, the gate, the edge. Only systemd isn't there: what its units
leave a process is enforced by :mod:`tests.hil.agents.unit`.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.core.document import parse
from appliance.edge.owner import USER
from appliance.edge.paths import EdgePaths
from appliance.edge.unit import unit
from appliance.engine.processes import noted
from appliance.engine.unix import listening_process
from appliance.firewall import boot
from appliance.kinds import KINDS
from appliance.paths import CHECKOUT
from tests.hil.agents.network import LANS, Host, Network, require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.unit import UID, confined, installed, known_user
from tests.hil.live_hub import live_hub
from tests.hil.office import rows
from tests.hil.portal_app import TOKEN, Portal, portal_of
from tests.hil.system import System

SITE = "torino"
NET_ADMIN, SYS_TIME = 1 << 12, 1 << 25
NET_BIND_SERVICE, NET_RAW = 1 << 10, 1 << 13
OURS = NET_ADMIN | NET_RAW | NET_BIND_SERVICE | SYS_TIME
PROGRAM = Path("/usr/bin/centralino")


@dataclass
class Ground:
    """A centre with its portal, and a branch's machines, where nothing is set up yet."""

    system: System
    portal: Portal
    edge: Host
    phone: Host
    isp: Host
    """The router of the branch's provider."""
    work: Path

    @property
    def edge_paths(self) -> EdgePaths:
        return EdgePaths(self.work / "edge")

    @property
    def env(self) -> dict[str, str]:
        return {"CENTRALINO_EDGE": str(self.edge_paths.top), "PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8"}

    @property
    def openvpn(self) -> int | None:
        return noted(self.edge_paths.run / "openvpn.pid")

    def row(self) -> str:
        """The branch's state on the page of branches."""
        page = self.portal.app.test_client().get("/branches").text
        found = re.search(rf'data-branch="{SITE}".*?<span class="mark[^>]*>([^<]+)<', page, re.DOTALL)
        return found[1] if found else page

    def invitation(self) -> Path:
        """As the browser asks for it."""
        client = self.portal.app.test_client()
        former = _field(client.get(f"/branches/{SITE}/enrol").text, "former")
        sent = {"csrf_token": TOKEN, "former": former, "lasts": "1h"}
        shown = client.post(f"/branches/{SITE}/enrol", data=sent).text
        made = client.post(f"/branches/{SITE}/enrol/file", data={"csrf_token": TOKEN, "file": _field(shown, "file")})
        path = self.work / f"{SITE}.json"
        path.write_bytes(made.data)
        return path

    def status(self) -> dict[str, Any]:
        argv = [sys.executable, "-m", "appliance.cli", "edge", "status", "--json"]
        done = subprocess.run(argv, env={**os.environ, **self.env}, capture_output=True, text=True, check=False)
        return dict(json.loads(done.stdout)) if not done.returncode else {}


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return html.unescape(found[1])


def _rows(centre: Host) -> list[tuple[str, dict[str, Any]]]:
    more = {"class_of_service": "standard", "emergency_number": "+390200000200", "networks": [f"{LANS[SITE][0]}0/24"]}
    return rows(
        centre.address,
        [
            ("site", {"id": SITE, "name": "Torino", "company": "demo", **more}),
            ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": centre.address_on("provider")}]}),
            ("branch", {"id": SITE, "site": SITE, "number": 1}),
            ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24"]}),
            ("extension", {"id": "ext-310", "number": "310", "label": "Desk at Torino", "site": SITE}),
            ("device", {"id": "310-1", "extension": "ext-310", "slot": 1, "secret": "310-1"}),
            ("secret", {"id": "310-1"}),
            ("person", {"id": "boss", "name": "Administrator", "roles": ["administrator"], "email": "admin@example.com"}),
        ],
    )  # fmt: skip


@pytest.fixture
def work() -> Iterator[Path]:
    require_root()
    with tempfile.TemporaryDirectory(prefix="centralino-service-") as folder:
        Path(folder).chmod(0o711)  # pytest's own are closed to the users of services
        yield Path(folder)


@pytest.fixture
def ground(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.setenv("CENTRALINO_VPN", "on")
    monkeypatch.setenv("CENTRALINO_FIREWALL", "on")
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Network())
        centre = net.host("centre", number=10).join("provider", 10)
        edge, phone = net.host("edge", "provider").join(SITE, 1), net.host("phone", SITE)
        edge.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        phone.run(["ip", "route", "add", "default", "via", edge.address_on(SITE)])
        system = stack.enter_context(System(centre, work, _rows(centre)))
        state = system.paths.state
        for each in (state, *state.relative_to(work).parents):
            (work / each).chmod((work / each).stat().st_mode | 0o001)
        for module in ("appliance.vpn", "appliance.vpn.inside"):
            stack.enter_context(
                centre.start([sys.executable, "-m", module], work / f"{module}.log", env=system.environment)
            )
        stack.enter_context(live_hub(system))
        store = stack.enter_context(system.store())
        portal = stack.enter_context(
            portal_of(system.paths, store, store.keyring(system.paths.secret_key), served=False)
        )
        yield Ground(system, portal, edge, phone, net.host("isp", "provider"), work)


def capabilities(pid: int) -> tuple[int, int, int]:
    """User, effective and bounding capabilities."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = {name: value.split() for name, value in re.findall(r"(?m)^(\w+):\s*(.*)$", text)}
    return int(found["Uid"][0]), int(found["CapEff"][0], 16), int(found["CapBnd"][0], 16)


def enrolled(ground: Ground) -> None:
    """By the command, as root, where the service's user is known."""
    file = ground.invitation()
    words = [sys.executable, "-m", "appliance.cli", "edge", "enrol", str(file), "--keep-clock"]
    user = ["bwrap", "--dev-bind", "/", "/", *installed(), *known_user(USER, ground.work), "--", *words]

    def tried() -> bool:
        with Child(ground.edge.argv(user), ground.work / "enrol.log", env=ground.env) as child:
            return child.wait(30) == 0

    assert tried(), (ground.work / "enrol.log").read_text()


def test_invited_in_the_portal_a_branch_comes_up_as_a_service_and_its_phone_registers(ground: Ground) -> None:
    eventually(lambda: ground.row() == "not connected now", f"the branch is away: {ground.row()}")
    enrolled(ground)
    top = ground.edge_paths.top
    assert {path.lstat().st_uid for path in (top, *top.rglob("*"))} == {UID}, "nothing is root's"
    with confined(unit(PROGRAM), ground.work, writable=(top,)) as argv:
        words = [*argv, sys.executable, "-m", "appliance.cli", "edge", "run", "--keep-clock"]

        def started() -> Child:
            return ground.edge.start(words, ground.work / "edge.log", env=ground.env)

        with started() as agent:
            try:
                eventually(lambda: ground.row() == "connected", "the portal shows it", 20)
            except AssertionError:
                pytest.fail("\n".join(each.read_text()[-3000:] for each in (agent.log, top / "log/openvpn.log")))
            eventually(lambda: ground.status().get("clock_sure"), "it has spoken with the centre", 10)
            assert ground.status()["faults"] == []
            pid = listening_process(ground.edge_paths.socket)
            assert pid is not None
            assert capabilities(pid) == (UID, OURS, OURS)
            tunnel = ground.openvpn
            assert tunnel is not None
            assert capabilities(tunnel)[:2] == (UID, NET_ADMIN)
            device, system = "310-1", ground.system
            with SoftPhone(
                ground.phone, ground.work / device, device, system.passwords[device], system.host.address, tone_hz=440
            ) as phone:
                phone.register()
                # Killed, the agent leaves the tunnel to its successor.
                agent.signal(signal.SIGKILL)
                agent.wait()
                with started() as again:
                    eventually(lambda: ground.status().get("centre_reached"), "its successor is in", 10)
                    assert ground.openvpn == tunnel
                    protected(ground, phone)
                    leased(ground, phone)
                    again.stop()
                    eventually(lambda: ground.openvpn is None, "the service has been stopped")


def protected(ground: Ground, phone: SoftPhone) -> None:
    """The branch's line is told in the document: its tunnel goes by a relay, which may do nothing."""
    line = {"id": "fibre", "name": "Fibre", "site": SITE, "number": 1, "device": "eth0"}
    ground.system.commit(parse(KINDS, "wan_line", line), allow=["drops_connections"])
    eventually(lambda: [each["up"] for each in ground.status().get("lines", ())] == [True], "its line is up", 20)
    eventually(lambda: ground.row() == "connected", "the portal shows it", 20)
    run = ground.edge_paths.run / "relay"
    relay, holder = noted(run / "relay.pid"), noted(run / "holder.pid")
    assert relay is not None
    assert holder is not None
    assert capabilities(relay)[:2] == (UID, 0)
    assert capabilities(holder)[:2] == (UID, NET_ADMIN)
    client = ground.portal.app.test_client()
    mark = re.compile(r'data-line="fibre"><span class="mark added">Fibre')
    eventually(lambda: mark.search(client.get("/branches").text), "the portal has heard that the line is up", 20)
    phone.register()


def leased(ground: Ground, phone: SoftPhone) -> None:
    """The line gets its address by DHCP: the document says so, and a process of ours with no more than that needs."""
    isp, router = ground.isp, ground.system.host.address_on("provider")
    lan, device = LANS["provider"][0], ground.edge_paths.run / "leases/eth0.pid"
    words = [
        "dnsmasq", "--keep-in-foreground", "--port=0", "--user=root", "--conf-file=/dev/null", "--interface=eth0", "--dhcp-authoritative",
        f"--dhcp-range={lan}200,{lan}210,255.255.255.0,2m", f"--dhcp-leasefile={ground.work}/dnsmasq.leases", f"--dhcp-option=option:router,{router}", "--log-facility=-",
    ]  # fmt: skip
    with isp.start(words, ground.work / "dnsmasq.log"):
        line = {"id": "fibre", "name": "Fibre", "site": SITE, "number": 1, "device": "eth0", "access": {"type": "dhcp"}}
        ground.system.commit(parse(KINDS, "wan_line", line), allow=["drops_connections"])
        told = lambda: next(iter(ground.status().get("links", ())), {})  # noqa: E731
        eventually(
            lambda: [each for each in told().get("addresses", ()) if each.startswith(f"{lan}20")],
            "it has an address",
            20,
        )
        assert (told()["server"], told()["gateways"]) == (isp.address, [router])
        pid = noted(device)
        assert pid is not None
        assert capabilities(pid)[:2] == (UID, NET_RAW | NET_BIND_SERVICE)
        eventually(lambda: ground.status().get("faults") == [], "all is well", 20)
        eventually(lambda: ground.row() == "connected", "the tunnel is up", 20)
        phone.register()
        line["access"] = {"type": "static", "addresses": [f"{lan}77/24"], "gateways": [router]}
        ground.system.commit(parse(KINDS, "wan_line", line), allow=["drops_connections"])
        eventually(lambda: f"{lan}77/24" in told().get("addresses", ()), "it is static", 20)
        eventually(lambda: noted(device) is None, "nobody asks for an address any more", 10)
        eventually(lambda: not ground.status().get("on_trial", True), "and proven", 20)
        phone.register()


def test_the_firewall_loads_with_what_its_unit_leaves_it(work: Path) -> None:
    text = boot.unit(work / "state", PROGRAM)
    (work / "state").mkdir()
    env = {"CENTRALINO_FIREWALL": "on", "CENTRALINO_STATE": str(work / "state"), "PYTHONPATH": str(CHECKOUT)}
    with Network() as net, confined(text, work, writable=()) as argv:
        host = net.host("fresh")
        words = [*argv, sys.executable, "-m", "appliance.cli", "firewall", "load", "--json"]
        done = run(host, words, env)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["trouble"] == "no configuration is there"
        assert "policy drop" in host.run(["nft", "list", "ruleset"]).stdout


def run(host: Host, words: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        host.argv(words), env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False
    )
