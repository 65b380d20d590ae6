"""The keeper of the voice VPN's daemons, with real OpenVPN: what changes reaches its branch, and no other notices."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import system_clock
from appliance.commands.doctor_network import voice_vpn
from appliance.core.document import Document
from appliance.paths import Paths
from appliance.run import web
from appliance.vpn import configured
from appliance.vpn.asking import revoke
from appliance.vpn.keeper import Keeper
from appliance.vpn.layout import installation
from appliance.vpn.pki import Authority, lists
from appliance.vpn.pki.vault import Vault
from appliance.vpn.plan import branch_lines, daemons
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.openvpn import UP, Edge
from tests.hil.agents.process import Child, eventually
from tests.hil.system import objects

Row = tuple[str, dict[str, Any]]
TURIN, ROME, BARI = "10.3.0.0/24", "10.4.0.0/24", "10.5.0.0/24"


@dataclass
class Ground:
    """A centre whose configuration the test writes, and branches that come in from one other host."""

    centre: Host
    internet: Host
    work: Path
    authority: Authority
    keeper: Keeper
    generations: int = 0
    branches: dict[str, Child] = field(default_factory=dict)
    former: list[Keeper] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(self.work, self.work)

    @property
    def generation(self) -> Path:
        return self.paths.engine.current

    def document(self, *sites: str, **concentrator: Any) -> Document:
        networks = {"torino": TURIN, "roma": ROME, "bari": BARI}
        rows: list[Row] = [("company", {"id": "demo", "name": "Demo Srl"})]
        if "off" not in concentrator:
            address = {"host": self.centre.address}
            rows.append(("concentrator", {"id": "vpn", "name": "VPN", "addresses": [address], **concentrator}))
        for number, site in enumerate(networks, 1):
            if site in sites:
                rows.append(("site", {"id": site, "name": site, "company": "demo", "networks": [networks[site]]}))
                rows.append(("branch", {"id": site, "site": site, "number": number}))
        return Document.of(objects(rows))

    def commit(self, document: Document) -> None:
        """Put another generation in force, as the applier does, and have the keeper look once."""
        self.generations += 1
        fresh = self.paths.engine.config / f"gen-{self.generations:06d}"
        fresh.mkdir(parents=True)
        for name, text in configured.files(daemons(document, installation(self.paths.vpn, 1))).items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text)
        link = self.generation.with_name("current.new")
        link.symlink_to(fresh)
        link.rename(self.generation)
        self.keeper.tend()
        assert self.keeper.faults == ()

    def connect(self, document: Document, site: str) -> Child:
        """A branch enrols and comes in."""
        edge, config = Edge(), self.work / f"{site}.conf"
        lines = [*branch_lines(document, site, 1), *edge.lines(self.authority.enrol(site, edge.csr))]
        self.keeper.tend()
        config.touch(0o600)
        config.write_text("\n".join([f"dev {site}", "route-noexec", *lines]) + "\n")
        child = self.internet.start(["openvpn", "--config", str(config)], self.work / f"{site}.log")
        self.branches[site] = child
        eventually(lambda: child.text().count(UP) == 1, f"{site} is in", 15)
        return child

    def routes(self) -> str:
        return self.centre.run(["ip", "route", "show", "dev", "voice-0"]).stdout


@pytest.fixture
def ground() -> Iterator[Ground]:
    require_root()
    with tempfile.TemporaryDirectory(prefix="centralino-vpn-") as folder, Network() as net:
        work = Path(folder)  # pytest's own are closed to OpenVPN's user
        work.chmod(0o711)
        centre, internet = net.host("centre"), net.host("internet")
        paths = Paths(work, work)
        authority = Authority(paths.vpn)
        keeper = Keeper(paths.vpn, paths.engine.current, authority, centre.namespace)
        made = Ground(centre, internet, work, authority, keeper)
        try:
            yield made
        finally:
            for keeper in (made.keeper, *made.former):
                keeper.stop()
            for child in made.branches.values():
                child.stop()


def test_branches_come_and_go_and_no_other_tunnel_notices(ground: Ground) -> None:
    one = ground.document("torino")
    ground.commit(one)
    torino, pid = ground.connect(one, "torino"), ground.keeper.pid("voice-0")
    assert pid is not None
    both = ground.document("torino", "roma")
    ground.commit(both)
    ground.connect(both, "roma")
    assert "10.3.0.0/24" in ground.routes()
    assert "10.4.0.0/24" in ground.routes()
    # Another keeper, as after a kill of this one, takes the daemon over.
    ground.former.append(ground.keeper)
    ground.keeper = Keeper(ground.authority.paths, ground.generation, ground.authority, ground.centre.namespace)
    ground.commit(ground.document("torino"))
    assert "10.4.0.0/24" not in ground.routes()
    clients = [path.name for path in ground.authority.paths.clients("voice-0").iterdir()]
    assert [name.split(".")[0] for name in clients] == ["torino"]
    assert ground.keeper.pid("voice-0") == pid
    assert torino.text().count(UP) == 1, "its tunnel was never down"
    # A revoked branch has nothing there any more, so it is turned away whatever OpenVPN thinks of its certificate.
    ground.authority.revoke_site("torino")
    ground.keeper.tend()
    assert list(ground.authority.paths.clients("voice-0").iterdir()) == []


def test_a_killed_daemon_comes_back_and_a_changed_one_is_started_anew(ground: Ground) -> None:
    document = ground.document("torino")
    ground.commit(document)
    first = ground.keeper.pid("voice-0")
    assert first is not None
    log = ground.authority.paths.log / "voice-0.log"
    eventually(lambda: UP in log.read_text(), "the daemon is up")
    os.kill(first, signal.SIGKILL)

    def back() -> bool:
        ground.keeper.tend()
        return ground.keeper.pid("voice-0") not in (None, first)

    eventually(back, "it is back", 10)
    second = ground.keeper.pid("voice-0")
    eventually(lambda: log.read_text().count(UP) == 2, "it is up")
    assert "10.3.0.0/24" in ground.routes()  # by its own configuration
    ground.commit(ground.document("torino", packets_per_second=9000))
    third = ground.keeper.pid("voice-0")
    assert third not in (None, second)
    eventually(lambda: log.read_text().count(UP) == 3, "it is up")
    ground.commit(ground.document("torino", off=True))
    assert ground.keeper.pid("voice-0") is None
    assert ground.centre.run(["ip", "link", "show", "voice-0"], check=False).returncode


def test_what_can_not_be_read_or_written_leaves_the_daemon_alone(ground: Ground) -> None:
    ground.commit(ground.document("torino"))
    pid = ground.keeper.pid("voice-0")
    ground.generation.unlink()
    ground.keeper.tend()
    assert ground.keeper.faults == ("there is no configuration yet (start the applier)",)
    assert ground.keeper.pid("voice-0") == pid
    shutil.rmtree(ground.paths.engine.config / "gen-000001")
    ground.commit(ground.document("torino"))
    assert ground.keeper.pid("voice-0") == pid
    # Where OpenVPN's user can't get in, it isn't even started: it would turn every branch away.
    ground.keeper.stop()
    ground.work.chmod(0o700)
    ground.keeper.tend()
    assert ground.keeper.pid("voice-0") is None
    assert "OpenVPN's user can't get into" in ground.keeper.faults[0]


def test_a_damaged_list_is_made_again_before_anybody_is_turned_away(ground: Ground) -> None:
    """Garbled, gone, closed to OpenVPN's user, or expired: each would keep everybody out until it is mended."""
    both = ground.document("torino", "roma")
    ground.commit(both)
    torino, crl = ground.connect(both, "torino"), ground.authority.paths.crl
    vault = Vault(ground.authority.paths, system_clock)
    damages: list[Callable[[], object]] = [
        lambda: crl.write_bytes(b"garbage"),
        crl.unlink,
        lambda: crl.chmod(0),
        lambda: lists.write(vault, datetime.now(UTC) - timedelta(days=400)),
    ]
    for damage in damages:
        damage()
        ground.keeper.tend()
        assert crl.stat().st_mode & 0o777 == 0o644
        assert lists.unsound(vault, datetime.now(UTC)) == ""
    assert {each.error_id for each in ground.keeper.alarms} == {"root_not_exported"}
    ground.connect(both, "roma")
    assert torino.text().count(UP) == 1, "its tunnel was never down"


def test_the_process_tells_who_is_in_and_cuts_off_who_is_revoked(ground: Ground) -> None:
    document = ground.document("torino", "roma")
    ground.commit(document)
    ground.keeper.stop()
    seen = ground.authority.paths.ca / "clock.json"
    env = {**os.environ, "CENTRALINO_STATE": str(ground.work), "CENTRALINO_ENGINE_NETNS": ground.centre.namespace}
    env |= web.group_environment()
    with Child([sys.executable, "-m", "appliance.vpn"], ground.work / "vpn.log", env=env) as process:
        eventually(lambda: "voice-0" in status(env)[0], "it tells of its daemon", 15)
        silence(ground)
        torino = ground.connect(document, "torino")
        eventually(lambda: branches(env)["torino"]["connected"], "torino is shown", 10)
        measured(ground, env)
        shown = branches(env)
        assert shown["torino"]["address"] == ground.internet.address
        assert shown["torino"]["inside"] == ["172.29.0.2"]
        assert shown["torino"]["version"].startswith("2.6")
        assert shown["torino"]["certificate_ends"] > "2027"
        assert shown["roma"] == {"site": "roma", "interface": "voice-0", "connected": False, "edge": None}
        assert seen_by_the_hub(ground.paths) == ["roma", "torino"]
        text = command_line(env, "vpn", "status")
        seen.write_text(json.dumps({"seen": int(time.time()) + 10 * 86400}))
        eventually(lambda: "it was 20" in command_line(env, "vpn", "status"), "the clock is told", 10)
        assert "if it is right: centralino vpn trust-clock" in command_line(env, "vpn", "status")
        assert "if it is right: centralino vpn trust-clock" in looked_at(ground, env)[0][2]
        assert "certificates are issued again" in command_line(env, "vpn", "trust-clock")
        eventually(lambda: "trust-clock" not in command_line(env, "vpn", "status"), "the alarm is over", 10)
        assert "172.29.0.2" in text
        assert "not connected" in text
        assert [each[:2] for each in looked_at(ground, env)] == [
            ("warning", "nobody has shown to have a copy of the voice VPN's root key"), ("warning", "not connected: roma")
        ]  # fmt: skip
        pid = ground.keeper.pid("voice-0")
        assert revoke(ground.paths.vpn_orders_socket, "torino", "boss")[0].startswith("torino.")
        assert "Revoked: torino." in command_line(env, "vpn", "revoke", "torino"), "again: harmless"
        eventually(lambda: not branches(env)["torino"]["connected"], "torino is cut off", 10)
        eventually(lambda: "Restart pause" in torino.text(), "torino was told", 5)
        assert ground.keeper.pid("voice-0") == pid
        eventually(lambda: torino.text().count("UDPv4 link remote") >= 2, "it tries again", 5)
        assert torino.text().count(UP) == 1
        process.signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert ground.keeper.pid("voice-0") is None


def seen_by_the_hub(paths: Paths) -> list[str]:
    """What the hub's user is told in the hub's confinement, in which it can't order anything."""
    code = (
        "import json; from appliance.paths import Paths; from appliance.vpn.asking import told; paths = Paths.default();"
        "assert not paths.vpn_orders_socket.exists();"
        "print(json.dumps([each['site'] for each in told(paths.vpn_socket)['branches']]))"
    )
    argv = web.confined(paths, [sys.executable, "-c", code], readable=(paths.live,))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def silence(ground: Ground) -> None:
    """Torino's router answers no ping, and counts them."""
    ground.internet.run(["nft", "add table ip quiet"])
    ground.internet.run(["nft", "add chain ip quiet input { type filter hook input priority 0; }"])
    ground.internet.run(["nft", 'add rule ip quiet input iifname "torino" icmp type echo-request counter drop'])


def measured(ground: Ground, env: dict[str, str]) -> None:
    """Nothing is claimed of a router that never answered; of one that did, loss and round trip."""

    def pings() -> int:
        found = re.search(r"counter packets (\d+)", ground.internet.run(["nft", "list table ip quiet"]).stdout)
        return int(found[1]) if found else 0

    def torino() -> dict[str, Any]:
        found: dict[str, Any] = eventually(lambda: branches(env).get("torino"), "it is told", 20)
        return found

    eventually(lambda: pings() >= 2, "it is asked", 10)
    assert (torino()["loss"], torino()["rtt_ms"]) == (None, None)
    ground.internet.run(["nft", "flush chain ip quiet input"])
    eventually(lambda: torino()["loss"] == 0.0, "it answers", 10)
    assert 0 < torino()["rtt_median_ms"] < 1000
    silence(ground)
    eventually(lambda: (torino()["loss"] or 0) > 0, "echoes are lost", 10)
    ground.internet.run(["nft", "delete table ip quiet"])


def looked_at(ground: Ground, env: dict[str, str]) -> list[tuple[str, str, str]]:
    """What the doctor finds, where the VPN is said to run here and where not."""
    assert list(voice_vpn(ground.paths)) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CENTRALINO_VPN", "on")
        return [
            (each.grade.value, each.message, each.mend)
            for each in voice_vpn(Paths(Path(env["CENTRALINO_STATE"]), ground.work))
        ]


def status(env: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """Interfaces of daemons that are up, and everything told."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "vpn", "status", "--json"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [], {}
    found = json.loads(done.stdout)
    return [each["interface"] for each in found["daemons"] if each["standing"] == "up"], found


def branches(env: dict[str, str]) -> dict[str, Any]:
    return {each["site"]: each for each in status(env)[1].get("branches", [])}


def command_line(env: dict[str, str], *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "appliance.cli", *words],
        env={**env, "LANG": "C.UTF-8", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
