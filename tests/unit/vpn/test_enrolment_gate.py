"""A new edge at the gate: real TLS over loopback, the real authority behind it, and strangers on either side."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from appliance.access.clock import HOUR
from appliance.core.document import Document, parse
from appliance.core.errors import CentralinoError, InvalidError, NotFoundError, RefusedError
from appliance.edge.enrol import Step, enrol
from appliance.kinds import KINDS
from appliance.vpn.enrolment import codes, front
from appliance.vpn.enrolment.answering import Answering, Said
from appliance.vpn.enrolment.codes import read_code
from appliance.vpn.enrolment.front import Front, serve
from appliance.vpn.enrolment.gate import answer_all
from appliance.vpn.enrolment.invitation import Centre, Invitation, by_code, read_file
from appliance.vpn.enrolment.service import Enrolment
from appliance.vpn.enrolment.waiting import Invitations, Standing
from appliance.vpn.enrolment.wire import Answer, Request
from appliance.vpn.enrolment.wire import Authority as Shown
from appliance.vpn.pki import Authority, Role, certificates
from tests.unit.vpn.ground import Ground, Killed, csr
from tests.unit.vpn.trap import TRAP

SLICE = b"what the centre signed"
REFUSED_S = 0.3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "_SCRYPT", {**codes._SCRYPT, "n": 2})
    monkeypatch.setattr(front, "REFUSED_S", REFUSED_S)


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


@pytest.fixture
def centre(ground: Ground) -> Iterator[OurCentre]:
    with OurCentre(ground).open() as made:
        yield made


def failed(invitation: Invitation, edge: Edge | None = None, **more: Any) -> CentralinoError:
    with pytest.raises(CentralinoError) as caught:
        enrol(invitation, edge or Edge(), busy_s=0.01, **more)
    return caught.value


def test_an_edge_enrols_by_file_and_another_one_can_not_by_the_same(centre: OurCentre) -> None:
    edge, steps = Edge(), list[Step]()
    invitation = centre.invitation()
    answer = enrol(invitation, edge, tell=steps.append)
    assert [each.kind for each in steps] == ["key", "trying", "asking", "installing"]
    (mine,) = centre.authority.living("torino")
    assert (answer.site, mine.key) == ("torino", certificates.fingerprint(edge.key.public_key()))
    assert edge.installed[3] == SLICE
    assert int(answer.at.timestamp()) == int(centre.ground.clock.now.timestamp())
    assert failed(invitation).error_id == "invitation_refused"
    again = enrol(invitation, edge)
    assert again.chain == answer.chain, "the answer was lost: the same certificate"
    assert len(centre.authority.issued("torino")) == 1
    (shown,) = centre.service.invitations()
    assert (shown.standing, shown.key) == (Standing.USED, mine.key)


def test_an_edge_enrols_by_code_and_five_wrong_ones_burn_it(centre: OurCentre) -> None:
    made = centre.service.invite(document(), "torino")
    code = read_code(made.code)
    assert enrol(centre.here(by_code(code, ())), Edge()).site == "torino"
    code = read_code(centre.service.invite(document(), "torino").code)
    wrong = codes.Secret(code.secret.locator, "00000000")
    request = asking(wrong.text)
    for _ in range(codes.TRIES):
        assert centre.answering.answer(request) == (Said.REFUSED, b"")
    assert failed(centre.here(by_code(code, ()))).error_id == "invitation_refused"
    (shown,) = centre.service.invitations()
    assert shown.standing is Standing.BURNED


def test_refusals_are_alike_in_content_and_time(centre: OurCentre) -> None:
    """Wrong, unknown, malformed, used, run out, withdrawn."""
    used, over = centre.invitation(), None
    enrol(used, Edge())
    asked = {"used": used.secret.text, "unknown": "0" * 12, "malformed": "x", "long": "Z" * 2000}
    over = centre.invitation()
    asked["wrong"] = over.secret.locator + "00000000"
    answers, took = set(), {}
    for name, secret in asked.items():
        began = time.monotonic()
        answers.add(spoken(centre, post(asking(secret).body())))
        took[name] = time.monotonic() - began
    centre.service.withdraw("torino")
    answers.add(spoken(centre, post(asking(over.secret.text).body())))
    (answer,) = answers
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert all(each >= REFUSED_S for each in took.values()), took


def test_a_stranger_at_the_centre_s_address_is_told_nothing(centre: OurCentre, tmp_path: Path) -> None:
    stranger = Ground(tmp_path / "stranger")
    with OurCentre(stranger).open() as impostor:
        made = centre.service.invite(document(), "torino")
        for invitation in (read_file(made.file), by_code(read_code(made.code), ())):
            assert failed(impostor.here(invitation)).error_id == "not_our_centre"
            steps = list[Step]()
            both = centre.here(invitation, Centre("127.0.0.1", impostor.port))
            if invitation.root:
                enrol(both, Edge(), tell=steps.append)
                assert [each.kind for each in steps][:4] == ["key", "trying", "stranger", "trying"]
        assert impostor.heard == []


@pytest.mark.parametrize("who", ["branch", "server"])
def test_a_certificate_of_ours_that_is_no_gate_s_is_not_taken_for_one(centre: OurCentre, who: str) -> None:
    """Its owner sits at the centre's address."""
    key = certificates.new_key()
    granted = centre.authority.enrol("roma", certificates.request(key))
    chain, key_pem = granted.chain, certificates.key_pem(key)
    if who == "server":
        chain = key_pem = centre.ground.paths.server.read_bytes()
        chain = chain[: chain.index(b"-----BEGIN PRIVATE KEY")]
    body = json.dumps({"root": granted.root.decode(), "chain": chain.decode()}).encode()
    with impostor(chain, key_pem, b"HTTP/1.1 200 \r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as there:
        found = read_file(centre.service.invite(document(), "torino").file)
        assert failed(Invitation((there,), found.secret, "torino", found.root)).error_id == "not_our_centre"


def test_a_gate_that_ends_the_connection_is_not_dialled_anew_without_tls(
    centre: OurCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = list[str]()
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda self: dialled.append(self.host))
    identity = centre.authority.gate()
    body = json.dumps({"root": identity.root.decode(), "chain": identity.chain.decode()}).encode()
    said = b"HTTP/1.1 200 \r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with impostor(identity.chain, identity.key, said) as there:
        found = read_file(centre.service.invite(document(), "torino").file)
        assert failed(Invitation((there,), found.secret, "torino", found.root)).error_id == "centre_silent"
    assert dialled == []


@contextmanager
def impostor(chain: bytes, key: bytes, said: bytes) -> Iterator[Centre]:
    """Somebody who says one thing over TLS, and is told no more than one request."""
    heard = list[bytes]()
    context = front.tls(chain, key)
    with listening() as door:

        def serve_once() -> None:
            talk, _ = door.accept()
            with talk, context.wrap_socket(talk, server_side=True) as secure:
                heard.append(secure.recv(4096))
                secure.sendall(said)
                heard.append(secure.recv(4096))

        thread = threading.Thread(target=serve_once)
        thread.start()
        yield Centre("127.0.0.1", door.getsockname()[1])
        thread.join(5)
    assert heard[0].startswith(b"GET /authority ")
    assert heard[1:] == [b""]


def test_centres_are_tried_in_order_and_each_silence_is_named(centre: OurCentre) -> None:
    with listening() as mute, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ends = [Centre("127.0.0.1", closed.getsockname()[1]), Centre("127.0.0.1", mute.getsockname()[1])]
        invitation = centre.invitation()
        steps = list[Step]()
        enrol(centre.here(invitation, *ends), Edge(), tell=steps.append, talk_s=0.5)
        assert [each.kind for each in steps] == [
            "key",
            "trying",
            "silent",
            "trying",
            "silent",
            "trying",
            "asking",
            "installing",
        ]
        error = failed(
            Invitation((*ends, Centre("nowhere.invalid", 1)), invitation.secret, root=invitation.root), talk_s=0.3
        )
    assert error.error_id == "centre_silent"
    for part in ("Connection refused", str(ends[1].port), "nowhere.invalid"):
        assert part in error.message


@pytest.mark.parametrize(
    "said",
    [
        b"", b"\x00" * 1000, b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)  # fmt: skip
def test_whatever_else_is_at_the_centre_s_port_is_an_error_of_ours(centre: OurCentre, said: bytes) -> None:
    """Over TLS, by somebody who also never goes on."""
    identity = centre.authority.gate()
    context = front.tls(identity.chain, identity.key)
    over = threading.Event()
    with listening() as door:

        def serve_once() -> None:
            talk, _ = door.accept()
            with talk, context.wrap_socket(talk, server_side=True) as secure:
                secure.recv(4096)
                secure.sendall(said)
                over.wait(5)

        thread = threading.Thread(target=serve_once)
        thread.start()
        invitation = centre.invitation()
        there = (Centre("127.0.0.1", door.getsockname()[1]),)
        error = failed(Invitation(there, invitation.secret, root=invitation.root), talk_s=0.4)
        over.set()
        thread.join(5)
    assert error.error_id in {"centre_silent", "not_our_centre"}


def test_killed_between_any_two_steps_the_same_edge_gets_the_same_and_no_other_gets_any(ground: Ground) -> None:
    centre, at = OurCentre(ground), 0
    kept = ground.paths.top.with_name("kept")
    request = csr()
    secret = centre.service.invite(document(), "torino").file
    shutil.copytree(ground.paths.top, kept)
    while True:
        at += 1
        shutil.rmtree(ground.paths.top)
        shutil.copytree(kept, ground.paths.top)
        centre = OurCentre(ground_again(ground))
        mine = asking(read_file(secret).secret.text, request)
        try:
            with TRAP.set(ground.paths.top, at, full=False):
                first = centre.answering.answer(mine)
        except Killed:
            centre = OurCentre(ground_again(ground))
            bound = centre.invitations.all()["torino"].key
            if bound:
                assert centre.answering.answer(asking(mine.secret)) == (Said.REFUSED, b"")
            before = [each.serial for each in centre.authority.issued("torino")]
            status, body = centre.answering.answer(mine)
            assert status == Said.GRANTED
            assert len(centre.authority.issued("torino")) == 1
            assert before in (
                [],
                [x509.load_pem_x509_certificate(Answer.read(body).chain).serial_number.__format__("032x")],
            )
        else:
            assert first[0] == Said.GRANTED
            assert at > 5
            return


def ground_again(ground: Ground) -> Ground:
    ground.again()
    return ground


def test_the_right_secret_is_told_what_hinders_the_centre(centre: OurCentre) -> None:
    invitation = centre.invitation()
    with TRAP.set(centre.ground.paths.ca, 1, full=True):
        error = failed(invitation, edge := Edge())
    assert error.error_id == "centre_cannot"
    assert "no space left" in error.message
    assert enrol(invitation, edge).site == "torino"


def test_a_key_that_was_spent_is_given_up_and_the_invitation_stays_good(centre: OurCentre) -> None:
    edge = Edge()
    centre.authority.enrol("roma", edge.prepare())
    before = edge.key
    assert enrol(centre.invitation(), edge).site == "torino"
    assert edge.key is not before
    assert [each.site for each in centre.authority.issued("torino")] == ["torino"]


def test_the_former_edge_stays_until_the_spare_came_in_or_goes_at_once_when_it_was_stolen(centre: OurCentre) -> None:
    enrol(centre.invitation(), Edge())
    (first,) = centre.authority.living("torino")
    enrol(centre.invitation(), Edge())
    assert [each.generation for each in centre.authority.living("torino")] == [1, 2]
    second = centre.authority.living("torino")[1]
    assert centre.authority.confirm(first.serial) == (), "the old one, which is still in, ends nothing"
    assert centre.authority.confirm(second.serial) == (first,)
    made = centre.service.invite(document(), "torino", replace=True)
    assert made.ended == (second,)
    assert centre.authority.living("torino") == []


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


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /enrol HTTP/1.1\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nContent-Length: 99999\r\n\r\n",
        post(b"{}"),
        post(b"[" * 19_000),
        post(b'{"secret": 7, "csr": []}'),
        b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_400_and_passed_on_to_nobody(centre: OurCentre, said: bytes) -> None:
    assert spoken(centre, said).startswith(b"HTTP/1.1 400 ")
    assert centre.heard == []


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xfe\r\n\r\n", b"x" * 20_000, b"POST /enrol HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /enrol HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"POST /enrol HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ],
)  # fmt: skip
def test_garbage_ends_the_connection_without_a_word(centre: OurCentre, said: bytes) -> None:
    assert spoken(centre, said) == b""
    assert enrol(centre.invitation(), Edge()).site == "torino"


def test_who_asks_too_often_waits_and_others_do_not(centre: OurCentre, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Front(None, Shown(b"", b""))  # type: ignore[arg-type]
    assert [made._may("a", 0.0 + 0.2 * turn) for turn in range(12)] == [True] * 10 + [False] * 2
    assert made._may("b", 2.5)
    assert made._may("a", 61.0)
    assert [made._may(str(source), 100.0) for source in range(12)] == [True] * 10 + [False] * 2
    assert made._may("late", 101.1)
    monkeypatch.setattr(front, "PER_SOURCE", 0)
    assert failed(centre.invitation()).error_id == "centre_busy"


def test_a_silent_client_holds_nobody_up(centre: OurCentre) -> None:
    silent = [socket.create_connection(("127.0.0.1", centre.port), 5) for _ in range(20)]
    try:
        assert enrol(centre.invitation(), Edge()).site == "torino"
    finally:
        for each in silent:
            each.close()


def test_invitations_are_refused_where_they_make_no_sense(centre: OurCentre) -> None:
    for hours in (0, -1, 169, float("nan")):
        with pytest.raises(InvalidError) as caught:
            centre.service.invite(document(), "torino", hours=hours)
        assert caught.value.error_id == "bad_hours"
    with pytest.raises(NotFoundError) as missing:
        centre.service.invite(document(), "bari")
    assert missing.value.error_id == "no_branch"
    with pytest.raises(RefusedError) as third:
        centre.service.invite(document(), "roma")
    assert third.value.error_id == "third_party"
    made = centre.service.invite(document(), "torino", hours=1)
    assert made.centres == (Centre("vpn.example.com", 1194), Centre("2001:db8::7", 5000))
    assert int(made.until.timestamp() * 1000) == centre.ground.clock().wall + HOUR
    assert "secret" not in repr(made)


def test_a_bundle_is_made_once_and_is_of_a_role_of_its_own(centre: OurCentre) -> None:
    for document_, site, error_id in (
        (document(third_party=True), "torino", "not_third_party"), (document(), "roma", "third_party_off"), (document(), "bari", "no_branch"),
    ):  # fmt: skip
        with pytest.raises(CentralinoError) as caught:
            centre.service.bundle(document_, site)
        assert caught.value.error_id == error_id
    made = centre.service.bundle(document(third_party=True), "roma")
    (mine,) = centre.authority.living("roma")
    assert mine.role is Role.THIRD_PARTY
    text = made.content.decode()
    assert "remote vpn.example.com 1209 udp" in text
    assert "BEGIN PRIVATE KEY" in text
    assert "BEGIN PRIVATE KEY" not in "".join(
        each.read_text(errors="replace") for each in (centre.ground.paths.ca / "issued").iterdir()
    )
    with pytest.raises(RefusedError) as renewal:
        centre.authority.renew(mine.serial, csr())
    assert renewal.value.error_id == "certificate_over"
    second = centre.service.bundle(document(third_party=True), "roma", replace=True)
    assert second.ended == (mine,)
    assert len(centre.authority.living("roma")) == 1


def test_a_gate_s_certificate_is_nobody_s_else(ground: Ground) -> None:
    identity = ground.authority.gate()
    shown = x509.load_pem_x509_certificate(identity.chain)
    assert certificates.name_of(shown) == "centralino-vpn-enrolment"
    assert ground.authority.find("centralino-vpn-enrolment") is None
    assert "PRIVATE" not in repr(identity)
    assert Authority(ground.paths, ground.clock).upkeep().faults == ground.authority.faults()
