"""New edges enrol through the real firewall, by the commands that people use, and come up by real OpenVPN."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.applier.__main__ import make
from appliance.applier.link import Settings
from appliance.applier.options import Options
from appliance.applier.service import Service
from appliance.core.errors import CentralinoError
from appliance.core.model import Object
from appliance.edge.enrol import enrol
from appliance.edge.identity import Identity
from appliance.edge.paths import EdgePaths
from appliance.edge.states import States
from appliance.engine.processes import command_of
from appliance.engine.runner import Completed, run
from appliance.paths import CHECKOUT, Paths
from appliance.store import Store
from appliance.vpn.enrolment.codes import Code, Secret, read_code, tag_of
from appliance.vpn.enrolment.invitation import Centre, by_code
from appliance.vpn.enrolment.service import Enrolment
from appliance.vpn.enrolment.waiting import Standing
from appliance.vpn.pki import Authority, Role, client_lines
from tests.hil.agents.network import Host, Network, in_namespace, require_root
from tests.hil.agents.openvpn import UP, inline
from tests.hil.agents.process import Child, eventually
from tests.hil.system import objects, office

PORT = 1194
EMERGENCY = {"class_of_service": "standard", "emergency_number": "+390200000200"}
PHONES = {"torino": "10.3.0.1", "roma": "10.4.0.1"}


@dataclass
class Ground:
    """The centre with firewall and VPN as in the image, but for an engine; edges out there."""

    centre: Host
    work: Path
    store: Store
    service: Service
    vpn: Child
    authority: Authority
    tunnels: dict[str, Child] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.centre.address_on("provider")

    def commit(self, *put: Object) -> None:
        number = self.store.propose(put, (), base=self.store.head().number, author="test", message="test").number
        self.service.apply(number, Options(offline=True, allow=("drops_connections", "drops_calls")))

    def at_centre(self, *words: str) -> Completed:
        return command({"CENTRALINO_STATE": str(self.work)}, *words)

    def at_edge(self, host: Host, name: str, *words: str) -> Completed:
        return command({"CENTRALINO_EDGE": str(self.work / name)}, "edge", "enrol", *words, inside=host)

    @property
    def enrolment(self) -> Enrolment:
        return Enrolment(self.authority.paths, self.authority)

    def by_code(self, host: Host, name: str, code: Code) -> str:
        """What somebody types; the site that the edge is then."""
        invitation = by_code(code, (Centre(self.address, PORT),))
        identity = Identity(EdgePaths(self.work / name))
        return in_namespace(host.namespace, lambda: enrol(invitation, identity)).site

    def fronts(self) -> set[int]:
        """Processes that strangers talk with: the sandboxes that they are in, of this state directory."""
        found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return {pid for pid in found if {"appliance.vpn.enrolment", str(self.work)} <= set(command_of(pid))}

    def gate(self) -> bool:
        """Whether the firewall lets anybody to the gate."""
        listed = self.centre.run(["nft", "--json", "list", "set", "inet", "centralino", "gate"]).stdout
        (found,) = (each["set"] for each in json.loads(listed)["nftables"] if "set" in each)
        return bool(found.get("elem"))

    def comes_up(self, host: Host, name: str, lines: list[str]) -> Child:
        """A branch's OpenVPN, when it is in."""
        child = self.started(host, name, lines)
        eventually(lambda: UP in child.text(), f"{name} is in", 15)
        return child

    def started(self, host: Host, name: str, lines: list[str]) -> Child:
        config = self.work / f"{name}.conf"
        config.touch(0o600)
        config.write_text("\n".join([*lines, "connect-retry 1 1"]) + "\n")
        child = self.tunnels[name] = host.start(["openvpn", "--config", str(config)], self.work / f"{name}.log")
        return child

    def lines(self, name: str) -> list[str]:
        """What an edge's identity and slice make of OpenVPN's configuration."""
        state = States(EdgePaths(self.work / name)).current()
        assert state is not None
        material = state.material
        return [
            "dev voice-0", *(f"remote {each.host} {each.port} udp" for each in state.slice.remotes), *state.slice.openvpn, *client_lines(),
            inline("ca", material.root), inline("cert", material.identity), inline("key", material.identity),
            inline("tls-crypt-v2", material.tunnel_key),
        ]  # fmt: skip


def command(env: dict[str, str], *words: str, inside: Host | None = None) -> Completed:
    argv = [sys.executable, "-m", "appliance.cli", *words]
    whole = {**os.environ, "PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8", "COLUMNS": "200", **env}
    return run(argv if inside is None else inside.argv(argv), check=False, env=whole)


def said(done: Completed) -> str:
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    require_root()
    with tempfile.TemporaryDirectory(prefix="centralino-enrol-") as folder, Network() as net:
        work = Path(folder)  # pytest's own are closed to OpenVPN's user
        work.chmod(0o711)
        centre = net.host("centre").join("provider")
        paths = Paths(work, Paths.default().cache)
        paths.engine.ami_secret.parent.mkdir(parents=True)
        paths.engine.ami_secret.write_text("secret")
        env = {
            **os.environ, "CENTRALINO_STATE": folder, "CENTRALINO_ENGINE_NETNS": centre.namespace, "CENTRALINO_FIREWALL": "on",
        }  # fmt: skip
        with Store.default(paths) as store:
            service = make(paths, Settings(network_namespace=centre.namespace, firewall=True, vpn=True), store)
            service.converge()
            argv = [sys.executable, "-m", "appliance.vpn"]
            with Child(argv, work / "vpn.log", env=env) as process:
                made = Ground(centre, work, store, service, process, Authority(paths.vpn))
                made.commit(*objects([
                    *(row for row in office(centre.address, 2) if row[0] not in ("device", "secret")),
                    ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.3.0.0/24"], **EMERGENCY}),
                    ("site", {"id": "roma", "name": "Roma", "company": "demo", "networks": ["10.4.0.0/24"], **EMERGENCY}),
                    ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": made.address}]}),
                    ("branch", {"id": "torino", "site": "torino", "number": 1}),
                    ("branch", {"id": "roma", "site": "roma", "number": 2, "router": "third_party"}),
                ]))  # fmt: skip
                try:
                    yield made
                finally:
                    for tunnel in made.tunnels.values():
                        tunnel.stop()


@pytest.fixture(scope="module")
def outside(ground: Ground) -> Host:
    return ground.centre.net.host("outside", "provider")


def reaches(host: Host, address: str) -> bool:
    try:
        host.connect(address, PORT, 0.7).close()
    except OSError:
        return False
    return True


def talks(ground: Ground, host: Host, site: str) -> bool:
    """Whether a voice packet of the site reaches the centre through the tunnel, and the answer comes back."""
    phone, voice = PHONES[site], (ground.centre.address, 15000)
    host.run(["ip", "address", "replace", f"{phone}/32", "dev", "lo"])
    with ground.centre.socket() as inbox, host.socket() as sender:
        inbox.bind(voice)
        sender.bind((phone, 15000))
        for each in (inbox, sender):
            each.settimeout(0.3)
        try:
            sender.sendto(b"voice", voice)
            said, source = inbox.recvfrom(100)
            inbox.sendto(b"answer", source)
            return (said, sender.recv(100)) == (b"voice", b"answer")
        except OSError:
            return False


def test_an_edge_enrols_by_file_and_a_spare_takes_over_by_code(ground: Ground, outside: Host) -> None:
    edge = ground.centre.net.host("edge", "provider")
    spare = ground.centre.net.host("spare", "provider")
    eventually(lambda: ground.authority.exists and ground.authority.server() is not None, "the VPN is up", 15)
    assert not reaches(outside, ground.address)
    file = ground.work / "torino.json"
    said(ground.at_centre("vpn", "enrol", "torino", "--file", str(file)))
    assert file.stat().st_mode & 0o777 == 0o600
    eventually(lambda: reaches(outside, ground.address), "the gate is open", 5)
    fronts = ground.fronts()
    assert fronts
    for pid in fronts:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: ground.fronts() - fronts and reaches(outside, ground.address), "it is opened again", 5)
    text = said(ground.at_edge(edge, "edge", str(file)))
    assert "It is the centre" in text
    assert "This edge is torino now" in text
    former = ground.comes_up(edge, "edge", ground.lines("edge"))
    eventually(lambda: talks(ground, edge, "torino"), "it reaches the centre", 5)
    (first,) = ground.authority.living("torino")
    # By the same file again: somebody else's key.
    refused = ground.at_edge(outside, "thief", str(file))
    assert refused.exit_code == 1
    assert "refuses this invitation" in refused.output
    assert len(ground.authority.issued("torino")) == 1
    # A commit loads all rules anew; the gate is open again by itself. A spare enrols by code; the first goes on meanwhile.
    invited = ground.enrolment.invite(ground.store.document(), "torino")
    ground.commit(
        *objects([("network", {"id": "office", "name": "Office", "zone": "management", "networks": ["192.0.2.9/32"]})])
    )
    eventually(ground.gate, "the gate is open", 5)
    assert ground.by_code(spare, "spare", read_code(invited.code)) == "torino"
    assert talks(ground, edge, "torino")
    assert first in ground.authority.living("torino")
    ups = former.text().count(UP)
    ground.comes_up(spare, "spare", ground.lines("spare"))
    eventually(lambda: first not in ground.authority.living("torino"), "the first is revoked", 5)
    eventually(lambda: "Restart pause" in former.text(), "the first is cut off", 5)
    eventually(lambda: talks(ground, spare, "torino"), "the spare has the tunnel", 5)
    assert former.text().count(UP) == ups
    assert ground.enrolment.withdraw("torino")
    eventually(lambda: not ground.gate() and not reaches(outside, ground.address), "the gate is shut", 5)


def test_five_wrong_codes_burn_the_invitation_and_shut_the_gate(ground: Ground, outside: Host) -> None:
    code = read_code(ground.enrolment.invite(ground.store.document(), "torino").code)
    eventually(lambda: reaches(outside, ground.address), "the gate is open", 5)
    secret = Secret(code.secret.locator, "00000000")
    wrong = Code(secret, tag_of(secret, ground.authority.root_key()))

    def tried(name: str, code: Code) -> str:
        with pytest.raises(CentralinoError) as caught:
            ground.by_code(outside, name, code)
        return caught.value.error_id

    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(lambda turn: tried(f"guess-{turn}", wrong), range(5))) == {"invitation_refused"}
    eventually(lambda: not ground.gate(), "the gate is shut", 5)
    assert not reaches(outside, ground.address)
    assert len([each for each in ground.authority.issued() if each.role is Role.GATE]) == 1, "one for all openings"
    (shown,) = ground.enrolment.invitations()
    assert shown.standing is Standing.BURNED


def test_a_router_of_another_maker_comes_in_where_those_are_let_in_and_else_not(ground: Ground) -> None:
    router = ground.centre.net.host("router", "provider")
    file = ground.work / "roma.ovpn"
    refused = ground.at_centre("vpn", "bundle", "roma", "--file", str(file))
    assert refused.exit_code == 1
    assert not file.exists()
    addresses = [{"host": ground.address}]
    on = {"id": "vpn", "name": "VPN", "addresses": addresses, "third_party": True}
    ground.commit(*objects([("concentrator", on)]))
    said(ground.at_centre("vpn", "bundle", "roma", "--file", str(file)))
    assert file.stat().st_mode & 0o777 == 0o600
    assert ground.at_centre("vpn", "bundle", "roma", "--file", str(file)).exit_code == 1, "it isn't given twice"
    lines = file.read_text().splitlines()
    ground.comes_up(router, "router", lines)
    eventually(lambda: talks(ground, router, "roma"), "it reaches the centre", 5)
    # Its certificate doesn't open the door of our own edges.
    ours = [line.replace(" 1209 ", f" {PORT} ") if line.startswith("remote ") else line for line in lines]
    refused_there = ground.started(router, "router-at-ours", [*ours, "dev other"])  # it would try for ever
    eventually(lambda: any(word in refused_there.text() for word in ("AUTH_FAILED", UP)), "it is in or out", 15)
    assert UP not in refused_there.text()
    refused_there.stop()
    ground.commit(*objects([("concentrator", {**on, "third_party": False})]))
    link = ["ip", "link", "show", "voice-third"]
    eventually(lambda: ground.centre.run(link, check=False).returncode, "its daemon has ended", 10)
    assert not talks(ground, router, "roma")
