"""The engine's TLS web server carries SIP over WebSocket, and nothing else."""

from __future__ import annotations

import datetime
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.engine.launch import Engine
from appliance.engine.plan import TLS_DIR, WebSocketServer
from appliance.engine.root import ensure_root
from appliance.paths import Paths
from tests.hil.engine_under_test import free_port, prepared, started


def make_certificate(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pbx.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "pbx.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "pbx.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, int]]:
    port = free_port()
    web = WebSocketServer("127.0.0.1", port, f"{TLS_DIR}/pbx.pem", f"{TLS_DIR}/pbx.key")
    launcher = prepared(ensure_root(Paths.default()), tmp_path_factory.mktemp("engine"), web=web)
    make_certificate(launcher.paths.tls)
    launcher.grant(launcher.paths.tls)
    with started(launcher) as running:
        assert not re.findall(r".*(?:WARNING|ERROR)\[.*", launcher.paths.messages.read_text())
        yield running, port


def ask(port: int, request: str, version: ssl.TLSVersion | None = None) -> str:
    """First line of the answer to an HTTP request over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(f"{request}\r\nHost: pbx.example.com\r\n\r\n".encode())
        return connection.recv(4096).decode().splitlines()[0]


def test_it_speaks_sip_over_websocket(engine: tuple[Engine, int]) -> None:
    upgrade = (
        "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip"
    )
    assert ask(engine[1], upgrade) == "HTTP/1.1 101 Switching Protocols"


@pytest.mark.parametrize(
    "path", ["/ari/channels", "/manager?action=login", "/rawman", "/mxml", "/static/x", "/httpstatus", "/metrics", "/"]
)
def test_it_serves_nothing_else(engine: tuple[Engine, int], path: str) -> None:
    assert ask(engine[1], f"GET {path} HTTP/1.1").split()[1] in {"403", "404"}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(engine: tuple[Engine, int], version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(engine[1], "GET / HTTP/1.1", version)
    assert ask(engine[1], "GET / HTTP/1.1", ssl.TLSVersion.TLSv1_2).startswith("HTTP/1.1 404")


def test_nothing_listens_without_tls(engine: tuple[Engine, int]) -> None:
    running, port = engine
    listening = {
        int(line.split()[1].partition(":")[2], 16)
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{running.pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[7]) == running.launcher.user[0]
    }
    assert {port, running.launcher.ami_port} <= listening
    assert not {8088, 5038} & (listening - {port, running.launcher.ami_port})
