"""A centre that new edges enrol at: real TLS over loopback, the real authority behind it; and an edge that only remembers."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography import x509

from appliance.core.document import Document, parse
from appliance.core.errors import CentralinoError
from appliance.edge.enrol import enrol
from appliance.kinds import KINDS
from appliance.vpn.enrolment.answering import Answering, Said
from appliance.vpn.enrolment.front import serve
from appliance.vpn.enrolment.gate import answer_all
from appliance.vpn.enrolment.invitation import Centre, Invitation, read_file
from appliance.vpn.enrolment.service import Enrolment
from appliance.vpn.enrolment.waiting import Invitations
from appliance.vpn.enrolment.wire import Request
from appliance.vpn.pki import certificates
from tests.unit.vpn.ground import Ground, csr

SLICE = b"what the centre signed"
REFUSED_S = 0.3


class Edge:
    """An identity that only remembers."""

    def __init__(self) -> None:
        self.key = certificates.new_key()
        self.installed: tuple[bytes, ...] = ()

    def prepare(self) -> bytes:
        return certificates.request(self.key)

    def abandon(self) -> None:
        self.key = certificates.new_key()

    def install(self, certificate: bytes, authority: bytes, tunnel_key: bytes, slice: bytes) -> None:
        shown = x509.load_pem_x509_certificate(certificate)
        assert certificates.fingerprint(certificates.public_key(shown)) == certificates.fingerprint(
            self.key.public_key()
        )
        self.installed = (certificate, authority, tunnel_key, slice)


def asking(secret: str, request: bytes | None = None) -> Request:
    return Request(secret, request or csr(), (1,))


def document(**more: Any) -> Document:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.3.0.0/24"]}),
        ("site", {"id": "roma", "name": "Roma", "company": "demo", "networks": ["10.4.0.0/24"]}),
        ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}, {"host": "2001:db8::7", "port": 5000}], **more}),
        ("branch", {"id": "torino", "site": "torino", "number": 1}),
        ("branch", {"id": "roma", "site": "roma", "number": 2, "router": "third_party"}),
    ]  # fmt: skip
    return Document.of(parse(KINDS, kind, data) for kind, data in rows)


class OurCentre:
    """A centre's side, and how to get to it."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.authority = ground.authority
        self.invitations = Invitations(ground.paths, ground.clock)
        self.service = Enrolment(ground.paths, self.authority, clock=ground.clock)
        self.answering = Answering(self.invitations, self.authority, lambda _site, _formats: SLICE, ground.clock)
        self.port = 0
        self.heard: list[Request] = []

    def invitation(self, site: str = "torino", **more: Any) -> Invitation:
        made = self.service.invite(document(), site, **more)
        return self.here(read_file(made.file))

    def here(self, found: Invitation, *before: Centre) -> Invitation:
        """The same, but where this test's gate is."""
        return Invitation((*before, Centre("127.0.0.1", self.port)), found.secret, found.site, found.root, found.tag)

    def answer(self, request: Request) -> tuple[Said, bytes]:
        """What came through the gate is kept."""
        self.heard.append(request)
        return self.answering.answer(request)

    @contextmanager
    def open(self) -> Iterator[OurCentre]:
        identity = self.authority.gate()
        told = {"chain": identity.chain.decode(), "root": identity.root.decode(), "key": identity.key.decode()}
        with listening() as door:
            self.port = door.getsockname()[1]
            ours, theirs = socket.socketpair()
            descriptors = door.detach(), theirs.detach()
            served = threading.Thread(target=lambda: asyncio.run(serve(*descriptors)))
            served.start()
            ours.sendall(json.dumps(told).encode() + b"\n")
            assert ours.recv(1) == b"\n"
            answered = threading.Thread(target=answer_all, args=(self, ours))
            answered.start()
            try:
                yield self
            finally:
                ours.shutdown(socket.SHUT_RDWR)
                served.join(5)
                answered.join(5)
                ours.close()
                assert not served.is_alive()


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(8)
        yield door


def failed(invitation: Invitation, edge: Edge | None = None, **more: Any) -> CentralinoError:
    with pytest.raises(CentralinoError) as caught:
        enrol(invitation, edge or Edge(), busy_s=0.01, **more)
    return caught.value


def post(body: bytes) -> bytes:
    return b"POST /enrol HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def spoken(centre: OurCentre, said: bytes) -> bytes:
    """What the gate answers somebody who says this, until it ends the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", centre.port), 5) as plain, context.wrap_socket(plain) as secure:
        assert secure.version() == "TLSv1.3"
        secure.sendall(said)
        heard = b""
        while chunk := secure.recv(65536):
            heard += chunk
        return heard
