"""TURN with real coturn, engine, firewall and gate: voice gets in from where only the web is let through, and nothing else does."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import UnavailableError
from appliance.paths import Paths
from appliance.run import gate, web
from appliance.run.certificate import ensure_certificate
from appliance.turn.addresses import ice_servers
from appliance.turn.credentials import Credentials, credentials
from appliance.turn.keys import Keys
from appliance.turn.model import TurnAddress, TurnServer
from appliance.turn.service import ask, ask_credentials
from tests.hil.agents.network import Host, Network, command
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.turn import attempt
from tests.hil.agents.webrtc import WebPhone
from tests.hil.system import Rows, System, objects, office

PORT, TLS_PORT, WSS_PORT = 3478, 443, 8089


class Outside(System):
    """Firewall and TURN server are the appliance's own."""

    def start_applier(self, **environment: str) -> Child:
        ours = {"CENTRALINO_FIREWALL": "on", "CENTRALINO_TURN": "on", "CENTRALINO_PORTAL_PORT": str(TLS_PORT)}
        return super().start_applier(**ours, **environment)


@dataclass
class Ground:
    net: Network
    pbx: Host
    browser: Host
    phone: Host
    work: Path
    system: Outside
    keeper: Child
    public: str
    keepers: ExitStack

    @property
    def paths(self) -> Paths:
        return self.system.paths

    @property
    def trust(self) -> Path:
        return self.paths.gate / "portal.crt"

    @property
    def server(self) -> tuple[str, int]:
        return self.public, PORT

    def pid(self) -> int | None:
        try:
            found = ask(self.paths, "status")
        except Exception:  # noqa: BLE001 (the keeper isn't there: eventually() has the deadline)
            return None
        return found["pid"] if found["pid"] is not None and not found["faults"] else None

    def start_keeper(self) -> None:
        env = {**self.system.environment, "CENTRALINO_TURN": "on"}
        self.keeper = self.pbx.start([sys.executable, "-m", "appliance.turn"], self.work / "turn.log", env=env)
        self.keepers.callback(self.keeper.stop)

    def works(self) -> bool:
        try:
            made = ask_credentials(self.paths, "somebody")
            return attempt(self.browser, self.server, made.username, made.password).code == 0
        except Exception:  # noqa: BLE001 (it is being started)
            return False

    def counted(self, name: str) -> int:
        words = self.pbx.run(["nft", "list", "counter", "inet", "centralino", name]).stdout.split()
        return int(words[words.index("packets") + 1])

    @contextmanager
    def only(self, *rules: str) -> Iterator[None]:
        """Of what the browser sends and is sent, the network lets through only what one of the rules matches."""
        mine = [f"ip saddr {self.browser.address} drop", f"ip daddr {self.browser.address} drop"]
        accepted = [f"{rule} accept" for rule in rules]
        chain = "\n".join(["type filter hook forward priority 0; policy accept;", *accepted, *mine])
        table = "table bridge strict"
        inside = ["ip", "netns", "exec", self.net.switch, "nft"]
        command([*inside, f"{table} {{\nchain forward {{\n{chain}\n}}\n}}\n"])
        try:
            yield
        finally:
            command([*inside, f"delete {table}"])


def rows(phones: str, public: str) -> Rows:
    made = office(phones, 2)
    made += [
        ("listener", {"id": "wss", "name": "Browsers", "transport": "wss", "address": public, "port": WSS_PORT, "zone": "web", "certificate": "appliance"}),
        ("device", {"id": "202-2", "extension": "ext-202", "slot": 2, "secret": "202-2", "allowed_transports": ["wss"], "media_security": "dtls"}),
        ("secret", {"id": "202-2"}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24"]}),
        ("network", {"id": "web", "name": "Browsers", "zone": "clients", "networks": ["198.51.100.0/24"]}),
        turn_server(public),
    ]  # fmt: skip
    return made


def turn_server(public: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "turn_server", {"id": "turn", "name": "TURN", "addresses": [{"host": public}], **more}


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="centralino-turn-") as folder, Network() as net, ExitStack() as stack:
        work = Path(folder)
        work.chmod(0o711)
        pbx = net.host("pbx", number=10).join("provider", 10)
        phone, browser = net.host("phone"), net.host("browser", lan="provider")
        public = pbx.address_on("provider")
        system = Outside(pbx, work, rows(pbx.address, public))
        ensure_certificate(system.paths.engine.tls, "appliance", (public,))
        stack.enter_context(system)
        web.make_places(system.paths)
        ensure_certificate(system.paths.gate, "portal", (public,))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CENTRALINO_TURN", "on")
            gate.prepare(system.paths, public, TLS_PORT)
        door = stack.enter_context(Child(pbx.argv(gate.command(system.paths)), work / "gate.log"))
        keepers = stack.enter_context(ExitStack())
        made = Ground(net, pbx, browser, phone, work, system, door, public, keepers)
        made.start_keeper()
        eventually(made.works, "the TURN server works", 20)
        assert door.running, door.text()
        yield made


def told(ground: Ground) -> tuple[dict[str, Any], Credentials]:
    """What the API tells a browser, and the credentials in it."""
    made = ask_credentials(ground.paths, "somebody")
    server = TurnServer(id="turn", name="TURN", addresses=(TurnAddress(host=ground.public),))
    (found,) = ice_servers(server, made)
    return found, made


@pytest.mark.parametrize(
    ("scheme", "way"),
    [
        ("turn:", (f"udp dport {PORT}", f"udp sport {PORT}")),
        ("turns:", (f"tcp dport {TLS_PORT}", f"tcp sport {TLS_PORT}")),
    ],
)
def test_a_call_from_a_network_that_lets_nothing_else_through(
    ground: Ground, scheme: str, way: tuple[str, str]
) -> None:
    found, _ = told(ground)
    servers = [{**found, "urls": [url for url in found["urls"] if url.startswith(scheme)]}]
    url = f"wss://{ground.public}:{WSS_PORT}/ws"
    passwords = ground.system.passwords
    work = ground.work / scheme.strip(":")
    signalling = (f"tcp dport {WSS_PORT}", f"tcp sport {WSS_PORT}")
    options: dict[str, Any] = {
        "trust": ground.paths.engine.tls / "appliance.crt", "ice_servers": servers, "ice_trust": ground.trust,
    }  # fmt: skip
    with (
        ground.only(*way, *signalling),
        SoftPhone(ground.phone, work / "desk", "201-1", passwords["201-1"], ground.pbx.address, tone_hz=440) as desk,
        WebPhone(ground.browser, work / "web", "202-2", passwords["202-2"], url, **options) as browser,
    ):
        desk.register()
        browser.register()
        before = ground.counted("turn")
        browser.call("201")
        incoming = desk.incoming().answer()
        browser.established()
        assert browser.listen(desk.tone_hz, 1.0).good()
        assert desk.hears(browser.tone_hz).listen(browser.tone_hz, 1.0).good()
        assert (ground.counted("turn") - before > 50) == (scheme == "turn:")
        incoming.hangup()
        browser.closed()
    assert ground.counted("relayed-elsewhere") == 0


def test_who_has_no_credentials_is_refused_and_who_has_them_reaches_the_engines_voice_only(ground: Ground) -> None:
    made = ask_credentials(ground.paths, "somebody")
    secret = Keys(ground.paths.turn.database).newest()
    old = credentials(secret, "somebody", time.time() - 10, lifetime_s=5)
    other = credentials("another secret", "somebody", time.time())
    for trust, server in ((None, ground.server), (ground.trust, (ground.public, TLS_PORT))):
        refused = [
            (None, None),
            (made.username, "wrong"),
            (old.username, old.password),
            (other.username, other.password),
        ]
        for username, password in refused:
            assert attempt(ground.browser, server, username, password, trust=trust).code == 401
        relayed = attempt(
            ground.browser, server, made.username, made.password, trust=trust,
            peers=[
                (ground.public, 12000),  # the voice of browsers
                (ground.pbx.address, 5060), (ground.phone.address, 5060), ("127.0.0.1", 5038), ("127.0.0.1", 3479),
                ("0.0.0.0", 53), ("224.0.0.251", 5353), ("255.255.255.255", 67),  # noqa: S104
            ],
        )  # fmt: skip
        assert relayed.relayed[0] == "127.0.0.1"
        assert relayed.mapped[0] == ground.browser.address, "also behind the gate"
        assert relayed.peers == [0] + 7 * [403]
    # At the engine's address itself, the firewall lets relays reach voice alone.
    before = ground.counted("relayed-elsewhere")
    with ground.pbx.socket() as bystander, ground.pbx.socket() as voice:
        for sock, port in ((bystander, 5999), (voice, 19999)):
            sock.bind((ground.public, port))
            sock.settimeout(5)
        to = [(ground.public, 19999), (ground.public, 5999)]
        assert attempt(ground.browser, ground.server, made.username, made.password, peers=to, send=b"hello").peers == [
            0,
            0,
        ]
        assert voice.recv(100) == b"hello"
        bystander.settimeout(0)
        with pytest.raises(BlockingIOError):
            bystander.recv(100)
    assert ground.counted("relayed-elsewhere") > before


def test_a_flood_of_garbage_harms_nobody(ground: Ground) -> None:
    pid, dice = ground.pid(), random.Random(1)
    cookie = bytes.fromhex("2112a442")
    with ground.browser.socket() as sock:
        sock.connect(ground.server)
        for number in range(20_000):
            body = dice.randbytes(dice.randrange(60))
            # Every second one looks like a request for a relay.
            sock.send(bytes((0, 3, 0, len(body) & 0xFC)) + cookie + dice.randbytes(12) + body if number % 2 else body)
    for body in (cookie * 64, bytes(4) + cookie + dice.randbytes(4000), b""):
        with ground.browser.connect(ground.public, TLS_PORT) as plain:  # not even TLS
            plain.sendall(body or b"GET / HTTP/1.0\r\n\r\n")
    assert ground.works()
    assert ground.pid() == pid


def test_it_comes_back_when_it_is_killed_and_goes_on_when_its_keeper_is(ground: Ground) -> None:
    first = ground.pid()
    assert first is not None
    assert status(first, "Uid").split()[0] == "45062"
    assert {status(first, field) for field in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {16 * "0"}
    made, secret = ask_credentials(ground.paths, "somebody"), Keys(ground.paths.turn.database).newest()
    for place in (
        Path(f"/proc/{first}/cmdline"),
        ground.paths.turn.config,
        ground.paths.turn.log,
        ground.work / "turn.log",
    ):
        assert secret not in place.read_text()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: ground.pid() not in (None, first) and ground.works(), "it is back", 10)
    second = ground.pid()
    ground.keeper.signal(signal.SIGKILL)
    ground.keeper.wait(5)
    assert attempt(ground.browser, ground.server, made.username, made.password).code == 0  # the secret is the same
    ground.start_keeper()
    eventually(lambda: ground.pid() is not None, "the next keeper tells", 10)
    assert ground.pid() == second
    # A new secret disturbs nobody, and who has credentials by the former one is served.
    assert Keys(ground.paths.turn.database, 45062).tend(time.time() + 90_000) is False
    newer = ask_credentials(ground.paths, "somebody")
    assert Keys(ground.paths.turn.database).newest() != secret
    for each in (made, newer):
        assert attempt(ground.browser, ground.server, each.username, each.password).code == 0
    assert ground.pid() == second
    # Garbage instead of secrets: others are made, and coturn is started anew to see them.
    ground.paths.turn.database.write_bytes(b"garbage" * 1000)
    ground.keeper.signal(signal.SIGKILL)
    ground.keeper.wait(5)
    ground.start_keeper()
    eventually(lambda: ground.pid() not in (None, second) and ground.works(), "it works again", 10)


def test_it_follows_the_document(ground: Ground) -> None:
    first = ground.pid()
    plan = ground.system.commit(
        *objects([turn_server(ground.public, port=443, user_relays=1)]), allow=["drops_connections"]
    )
    assert plan["effect"] == "drops_connections"
    eventually(lambda: ground.pid() not in (None, first), "it is started anew", 10)
    second = ground.pid()
    assert second is not None
    assert status(second, "CapEff") == "0000000000000400", "a port below 1024 takes one right (CAP_NET_BIND_SERVICE)"
    made = ask_credentials(ground.paths, "somebody")
    server = (ground.public, 443)

    def answers() -> bool:
        return attempt(ground.browser, server, made.username, made.password).code == 0

    eventually(answers, "it answers at the other port", 10)
    ground.system.commit(*objects([turn_server(ground.public, enabled=False)]), allow=["drops_connections"])
    eventually(lambda: ask(ground.paths, "status")["pid"] is None, "it has ended", 10)
    assert ask(ground.paths, "status") == {"wanted": False, "pid": None, "faults": []}
    with pytest.raises(UnavailableError) as refused:
        ask_credentials(ground.paths, "somebody")
    assert refused.value.error_id == "turn_off"


def status(pid: int, field: str) -> str:
    """A field of a process's status, as the kernel tells it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))
