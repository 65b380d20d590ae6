"""A new edge at the gate: real TLS over loopback, the real authority behind it, and strangers on either side."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from appliance.clock import HOUR
from appliance.core.errors import CentralinoError, InvalidError, NotFoundError, RefusedError
from appliance.edge.enrol import Step, enrol
from appliance.vpn.enrolment import codes, front
from appliance.vpn.enrolment.answering import Said
from appliance.vpn.enrolment.codes import read_code
from appliance.vpn.enrolment.invitation import Centre, Invitation, by_code, read_file
from appliance.vpn.enrolment.waiting import Standing
from appliance.vpn.enrolment.wire import Answer
from appliance.vpn.pki import Authority, Role, certificates
from tests.unit.vpn.ground import Ground, Killed, csr
from tests.unit.vpn.our_centre import (
    REFUSED_S,
    SLICE,
    Edge,
    OurCentre,
    asking,
    document,
    failed,
    listening,
    post,
    spoken,
)
from tests.unit.vpn.trap import TRAP

pytestmark = pytest.mark.usefixtures("quick")


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
