"""The whole system, built in network namespaces.

    with Lab() as lab:
        phone = lab.phone("310")                   # at Torino, registered through the tunnel
        lab.impair("torino-fibre", "blackhole")
        lab.impair("torino-fibre", "well")

::

    torino phones ── torino edge ──┬── fibre (isp-one) ──┐
                                   ├── dsl (isp-two) ────┤
                                   └── lte (lte) ────────┼── Internet ── centre ── head office's phones
    roma phones ──── roma edge ────┴── …                 │
                                             telephone company, name servers

Everything of the product is real: the centre's engine, applier, voice VPN, relays and firewall, each edge enrolled by an invitation and run by
``centralino edge run``. What systemd's units and the portal add isn't there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from appliance.core.errors import UnavailableError
from appliance.edge.paths import EdgePaths
from appliance.engine.processes import noted, urgent
from appliance.vpn.asking import Orders, told
from lab.impairments import IMPAIRMENTS, PROFILES, together
from lab.plan import (
    BRANCHES,
    CENTRE,
    CENTRE_IMPAIRMENTS,
    CENTRE_NAME,
    ISPS,
    LINES,
    NAME_SERVERS,
    OUTSIDE,
    PHONES,
    WRONG,
    Branch,
    Isp,
    Line,
    document,
)
from tests.hil.agents.network import LANS, Host, Network, command, require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.system import System

Say = Callable[[str], None]


class UnknownNameError(ValueError):
    """A name that isn't known. ``what``: ``link``, ``impairment`` or ``profile``; ``known``: those that are."""

    def __init__(self, what: str, given: str, known: Iterable[str]) -> None:
        self.what, self.given, self.known = what, given, list(known)
        super().__init__(f"{what} {given}")


class Edge:
    """A branch's edge and the phones' machine behind it."""

    def __init__(self, lab: Lab, branch: Branch) -> None:
        self.lab, self.branch = lab, branch
        self.host: Host = lab.net.host(f"{branch.site}-edge", LINES[0].isp.name, branch.host)
        for line in LINES[1:]:
            self.host.join(line.isp.name, branch.host)
        self.host.join(branch.site, 1)
        self.phones: Host = lab.net.host(f"{branch.site}-phones", branch.site)
        self.host.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        self.phones.run(["ip", "route", "add", "default", "via", self.host.address_on(branch.site)])
        for metric, line in enumerate(LINES, 1):
            way = ["via", f"{LANS[line.isp.name][0]}1", "dev", line.device]
            self.host.run(["ip", "route", "add", "default", *way, "metric", str(100 * metric)])
            if line.isp.name in NAME_SERVERS:
                self.host.run(["ip", "route", "add", NAME_SERVERS[line.isp.name], *way])
        self.host.ask_names_of(*NAME_SERVERS.values())
        self.work = lab.work / branch.site
        self.work.mkdir(mode=0o711)
        self.agent: Child | None = None

    @property
    def paths(self) -> EdgePaths:
        return EdgePaths(self.work / "edge", self.work / "run")

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "CENTRALINO_EDGE": str(self.paths.top),
            "CENTRALINO_EDGE_RUN": str(self.paths.run),
            "LANG": "C.UTF-8",
        }

    def address(self, line: Line) -> str:
        """Its address at a line's provider."""
        return self.host.address_on(line.isp.name)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``centralino edge …`` on it."""
        argv = [sys.executable, "-m", "appliance.cli", "edge", *words]
        return subprocess.run(
            self.host.argv(argv), env=self.env, capture_output=True, text=True, timeout=60, check=False
        )

    def enrol(self) -> None:
        """By an invitation, as a technician does."""
        made = Orders(self.lab.system.paths.vpn_orders_socket).invite(
            self.branch.site, "lab", 1.0, replace=False, former=None
        )
        file = self.work / "invitation.json"
        file.touch(0o600)
        file.write_text(made.file)

        def tried() -> bool:
            done = self.command("enrol", str(file), "--keep-clock")
            self.said = done.stdout + done.stderr
            return done.returncode == 0

        self.said = ""
        try:
            eventually(tried, "enrolled", 20, every_s=1)
        except AssertionError:
            raise AssertionError(f"{self.branch.site} can't be enrolled: {self.said}") from None
        finally:
            file.unlink()

    def start(self, **more: str) -> Child:
        """Its agent. ``more``: of its environment."""
        argv = [sys.executable, "-m", "appliance.cli", "edge", "run", "--keep-clock"]
        self.agent = self.host.start(argv, self.work / "edge.log", env={**self.env, **more})
        return self.agent

    def status(self) -> dict[str, Any]:
        """What it says itself; empty while it says nothing."""
        done = self.command("status", "--json")
        return dict(json.loads(done.stdout)) if not done.returncode else {}

    def stop(self) -> None:
        """End its processes, also those that its agent leaves to a successor."""
        if self.agent is not None:
            self.agent.stop()
        for file in sorted(self.paths.run.rglob("*.pid")) if self.paths.run.exists() else ():  # holders before relays
            with contextlib.suppress(OSError):
                if (pid := noted(file)) is not None:
                    os.kill(pid, 9)


class Lab:
    """See this module. ``say`` is told what is being done."""

    def __init__(
        self,
        say: Say = lambda _text: None,
        *,
        taps: bool = True,
        disk: int | None = None,
        rekey_s: int | None = None,
    ) -> None:
        """
        :param taps: everything that phones hear is kept, to be looked at by tests.
        :param disk: octets of the disks of the centre and of each edge, in memory then; None: they are the machine's.
        :param rekey_s: seconds between two exchanges of keys, 11 or more; None: the hour that OpenVPN lets pass.
        """
        self._say, self._taps, self._disk, self._rekey_s = say, taps, disk, rekey_s
        self.stack = contextlib.ExitStack()
        self.harmed: dict[str, str] = {}
        self.profiles: dict[str, str] = {}
        self._phones: dict[str, SoftPhone] = {}
        self._centre_gone = contextlib.ExitStack()

    def __enter__(self) -> Self:
        require_root()
        try:
            folder = tempfile.TemporaryDirectory(prefix="centralino-lab-")
            self.work = Path(self.stack.enter_context(folder))
            self.work.chmod(0o711)  # OpenVPN's user looks for what is its own below it
            self._network()
            self._rekeyed_often()
            self._centre()
            self.edges = {branch.site: Edge(self, branch) for branch in BRANCHES}
            for edge in self.edges.values():
                self._own_disk(edge.paths.top)
            self._control()
            for edge in self.edges.values():
                self.stack.callback(edge.stop)
                self._say(f"{edge.branch.name}: enrolling its edge")
                edge.enrol()
                edge.start()
            self._say("waiting until all lines are up")
            self.all_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for phone in self._phones.values():
            phone.stop()
        self._centre_gone.close()
        self.stack.close()

    def _network(self) -> None:
        self._say("network: two providers of Internet, one of mobile data")
        self.net = self.stack.enter_context(Network())
        self.centre = self.net.host("centre", number=10).join("provider", 10)
        self.desk = self.net.host("desk")
        self.telco = self.net.host("telco", "provider", 30)
        self._names()
        self.routers: dict[str, Host] = {}
        for isp in ISPS:
            router = self.routers[isp.name] = self.net.host(isp.name, isp.name, 1).join("provider", isp.number)
            self.centre.run(["ip", "route", "add", f"{LANS[isp.name][0]}0/24", "via", router.address_on("provider")])
            for name in ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                         "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0"):  # fmt: skip
                router.run(["sysctl", "-q", "-w", name])
            router.run(["ip", "tuntap", "add", "wire0", "mode", "tun"])
            router.run(["ip", "link", "set", "wire0", "up"])
            router.run(["ip", "route", "add", "default", "dev", "wire0", "table", "100"])
            for leg in ("eth0", "eth1"):
                router.run(["ip", "rule", "add", "iif", leg, "lookup", "100", "pref", "100"])

    def _names(self) -> None:
        host = self.names = self.net.host("names", "provider", 53)
        host.run(["ip", "addr", "add", f"{NAME_SERVERS['isp-two']}/24", "dev", "eth0"])
        for isp in ISPS:
            host.run(["ip", "route", "add", f"{LANS[isp.name][0]}0/24", "via", f"{LANS['provider'][0]}{isp.number}"])
        self._write_names()
        for address in NAME_SERVERS.values():
            argv = [sys.executable, "-m", "lab.resolver", address, str(self.work / "names.json")]
            self.stack.enter_context(host.start(argv, self.work / f"names-{address}.log"))

    def _write_names(self) -> None:
        lied_to = [
            self.edges[branch.site].address(line)
            for branch in BRANCHES
            for line in LINES
            if IMPAIRMENTS[self.harmed.get(branch.line(line.id), "well")].lying_names
        ]
        address = self.centre.address_on("provider")
        told_to = {"name": CENTRE_NAME, "address": address, "lie": WRONG, "lied_to": lied_to}
        _put(self.work / "names.json", told_to)

    def _centre(self) -> None:
        self._say("centre: engine, applier, voice VPN, firewall")
        run = str(self.work / "run")  # in memory, on an appliance
        self.stack.enter_context(_environment(CENTRALINO_VPN="on", CENTRALINO_FIREWALL="on", CENTRALINO_RUN=run))
        self._own_disk(self.work / "state")
        self.system = self.stack.enter_context(
            System(self.centre, self.work, document(self.centre.address, self.centre.address_on("provider")))
        )
        state = self.system.paths.state
        for each in (state, *state.relative_to(self.work).parents):
            (self.work / each).chmod((self.work / each).stat().st_mode | 0o001)
        for module in ("appliance.vpn", "appliance.vpn.inside"):
            child = self.centre.start(
                [sys.executable, "-m", module], self.work / f"{module}.log", env=self.system.environment
            )
            self.stack.enter_context(child)
        eventually(lambda: self.told() is not None, "the voice VPN's process answers", 20)

    def _rekeyed_often(self) -> None:
        """OpenVPN, and whoever starts it, told so by what stands before it: nothing of the product is another."""
        if self._rekey_s is None:
            return
        real, place = shutil.which("openvpn"), self.work / "bin"
        place.mkdir(mode=0o755)
        more = f"--reneg-sec {self._rekey_s} --hand-window 8 --tls-timeout 1 --mute 0"  # every exchange is in the log
        (place / "openvpn").write_text(f'#!/bin/sh\nexec {real} "$@" {more}\n')
        (place / "openvpn").chmod(0o755)
        self.stack.enter_context(_environment(PATH=f"{place}:{os.environ['PATH']}"))

    def rekeys(self, site: str) -> int:
        """How often a branch's session has had other keys, whoever began: each time it looks at the centre's certificate, as when a session begins."""
        log = (self.edges[site].paths.log / "openvpn.log").read_text(errors="replace")
        return log.count("VERIFY OK: depth=0") - log.count("Peer Connection Initiated")

    def _own_disk(self, place: Path) -> None:
        if self._disk is not None:
            place.mkdir()
            command(["mount", "-t", "tmpfs", "-o", f"size={self._disk},mode=0711", "tmpfs", str(place)])
            self.stack.callback(command, ["umount", "--lazy", str(place)])

    def _control(self) -> None:
        for link, line in self.lines():
            self.profiles[link] = line.profile
        for isp in ISPS:
            self._write_wire(isp)
            wire = ["wire0", str(self.work / f"{isp.name}.json"), str(self.work / f"{isp.name}-counted.json")]
            child = self.routers[isp.name].start(
                [*urgent(), sys.executable, "-m", "lab.wire", *wire], self.work / f"{isp.name}.log"
            )
            self.stack.enter_context(child)
        for isp in ISPS:
            eventually((self.work / f"{isp.name}-counted.json").exists, f"the wire of {isp.name} is at work")

    def lines(self) -> Iterator[tuple[str, Line]]:
        """All lines, with their names."""
        return ((branch.line(line.id), line) for branch in BRANCHES for line in LINES)

    def _write_wire(self, isp: Isp) -> None:
        found = {}
        for branch in BRANCHES:
            for line in LINES:
                if line.isp == isp:
                    link = branch.line(line.id)
                    nature, harm = PROFILES[self.profiles[link]], IMPAIRMENTS[self.harmed.get(link, "well")]
                    ways = {"up": together(nature, harm.up), "down": together(nature, harm.down)}
                    found[self.edges[branch.site].address(line)] = {name: asdict(way) for name, way in ways.items()}
        _put(self.work / f"{isp.name}.json", found)

    def impair(self, link: str, name: str) -> None:
        """Harm a line, or with ``well`` harm it no more. The centre can be ``gone``. :raises UnknownNameError:"""
        if link == CENTRE:
            return self._impair_centre(name)
        isp = self._isp(link)
        if name not in IMPAIRMENTS:
            raise UnknownNameError("impairment", name, IMPAIRMENTS)
        self.harmed[link] = name
        self._write_wire(isp)
        self._write_names()
        return None

    def _impair_centre(self, name: str) -> None:
        if name not in CENTRE_IMPAIRMENTS:
            raise UnknownNameError("impairment", name, CENTRE_IMPAIRMENTS)
        self._centre_gone.close()
        self.harmed[CENTRE] = name
        if name == "gone":
            self._centre_gone.enter_context(self.net.blackhole(self.centre.address_on("provider")))

    def profile(self, link: str, name: str) -> None:
        """Say what kind of line one is. :raises UnknownNameError:"""
        isp = self._isp(link)
        if name not in PROFILES:
            raise UnknownNameError("profile", name, PROFILES)
        self.profiles[link] = name
        self._write_wire(isp)

    def _isp(self, link: str) -> Isp:
        known = dict(self.lines())
        if link not in known:
            raise UnknownNameError("link", link, [*known, CENTRE])
        return known[link].isp

    def told(self) -> dict[str, Any] | None:
        """What the centre's voice VPN tells; None while nobody answers."""
        try:
            return told(self.system.paths.vpn_socket)
        except UnavailableError:
            return None

    def branch(self, site: str) -> dict[str, Any]:
        """What it tells of a branch."""
        found = (self.told() or {"branches": []})["branches"]
        return next((dict(each) for each in found if each["site"] == site), {"connected": False})

    def ups(self, site: str) -> dict[str, bool | None]:
        """Which of a branch's lines the centre takes for being up."""
        return {each["id"]: each["up"] for each in self.branch(site).get("lines", ())}

    def all_up(self, deadline_s: float = 60) -> None:
        """Wait until every branch is in by all of its lines."""
        wanted = {line.id: True for line in LINES}

        def looked() -> bool:
            return all(
                self.branch(branch.site).get("connected") and _well(self.ups(branch.site), branch.site, wanted)
                for branch in BRANCHES
            )

        try:
            eventually(looked, "all lines are up", deadline_s, every_s=0.2)
        except AssertionError as error:
            logs = [(edge.work / "edge.log").read_text()[-2000:] for edge in self.edges.values()]
            raise AssertionError("\n----\n".join([f"{error}: {self.told()}", *logs])) from None

    def phone(self, number: str) -> SoftPhone:
        """An extension's phone, registered; it stays until the end."""
        if number not in self._phones:
            device, host = f"{number}-1", self._at(number)
            phone = SoftPhone(
                host, self.work / device, device, self.system.passwords[device], self.centre.address,
                tone_hz=400 + 20 * (int(number) - 310), tapped=self._taps,
            )  # fmt: skip
            self._phones[number] = phone.start()
            phone.register()
        return self._phones[number]

    def _at(self, number: str) -> Host:
        for edge in self.edges.values():
            if edge.branch.first <= int(number) < edge.branch.first + PHONES:
                return edge.phones
        return self.desk

    def outside(self) -> SoftPhone:
        """The phone that the telephone company answers :data:`OUTSIDE` with."""
        if OUTSIDE not in self._phones:
            phone = SoftPhone(
                self.telco,
                self.work / "telco",
                OUTSIDE,
                "unused",
                self.centre.address_on("provider"),
                tone_hz=1040,
                tapped=self._taps,
                sip_port=5060,
            )
            self._phones[OUTSIDE] = phone.start()
            phone.unregistered()
        return self._phones[OUTSIDE]

    def counted(self) -> dict[str, Any]:
        """Packets that passed each line and that were lost on it, by link and direction."""
        found = {}
        for isp in ISPS:
            with contextlib.suppress(FileNotFoundError):
                by_address = json.loads((self.work / f"{isp.name}-counted.json").read_text())
                for branch in BRANCHES:
                    for line in LINES:
                        if line.isp == isp:
                            found[branch.line(line.id)] = by_address[self.edges[branch.site].address(line)]
        return found


def _well(ups: Mapping[str, bool | None], site: str, wanted: Mapping[str, bool]) -> bool:
    return ups == {f"{site}-{id}": up for id, up in wanted.items()}


def _put(path: Path, content: object) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(path)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """They hold for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
