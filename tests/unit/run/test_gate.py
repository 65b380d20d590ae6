"""The gate's configuration, judged by HAProxy itself, and what it does with a real peer behind it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer, ThreadingUnixStreamServer
from typing import Any, ClassVar

import pytest

from appliance.engine.unix import short_path
from appliance.paths import Paths
from appliance.run import gate
from appliance.run.certificate import ensure_certificate
from tests.hil.agents.process import Child, eventually


class Peer(BaseHTTPRequestHandler):
    """Stands where console or hub would, and says what it was asked."""

    heads: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        Peer.heads.append(
            {
                "path": self.path,
                "at": str(self.server.server_address),
                **{name.title(): value for name, value in self.headers.items()},
            }
        )
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def address_string(self) -> str:
        return ""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(params=["", "on"], ids=["alone", "with-turn"])
def paths(tmp_path: Path, port: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """With the TURN server behind the same port, everything else is as without."""
    monkeypatch.setenv("CENTRALINO_TURN", request.param)
    found = Paths(tmp_path / ("deep/" * 20) / "state", tmp_path)  # a Unix socket's path can't be that long
    for place in (found.gate, found.web, found.door):
        place.mkdir(parents=True)
    ensure_certificate(found.gate, "portal", ("localhost",))
    gate.prepare(found, "127.0.0.1", port)
    return found


@pytest.fixture
def running(paths: Paths, port: int) -> Iterator[int]:
    with Child(gate.command(paths), paths.state / "gate.log") as child:

        def listens() -> bool:
            assert child.running, child.text()
            with socket.socket() as trial:
                return trial.connect_ex(("127.0.0.1", port)) == 0

        eventually(listens, "the gate listens")
        yield port


def ask(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=15)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def served(path: Path) -> ThreadingUnixStreamServer:
    with short_path(path) as short:
        server = ThreadingUnixStreamServer(short, Peer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def test_its_configuration_has_no_fault_and_no_warning(paths: Paths) -> None:
    for address in ("127.0.0.1", "::1", "::", "0.0.0.0"):  # noqa: S104 (only looked at)
        gate.prepare(paths, address, 8443)
        checked = subprocess.run([*gate.command(paths), "-c"], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr.strip()) == (0, ""), address
    assert all(stat.S_IMODE(each.stat().st_mode) & 0o022 == 0 for each in paths.gate.iterdir())


def test_requests_go_where_they_belong_with_the_address_that_is_true(running: int, paths: Paths) -> None:
    servers = [served(paths.console_socket), served(paths.hub_socket)]
    try:
        Peer.heads.clear()
        forged = {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Host": "evil.example", "Forwarded": "for=203.0.113.9"}
        for path in ("/objects/site", "/live", "/live/", "/livestock", "/api/v1/objects", "/inside/state/call"):
            assert ask(running, path, **forged).status == 200
        where = {head["path"]: "hub" if "hub" in head["at"] else "console" for head in Peer.heads}
        assert where == {
            "/objects/site": "console", "/live": "hub", "/live/": "console", "/livestock": "console",
            "/api/v1/objects": "console", "/inside/state/call": "console",
        }  # fmt: skip
        for head in Peer.heads:
            assert (head["X-Forwarded-For"], head["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
            assert "X-Forwarded-Host" not in head
            assert "Forwarded" not in head
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def test_without_a_console_it_says_so_to_people_and_to_programs(running: int) -> None:
    page = ask(running, "/objects/site")
    assert (page.status, page.headers["Content-Type"]) == (503, "text/html")
    assert b"Il portale non" in page.body  # type: ignore[attr-defined]
    told = ask(running, "/api/v1/objects")
    assert (told.status, told.headers["Content-Type"]) == (503, "application/problem+json")
    assert json.loads(told.body)["error_id"] == "portal_down"  # type: ignore[attr-defined]


def test_sip_goes_to_the_engine_and_nothing_of_the_portals_with_it(
    paths: Paths, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingTCPServer6(("::1", 0), Peer) as engine:
        threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        monkeypatch.setattr(gate, "PORT", engine.server_address[1])
        gate.prepare(paths, "127.0.0.1", port)
        wanted = {**UPGRADE, "Sec_WebSocket_Protocol": "echo, sip", "Cookie": "session=x"}
        with Child(gate.command(paths), paths.state / "gate.log"):
            eventually(lambda: accepts(port), "the gate listens")
            Peer.heads.clear()
            assert ask(port, "/ws", **wanted).status == 200
            (head,) = Peer.heads
            assert (head["Sec-Websocket-Protocol"], "Cookie" in head) == ("sip", False)
            # Anything else at that path is the portal's, which doesn't run.
            for other in ({}, {**wanted, "Upgrade": "h2c"}, {**wanted, "Sec_WebSocket_Protocol": "echo"}):
                assert ask(port, "/ws", **other).status == 503
            engine.shutdown()
    assert len(Peer.heads) == 1


def test_where_the_engine_takes_no_browsers_it_says_so(
    paths: Paths, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        monkeypatch.setattr(gate, "PORT", free.getsockname()[1])
    gate.prepare(paths, "127.0.0.1", port)
    with Child(gate.command(paths), paths.state / "gate.log"):
        eventually(lambda: accepts(port), "the gate listens")
        answer = ask(port, "/ws", **UPGRADE)
        assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert json.loads(answer.body)["error_id"] == "signalling_down"  # type: ignore[attr-defined]


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec_WebSocket_Protocol": "sip",
}


class ThreadingTCPServer6(ThreadingTCPServer):
    address_family = socket.AF_INET6


def test_old_tls_is_refused(running: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-SHA256:AES128-GCM-SHA256:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", running), timeout=5) as connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection)


def test_what_hangs_on_a_link_in_its_directory_is_left_alone(paths: Paths, tmp_path: Path) -> None:
    target = tmp_path / "root's"
    target.write_text("precious")
    (paths.gate / ".haproxy.cfg.new").symlink_to(target)
    gate.prepare(paths, "127.0.0.1", 8443)
    assert target.read_text() == "precious"
    assert not (paths.gate / "haproxy.cfg").is_symlink()


@pytest.mark.parametrize("paths", ["on"], indirect=True)
def test_what_begins_like_stun_goes_to_the_turn_server_with_the_address_that_is_true(
    paths: Paths, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as turn:
        turn.settimeout(10)
        monkeypatch.setattr(gate, "GATE_PORT", turn.getsockname()[1])
        gate.prepare(paths, "127.0.0.1", port)
        with Child(gate.command(paths), paths.state / "gate.log") as child:
            eventually(lambda: accepts(port), "the gate listens")
            assert child.running, child.text()
            allocate = bytes.fromhex("000300002112a442") + bytes(12)
            for pieces in ([allocate], [allocate[:3], allocate[3:]]):
                with secured(port) as client:
                    for piece in pieces:
                        client.sendall(piece)
                    connection, _ = turn.accept()
                    with connection:
                        connection.settimeout(10)
                        head = received(connection, 28 + len(allocate))
                        assert head[:12] == b"\r\n\r\n\0\r\nQUIT\n"  # the PROXY protocol, version 2
                        assert head[16:24] == socket.inet_aton("127.0.0.1") * 2
                        assert int.from_bytes(head[24:26]) == client.getsockname()[1]
                        assert head[28:] == allocate
                        connection.sendall(b"an answer")
                        assert received(client, 9) == b"an answer"
            # Whoever says nothing, or garbage, is the portal's to turn away.
            with secured(port) as client:
                client.sendall(bytes(64))
                assert b"400 Bad request" in client.recv(4096)


def accepts(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def secured(port: int) -> ssl.SSLSocket:
    """A TLS connection as a browser's for TURN: it offers no application protocol (ALPN)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10))


def received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := connection.recv(size - len(found))):
        found += more
    return found
