"""One branch with two lines, the relay pair, real OpenVPN at both ends, and a stream of voice each way.

with Protected() as world:
    with world.stream() as stream, world.dead("primary"):
        …
    assert stream.lost() == (0, 0)
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.edge.tunnel import RELAYED
from appliance.engine.processes import note, noted, urgent
from tests.hil.agents.network import Host, Network, command
from tests.hil.agents.openvpn_pair import PORT as SERVER_PORT
from tests.hil.agents.openvpn_pair import Server, _Daemon
from tests.hil.agents.process import Child, eventually

LINES: Final = {"primary": "provider", "backup": "isp-two"}
PORT: Final = 1190
SERVER: Final = "203.0.113.10"
"""Of :class:`Alone`."""
KEY: Final = "a5" * 32
RELAY_USER: Final = "nobody"
INSIDE: Final = ("10.99.0.1", "10.99.0.2")
EF: Final = 0xB8
REKEY_S: Final = 11
"""Seconds between two exchanges of keys. A client goes on with its former key for as long as its ``hand-window`` (8 s): rekeyed faster than that, OpenVPN
itself loses a packet each time, with or without us."""
PACE_S: Final = 0.02
MIDDLE: Final = str(Path(__file__).with_name("middle.py"))
_serial = itertools.count(1)


class _Client(_Daemon):
    """:param more: lines of its configuration."""

    def __init__(
        self,
        host: Host,
        server: Server,
        remotes: Sequence[str] = ("127.0.0.1 1195 udp4",),
        more: Sequence[str] = (),
    ) -> None:
        lines = [
            "client", "dev tun", "nobind", *(f"remote {each}" for each in remotes), "verb 3", "remote-cert-tls server",
            "connect-retry 1 1", "hand-window 8", "tls-timeout 1", "passtos", "replay-window 4096 30",
            *more, *server.authority.issue("branch", ExtendedKeyUsageOID.CLIENT_AUTH),
        ]  # fmt: skip
        super().__init__(host, server.config.parent, "branch", lines)


class Stream:
    """Fifty packets a second, each way, marked EF, between the two ends of a tunnel: the centre's first, each with its address."""

    VOICE: Final = 172
    """Octets of 20 ms in G.711, with their header."""

    def __init__(self, ends: Sequence[tuple[Host, str]], size: int = VOICE, port: int = 4000) -> None:
        self._size, self._port = size, port
        self._addresses = [address for _host, address in ends]
        self._ends = [host.socket() for host, _address in ends]
        for end, address in zip(self._ends, self._addresses, strict=True):
            end.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EF)
            end.bind((address, port))
            end.settimeout(0.2)
        self.sent = [0, 0]
        self.sent_at: list[list[float]] = [[], []]
        self.got: list[dict[int, float]] = [{}, {}]
        self.marks: set[int] = set()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._send),
            *(threading.Thread(target=self._receive, args=(end,)) for end in (0, 1)),
        ]

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            for end, other in ((0, 1), (1, 0)):
                with contextlib.suppress(OSError):
                    self._ends[end].sendto(
                        self.sent[end].to_bytes(4).ljust(self._size, b"v"), (self._addresses[other], self._port)
                    )
                    self.sent[end] += 1
                    self.sent_at[end].append(time.monotonic())
            due += PACE_S
            time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self, end: int) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                data = self._ends[end].recv(2000)
                self.got[end].setdefault(int.from_bytes(data[:4]), time.monotonic())

    def lost(self) -> tuple[int, int]:
        """To the centre, and to the edge, since the beginning."""
        up, down = self.missing()
        return len(up), len(down)

    def missing(self) -> tuple[list[int], list[int]]:
        """Numbers of those that are lost."""
        up, down = ([number for number in range(self.sent[1 - end]) if number not in self.got[end]] for end in (0, 1))
        return up, down

    def delays(self, end: int) -> list[float]:
        """Seconds that each packet took that came to an end (0: the centre)."""
        return [at - self.sent_at[1 - end][number] for number, at in self.got[end].items()]

    def gap_s(self) -> float:
        """The longest time that an end heard nothing."""
        times = [sorted(each.values()) for each in self.got]
        return max(b - a for each in times for a, b in itertools.pairwise(each))

    def __enter__(self) -> Stream:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads[0].join()
        time.sleep(1.0)  # what is on its way
        self._ended.set()
        for each in self._threads[1:]:
            each.join()
        for end in self._ends:
            end.close()


class Ends:
    """A branch and the centre with two lines between them, and a relay at either end. ``work``: a directory for what they keep."""

    def __init__(self, net: Network, work: Path, copying: str = "always", *, slow: bool = False) -> None:
        """:param slow: lines end at a host between, which can be made bad (:meth:`worsen`)."""
        self.net, self.work, self._copying = net, work, copying
        self.centre, self.edge = net.host("centre", "provider"), net.host("edge", "provider")
        for host in (self.centre, self.edge):
            host.join("isp-two")
        self.middles = {line: net.host(f"{line}-middle", lan) for line, lan in LINES.items()} if slow else {}
        self.places = {end: work / end for end in ("centre", "edge")}
        self.pid_file = self.places["centre"] / "server.pid"
        self.client_pid_file = work / "client.pid"
        self.relays: dict[str, Child] = {}
        self.kinds = {"centre": "centre", "edge": "edge"}

    def prepare(self, port: int = PORT) -> None:
        """Directories, and what is between the lines' ends. ``port``: at the centre."""
        for place in self.places.values():
            place.mkdir(mode=0o700, parents=True)
            shutil.chown(place, RELAY_USER)
        for line, host in self.middles.items():
            self.worsen(line)
            to = self.centre.address_on(LINES[line])
            argv = [sys.executable, MIDDLE, host.address, str(port), to, str(port), str(self.work / f"{line}.json")]
            self.relays[line] = host.start([*urgent(), *argv], self.work / f"{line}.log")

    def __enter__(self) -> Self:
        self.prepare()
        self.write("centre", self.centre_config())
        self.write("edge", self.edge_config())
        try:
            for end in self.places:
                self.start_relay(end)
            self.both_bound()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.relays.values():
            each.stop()

    def both_bound(self) -> None:
        """Wait until both lines are at work."""
        eventually(
            lambda: all(each["bound"] for each in self.standing("edge").get("paths", [{"bound": False}])), "bound"
        )

    def start_relay(self, end: str) -> None:
        """One relay."""
        host = {"centre": self.centre, "edge": self.edge}[end]
        place = self.places[end]
        argv = [*urgent(), sys.executable, "-m", "appliance.failover.relay", "--held", "--user", RELAY_USER]
        argv += [self.kinds[end], str(place)]
        if end == "edge":
            argv += ["--client", str(self.client_pid_file)]
        self.relays[end] = host.start(argv, place / "log", cwd=Path.cwd(), env=dict(os.environ))

    def kill_relay(self, end: str) -> None:
        """As nothing that it could see coming; its holder starts another."""
        pid = noted(self.places[end] / "relay.pid")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: noted(self.places[end] / "relay.pid") not in (None, pid), f"{end}'s relay is another")

    def kill_holder(self, end: str) -> None:
        """Only the one that keeps the sockets."""
        self.relays[end].process.kill()
        eventually(lambda: not self.relays[end].running, f"{end}'s holder ends")

    def write(self, end: str, config: dict[str, Any]) -> None:
        """What a relay goes by."""
        fresh = self.places[end] / "config.new"
        fresh.touch(0o600)
        fresh.write_text(json.dumps(config))
        shutil.chown(fresh, RELAY_USER)
        fresh.replace(self.places[end] / "config.json")

    def standing(self, end: str) -> dict[str, Any]:
        """What a relay tells."""
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.places[end] / "standing.json").read_text())
            return found
        return {}

    @contextlib.contextmanager
    def dropping(self, line: str, towards: str, more: str = "") -> Iterator[None]:
        """What goes over a line to one end is lost.

        :param more: which of it, as nftables says it.
        """
        ours = self.edge.address_on(LINES[line])
        way = {"centre": f"ip saddr {ours}", "edge": f"ip daddr {ours}"}[towards]
        table = f"drop{next(_serial)}"
        rule = f"{way} {more} drop"
        script = f"table bridge {table} {{\nchain forward {{\ntype filter hook forward priority 0; policy accept;\n{rule}\n}}\n}}\n"
        nft = ["ip", "netns", "exec", self.net.switch, "nft"]
        command([*nft, script])
        try:
            yield
        finally:
            command([*nft, f"delete table bridge {table}"], check=False)

    @contextlib.contextmanager
    def dead(self, line: str) -> Iterator[None]:
        """Everything on a line is lost, and nobody is told."""
        with self.dropping(line, "centre"), self.dropping(line, "edge"):
            yield

    def worsen(self, line: str, *, delay_ms: float = 0, jitter_ms: float = 0, loss: float = 0) -> None:
        """A line is as bad as that from now on, each way; without a word it is well again. :param jitter_ms: the mean."""
        fresh = self.work / f"{line}.new"
        fresh.write_text(json.dumps({"delay_ms": delay_ms, "jitter_ms": jitter_ms, "loss": loss}))
        fresh.replace(self.work / f"{line}.json")

    def far_end(self, line: str) -> str:
        """The address that a line leads to."""
        return self.middles[line].address if self.middles else self.centre.address_on(LINES[line])

    def centre_config(self) -> dict[str, Any]:
        """What the centre's relay goes by."""
        return {
            "listen": [["0.0.0.0", PORT]], "servers": {"one": {"at": ["127.0.0.1", 1194], "pid": self.pid_file.name}},  # noqa: S104
            "sites": [{"site": "bari", "number": 7, "server": "one", "key": KEY}],
        }  # fmt: skip

    def edge_config(self, port: int = PORT) -> dict[str, Any]:
        """What the edge's relay goes by. ``port``: at the centre."""
        return {
            "key": KEY, "listen": ["127.0.0.1", 1195], "copying": self._copying,
            "lines": [
                {"path": path, "role": role, "device": f"eth{path}", "host": self.far_end(role), "port": port}
                for path, role in enumerate(LINES)
            ],
        }  # fmt: skip


class Protected(Ends):
    """The same with real OpenVPN at both ends, and a network of its own."""

    def __init__(self, copying: str = "always", reneg_s: int = REKEY_S, *, slow: bool = False) -> None:
        net = Network()
        super().__init__(net, net.work / "relay", copying, slow=slow)
        self._reneg_s = reneg_s

    def __enter__(self) -> Self:
        try:
            self.server = Server(
                self.centre, self.work, "passtos", "replay-window 4096 30", "hand-window 8", f"reneg-sec {self._reneg_s}",
                "multihome",
            )  # fmt: skip
            self.client = _Client(self.edge, self.server, more=RELAYED)
            for place in self.places.values():
                place.parent.mkdir(parents=True, exist_ok=True)
            super().__enter__()
            self.start_server()
            self.start_client()
        except BaseException:
            self.net.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.net.close()

    def start_server(self) -> None:
        """OpenVPN's server, another process."""
        self.server.start("Initialization Sequence Completed")
        assert self.server.child is not None
        note(self.pid_file, self.server.child.process.pid)

    def start_client(self) -> None:
        """OpenVPN's client, another process."""
        self.client.start()
        assert self.client.child is not None
        note(self.client_pid_file, self.client.child.process.pid)

    def rekeys(self) -> int:
        """How often OpenVPN's session has had other keys."""
        return self.client.log.read_text(errors="replace").count("TLS: soft reset") + self.server.log.read_text(
            errors="replace"
        ).count("TLS: soft reset")

    def stream(self, size: int = Stream.VOICE) -> Stream:
        """Begins with the ``with``. :param size: octets in each packet."""
        return Stream(list(zip((self.centre, self.edge), INSIDE, strict=True)), size)


class Plain(Protected):
    """What is usual: OpenVPN alone, its client with both addresses. :param keepalive: line of the server's configuration."""

    def __init__(self, keepalive: str) -> None:
        super().__init__()
        self._keepalive = keepalive

    def __enter__(self) -> Self:
        try:
            self.work.mkdir()
            self.server = Server(
                self.centre, self.work / "server", "passtos", f"reneg-sec {self._reneg_s}", "multihome", self._keepalive
            )
            self.client = _Client(self.edge, self.server, remotes=[f"{self.far_end(line)} 1194 udp4" for line in LINES])
            self.start_server()
            self.client.start()
        except BaseException:
            self.net.close()
            raise
        return self


class Alone(Protected):
    """The edge's relay alone, before an OpenVPN server as others run it: by ``centralino edge relay``, or with ``slow`` without the command."""

    def __init__(self, copying: str = "calls", reneg_s: int = REKEY_S, *, slow: bool = False) -> None:
        super().__init__(copying, reneg_s, slow=slow)
        self.kinds["edge"] = "stock"
        self.top = self.work / "kept"

    def __enter__(self) -> Self:
        try:
            self.work.mkdir()
            self.server = Server(
                self.centre, self.work / "server", "keepalive 10 60", "multihome", "passtos", "replay-window 4096 30",
                f"reneg-sec {self._reneg_s}",
            )  # fmt: skip
            self.client = _Client(self.edge, self.server)
            if self.middles:
                self.prepare(SERVER_PORT)
                self.write("edge", self.edge_config(SERVER_PORT))
                self.start_relay("edge")
            else:
                self._one_address()
                self.places["edge"] = self.top / "foreign" / "relay"
                self.start_command()
            self.start_server()
            eventually(lambda: self.standing("edge").get("paths"), "the relay is at work")
            self.start_client()
        except BaseException:
            super().__exit__()
            raise
        return self

    def _one_address(self) -> None:
        """The server has one address, to which every line leads."""
        self.centre.run(["ip", "address", "add", f"{SERVER}/32", "dev", "lo"])
        for metric, lan in enumerate(LINES.values(), 1):
            via, device = self.centre.address_on(lan), f"eth{metric - 1}"
            self.edge.run(["ip", "route", "add", SERVER, "via", via, "dev", device, "metric", str(metric)])

    def start_command(self) -> None:
        """``centralino edge relay``, another process."""
        env = {**os.environ, "CENTRALINO_EDGE": str(self.top)}
        argv = [sys.executable, "-m", "appliance.cli", "edge", "relay", SERVER, "--line", "eth0", "--line", "eth1"]
        self.relays["edge"] = self.edge.start(argv, self.work / "command.log", cwd=Path.cwd(), env=env)

    def kill_relay(self, end: str) -> None:
        """See :meth:`.Ends.kill_relay`."""
        pid = noted(self.relay_pid)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: noted(self.relay_pid) not in (None, pid), f"{end}'s relay is another")

    @property
    def relay_pid(self) -> Path:
        """The relay's PID file."""
        return self.places["edge"] / "relay.pid" if self.middles else self.top / "foreign" / "run" / "relay.pid"
