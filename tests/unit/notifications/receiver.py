"""A real HTTPS receiver on loopback, well-behaved or not, with a certificate authority of its own."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and a server's certificate signed by it, as PEM."""

    pem: str
    certificate: bytes
    key: bytes


def authority(name: str = "localhost") -> Authority:
    """One for a host name; for loopback addresses besides when that is ``localhost``."""
    return _authority(name)


@cache
def _authority(name: str) -> Authority:
    now = datetime.datetime.now(datetime.UTC)
    top, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(top.public_key()), critical=False)
        )

    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    root = certificate(issuer, top, ca=True).add_extension(usage, critical=True).sign(top, hashes.SHA256())
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name == "localhost":
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    leaf = (
        certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), own, ca=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(top, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Authority(root.public_bytes(pem).decode(), leaf.public_bytes(pem), key)


@dataclass(frozen=True)
class Request:
    """What came in. ``time``: monotonic seconds."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    time: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def signed_by(self, secret: bytes) -> bool:
        """Whether one of its signatures was made with this key: written from the specification, not from our code."""
        signed = b"%s.%s.%s" % (self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body)
        right = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        return f"v1,{right}" in self.headers["webhook-signature"].split(" ")


Behaviour = Callable[["Handler"], None]


def status(code: int, **headers: str) -> Behaviour:
    """Answers with a status."""

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        body = b"" if code == 204 else b"ok"  # a 204 has no body (RFC 9110 section 15.3.5)
        if body:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def silent(handler: Handler) -> None:
    """Says nothing until the receiver is closed."""
    handler.owner.closing.wait()
    handler.close_connection = True


def slow(seconds: float) -> Behaviour:
    """Takes its time."""

    def answer(handler: Handler) -> None:
        handler.owner.closing.wait(seconds)
        status(204)(handler)

    return answer


def garbage(handler: Handler) -> None:
    """Talks something that isn't HTTP."""
    handler.wfile.write(b"\x00\xff 220 smtp.example.com ESMTP\r\n\r\n")
    handler.close_connection = True


def endless(handler: Handler) -> None:
    """A status, then a body that doesn't end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):
        while not handler.owner.closing.is_set():
            handler.wfile.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    handler.close_connection = True


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    owner: Receiver
    request_taken: Request

    def _take(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            raise AssertionError("the length must be told")
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # whoever sent it was killed
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, time.monotonic())
        self.request_taken = request
        behaviour = self.owner.behaviour(request)
        self.owner.requests.append(request)
        behaviour(self)

    do_POST = do_PUT = do_GET = _take  # noqa: N815 (the names that http.server looks for)

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Receiver:
    """Listens on loopback; ``behaviour`` decides on each request."""

    port: int
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    default: Behaviour = field(default_factory=lambda: status(204))

    def behaviour(self, request: Request) -> Behaviour:
        return self.behaviours.get(request.path, self.default)

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Request]:
        return [request for request in list(self.requests) if request.path == path]

    def types(self, path: str = "/") -> list[str]:
        return [request.json["type"] for request in self.at(path)]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no error of the test."""


@contextlib.contextmanager
def receiving(work: Path, name: str = "localhost", listener: socket.socket | None = None) -> Iterator[Receiver]:
    """A receiver that runs.

    :param listener: where, if not on loopback.
    """
    server = _Server(("127.0.0.1", 0), Handler, bind_and_activate=listener is None)
    if listener is not None:
        server.socket.close()
        server.socket = listener
    found = Receiver(server.socket.getsockname()[1])
    handler = type("Own", (Handler,), {"owner": found})
    server.RequestHandlerClass = handler
    held = authority(name)
    (work / "receiver.pem").write_bytes(held.certificate + held.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(work / "receiver.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def deaf() -> Iterator[socket.socket]:
    """A listener that never takes a connection on: it is made, and no TLS hello is answered. They break when it is closed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener
