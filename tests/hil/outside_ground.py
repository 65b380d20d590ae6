"""The appliance as browsers meet it that come from anywhere: firewall, gate, TURN server and engine, all the product's own."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT
from typing import Any

import pytest
from sipmessage import Message, Response
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from appliance.firewall.bans import asking
from appliance.paths import Paths
from appliance.run import gate, web
from appliance.run.certificate import ensure_certificate
from appliance.turn.service import ask, ask_credentials
from tests.hil.agents.network import Host, Network, command
from tests.hil.agents.process import DEADLINE_S, Child, eventually
from tests.hil.agents.sip import authorize, new_request, wire
from tests.hil.agents.threaded_tls import for_two_threads
from tests.hil.agents.turn import attempt
from tests.hil.system import Rows, System, objects, office

PORT, TLS_PORT = 3478, 443
UNANSWERED_MS = 12_000
"""After which a WebSocket that hears nothing more breaks: more than the ten seconds after which websockets says that it couldn't be opened."""
TLS_ONLY = (f"tcp dport {TLS_PORT}", f"tcp sport {TLS_PORT}")


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
    door: Child

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

    def start_gate(self) -> None:
        """As the appliance does: a user of its own, with no right at all."""
        confined = web.confined(
            self.paths,
            gate.command(self.paths),
            writable=(self.paths.door,),
            readable=(self.paths.gate, self.paths.web),
        )
        self.door = self.pbx.start(confined, self.work / "gate.log")

        def listens() -> bool:
            assert self.door.running, self.door.text()
            with contextlib.suppress(OSError), self.browser.connect(self.public, TLS_PORT):
                return True
            return False

        eventually(listens, "the gate listens")

    @property
    def public6(self) -> str:
        return self.pbx.legs["provider"][1]

    def commit_listener(self, **fields: Any) -> None:
        """Have the browsers' listener changed."""
        data = {"id": "wss", "name": "Browsers", "transport": "wss", "address": self.public, **fields}
        self.system.commit(*objects([("listener", data)]), allow=["drops_connections"])

    def connections(self) -> int:
        """TCP connections that the gate has from outside."""
        found = self.pbx.run(["ss", "-Htn", "state", "established", f"( sport = :{TLS_PORT} )"])
        return len(found.stdout.splitlines())

    def tls(self, host: Host) -> ssl.SSLSocket:
        """A connection to the gate."""
        trust = ssl.create_default_context(cafile=str(self.trust))
        return trust.wrap_socket(host.connect(self.public, TLS_PORT), server_hostname=self.public)

    def asked(self, host: Host, version: int = 13) -> tuple[int, str]:
        """Ask the gate for a WebSocket: status and text of the answer."""
        with self.tls(host) as connection:
            head = (
                "GET /ws HTTP/1.1", "Host: pbx", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: sip",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", f"Sec-WebSocket-Version: {version}", "", "",
            )  # fmt: skip
            connection.sendall("\r\n".join(head).encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, answer.read().decode()

    @contextmanager
    def judge(self) -> Iterator[None]:
        """With somebody who judges whom to keep out."""
        judging = self.system._start_python("appliance.firewall.bans", CENTRALINO_FIREWALL="on")

        def judges() -> bool:
            assert judging.running, judging.text()
            with contextlib.suppress(Exception):
                return not asking.told(self.paths).troubles
            return False

        try:
            eventually(judges, "the judge judges", 20)
            yield
            asking.lift(self.paths, "0.0.0.0/0")
            asking.lift(self.paths, "::/0")
        finally:
            judging.stop()

    def socket(self, host: Host, address: str = "", *, protocol: str = "sip", path: str = "/ws") -> ClientConnection:
        """A WebSocket through the gate, open to the end."""
        address = address or self.public
        trust = for_two_threads(ssl.create_default_context(cafile=str(self.trust)))
        trust.check_hostname = False
        name = f"[{address}]" if ":" in address else address
        raw = host.connect(address, TLS_PORT, 3)
        # Banned in the middle of it, websockets would wait for its thread, which reads without a deadline, until the ban is over.
        raw.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, UNANSWERED_MS)
        made = connect(
            f"wss://{name}:{TLS_PORT}{path}", sock=raw, ssl=trust, subprotocols=[Subprotocol(protocol)],
            ping_interval=None, close_timeout=0.1,
        )  # fmt: skip
        return self.keepers.enter_context(made)

    def register(self, socket: ClientConnection, user: str, password: str, deadline_s: float = DEADLINE_S) -> int:
        """Sign in over a WebSocket: the final answer's code."""
        me, contact = f"<sip:{user}@{self.public}>", f"<sip:{user}@{user}.invalid;transport=ws>"
        request = new_request("REGISTER", f"sip:{self.public}", me, me, contact, transport="WSS")
        for _ in range(2):
            socket.send(wire(request).decode())
            answer = answered(socket, deadline_s)
            if answer.code != 401:
                break
            request = authorize(request, answer, user, password)
        return answer.code

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


def answered(socket: ClientConnection, deadline_s: float) -> Response:
    """The next answer that comes."""
    while True:
        message = Message.parse(str(socket.recv(deadline_s)).encode())
        if isinstance(message, Response) and message.code >= 200:
            return message


def rows(phones: str, public: str) -> Rows:
    made = office(phones, 2)
    made += [
        ("listener", {"id": "wss", "name": "Browsers", "transport": "wss", "address": public, "zone": "gate"}),
        ("device", {"id": "202-2", "extension": "ext-202", "slot": 2, "secret": "202-2", "allowed_transports": ["wss"], "media_security": "dtls"}),
        ("secret", {"id": "202-2"}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24"]}),
        ("network", {"id": "web", "name": "Browsers", "zone": "clients", "networks": ["198.51.100.0/26"]}),
        turn_server(public),
    ]  # fmt: skip
    return made


def turn_server(public: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "turn_server", {"id": "turn", "name": "TURN", "addresses": [{"host": public}], "open_to": "anybody", **more}


@contextmanager
def outside_ground() -> Iterator[Ground]:
    """All of it, running."""
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
        ensure_certificate(system.paths.gate, "portal", (public, pbx.legs["provider"][1]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CENTRALINO_TURN", "on")
            patch.setenv("CENTRALINO_FIREWALL", "on")
            gate.prepare(system.paths, "::", TLS_PORT)
        web.prepare(system.paths)
        # What a service manager would do: hand a process without any right the port of the web.
        pbx.run(["sysctl", "-w", f"net.ipv4.ip_unprivileged_port_start={TLS_PORT}"])
        keepers = stack.enter_context(ExitStack())
        made = Ground(net, pbx, browser, phone, work, system, None, public, keepers, None)  # type: ignore[arg-type]
        made.start_gate()
        stack.callback(lambda: made.door.stop())  # noqa: PLW0108 (another one by then)
        made.start_keeper()
        eventually(made.works, "the TURN server works", 20)
        yield made
